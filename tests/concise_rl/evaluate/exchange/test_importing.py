import json
import re
from pathlib import Path
from typing import Any

import pytest

from concise_rl.cli import main
from concise_rl.data.sources import read_source
from concise_rl.evaluate.evaluation import read_evaluation
from concise_rl.evaluate.exchange.importing import ImportSpec, import_logs
from concise_rl.evaluate.report import write_report
from concise_rl.evaluate.samples import Sample, read_samples
from concise_rl.evaluate.spec import read_manifest
from concise_rl.evaluate.statistics import Description, describe
from tests.concise_rl.evaluate.exchange.logs import (
    completion,
    evalscope_run,
    ids_of,
    inspect_log,
    inspect_sample,
    lighteval_details,
    lighteval_row,
    lm_eval_row,
    lm_eval_samples,
    question,
    write_lines,
)
from tests.concise_rl.evaluate.fabric import sample, write_evaluation

TINY = "tiny:base"


def imported(path: Path, out: Path, **spec: Any) -> list[Sample]:
    """The samples of the model that is imported from a path."""
    import_logs(ImportSpec((path,), **spec), out)
    manifest = read_manifest(out)
    return list(read_samples(manifest.models[0].samples_path(out)))


def described(folder: Path) -> Description:
    return describe(read_evaluation(folder).labels[0].table)


def test_an_inspect_log_keeps_its_own_counts_and_verdicts(tmp_path: Path) -> None:
    wrong = inspect_sample(1, tokens=20, scores={"match": {"value": "I"}}, stop_reason="max_tokens")
    log = inspect_log(tmp_path / "a.json", [inspect_sample(0), wrong])
    samples = {one.log_id: one for one in imported(log, tmp_path / "out")}
    right, cut = samples["0"], samples["1"]
    assert (right.length, right.think_length, right.correct, right.stop_reason) == (12, 5, 1, "eos")
    assert (right.completion_ids, right.answer, right.reflections) == (None, "1", 5)
    assert (cut.length, cut.correct, cut.stop_reason, cut.finished) == (20, 0, "length", False)


def test_what_a_log_does_not_say_is_recorded_as_unknown(tmp_path: Path) -> None:
    imported(inspect_log(tmp_path / "a.json", [inspect_sample(0)]), tmp_path / "out")
    measurement = json.loads((tmp_path / "out/eval.json").read_text())["measurement"]
    assert (measurement["max_tokens"], measurement["temperature"]) == (64, 0.6)
    assert (measurement["top_p"], measurement["top_k"], measurement["verifier"]) == (None, None, None)


def test_a_model_and_its_baseline_are_paired_by_problem_whatever_their_order(tmp_path: Path) -> None:
    base = [inspect_sample(n, e, tokens=20 + n) for n in range(6) for e in (1, 2)]
    mine = [inspect_sample(n, e, tokens=10 + n) for n in (3, 1, 5, 0, 2, 4) for e in (2, 1)]
    paths = inspect_log(tmp_path / "a.json", mine), inspect_log(tmp_path / "b.json", base)
    import_logs(ImportSpec(paths[:1], baseline=paths[1:], label="mine"), tmp_path / "out")
    report = write_report(tmp_path / "out")
    assert report["token_savings"]["value"] == pytest.approx(10 / 22.5)
    assert (report["problems"], report["model"]["label"]) == (6, "mine")
    page = (tmp_path / "out/report.html").read_text()
    assert "imported from its log" in page and "concise-rl eval " not in page


def test_imports_made_apart_are_compared_and_join_one_folder(tmp_path: Path) -> None:
    for name, order in (("a", (0, 1, 2)), ("b", (2, 0, 1))):
        log = inspect_log(tmp_path / f"{name}.json", [inspect_sample(n) for n in order])
        imported(log, tmp_path / name, label=name)
        imported(log, tmp_path / "both", label=name)
    main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--baseline", "a", "--out", str(tmp_path / "out")])
    assert [label.name for label in read_evaluation(tmp_path / "both").labels] == ["a", "b"]


def test_problems_that_logs_name_otherwise_are_paired_by_what_they_ask(tmp_path: Path) -> None:
    a = inspect_log(tmp_path / "a.json", [inspect_sample(n) for n in range(3)])
    b = inspect_log(tmp_path / "b.json", [inspect_sample(n, id=f"p{n}") for n in range(3)])
    import_logs(ImportSpec((a,), baseline=(b,)), tmp_path / "out")
    evaluation = read_evaluation(tmp_path / "out")
    assert evaluation.baseline is not None
    assert evaluation.labels[0].table.prompt_hash_P == evaluation.baseline.table.prompt_hash_P


