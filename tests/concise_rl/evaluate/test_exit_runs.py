"""Rows of an evaluation under exits: names, the command that gives them again, errors, and a run of the real thing."""

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from concise_rl.cli.parser import build_parser
from concise_rl.evaluate.cli import _add_exit_arguments, spec_of
from concise_rl.evaluate.engines import EvalEngine, open_engine
from concise_rl.evaluate.exit_runs import check_exits, exit_arguments, with_exits
from concise_rl.evaluate.report import write_report
from concise_rl.evaluate.run import evaluate
from concise_rl.evaluate.samples import Sample, append_samples, read_samples
from concise_rl.evaluate.spec import EvalSpec, Measurement, ModelRun
from concise_rl.rollout.cost import Cost
from concise_rl.rollout.exits import EXITS
from tests.concise_rl.evaluate.fabric import sample

TINY = {
    "task": "tiny:sums",
    "problems": 4,
    "samples": 1,
    "max_tokens": 200,
    "verifier": "reasoning_gym",
    "temperature": 0,
}
ROWS = (ModelRun(label="m", model="tiny:base"),)


def spec(*exits: str, **changes: Any) -> EvalSpec:
    return EvalSpec(measurement=Measurement(**TINY | {"temperature": 0} | changes), models=with_exits(ROWS, exits))


def test_a_row_is_named_after_its_model_and_its_exit() -> None:
    rows = with_exits(ROWS, ["none", "deer", "budget:64", "slow=deer:threshold=0.99,mean=min"])
    assert [row.label for row in rows] == ["m", "m+deer", "m+budget-64", "m+slow"]
    assert [row.exit for row in rows] == [None, "deer", "budget:64", "deer:threshold=0.99,mean=min"]
    assert with_exits(ROWS, []) == ROWS


def test_two_rows_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Two exits would be called 'deer'\. Give them labels: --exit NAME=EXIT"):
        with_exits(ROWS, ["deer", "deer=deer:0.9"])
    with pytest.raises(ValueError, match="the row without an exit is called as its model is"):
        with_exits(ROWS, ["plain=none"])


def test_the_arguments_of_rows_give_these_rows_again() -> None:
    models = (*ROWS, ModelRun(label="a+b", model="x"), ModelRun(label="a+b", model="y", run=1))
    rows = with_exits(models, ["none", "budget:64", "slow=deer:0.99"])
    found, exits = exit_arguments(rows)
    assert found == [("m", "tiny:base"), ("a+b", "x"), ("a+b", "y")]
    assert exits == ["none", "budget:64", "slow=deer:0.99"]
    assert exit_arguments(models)[1] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"think_end": None}, "stops thinking: give --think-end"),
        ({"think_budget": 64, "answer_budget": 16}, "--think-budget stops thinking too"),
        ({"keep_shortest": 1, "samples": 2, "temperature": 1.0}, "--keep-shortest counts questions"),
    ],
)
def test_what_exits_do_not_go_with_is_said(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_exits(spec("deer", **changes))
    check_exits(spec("none", **changes))


def test_an_unknown_exit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    words = ["eval", "--model", "tiny:base", "--task", "tiny:sums", "--exit", "dear", "--out", str(tmp_path / "out")]
    with pytest.raises(ValueError, match="Unknown exit 'dear'"):
        spec_of(build_parser().parse_args(words))


def test_help_names_every_exit() -> None:
    parser = argparse.ArgumentParser()
    _add_exit_arguments(parser)
    listed = re.search(r"Names: (.*?) \(", " ".join(parser.format_help().split()))
    assert listed and sorted(listed[1].replace("run_ jump", "run_jump").split(", ")) == sorted(EXITS)


def test_what_was_spent_is_kept_and_left_out_where_nothing_was(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    spent = Sample(**sample(0, 0).model_dump(exclude={"cost"}), cost=Cost(probes=2, decoded=9))
    append_samples(path, [spent, sample(0, 1)])
    assert [one.cost for one in read_samples(path)] == [spent.cost, None]
    assert [("cost" in json.loads(line)) for line in path.read_text().splitlines()] == [True, False]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """An evaluation of the embedded reasoner under exits, and the models that were loaded for it."""
    out, opened = tmp_path_factory.mktemp("exits") / "out", []

    @contextmanager
    def load(model: str, measurement: Measurement) -> Iterator[EvalEngine]:
        opened.append(model)
        with open_engine(model, measurement) as engine:
            yield engine

    asked = spec("none", "deer:0.5", "budget:20")
    evaluate(asked.model_copy(update={"baseline": ModelRun(label="baseline", model="tiny:base")}), out, load=load)
    return out, opened


def test_all_exits_of_a_model_share_its_engine(evaluated: tuple[Path, list[str]]) -> None:
    assert evaluated[1] == ["tiny:base"]


def test_the_report_counts_what_looks_decode(evaluated: tuple[Path, list[str]]) -> None:
    report = write_report(evaluated[0])
    plain, deer, budget = report["methods"]
    assert [plain["exit"], deer["exit"], budget["exit"]] == [None, "deer:0.5", "budget:20"]
    assert plain["cost"] is None and budget["cost"] is None
    samples = list(read_samples(evaluated[0] / "samples/m+deer-0.5.0.jsonl"))
    decoded = sum(one.cost.decoded for one in samples if one.cost) / len(samples)
    text = sum(one.length for one in samples) / len(samples)
    assert decoded > 0 and deer["tokens"] == pytest.approx(text + decoded)
    assert deer["cost"]["text"]["value"] == pytest.approx(text)
    assert deer["token_savings"]["value"] == pytest.approx(1 - deer["tokens"] / plain["tokens"])
    cached, again = deer["cost"]["prefilled_cached"]["value"], deer["cost"]["prefilled_again"]["value"]
    assert deer["cost"]["prefilled_fork"]["value"] <= cached < again
    assert budget["stop_reasons"].keys() <= {"forced_exit", "eos"} and budget["truncated"] == 0
    assert "What exits spend" in (evaluated[0] / "report.html").read_text()


def test_an_interrupted_evaluation_goes_on_with_the_same_samples(evaluated: tuple[Path, list[str]]) -> None:
    path = evaluated[0] / "samples/m+deer-0.5.0.jsonl"
    before = path.read_text().splitlines()
    path.write_text("\n".join(before[:2]) + "\n" + before[2][:40])
    evaluate(spec("deer:0.5"), evaluated[0])
    assert sorted(path.read_text().splitlines()) == sorted(before)


def test_another_exit_under_the_same_name_is_refused(evaluated: tuple[Path, list[str]]) -> None:
    with pytest.raises(ValueError, match=r"m\+deer-0\.5\.0: .* with exit deer:0\.5 there, .* with exit deer:0\.6 now"):
        evaluate(spec("deer-0.5=deer:0.6"), evaluated[0])
