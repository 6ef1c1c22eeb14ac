import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from concise_rl.cli import main
from concise_rl.evaluate.report import write_report
from concise_rl.evaluate.rescore import run as module
from concise_rl.evaluate.rescore.run import Wanted, rescore
from concise_rl.evaluate.run import evaluate
from concise_rl.evaluate.samples import read_samples
from concise_rl.evaluate.spec import EvalSpec, Measurement, ModelRun, read_manifest
from tests.concise_rl.evaluate.fabric import ScriptedEngine

MATH = {"verifier": "math"}


def evaluated(tmp_path: Path, **changes: Any) -> Path:
    """An evaluation of two models, whose samples answer 7 or 8 where 7.0 is right: by `exact` none is."""
    rows, folder = tmp_path / "rows.jsonl", tmp_path / "eval"
    lines = [{"prompt": f"What is 7 + {i}?", "answer": "7.0"} for i in range(3)]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = {"task": str(rows), "samples": 4, "max_tokens": 30, "verifier": "exact", "batch_size": 8} | changes
    runs = [ModelRun(label=label, model="tiny:base") for label in ("m", "baseline")]

    @contextmanager
    def load(model: str, measurement: Measurement) -> Iterator[ScriptedEngine]:
        yield ScriptedEngine(alone=measurement.draws_alone)

    evaluate(EvalSpec(measurement=Measurement(**settings), models=(runs[0],), baseline=runs[1]), folder, load=load)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def verdicts(folder: Path, name: str = "m.0") -> list[int | None]:
    return [sample.correct for sample in read_samples(folder / "samples" / f"{name}.jsonl")]


@pytest.mark.parametrize(
    "measurement",
    [
        {"verifier": "math", "judge": "rule"},
        {"verifier": "exact", "keep_shortest": 1},  # which gives samples up
        {"verifier": "math", "think_budget": 8, "answer_budget": 4},
    ],
    ids=str,
)
def test_what_was_graded_is_graded_as_it_was_to_the_byte(tmp_path: Path, measurement: dict[str, Any]) -> None:
    folder = evaluated(tmp_path, **measurement)
    write_report(folder)
    before = contents(folder)
    changes = rescore(folder, Wanted(overwrite=True))
    assert contents(folder) == before
    assert (changes.samples, changes.any, changes.examples) == (24, False, [])


def test_another_verifier_changes_verdicts_which_are_counted_and_shown(tmp_path: Path) -> None:
    folder = evaluated(tmp_path, judge="rule")
    changes = rescore(folder, Wanted(MATH, overwrite=True))
    right = [sample.answer == "7" for sample in read_samples(folder / "samples/m.0.jsonl")]
    assert verdicts(folder) == right
    assert 0 < sum(right) == changes.verdicts["m"]["wrong to right"] == changes.fields["m"]["labels"]
    assert (changes.examples[0].change, changes.examples[0].answer) == ("wrong to right", "7")
    assert any("wrong to right" in line for line in changes.lines())
    assert read_manifest(folder).measurement.verifier == "math"
    back = rescore(folder, Wanted({"verifier": "exact"}, overwrite=True))
    assert back.verdicts["m"]["right to wrong"] == sum(right)
    assert not any(sample.labels for sample in read_samples(folder / "samples/m.0.jsonl"))


def test_without_a_place_to_write_changes_are_counted_alone(tmp_path: Path) -> None:
    folder = evaluated(tmp_path)
    before = contents(folder)
    assert rescore(folder, Wanted(MATH)).any
    assert contents(folder) == before


def test_another_folder_gets_a_whole_evaluation_and_the_first_stays_as_it_was(tmp_path: Path) -> None:
    folder, out = evaluated(tmp_path), tmp_path / "by-math"
    (folder / "training").mkdir()
    (folder / "training" / "m.0.json").write_text("{}")
    before = contents(folder)
    rescore(folder, Wanted(MATH, out=out))
    assert contents(folder) == before
    assert (out / "training" / "m.0.json").is_file()
    assert any(verdicts(out))
    assert write_report(out)["measurement"]["verifier"] == "math"
    with pytest.raises(ValueError, match="holds an evaluation: choose another --out"):
        rescore(folder, Wanted(out=out))
    rescore(folder, Wanted(out=out, overwrite=True))
    assert not any(verdicts(out))
    assert {path.name for path in tmp_path.iterdir()} == {"rows.jsonl", "eval", "by-math"}


def test_several_processes_grade_as_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = evaluated(tmp_path, judge="rule")
    twin = shutil.copytree(folder, tmp_path / "twin")
    monkeypatch.setattr(module, "BATCH", 4)
    one, several = (rescore(place, Wanted(MATH, overwrite=True, workers=n)) for place, n in ((folder, 1), (twin, 3)))
    assert contents(folder) == contents(twin)
    assert one.verdicts == several.verdicts


def test_a_failure_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    folder = evaluated(tmp_path)
    path = folder / "samples" / "baseline.0.jsonl"
    path.write_bytes(path.read_bytes() + b"{}\n")
    before = contents(folder)
    with pytest.raises(ValueError, match=r"baseline.0.jsonl, line 13"):
        rescore(folder, Wanted(MATH, overwrite=True))
    assert contents(folder) == before


def test_another_delimiter_reads_thinking_and_answer_anew(tmp_path: Path) -> None:
    folder = evaluated(tmp_path, verifier="math", think_end=None)
    changes = rescore(folder, Wanted({"think_end": "</think>"}, overwrite=True))
    assert changes.fields["m"]["think_length"] == changes.fields["m"]["answer"] == 12
    assert all(sample.think_length for sample in read_samples(folder / "samples/m.0.jsonl"))


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        (Wanted({"verifier": "mth"}), "mth"),
        (Wanted({"judge": "nobody"}), "nobody"),
        (Wanted(model="nowhere/model"), "nowhere/model"),
        (Wanted({"think_end": None, "judge": "rule"}), "think_end"),
    ],
    ids=str,
)
def test_what_cannot_grade_is_refused(tmp_path: Path, wanted: Wanted, complaint: str) -> None:
    folder = evaluated(tmp_path)
    with pytest.raises(ValueError, match=complaint):
        rescore(folder, wanted)


def test_samples_of_another_task_are_refused(tmp_path: Path) -> None:
    folder = evaluated(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "What else?", "answer": "7.0"}\n')
    with pytest.raises(ValueError, match="Has the data changed"):
        rescore(folder, Wanted({"verifier": "reasoning_gym"}))


def test_a_command_says_what_changed_and_where_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = evaluated(tmp_path)
    main(["rescore", str(folder), "--verifier", "math"])
    said = capsys.readouterr().out
    assert "24 samples were graded again." in said
    assert "Nothing was written" in said
    main(["rescore", str(folder), "--verifier", "math", "--out", str(tmp_path / "out"), "--json"])
    assert json.loads(capsys.readouterr().out)["samples"] == 24
    assert (tmp_path / "out" / "report.html").is_file()