def test_lighteval_token_ids_become_whole_samples(tmp_path: Path) -> None:
    text = completion(4, 1)
    path = lighteval_details(tmp_path, [lighteval_row(0, [text], {"em": 1.0})])
    (one,) = imported(path, tmp_path / "out", tokenizer=TINY)
    assert one.completion_ids == ids_of(text)
    assert (one.think_length, one.answer, one.finished, one.correct) == (4, "1", True, 1)
    assert read_manifest(tmp_path / "out").models[0].model == "org/m"


def test_lighteval_without_a_tokenizer_is_counted_and_how_samples_ended_is_told(tmp_path: Path) -> None:
    rows = [lighteval_row(0, [completion(4, 1)], {"em": 1.0}), lighteval_row(1, [completion(63, 2)], {"em": 1.0})]
    notes = import_logs(ImportSpec((lighteval_details(tmp_path, rows),)), tmp_path / "out")
    found = described(tmp_path / "out")
    assert (found.tokens, found.tokens_thinking) == ((7 + 66) / 2, None)
    assert found.stop_reasons == {"eos": 1, "length": 1}
    assert "how 2 samples ended is not in the log. It was told from a cap of 64 tokens" in notes[-1]


def test_lighteval_metrics_of_several_samples_need_another_grading(tmp_path: Path) -> None:
    path = lighteval_details(tmp_path, [lighteval_row(0, [completion(2, 1), completion(3, 9)], {"avg@n": 0.5})])
    with pytest.raises(ValueError, match=r"row 0: 2 samples have one score together, 'avg@n'.*--regrade"):
        imported(path, tmp_path / "out")
    samples = imported(path, tmp_path / "out", tokenizer=TINY, verifier="math")
    assert [one.correct for one in samples] == [1, 0]


def test_a_judge_reads_thinking_that_has_its_token_ids(tmp_path: Path) -> None:
    text = "0 + 1 = 1\n\nwait wait wait</think>1"
    path = lighteval_details(tmp_path, [lighteval_row(0, [text], {"em": 1.0}), lighteval_row(1, [text], {"em": 0.0})])
    right, wrong = sorted(imported(path, tmp_path / "out", tokenizer=TINY, judge="rule"), key=lambda one: one.log_id)
    assert right.labels is not None and wrong.labels is None
    assert (right.labels.first, right.labels.passages, right.labels.overshoot) == (0, 1, 3)
    assert write_report(tmp_path / "out")["model"]["overthinking"]["overshoot"]["value"] == 3
    log = inspect_log(tmp_path / "a.json", [inspect_sample(0)])
    with pytest.raises(ValueError, match="a judge reads token ids of thinking, which lighteval logs"):
        imported(log, tmp_path / "none", judge="rule")


def test_a_tokenizer_that_did_not_write_the_texts_is_refused(tmp_path: Path) -> None:
    row = lighteval_row(0, [completion(4, 1)], {"em": 1.0})
    row["model_response"]["output_tokens"] = [[7, 8, 9]]
    with pytest.raises(ValueError, match="writes other texts for the logged token ids"):
        imported(lighteval_details(tmp_path, [row]), tmp_path / "out", tokenizer=TINY)


def test_evalscope_predictions_are_joined_with_their_reviews(tmp_path: Path) -> None:
    run = evalscope_run(
        tmp_path, [(0, 0, "1", 9, 1.0), (0, 1, "7", 11, 0.0), (1, 0, "2", 10, 1.0), (1, 1, "2", 8, 1.0)]
    )
    imported(run, tmp_path / "out")
    found = described(tmp_path / "out")
    assert (found.samples, found.accuracy, found.tokens, found.tokens_thinking) == (4, 0.75, 9.5, 3)


def test_evalscope_without_reviews_says_how_to_grade(tmp_path: Path) -> None:
    run = evalscope_run(tmp_path, [(0, 0, "1", 9, 1.0), (0, 1, "3", 9, 0.0)])
    (run / "reviews/m/sums_default.jsonl").unlink()
    with pytest.raises(ValueError, match=r"no review beside it.*--regrade"):
        imported(run, tmp_path / "out")
    rows = write_lines(tmp_path / "golds.jsonl", [{"prompt": question(0), "answer": "1"}])
    samples = imported(run, tmp_path / "out", verifier="math", task=str(rows))
    assert [(one.problem, one.sample, one.correct) for one in samples] == [(0, 0, 1), (0, 1, 0)]


def test_lm_eval_samples_are_counted_by_a_tokenizer(tmp_path: Path) -> None:
    text = completion(4, 1)
    (one,) = imported(lm_eval_samples(tmp_path, [lm_eval_row(0, [text])]), tmp_path / "out", tokenizer=TINY)
    assert (one.length, one.think_length, one.correct) == (len(ids_of(text)), 4, 1)


