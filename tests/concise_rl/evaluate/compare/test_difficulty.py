import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from concise_rl.evaluate.compare.difficulty import difficulty_grids
from concise_rl.evaluate.compare.table import markdown_tables, terminal_grids
from tests.concise_rl.evaluate.compare.folders import drawn, evaluated
from tests.concise_rl.evaluate.compare.test_training import compared


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    wrong = drawn(4, lambda p, k: p % 3 > 0)
    folder = tmp_path_factory.mktemp("made") / "a"
    return compared(evaluated(folder, ("rash", wrong), ("rash", wrong), ("slow", drawn(30)), baseline=drawn(40)))


def test_every_model_has_a_row_and_every_difficulty_a_column(report: dict[str, Any]) -> None:
    accuracy = difficulty_grids(report)["accuracy"]
    assert list(accuracy.heads) == ["0 (4)", "1 (4)", "2 (4)"]
    assert [(row.name, row.index, row.small) for row in accuracy.rows] == [
        ("baseline", 0, ""),
        ("rash", 1, "2 seeds"),
        ("slow", 2, ""),
    ]
    assert [cell.text for cell in accuracy.rows[1].cells] == ["0.0 %", "100.0 %", "100.0 %"]
    assert accuracy.rows[1].cells[0].small == "[0.0, 0.0]"


def test_tokens_stand_below_the_necessary_ones(report: dict[str, Any]) -> None:
    grids = difficulty_grids(report)
    necessary, _, rash, _ = grids["tokens"].rows
    assert (necessary.name, [cell.text for cell in necessary.cells]) == ("necessary", ["6.0"] * 3)
    assert [cell.text for cell in rash.cells] == ["8.5", "9.5", "10.5"]
    assert [cell.text for cell in grids["ratio"].rows[1].cells] == ["1.42x", "1.58x", "1.75x"]


def test_only_numbers_that_are_known_have_a_table(report: dict[str, Any], tmp_path: Path) -> None:
    assert list(difficulty_grids(report)) == ["accuracy", "tokens", "ratio", "stopped_short", "missing"]
    unknown = [one.model_copy(update={"oracle_length": None}) for one in drawn(30)]
    assert list(difficulty_grids(compared(evaluated(tmp_path / "b", ("one", unknown))))) == ["accuracy", "tokens"]


def test_problems_of_one_difficulty_or_of_none_have_no_tables(tmp_path: Path) -> None:
    for number, difficulty in enumerate((None, 3)):
        alike = [one.model_copy(update={"difficulty": difficulty}) for one in drawn(30)]
        assert difficulty_grids(compared(evaluated(tmp_path / str(number), ("one", alike)))) == {}


def test_the_tables_fit_a_terminal_and_markdown_has_all_of_them(report: dict[str, Any]) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    for table in terminal_grids(report):
        console.print(table)
    shown, written = console.export_text(), markdown_tables(report)
    assert "Accuracy by difficulty" in shown and "100.0 %" in shown and max(map(len, shown.splitlines())) <= 80
    assert written.startswith("| model | accuracy |")
    assert "**Stopped short by difficulty**" in written and "| rash (2 seeds) | 0.0 % [0.0, 0.0] | " in written
