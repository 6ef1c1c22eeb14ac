import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from concise_rl.evaluate.report import write_report
from concise_rl.evaluate.run import evaluate
from concise_rl.evaluate.samples import read_samples
from concise_rl.evaluate.spec import EvalSpec, Measurement, ModelRun
from concise_rl.rollout.engine import derive_seed
from tests.concise_rl.evaluate.fabric import ScriptedEngine

PROBLEMS, SAMPLES, BATCH = 5, 4, 8
LONGEST = 66
"""Tokens of a long prompt."""


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


def run(spec: EvalSpec, out: Path, events: list[str] | None = None, **engine: Any) -> list[ScriptedEngine]:
    """Evaluate with scripted engines; returns those that were loaded."""
    loaded: list[ScriptedEngine] = []

    @contextmanager
    def load(model: str, measurement: Measurement) -> Iterator[ScriptedEngine]:
        loaded.append(ScriptedEngine(alone=measurement.draws_alone, **engine))
        said = [] if events is None else events
        said.append(f"open {model}")
        yield loaded[-1]
        said.append(f"close {model}")

    evaluate(spec, out, load=load)
    return loaded


def sizes(engine: ScriptedEngine) -> list[int]:
    """Requests of each call."""
    return [len(call) for call in engine.calls]


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


def test_the_metrics_of_a_model_that_was_trained_here_are_kept_with_its_samples(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "metrics.jsonl").write_text('{"step": 1, "correct/mean": 0.5}\n')
    one = spec(tmp_path)
    run(one.model_copy(update={"models": (ModelRun(label="m", model=str(model)),)}), tmp_path / "out")
    kept = json.loads((tmp_path / "out/training/m.0.json").read_text())
    assert kept == {"correct/mean": {"steps": [1], "values": [0.5]}}
    assert not (tmp_path / "out/training/baseline.0.json").exists()


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
    assert [sizes(engine) for engine in engines] == [[8, 4], [8, 8, 4]]
    for name in ("baseline.0", "m.0"):
        assert lines(tmp_path / "out", name) == lines(tmp_path / "whole", name)


