import numpy as np
import pytest

from concise_rl.evaluate.curves import Curve, accuracy_at, lowest, mean_curve, point, read_curve


def logged(accuracy: list[float], tokens: list[float], every: int = 1) -> dict[str, dict[str, list[float]]]:
    steps = [float(every * n) for n in range(1, len(accuracy) + 1)]
    return {
        "correct/mean": {"steps": steps, "values": accuracy},
        "length/mean": {"steps": steps[: len(tokens)], "values": tokens},
    }


def curve(accuracy: list[float], tokens: list[float], first: int = 1) -> Curve:
    """A curve without any smoothing."""
    return Curve(np.arange(first, first + len(tokens)), np.array(accuracy), np.array(tokens))


def test_a_step_is_averaged_with_five_before_and_after_it_and_at_an_end_with_those_there_are() -> None:
    found = read_curve(logged([float(n) for n in range(20)], [7.0] * 20))
    assert found is not None
    assert found.accuracy_N[[0, 10, 19]].tolist() == [2.5, 10.0, 16.5]
    assert found.tokens_N.tolist() == pytest.approx([7.0] * 20)


def test_what_was_logged_every_ten_steps_is_left_as_it_is() -> None:
    found = read_curve(logged([0.5, 0.7], [30, 20], every=10))
    assert found is not None
    assert (found.steps_N.tolist(), found.accuracy_N.tolist()) == ([10, 20], [0.5, 0.7])


def test_only_steps_with_both_numbers_count_and_without_any_there_is_no_curve() -> None:
    found = read_curve(logged([0.5, 0.7, 0.9], [30, 20]))
    assert found is not None and found.steps_N.tolist() == [1, 2]
    assert read_curve({"correct/mean": {"steps": [1], "values": [0.5]}}) is None
    assert read_curve({}) is None


def test_curves_are_averaged_at_the_steps_that_all_have() -> None:
    found = mean_curve([curve([0.2, 0.4, 0.6], [10, 20, 30]), curve([0.6, 0.8], [40, 50], first=2)])
    assert found is not None
    assert (found.steps_N.tolist(), found.tokens_N.tolist()) == ([2, 3], [30, 40])
    assert found.accuracy_N.tolist() == pytest.approx([0.5, 0.7])
    assert mean_curve([curve([0.1], [9]), curve([0.1], [9], first=2)]) is None


def test_the_lowest_point_is_the_first_of_the_least_accurate() -> None:
    found = curve([0.9, 0.5, 0.7, 0.5], [40, 30, 20, 10])
    assert (lowest(found).step, lowest(found).tokens) == (2, 30)
    assert (point(found, -1).step, point(found, -1).accuracy) == (4, 0.5)


def test_accuracy_at_a_length_is_where_the_rollouts_last_fell_to_it() -> None:
    found = curve([0.9, 0.5, 0.6, 0.8], [40, 20, 40, 20])
    assert accuracy_at(found, 30) == pytest.approx(0.7)
    assert accuracy_at(found, 20) == pytest.approx(0.8)


def test_a_run_that_never_fell_to_a_length_has_no_accuracy_there() -> None:
    assert accuracy_at(curve([0.9, 0.5], [40, 30]), 20) is None
    assert accuracy_at(curve([0.9, 0.5], [10, 15]), 20) is None
