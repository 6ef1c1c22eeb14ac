"""Other labels of a folder beside the curves: trained models, live exits, and questions answered by vote."""

import json
from pathlib import Path
from typing import Any

import pytest

from concise_rl.cli.parser import build_parser
from concise_rl.evaluate.exit_runs import with_exits
from concise_rl.evaluate.exits.cli import run_exits
from concise_rl.evaluate.exits.run import Wanted, try_exits
from concise_rl.evaluate.run import evaluate
from concise_rl.evaluate.spec import EvalSpec, Measurement, model_runs

DEEPCONF = "deepconf:warmup=2,window=8,top=5,percent=50,pace=16"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Full samples of the base, of a trained model, and of the base under two live exits."""
    out = tmp_path_factory.mktemp("labels")
    measurement = Measurement(task="tiny:sums", problems=6, samples=4, max_tokens=200)
    live = with_exits(model_runs([("base", "tiny:base")]), ("none", "nowait", DEEPCONF))
    evaluate(EvalSpec(measurement=measurement, models=(*live, *model_runs([("trained", "tiny:s_grpo")]))), out)
    return out


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    """The report of one policy that asks next to nothing."""
    try_exits(Wanted(folder, policies=("no-think",), most=2))
    return json.loads((folder / "exits.json").read_text())


def test_a_trained_label_is_compared_with_the_best_that_needs_no_training(report: dict[str, Any]) -> None:
    (found,) = report["beyond"]
    full, (trained,) = report["full"], [one for one in report["labels"] if one["name"] == "trained"]
    assert found["label"] == "trained"
    if full["accuracy"] >= trained["accuracy"]:
        assert found["exit"] == "no exit"
        assert found["savings"]["value"] == pytest.approx(1 - trained["spent"] / full["spent"])
    else:
        assert found["exit"] is None


def test_questions_by_vote_stand_beside_samples_where_some_were_given_up(report: dict[str, Any]) -> None:
    full, stopped = report["votes"]
    assert [full["name"], stopped["name"]] == ["base", next(n for n in names(report) if "deepconf" in n)]
    assert full["tokens"] == pytest.approx(4 * report["full"]["tokens"])  # all samples of a question
    assert stopped["tokens"] < full["tokens"]
    assert stopped["accuracy"] is not None


def names(report: dict[str, Any]) -> list[str]:
    """Of the labels."""
    return [one["name"] for one in report["labels"]]


def test_the_tokens_that_nowait_bans_are_in_the_report(report: dict[str, Any], folder: Path) -> None:
    (note,) = report["notes"]
    assert note.startswith("base+nowait: ")
    assert "'Wait'" in note
    assert "tokens are banned" in (folder / "exits.html").read_text()


def test_the_front_has_no_point_that_another_dominates(report: dict[str, Any]) -> None:
    points = [report["full"], *report["labels"], *(one for curve in report["curves"] for one in curve["points"])]
    for one in points:
        better = [
            other
            for other in points
            if other["spent"] <= one["spent"] and other["accuracy"] >= one["accuracy"] and other is not one
            and (other["spent"], other["accuracy"]) != (one["spent"], one["accuracy"])
        ]  # fmt: skip
        assert one["on_front"] == (not better)


def test_the_command_prints_the_table_and_what_json_holds(
    folder: Path, report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["exits", str(folder), "--policy", "no-think", "--places", "2", "--from-probes"]
    run_exits(build_parser().parse_args(words))
    out = capsys.readouterr().out
    assert "oracle stop" in out
    assert "exits.html" in out
    run_exits(build_parser().parse_args([*words, "--json"]))
    assert json.loads(capsys.readouterr().out) == report


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cue", "wait"], "give both, or neither"),
        (["--train-lynx", "probe", "--policy", "deer"], "leave --policy and --from-probes out"),
    ],
)
def test_options_that_do_not_go_together_are_refused(folder: Path, words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run_exits(build_parser().parse_args(["exits", str(folder), *words]))


def test_samples_that_were_cut_already_are_refused(tmp_path: Path) -> None:
    measurement = Measurement(task="tiny:sums", problems=2, samples=1, max_tokens=80, think_budget=20, answer_budget=20)
    evaluate(EvalSpec(measurement=measurement, models=model_runs([("base", "tiny:base")])), tmp_path)
    with pytest.raises(ValueError, match="cut by --think-budget"):
        try_exits(Wanted(tmp_path))


def test_the_page_opens_and_shows_every_curve(folder: Path, report: dict[str, Any], open_page: Any) -> None:
    page = open_page(folder / "exits.html")
    assert page.locator("h3").count() == len(report["curves"])
    assert page.locator("svg").count() >= 1
