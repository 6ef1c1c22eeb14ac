from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from concise_rl.evaluate.plots import accuracy_against_tokens, length_distributions


@pytest.mark.parametrize("label", ["grpo", "decs_no_curriculum", "a_label_that_says_everything_there_is_to_say_of_it"])
def test_labels_of_any_length_leave_the_plot_its_width(label: str) -> None:
    lengths = [(i, f"{label}{i}", np.arange(1, 40)) for i in range(5)]
    figure = length_distributions(lengths, 64, "completion")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert axes.get_position().width > 0.7
    legend = axes.get_legend()
    assert legend is not None and legend.get_window_extent().x1 <= figure.bbox.x1


def entry(label: str, tokens: tuple[float, float, float], accuracy: tuple[float, float, float]) -> dict[str, Any]:
    """A label of a report, its numbers given as (low, value, high)."""
    numbers = {"tokens": tokens[1], "accuracy": accuracy[1]}
    intervals = {"tokens_ci95": tokens[::2], "accuracy_ci95": accuracy[::2]}
    return {"label": label, "seeds": [numbers], **numbers, **intervals}


def limits(figure: Figure) -> tuple[tuple[float, float], tuple[float, float]]:
    (axes,) = figure.axes
    return axes.get_xlim(), axes.get_ylim()


@pytest.mark.parametrize("widest", ["baseline", "grpo"])
def test_the_intervals_of_every_label_are_in_sight_whole(widest: str) -> None:
    wide, small = ((60.0, 140.0, 310.0), (0.3, 0.8, 1.0)), ((20.0, 30.0, 40.0), (0.85, 0.9, 0.95))
    labels = [(i, entry(name, *(wide if name == widest else small))) for i, name in enumerate(("baseline", "grpo"))]
    (left, right), (bottom, top) = limits(accuracy_against_tokens(labels, oracle_tokens=25.0))
    assert left <= 60 and right > 310 and bottom < 0.3 and top > 1.0


def test_single_training_seeds_outside_of_the_interval_are_in_sight() -> None:
    method = entry("grpo", (90.0, 100.0, 110.0), (0.78, 0.8, 0.82))
    method["seeds"] = [{"tokens": 40.0, "accuracy": 0.95}, {"tokens": 160.0, "accuracy": 0.65}]
    (_, right), (bottom, top) = limits(accuracy_against_tokens([(1, method)], oracle_tokens=None))
    assert right > 160 and bottom < 0.65 and top > 0.95


def test_labels_without_an_interval_are_drawn() -> None:
    method = entry("grpo", (90.0, 100.0, 110.0), (0.78, 0.8, 0.82)) | {"tokens_ci95": None, "accuracy_ci95": None}
    (_, right), (bottom, top) = limits(accuracy_against_tokens([(1, method)], oracle_tokens=None))
    assert right > 100 and top - bottom == pytest.approx(0.1)
