import json
from pathlib import Path
from typing import Any

import pytest

from concise_rl.evaluate.compare.join import join
from concise_rl.evaluate.compare.report import build_comparison
from concise_rl.evaluate.compare.training import training_grid
from concise_rl.evaluate.compare.training_figure import draw_training
from concise_rl.evaluate.evaluation import read_evaluation
from concise_rl.evaluate.training import training_path
from tests.concise_rl.evaluate.compare.folders import drawn, evaluated


def leave_curves(folder: Path, label: str, *accuracies: list[float]) -> None:
    """Leave the curves of each run of a label: steps 10, 20, 30 and so on; tokens fall from 100 by 10."""
    runs = next(one for one in read_evaluation(folder).labels if one.name == label).runs
    for run, values in zip(runs, accuracies, strict=False):
        path, steps = training_path(run.samples_path(folder)), [10 * n for n in range(1, len(values) + 1)]
        tokens = {"steps": steps, "values": [100.0 - step for step in steps]}
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"correct/mean": {"steps": steps, "values": values}, "length/mean": tokens}))


def compared(folder: Path, *pairs: tuple[str, str]) -> dict[str, Any]:
    return build_comparison(join([folder], Path("out")), "tokens", 2.0, chosen=pairs)[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = evaluated(tmp_path / "a", ("one", drawn(10)), ("one", drawn(12)), ("two", drawn(30)), baseline=drawn(40))
    leave_curves(made, "one", [0.9, 0.5, 0.7], [0.9, 0.7, 0.9])
    return made


def test_the_report_says_where_accuracy_was_lowest_and_whether_it_came_back(folder: Path) -> None:
    (one,) = compared(folder)["training"]
    assert one["mean"]["lowest"] == {"step": 20, "accuracy": pytest.approx(0.6), "tokens": 80.0}
    assert one["mean"]["last"] == {"step": 30, "accuracy": pytest.approx(0.8), "tokens": 70.0}
    assert [run["lowest"]["accuracy"] for run in one["runs"]] == [0.5, 0.7]


def test_the_table_has_the_range_of_the_seeds(folder: Path) -> None:
    grid = training_grid(compared(folder))
    assert grid is not None
    (row,) = grid.rows
    assert (row.name, row.small) == ("one", "2 seeds")
    assert [cell.text for cell in row.cells][:5] == ["90.0 %", "60.0 %", "20", "80.0 %", "+20.0"]
    assert row.cells[1].small == "50.0 to 70.0"


def test_the_picture_has_a_line_for_each_method_and_a_band_for_its_seeds(folder: Path) -> None:
    leave_curves(folder, "two", [0.8, 0.8])
    figure = draw_training(compared(folder))
    assert figure is not None
    above, below = figure.axes
    assert [line.get_gid() for line in above.lines] == ["method-1", "method-2"]
    assert len(above.collections) == len(below.collections) == 1


def test_without_any_training_there_is_neither_table_nor_picture(tmp_path: Path) -> None:
    report = compared(evaluated(tmp_path / "a", ("one", drawn(10))))
    assert report["training"] == [] and training_grid(report) is None and draw_training(report) is None
