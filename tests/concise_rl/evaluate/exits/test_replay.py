"""Replays of exit policies on stored samples, with the embedded reasoner: they say what a live run does."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concise_rl.evaluate.engines import EvalEngine
from concise_rl.evaluate.exit_runs import with_exits
from concise_rl.evaluate.exits.run import Wanted, try_exits
from concise_rl.evaluate.run import evaluate
from concise_rl.evaluate.samples import read_samples
from concise_rl.evaluate.spec import EvalSpec, Measurement, model_runs

LIVE = ("none", "deer:0.99", "budget:40", "no-think")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Greedy samples of a few problems: full ones, and rows under exits."""
    out = tmp_path_factory.mktemp("exits")
    measurement = Measurement(task="tiny:sums", problems=12, samples=1, temperature=0, max_tokens=300)
    runs = with_exits(model_runs([("base", "tiny:base")]), LIVE)
    evaluate(EvalSpec(measurement=measurement, models=runs), out)
    try_exits(Wanted(out, policies=("deer", "budget:40", "no-think")))
    return out


def report_of(folder: Path) -> dict[str, Any]:
    """What `exits.json` holds."""
    return json.loads((folder / "exits.json").read_text())


def point_of(report: dict[str, Any], name: str, value: float | None) -> dict[str, Any]:
    """The point of a curve."""
    (curve,) = [curve for curve in report["curves"] if curve["name"] == name]
    return next(one for one in curve["points"] if one["value"] == value)


@pytest.mark.parametrize(
    ("name", "value", "label"),
    [("deer", 0.99, "base+deer-0.99"), ("budget", 40, "base+budget-40"), ("no-think", None, "base+no-think")],
)
def test_a_replay_says_what_a_greedy_live_run_does(folder: Path, name: str, value: float | None, label: str) -> None:
    report = report_of(folder)
    replayed, (live,) = point_of(report, name, value), [one for one in report["labels"] if one["name"] == label]
    assert replayed["stopped"] > 0
    for number in ("accuracy", "tokens", "spent"):
        assert replayed[number] == live[number]
    assert replayed["cost"] | {"dropped": 0} == live["cost"] | {"dropped": 0}


def test_the_oracle_is_as_accurate_as_every_point_and_no_sample_of_it_is_longer(folder: Path) -> None:
    report = report_of(folder)
    points = [one for curve in report["curves"] for one in curve["points"]]
    assert all(one["accuracy"] <= report["oracle"]["accuracy"] for one in [*points, report["full"]])
    assert report["oracle"]["tokens"] <= report["full"]["tokens"]


def test_a_report_from_probes_is_the_same_to_the_byte_and_loads_no_model(folder: Path) -> None:
    files = [folder / "exits.json", folder / "exits.html", folder / "plots" / "exits.png"]
    before = [path.read_bytes() for path in files]
    wanted = Wanted(folder, policies=("deer", "budget:40", "no-think"), from_probes=True)
    try_exits(wanted, no_engine)
    assert [path.read_bytes() for path in files] == before
    try_exits(replace(wanted, from_probes=False), no_engine)
    assert [path.read_bytes() for path in files] == before


@contextmanager
def no_engine(model: str, measurement: Measurement) -> Iterator[EvalEngine]:
    """An engine that must not be asked for."""
    raise AssertionError(f"{model} was loaded")
    yield


def test_probes_that_are_missing_are_asked_for_again_and_others_are_kept(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "probes" / "base.0.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:20])
    wanted = Wanted(copy, policies=("deer", "budget:40", "no-think"))
    with pytest.raises(ValueError, match="run the command without --from-probes"):
        try_exits(replace(wanted, from_probes=True), no_engine)
    try_exits(wanted)
    assert report_of(copy) == report_of(folder)
    assert path.read_bytes().startswith(b"".join(lines[:5]))


def test_trained_labels_are_compared_with_the_best_exit_and_rows_under_exits_are_not(folder: Path) -> None:
    report = report_of(folder)
    assert report["beyond"] == []
    assert [one["exit"] for one in report["labels"]] == ["deer:0.99", "budget:40", "no-think"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"label": "nobody"}, "no label 'nobody'"),
        ({"label": "base+no-think"}, "drawn with --exit no-think"),
        ({"policies": ("deeer",)}, "deer"),
        ({"policies": ("deer:2",)}, "threshold"),
        ({"policies": ("nowait",)}, "concise-rl eval ... --exit nowait"),
        ({"policies": ("deer", "deer")}, "given twice"),
        ({"policies": ("lynx",)}, "probe"),
        ({"most": 0}, "--places is 0"),
    ],
)
def test_what_cannot_be_tried_is_refused_in_one_line(folder: Path, wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        try_exits(Wanted(folder, **wanted), no_engine)
    assert "\n" not in str(error.value)


def test_a_model_that_was_trained_again_is_not_probed(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    manifest = json.loads((copy / "eval.json").read_text())
    for run in manifest["models"]:
        run["fingerprint"] = "0" * 16
    (copy / "eval.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="tiny:base has changed since it drew"):
        try_exits(Wanted(copy), no_engine)


def test_a_folder_without_samples_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "eval.json", tmp_path)
    with pytest.raises(ValueError, match="12 of 12 samples are missing"):
        try_exits(Wanted(tmp_path), no_engine)
    with pytest.raises(ValueError, match="There is no folder"):
        try_exits(Wanted(tmp_path / "nowhere"), no_engine)


def test_costs_are_those_of_the_looks_that_were_taken(folder: Path) -> None:
    """Of the first sample that deer looks at in vain: prompt and thinking by hand."""
    report, sample = report_of(folder), next(iter(read_samples(folder / "samples" / "base.0.jsonl")))
    lines = [json.loads(line) for line in (folder / "probes" / "base.0.jsonl").read_text().splitlines()]
    looks = [line for line in lines if line.get("look") and line["problem"] == sample.problem]
    prefixes = [line["prompt_length"] + one["at"] for line in looks for one in line["readings"]]
    assert prefixes
    never = point_of(report, "deer", 1.0)["cost"]
    every = [
        (line["prompt_length"] + one["at"], len(one["ids"]))
        for line in lines
        if line.get("look")
        for one in line["readings"]
    ]
    assert never["probes"] == pytest.approx(len(every) / 12)
    assert never["prefixes"] == pytest.approx(sum(prefix for prefix, _ in every) / 12)
    assert never["blocks"] == pytest.approx(sum(prefix % 16 for prefix, _ in every) / 12)
    assert never["decoded"] == pytest.approx(sum(ids for _, ids in every) / 12)
    assert np.isfinite(never["suffix"])
