import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from concise_rl.cli import main
from concise_rl.evaluate.figures import MEANINGS, figures_table
from concise_rl.evaluate.frontier import read_frontier
from concise_rl.evaluate.report import write_report
from tests.concise_rl.evaluate.fabric import grid, labelled, write_evaluation

FRONTIER = [{"tokens": 0, "accuracy": 0.0}, {"tokens": 100, "accuracy": 1.0}]


def evaluated(folder: Path) -> Path:
    base = grid(3, 4, lambda p, k: int((p + k) % 4 > 0), lambda p, k: 90 + p)
    short = [labelled(p, k, redundant=4, overshoot=6, length=30 + p, difficulty=p) for p in range(3) for k in range(4)]
    write_evaluation(folder, base, ("grpo", short), ("grpo", short), problems=3, samples=4)
    return folder


def test_a_report_with_baseline_judge_and_frontier_holds_every_figure(tmp_path: Path) -> None:
    (evaluated(tmp_path) / "frontier.json").write_text(json.dumps(FRONTIER))
    report = write_report(tmp_path)
    assert report["model"]["figures"].keys() == MEANINGS.keys()
    assert [point["at"] for point in report["model"]["figures"]["pass_at"]] == [1, 2, 4, 8]  # of two runs
    assert report["model"]["figures"]["pass_at"][-1]["value"] == 1
    assert report["model"]["figures"]["accuracy_within"][-1] == {"at": 512, "value": 1.0, "ci95": (1.0, 1.0)}


def test_the_table_has_a_row_for_every_figure_and_says_what_it_means(tmp_path: Path) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(figures_table(write_report(evaluated(tmp_path))))
    said = console.export_text()
    assert all(word in said for word in ("right within 256", "pass@8", "majority@4", "OAA area", "compression, macro"))
    assert "Chance that one of k samples is right" in said
    assert "REG" not in said


def test_figures_are_on_the_page(tmp_path: Path) -> None:
    write_report(evaluated(tmp_path))
    page = (tmp_path / "report.html").read_text()
    assert "right within 256" in page
    assert "Chance that one of k samples is right" in page


def test_a_frontier_that_was_given_once_stays_with_the_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, given = evaluated(tmp_path / "run"), tmp_path / "best.json"
    given.write_text(json.dumps(FRONTIER))
    main(["report", str(folder), "--figures", "--frontier", str(given)])
    assert "REG" in capsys.readouterr().out
    first = (folder / "report.json").read_bytes()
    given.unlink()
    main(["report", str(folder), "--figures"])
    assert "REG" in capsys.readouterr().out
    assert (folder / "report.json").read_bytes() == first


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is no JSON"),
        ("[]", "two or more"),
        ('{"tokens": 1}', "two or more"),
        ('[{"tokens": 1, "accuracy": 0.5}, {"tokens": 1, "accuracy": 0.6}]', "same tokens"),
        ('[{"tokens": 1, "accuracy": 50}, {"tokens": 2, "accuracy": 0.6}]', "a share from 0 to 1"),
        ('[{"tokens": 1.5, "accuracy": 0.5}, {"tokens": 2, "accuracy": 0.6}]', "row 0: give tokens"),
        ('[{"tokens": 1, "accuracy": 0.5, "name": "a"}, {"tokens": 2, "accuracy": 0.6}]', "nothing else"),
        ('[[1, 2], [3, 4]]', "row 0"),
        ('[{"tokens": 1, "accuracy": NaN}, {"tokens": 2, "accuracy": 0.6}]', "a share from 0 to 1"),
    ],
)  # fmt: skip
def test_what_is_no_frontier_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "best.json").write_text(content)
    with pytest.raises(ValueError, match=complaint):
        read_frontier(tmp_path / "best.json")


def test_a_bad_frontier_leaves_the_evaluation_as_it_was(tmp_path: Path) -> None:
    folder = evaluated(tmp_path / "run")
    with pytest.raises(SystemExit, match="There is no file"):
        main(["report", str(folder), "--frontier", str(tmp_path / "nowhere.json")])
    assert not (folder / "frontier.json").exists()
