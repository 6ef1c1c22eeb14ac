import numpy as np
import pytest

from concise_rl.evaluate.plots import length_distributions


@pytest.mark.parametrize("label", ["grpo", "decs_no_curriculum", "a_label_that_says_everything_there_is_to_say_of_it"])
def test_labels_of_any_length_leave_the_plot_its_width(label: str) -> None:
    lengths = [(i, f"{label}{i}", np.arange(1, 40)) for i in range(5)]
    figure = length_distributions(lengths, 64, "completion")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert axes.get_position().width > 0.7
    legend = axes.get_legend()
    assert legend is not None and legend.get_window_extent().x1 <= figure.bbox.x1