def test_lm_eval_needs_a_tokenizer_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no token count for problem '0', sample 0\. --tokenizer MODEL"):
        imported(lm_eval_samples(tmp_path, [lm_eval_row(0, [completion(4, 1)])]), tmp_path / "out")


def test_lm_eval_logs_that_lost_their_thinking_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no response holds '</think>'.*run it again without think_end_token"):
        imported(lm_eval_samples(tmp_path, [lm_eval_row(0, ["1"])]), tmp_path / "out", tokenizer=TINY)


def test_lm_eval_filters_are_scores_of_which_one_is_chosen(tmp_path: Path) -> None:
    rows = [lm_eval_row(n, [completion(4, 1)], name, exact_match=value) for n in (0, 1) for name, value in SCORES]
    path = lm_eval_samples(tmp_path, rows)
    with pytest.raises(ValueError, match=r"several scores, 'exact_match,strict', 'exact_match,flexible'.*--scorer"):
        imported(path, tmp_path / "out", tokenizer=TINY)
    samples = imported(path, tmp_path / "out", tokenizer=TINY, scorer="exact_match,flexible")
    assert [one.correct for one in samples] == [1, 1]


SCORES = (("strict", 0.0), ("flexible", 1.0))


def test_the_answers_of_a_log_can_be_graded_again(tmp_path: Path) -> None:
    lenient = inspect_sample(1, content=completion(3, 2, closed=False) + " 2", usage={"output_tokens": 12})
    log = inspect_log(tmp_path / "a.json", [inspect_sample(0, scores=None), lenient])
    samples = {one.log_id: one.correct for one in imported(log, tmp_path / "out", verifier="math")}
    assert samples == {"0": 1, "1": 0}
    assert read_manifest(tmp_path / "out").measurement.verifier == "math"


def test_thinking_that_a_server_keeps_to_itself_is_counted_and_not_read(tmp_path: Path) -> None:
    hidden = [{"type": "reasoning", "reasoning": "gAAAA", "redacted": True, "summary": "wait"}]
    sample = inspect_sample(0, content=[*hidden, {"type": "text", "text": "1"}])
    (one,) = imported(inspect_log(tmp_path / "a.json", [sample]), tmp_path / "out")
    assert (one.think_length, one.reflections, one.text, one.answer) == (5, None, "1", "1")


def test_thinking_that_nobody_counted_is_unknown_and_a_tokenizer_counts_it(tmp_path: Path) -> None:
    log = inspect_log(tmp_path / "a.json", [inspect_sample(0, usage={"output_tokens": 12, "reasoning_tokens": 0})])
    assert imported(log, tmp_path / "out")[0].think_length is None
    assert imported(log, tmp_path / "counted", tokenizer=TINY)[0].think_length == 5


def test_a_text_that_fills_the_cap_counts_as_cut(tmp_path: Path) -> None:
    whole, cut = completion(59, 1), completion(64, 1, closed=False)
    path = lm_eval_samples(tmp_path, [lm_eval_row(0, [whole]), lm_eval_row(1, [cut], exact_match=0.0)])
    samples = {one.log_id: one for one in imported(path, tmp_path / "out", tokenizer=TINY)}
    assert [(samples[n].length, samples[n].stop_reason) for n in "01"] == [(len(ids_of(whole)), "eos"), (64, "length")]
    assert (samples["1"].answer, samples["1"].think_length) == (None, 64)


def test_samples_that_only_the_log_calls_right_are_counted(tmp_path: Path) -> None:
    log = inspect_log(tmp_path / "a.json", [inspect_sample(0), inspect_sample(1, stop_reason="max_tokens")])
    (note,) = import_logs(ImportSpec((log,)), tmp_path / "out")
    assert "1 samples are right by the log's own verdict, though they were cut" in note


FAULTS: list[tuple[str, list[dict[str, Any]], str]] = [
    ("twice", [inspect_sample(0), inspect_sample(0)], r"problem '0', sample 1 is there 2 times"),
    ("ragged", [inspect_sample(0), inspect_sample(0, 2), inspect_sample(1)], r"fewer than 2 samples of 1 problems"),
    (
        "failed",
        [inspect_sample(0), inspect_sample(1, error={"message": "no route", "traceback": "", "traceback_ansi": ""})],
        r"1 of 2 samples cannot be counted; problem '1', sample 1: an error: no route",
    ),
    ("timed out", [inspect_sample(0), inspect_sample(1, limit={"type": "time", "limit": 5})], r"a limit \(time\)"),
    ("unscored", [inspect_sample(0, scores=None)], r"has no score.*--regrade"),
    ("partly right", [inspect_sample(0, scores={"f1": {"value": 0.4}})], r"score 'f1' is 0\.4, neither right"),
    ("two scores", [inspect_sample(0, scores={"a": {"value": 1}, "b": {"value": 0}})], r"several scores, 'a', 'b'"),
    ("uncounted", [inspect_sample(0, usage=None)], r"no token count for problem '0', sample 1"),
    ("empty", [], r"holds no samples"),
    (
        "counted apart",
        [inspect_sample(0, usage={"output_tokens": 3, "reasoning_tokens": 9})],
        r"9 tokens of thinking, but 3 in all",
    ),
]


