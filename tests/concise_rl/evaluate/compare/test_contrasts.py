from pathlib import Path

import numpy as np
import pytest

from concise_rl.evaluate.compare.contrasts import at_equal_tokens, contrast_grids
from concise_rl.evaluate.curves import Curve
from tests.concise_rl.evaluate.compare.folders import drawn, evaluated
from tests.concise_rl.evaluate.compare.test_training import compared, leave_curves


def falling(*accuracies: float, last: float = 20.0) -> Curve:
    """Rollouts that fall from 60 tokens to `last`, evenly."""
    count = len(accuracies)
    return Curve(np.arange(count), np.array(accuracies), np.linspace(60, last, count))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    wrong = drawn(4, lambda p, k: p % 3 > 0)  # the easiest; one of the four has fewer tokens than the 6 it takes
    runs = (("rash", wrong), ("rash", wrong), ("rash", wrong), ("slow", drawn(30)), ("slow", drawn(30)))
    return evaluated(tmp_path / "a", *runs, baseline=drawn(40))


def test_a_pair_is_the_first_minus_the_second_overall_and_by_difficulty(folder: Path) -> None:
    (one,) = compared(folder, ("rash", "slow"))["contrasts"]
    assert one["seeds"] == (3, 2)
    assert one["accuracy"]["value"] == pytest.approx(-1 / 3) and one["tokens"]["value"] == pytest.approx(-26)
    assert one["accuracy"]["ci95"][1] < 0 < one["stopped_short"]["value"]
    assert [at["accuracy"]["value"] for at in one["by_difficulty"]] == [-1, 0, 0]
    assert one["equal_tokens"] is None


def test_the_baseline_may_be_one_of_a_pair(folder: Path) -> None:
    (one,) = compared(folder, ("slow", "baseline"))["contrasts"]
    assert (one["tokens"]["value"], one["accuracy"]["ci95"]) == (-10, (0, 0))


@pytest.mark.parametrize(
    ("pair", "message"), [(("rash", "slwo"), "Unknown model of --pair 'slwo'.*slow"), (("rash", "rash"), "two models")]
)
def test_a_pair_that_cannot_be_made_is_refused(folder: Path, pair: tuple[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compared(folder, pair)


def test_at_equal_tokens_the_shorter_one_is_taken_where_it_was_as_long() -> None:
    found = at_equal_tokens([falling(0.9, 0.8, 0.5)], [falling(0.9, 0.9, last=40)])
    assert found is not None
    assert (found.tokens, found.accuracy.value) == (40, pytest.approx(-0.1))
    assert found.accuracy.ci95 is None  # of one seed each


def test_several_seeds_of_both_give_it_an_interval() -> None:
    shorter = [falling(0.9, 0.8, 0.5), falling(0.9, 0.82, 0.6)]
    found = at_equal_tokens(shorter, [falling(0.9, 0.9, last=40), falling(0.9, 0.92, last=40)])
    assert found is not None and found.accuracy.value == pytest.approx(-0.1)
    assert found.accuracy.ci95 == pytest.approx((-0.1 - 0.0609, -0.1 + 0.0609), abs=1e-3)  # 4.30 * 0.01 * sqrt(2)


def test_methods_that_never_had_the_same_tokens_are_not_compared_so() -> None:
    short = Curve(np.arange(2), np.array([0.5, 0.5]), np.array([30.0, 20.0]))
    assert at_equal_tokens([short], [falling(0.9, 0.9, last=40)]) is None
    assert at_equal_tokens([], [short]) is None


def test_the_tables_say_how_many_seeds_a_pair_has(folder: Path) -> None:
    leave_curves(folder, "rash", *[[0.9, 0.5, 0.7]] * 3)
    leave_curves(folder, "slow", *[[0.9, 0.8]] * 2)
    overall, by_difficulty = contrast_grids(compared(folder, ("rash", "slow")))
    (row,) = overall.rows
    assert (row.name, row.small) == ("rash - slow", "3 and 2 seeds")
    assert [cell.text for cell in row.cells] == ["-33.3", "-26.0", "+8.3", "-", "-30.0"]
    assert row.cells[-1].small == "[-30.0, -30.0] at 80.0"
    assert by_difficulty.heads == ["0", "1", "2"]


def test_without_a_chosen_pair_there_is_no_table(folder: Path) -> None:
    assert contrast_grids(compared(folder)) == []