def test_with_vllm_samples_that_have_ended_are_written_while_others_are_drawn(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("concise_rl.evaluate.drawing.WRITE_EVERY_S", 0.0)
    run(spec(tmp_path, engine="vllm"), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(spec(tmp_path, engine="vllm"), tmp_path / "out", stop_after=5)
    assert len(lines(tmp_path / "out", "baseline.0")) == 5
    engines = run(spec(tmp_path, engine="vllm"), tmp_path / "out")
    assert sizes(engines[0]) == [BATCH - 5, 8, 4]
    for name in ("baseline.0", "m.0"):
        assert lines(tmp_path / "out", name) == lines(tmp_path / "whole", name)
        assert len(list(read_samples(tmp_path / "out" / "samples" / f"{name}.jsonl"))) == PROBLEMS * SAMPLES


@pytest.mark.parametrize("changes", [{}, {"engine": "vllm", "keep_shortest": 1}])
def test_samples_that_depend_on_those_beside_them_are_written_with_their_batch(tmp_path: Path, changes) -> None:
    (engine, _) = run(spec(tmp_path, **changes), tmp_path / "out", stop_after=1)
    assert sum(sizes(engine)) == PROBLEMS * SAMPLES, "nothing is handed on before, so that nothing stops it"


def test_after_a_torn_line_only_its_batch_is_drawn_again_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(spec(tmp_path), out)
    path, whole = out / "samples" / "m.0.jsonl", lines(out)
    path.write_bytes(path.read_bytes()[:-30])
    (engine,) = run(spec(tmp_path), out)
    assert sizes(engine) == [4]
    assert lines(out) == whole
    assert len(list(read_samples(path))) == PROBLEMS * SAMPLES


def test_with_vllm_a_missing_sample_is_drawn_again_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(spec(tmp_path, engine="vllm"), out)
    path, whole = out / "samples" / "m.0.jsonl", lines(out)
    kept = path.read_text().splitlines(keepends=True)
    path.write_text("".join(kept[:3] + kept[4:9] + kept[10:]))
    (engine,) = run(spec(tmp_path, engine="vllm"), out)
    assert sizes(engine) == [1, 1]
    assert lines(out) == whole


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_the_seed_of_a_sample_is_a_function_of_its_place_alone(tmp_path: Path, engine: str) -> None:
    for batch_size in (3, 20):
        _, sampler = run(spec(tmp_path, seed=5, engine=engine, batch_size=batch_size), tmp_path / str(batch_size))
        seeds = [request.seed for call in sampler.calls for request in call]
        assert seeds == [derive_seed(5, problem, number) for problem in range(PROBLEMS) for number in range(SAMPLES)]


def test_with_vllm_the_batch_size_does_not_change_the_samples(tmp_path: Path) -> None:
    run(spec(tmp_path, engine="vllm"), tmp_path / "a")
    run(spec(tmp_path, engine="vllm", batch_size=3), tmp_path / "b")
    assert lines(tmp_path / "a") == lines(tmp_path / "b")


def test_an_engine_is_closed_before_the_next_model_is_loaded(tmp_path: Path) -> None:
    events: list[str] = []
    run(spec(tmp_path, models=("m", "n")), tmp_path / "out", events)
    assert events == [f"{what} {model}" for model in ("base", "m", "n") for what in ("open", "close")]


def write_rows(tmp_path: Path, *rows: dict[str, Any]) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("column", "value"),
    [("difficulty", {"level": 3}), ("difficulty", [1]), ("difficulty", True), ("oracle_completion", {"text": "7"})],
)
def test_a_column_that_samples_cannot_take_over_is_refused_before_a_model_is_loaded(
    tmp_path: Path, column: str, value: Any
) -> None:
    write_rows(tmp_path, *({"prompt": f"{i}?", "answer": "7", column: value} for i in range(4)))
    events: list[str] = []
    with pytest.raises(ValueError, match=rf"rows\.jsonl: the column '{column}' holds"):
        run(spec(tmp_path), tmp_path / "out", events)
    assert not events


def test_a_column_of_mixed_types_that_nobody_reads_is_no_matter(tmp_path: Path) -> None:
    rows = ({"prompt": f"What is 7 + {i}?", "answer": "7", "x": x} for i, x in enumerate((1, "y", {"z": 2}, [2**70])))
    write_rows(tmp_path, *rows)
    run(spec(tmp_path), tmp_path / "out")
    assert len(lines(tmp_path / "out")) == 4 * SAMPLES


def test_a_difficulty_of_mixed_types_is_refused_with_file_and_name(tmp_path: Path) -> None:
    write_rows(tmp_path, *({"prompt": f"{i}?", "answer": "7", "difficulty": x} for i, x in enumerate((1, "y"))))
    with pytest.raises(ValueError, match=r"rows\.jsonl: the values of 'difficulty' do not make one column"):
        run(spec(tmp_path), tmp_path / "out")


def test_one_text_for_all_problems_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    write_rows(tmp_path, *({"prompt": "Solve it.", "answer": str(i)} for i in range(5)))
    with pytest.raises(ValueError, match="the same text in 5 of 5 rows"):
        run(spec(tmp_path), tmp_path / "out")


@pytest.mark.parametrize(("room", "fits"), [(0, True), (-1, False)])
def test_no_problem_is_left_out_because_it_is_long(tmp_path: Path, room: int, fits: bool) -> None:
    class Short(ScriptedEngine):
        max_model_length = 64 + LONGEST + room

    write_rows(tmp_path, {"prompt": "7?", "answer": "7"}, {"prompt": "What is " + "7 + " * 30 + "7?", "answer": "7"})
    engine = Short(alone=False)

    @contextmanager
    def load(model: str, measurement: Measurement) -> Iterator[ScriptedEngine]:
        yield engine

    if fits:
        evaluate(spec(tmp_path), tmp_path / "out", load=load)
        return
    with pytest.raises(ValueError, match=rf"(?s)1 of 2 prompts.*row 1: {LONGEST} tokens.*Lower --max-tokens to 63,"):
        evaluate(spec(tmp_path), tmp_path / "out", load=load)
    assert not engine.calls


def test_one_server_is_not_taken_for_two_models(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"http://here holds one model, .* missing of 2: baseline, m\. Give one"):
        run(spec(tmp_path, engine="http://here"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_models_are_served_one_after_the_other_wherever_the_server_is(tmp_path: Path) -> None:
    out = tmp_path / "out"
    both = spec(tmp_path, engine="http://there")
    first = both.model_copy(update={"baseline": None, "measurement": spec(tmp_path, engine="http://here").measurement})
    run(first, out)
    assert [sizes(engine) for engine in run(both, out)] == [[8, 8, 4]]
    assert write_report(out)["baseline"]["samples"] == PROBLEMS * SAMPLES


def test_samples_given_up_are_on_disk_without_a_verdict(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(spec(tmp_path, keep_shortest=1), out)
    samples = list(read_samples(out / "samples" / "m.0.jsonl"))
    given_up = [s for s in samples if s.stop_reason == "aborted"]
    assert len(given_up) == PROBLEMS * (SAMPLES - 1)
    assert all((s.correct, s.answer, s.finished) == (None, None, False) for s in given_up)
    assert all(s.correct is not None for s in samples if s not in given_up)


def test_a_problem_of_which_a_sample_is_missing_is_drawn_again_whole_where_samples_may_be_given_up(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    measured = spec(tmp_path, keep_shortest=2, engine="vllm")
    run(measured, out)
    path, whole = out / "samples" / "m.0.jsonl", lines(out)
    path.write_bytes(path.read_bytes()[:-30])
    (engine,) = run(measured, out)
    assert sizes(engine) == [SAMPLES]
    assert lines(out) == whole


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
        patch.setattr("concise_rl.evaluate.drawing.append_samples", full)
        run(spec(tmp_path), out)
    run(spec(tmp_path), out)
    assert lines(out) == lines(tmp_path / "whole")


def test_correct_samples_of_the_embedded_reasoner_are_labelled_and_a_torn_file_gets_the_same_labels_again(
    tmp_path: Path,
) -> None:
    measurement = Measurement(
        task="tiny:sums", problems=2, samples=2, max_tokens=320, verifier="reasoning_gym", batch_size=2, judge="oracle"
    )
    measured = EvalSpec(measurement=measurement, models=(ModelRun(label="m", model="tiny:base"),))
    path = tmp_path / "samples" / "m.0.jsonl"
    evaluate(measured, tmp_path)
    samples, whole = list(read_samples(path)), path.read_bytes()
    assert all((s.labels is not None) == (s.correct == 1) and s.reflections is not None for s in samples)
    assert any(s.labels and s.labels.redundant for s in samples)
    path.write_bytes(whole[:-30])
    evaluate(measured, tmp_path)
    assert path.read_bytes() == whole
    thinking = write_report(tmp_path)["model"]["overthinking"]
    assert thinking["labelled"] == sum(s.correct == 1 for s in samples)
    assert thinking["redundant_tokens"]["value"] > 0


def test_reflections_are_counted_in_the_thinking_alone_and_without_a_judge(tmp_path: Path) -> None:
    run(spec(tmp_path), tmp_path / "out")
    samples = list(read_samples(tmp_path / "out" / "samples" / "m.0.jsonl"))
    assert all(s.labels is None and s.reflections == s.text.count("wait") > 0 for s in samples)


def test_samples_given_up_have_no_reflections(tmp_path: Path) -> None:
    run(spec(tmp_path, keep_shortest=1, judge="rule"), tmp_path / "out")
    samples = list(read_samples(tmp_path / "out" / "samples" / "m.0.jsonl"))
    assert all((s.reflections is None) == (s.stop_reason == "aborted") for s in samples)
    assert any(s.labels for s in samples)
    assert write_report(tmp_path / "out")["model"]["overthinking"]["labelled"] == sum(bool(s.labels) for s in samples)


@pytest.mark.parametrize(
    ("judge", "said"), [("oracle", "knows sums as in tiny:sums alone"), ("rul", "Unknown judge 'rul'. Did you mean")]
)
def test_a_judge_that_cannot_judge_is_refused_before_a_model_is_loaded(tmp_path: Path, judge: str, said: str) -> None:
    events: list[str] = []
    with pytest.raises(ValueError, match=said):
        run(spec(tmp_path, judge=judge), tmp_path / "out", events)
    assert events == []