@pytest.mark.parametrize("samples, said", [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_a_log_that_is_not_whole_is_refused_and_says_why(
    samples: list[dict[str, Any]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        imported(inspect_log(tmp_path / "a.json", samples), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_not_complete_can_be_left_out_and_is_counted(tmp_path: Path) -> None:
    failed = inspect_sample(2, 1, error={"message": "no route", "traceback": "", "traceback_ansi": ""})
    samples = [inspect_sample(0), inspect_sample(0, 2), inspect_sample(1), failed, inspect_sample(2, 2)]
    log = inspect_log(tmp_path / "a.json", samples)
    notes = import_logs(ImportSpec((log,), partial=True), tmp_path / "out")
    assert "2 of 3 problems were left out." in notes
    assert write_report(tmp_path / "out")["dropped"] == 2
    assert {one.log_id for one in imported(log, tmp_path / "one", partial=True, samples=1)} == {"0", "1", "2"}


def test_another_set_of_problems_is_refused_with_an_example(tmp_path: Path) -> None:
    a = inspect_log(tmp_path / "a.json", [inspect_sample(n) for n in range(3)])
    b = inspect_log(tmp_path / "b.json", [inspect_sample(n) for n in range(1, 4)])
    with pytest.raises(ValueError, match=r"a\.json lacks 1 of 4 problems, .*'3 \+ 1' say"):
        import_logs(ImportSpec((a,), baseline=(b,)), tmp_path / "out")


def test_a_run_that_was_interrupted_is_refused(tmp_path: Path) -> None:
    head = {"dataset": {"name": "sums", "samples": 9}}
    log = inspect_log(tmp_path / "a.json", [inspect_sample(0)], eval=head, status="cancelled")
    with pytest.raises(ValueError, match="not finished, 8 samples are missing by its own count"):
        imported(log, tmp_path / "out")


def test_runs_with_other_settings_are_not_compared(tmp_path: Path) -> None:
    a = inspect_log(tmp_path / "a.json", [inspect_sample(0)])
    b = inspect_log(tmp_path / "b.json", [inspect_sample(0)], eval={"model_generate_config": {"max_tokens": 9999}})
    with pytest.raises(ValueError, match="not run alike: max_tokens 64 and 9999"):
        import_logs(ImportSpec((a,), baseline=(b,)), tmp_path / "out")


def test_without_its_package_an_inspect_log_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = inspect_log(tmp_path / "a.json", [inspect_sample(0)])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'pip install -e "\.\[inspect\]"'):
        imported(log, tmp_path / "out")


def test_files_that_are_no_logs_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds no log with anything in it\. Looked for inspect"):
        imported(tmp_path / "a.json", tmp_path / "out")
    (tmp_path / "b.eval").write_text("PK")
    with pytest.raises(ValueError, match=r"b\.eval cannot be read as a log of Inspect"):
        imported(tmp_path / "b.eval", tmp_path / "out")
    with pytest.raises(ValueError, match="There is no file or folder"):
        imported(tmp_path / "c.eval", tmp_path / "out")


def test_nothing_is_sampled_into_an_imported_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    imported(inspect_log(tmp_path / "a.json", [inspect_sample(0)]), out)
    with pytest.raises(ValueError, match="imported_from: 'inspect' there, None now"):
        write_evaluation(out, None, ("mine", [sample(0, 0)]), problems=1, samples=1)


def test_what_needs_tokens_says_that_there_are_none(tmp_path: Path) -> None:
    imported(inspect_log(tmp_path / "a.json", [inspect_sample(0)]), tmp_path / "out")
    samples = next((tmp_path / "out/samples").iterdir())
    with pytest.raises(ValueError, match="imported without its tokens"):
        read_source(f"selected:shortest_right?samples={samples}", "train", None, 0)
    with pytest.raises(SystemExit, match="A judge reads the tokens that a model sampled"):
        main(["judge", str(samples)])
    with pytest.raises(SystemExit, match="Exits are tried on tokens"):
        main(["exits", str(tmp_path / "out")])


def test_the_command_imports_reports_and_says_what_to_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = inspect_log(tmp_path / "a.json", [inspect_sample(n, stop_reason="max_tokens") for n in range(3)])
    main(["import", str(log), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "sums: 3 problems x 1 samples" in said and "100.0 %" in said
    assert "3 samples are right by the log's own verdict" in re.sub(r"\s+", " ", said)
