import numpy as np
import pytest

from concise_rl.evaluate.statistics import tabulate
from concise_rl.evaluate.underthinking import describe_underthinking, missing_tokens, stopped_short
from tests.concise_rl.evaluate.fabric import given_up, sample

NEEDED = 20
CUT = {"answer": None, "stop_reason": "length", "finished": False}


def short_and_missing(*samples: tuple[int | None, int, dict[str, object]]) -> list[tuple[float, float]]:
    """What is said of samples (verdict, tokens, fields) of a problem that takes 20 tokens."""
    drawn = [sample(0, k, c, n, **{"oracle_length": NEEDED, **fields}) for k, (c, n, fields) in enumerate(samples)]
    table = tabulate(drawn, 1, len(drawn))
    return list(zip(stopped_short(table)[0].tolist(), missing_tokens(table)[0].tolist(), strict=True))


def test_a_wrong_sample_that_ends_before_it_can_have_the_answer_stopped_short() -> None:
    assert short_and_missing((0, 12, {}), (0, 19, {})) == [(1, 8), (1, 1)]


def test_a_wrong_sample_with_as_many_tokens_as_it_takes_did_not() -> None:
    assert short_and_missing((0, 20, {}), (0, 35, {})) == [(0, 0), (0, 0)]


def test_a_short_sample_that_is_right_misses_nothing() -> None:
    assert short_and_missing((1, 5, {})) == [(0, pytest.approx(np.nan, nan_ok=True))]


def test_a_sample_that_an_exit_ends_stopped_and_one_that_the_cap_cuts_did_not() -> None:
    assert short_and_missing((0, 12, {"stop_reason": "forced_exit"}), (0, 12, CUT)) == [(1, 8), (0, 8)]


def test_without_a_verdict_or_an_oracle_nothing_is_said() -> None:
    drawn = tabulate([sample(0, 0, None, oracle_length=NEEDED), given_up(1, 0), sample(2, 0, 0)], 3, 1)
    assert np.isnan(stopped_short(drawn)).all() and np.isnan(missing_tokens(drawn)).all()


def test_a_label_has_shares_over_all_samples_and_tokens_over_the_wrong_ones() -> None:
    lengths = {0: (12, 16), 1: (30, 30), 2: (10, 10)}
    drawn = [sample(p, k, int(p == 2), lengths[p][k], oracle_length=NEEDED) for p in range(3) for k in range(2)]
    found = describe_underthinking(tabulate(drawn, 3, 2))
    assert found is not None
    assert found.stopped_short.value == pytest.approx(1 / 3) and found.missing_tokens.value == pytest.approx(3)


def test_a_task_without_an_oracle_has_no_missing_thinking() -> None:
    assert describe_underthinking(tabulate([sample(0, 0, 0)], 1, 1)) is None
