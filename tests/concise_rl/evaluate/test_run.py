import json
import logging
from pathlib import Path
from typing import Any

import pytest

from concise_rl.evaluate.report import write_report
from concise_rl.evaluate.run import evaluate
from concise_rl.evaluate.samples import read_samples
from concise_rl.evaluate.spec import EvalSpec, Measurement, ModelRun
from tests.concise_rl.evaluate.fabric import ScriptedEngine

PROBLEMS, SAMPLES, BATCH = 5, 4, 8


def spec(tmp_path: Path, models: tuple[str, ...] = ("m",), **changes: Any) -> EvalSpec:
    rows = tmp_path / "rows.jsonl"
    if not rows.exists():
        lines = [{"prompt": f"What is 7 + {i}?", "answer": "7", "difficulty": i % 2} for i in range(PROBLEMS)]
        rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    measurement = Measurement(
        **{"task": str(rows), "samples": SAMPLES, "max_tokens": 64, "verifier": "exact", "batch_size": BATCH} | changes
    )
    runs = tuple(ModelRun(label=name, model=name) for name in models)
    return EvalSpec(measurement=measurement, models=runs, baseline=ModelRun(label="baseline", model="base"))


def run(spec: EvalSpec, out: Path, **engine: Any) -> list[ScriptedEngine]:
    """Evaluate with scripted engines; returns those that were loaded."""
    loaded: list[ScriptedEngine] = []

    def load(model: str, batch_size: int) -> ScriptedEngine:
        loaded.append(ScriptedEngine(**engine))
        return loaded[-1]

    evaluate(spec, out, load=load)
    return loaded


def lines(out: Path, name: str = "m.0") -> set[str]:
    return set((out / "samples" / f"{name}.jsonl").read_text().splitlines())


def test_every_problem_gets_its_samples_from_every_model(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(spec(tmp_path), out)
    for name in ("baseline.0", "m.0"):
        samples = list(read_samples(out / "samples" / f"{name}.jsonl"))
        assert {(s.problem, s.sample) for s in samples} == {(p, k) for p in range(PROBLEMS) for k in range(SAMPLES)}
        assert all(s.correct == (s.answer == "7") and s.finished and s.difficulty == s.problem % 2 for s in samples)
    assert write_report(out)["samples"] == PROBLEMS * SAMPLES


def test_a_finished_evaluation_loads_no_model_and_changes_no_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(spec(tmp_path), out)
    before = lines(out)
    assert run(spec(tmp_path), out) == []
    assert lines(out) == before


def test_an_interrupted_evaluation_ends_with_the_samples_of_an_uninterrupted_one(tmp_path: Path) -> None:
    run(spec(tmp_path), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(spec(tmp_path), tmp_path / "out", fail_at=1)
    assert len(lines(tmp_path / "out", "baseline.0")) == BATCH
    engines = run(spec(tmp_path), tmp_path / "out")
    assert [engine.calls for engine in engines] == [[8, 4], [8, 8, 4]]
    for name in ("baseline.0", "m.0"):
        assert lines(tmp_path / "out", name) == lines(tmp_path / "whole", name)


def test_after_a_torn_line_only_its_batch_is_drawn_again_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(spec(tmp_path), out)
    path, whole = out / "samples" / "m.0.jsonl", lines(out)
    path.write_bytes(path.read_bytes()[:-30])
    (engine,) = run(spec(tmp_path), out)
    assert engine.calls == [4]
    assert lines(out) == whole
    assert len(list(read_samples(path))) == PROBLEMS * SAMPLES


def test_a_model_added_later_uses_the_samples_of_the_baseline_that_are_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(spec(tmp_path), out)
    assert len(run(spec(tmp_path, models=("n",)), out)) == 1
    assert [method["label"] for method in write_report(out)["methods"]] == ["m", "n"]


def test_another_temperature_is_refused_before_any_model_is_loaded(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(spec(tmp_path), out)
    before = lines(out)
    with pytest.raises(ValueError, match=r"temperature: 1\.0 there, 0\.5 now"):
        run(spec(tmp_path, temperature=0.5), out)
    assert lines(out) == before


def test_data_that_changed_under_the_same_name_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(spec(tmp_path), out, fail_at=1)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(rows.read_text().replace("7 + 0", "8 + 0"))
    with pytest.raises(ValueError, match="problem 0, sample 0 was drawn from another prompt"):
        run(spec(tmp_path), out)


def test_seeds_differ_between_batches_and_between_evaluations(tmp_path: Path) -> None:
    run(spec(tmp_path), tmp_path / "a")
    run(spec(tmp_path, seed=1), tmp_path / "b")
    one, two = ([s.length for s in read_samples(tmp_path / name / "samples" / "m.0.jsonl")] for name in "ab")
    assert one != two
    assert one[:BATCH] != one[BATCH : 2 * BATCH]


def test_a_cap_that_most_samples_hit_is_warned_of_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run(spec(tmp_path, max_tokens=3), tmp_path / "out")
    assert "m: 20 of 20 samples hit the cap of 3 tokens" in caplog.text
    samples = list(read_samples(tmp_path / "out" / "samples" / "m.0.jsonl"))
    assert all((s.correct, s.answer, s.stop_reason, s.length) == (0, None, "length", 3) for s in samples)


def test_a_full_disk_stops_the_evaluation_and_what_was_written_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(spec(tmp_path), tmp_path / "whole")
    out = tmp_path / "out"

    def full(path: Path, samples: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"problem": 0, "sam')
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr("concise_rl.evaluate.run.append_samples", full)
        run(spec(tmp_path), out)
    run(spec(tmp_path), out)
    assert lines(out) == lines(tmp_path / "whole")
