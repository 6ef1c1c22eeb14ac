"""LYNX end to end on the embedded reasoner: a probe is trained on forced answers, replayed, and run live."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from concise_rl.evaluate.exit_runs import with_exits
from concise_rl.evaluate.exits.run import Wanted, try_exits
from concise_rl.evaluate.exits.training import train_lynx
from concise_rl.evaluate.run import evaluate
from concise_rl.evaluate.spec import EvalSpec, Measurement, model_runs
from concise_rl.rollout.exits import hidden_probe
from concise_rl.rollout.exits.hidden_probe import loaded_probe, read_probe, write_probe

MEASUREMENT = Measurement(task="tiny:sums", problems=24, samples=1, temperature=0, max_tokens=300)


def test_a_probe_is_trained_replayed_and_says_the_same_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_probe, "LEAST", 1)  # so few places that the test is fast
    out, path = tmp_path / "eval", tmp_path / "probe.safetensors"
    base = model_runs([("base", "tiny:base")])
    evaluate(EvalSpec(measurement=MEASUREMENT, models=base), out)
    trained = train_lynx(out, path, cues=("wait", "hmm", "alternatively", "but", "let"))
    assert trained.layers == (1, 2, 3)
    assert sum(trained.places) > 40
    before = (out / "probes" / "base.0.jsonl").read_bytes()
    assert train_lynx(out, path, cues=("wait", "hmm", "alternatively", "but", "let")) == trained
    assert (out / "probes" / "base.0.jsonl").read_bytes() == before  # the answers are asked for once

    text = f"lynx:probe={path},delta=0.5"
    evaluate(EvalSpec(measurement=MEASUREMENT, models=with_exits(base, ("none", f"half={text}"))), out)
    try_exits(Wanted(out, policies=(text,)))
    report = json.loads((out / "exits.json").read_text())
    replayed = next(one for one in report["curves"][0]["points"] if one["value"] == 0.5)
    (live,) = report["labels"]
    assert replayed["stopped"] > 0
    assert (replayed["accuracy"], replayed["spent"]) == (live["accuracy"], live["spent"])

    probe = read_probe(path)
    write_probe(replace(probe, fingerprint="of another"), path)
    loaded_probe.cache_clear()
    with pytest.raises(ValueError, match="trained on another model"):
        try_exits(Wanted(out, policies=(text,)))
