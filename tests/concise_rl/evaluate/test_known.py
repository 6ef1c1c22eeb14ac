"""Judges on thinking whose necessary part is known."""

import json
from pathlib import Path

import pytest

from concise_rl.cli import main
from concise_rl.evaluate.known import compare_known, is_known, load_known, word_tokenizer
from concise_rl.labels.judges.prose import KnownTrace, known_traces

TRACE = KnownTrace("What is 3 + 4?", "7", "So 3 + 4 = 7.", "\nWait, let me check.\n3 plus 4 gives 7. Yes, 7.\n")


def written(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_rule_finds_the_redundant_part_of_prose_and_little_else() -> None:
    (found,) = compare_known(known_traces(40, seed=1), "rule", passages=["sentence"])
    assert found.recall >= 0.95 and found.lost <= 0.01
    assert found.early <= 0.05 and found.late + found.never <= 0.05


def test_generated_traces_are_a_function_of_the_seed() -> None:
    assert known_traces(5, 3) == known_traces(5, 3) != known_traces(5, 4)


def test_generated_traces_name_the_answer_before_they_state_it_and_go_on_behind() -> None:
    traces = known_traces(200)
    hinted = [t for t in traces if f" {t.answer}" in t.necessary[: t.necessary.rstrip().rfind(t.answer)]]
    assert len(hinted) > 60 and all(t.redundant.strip() for t in traces)
    assert all(t.answer in t.necessary.splitlines()[-1] for t in traces)


def test_a_trace_that_the_judge_reads_right_loses_and_misses_nothing() -> None:
    (found,) = compare_known([TRACE], "rule", passages=["line"])
    assert (found.precision, found.recall, found.lost, found.first) == (1, 1, 0, 1)


def test_an_answer_found_too_early_is_lost_tokens() -> None:
    early = KnownTrace("?", "7", "So 7.\nSo 3 + 4 = 7.\n", "Yes, 7.\n")
    (found,) = compare_known([early], "rule", passages=["line"])
    assert found.early == 1 and found.lost == pytest.approx(8 / 12)


def test_an_answer_that_is_never_found_is_no_redundancy() -> None:
    (found,) = compare_known([KnownTrace("?", "7", "So 8.", " Yes.")], "rule")
    assert (found.never, found.recall) == (1, 0) and found.to_json()["precision"] is None


def test_every_share_has_an_interval_over_traces_and_token_efficiency_the_true_one_beside_it() -> None:
    traces = [TRACE, KnownTrace("?", "7", "So 8.\n", "Yes.\n")]
    (found,) = compare_known(traces, "rule", passages=["line"])
    assert (found.never, found.ci95["never"]) == (0.5, (0.0, 1.0))
    assert found.ci95.keys() == {"precision", "recall", "f1", "lost", "first", "early", "late", "never"} | {
        "token_efficiency",
        "true_token_efficiency",
    }
    (one,) = compare_known([TRACE], "rule", passages=["line"])
    assert one.token_efficiency == one.true_token_efficiency < 1 and one.ci95["first"] is None


def test_words_numbers_and_marks_are_the_tokens_and_their_text_comes_back() -> None:
    text = " ".join((TRACE.necessary, TRACE.redundant))
    tokenizer = word_tokenizer([text])
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text and len(tokenizer.encode("So 3 + 4 = 7.", add_special_tokens=False)) == 7


def test_files_hold_both_parts_or_lines(tmp_path: Path) -> None:
    row = {"problem": "?", "answer": "7", "lines": ["3 + 4 = 6", "So 7."]}
    path = written(tmp_path / "known.jsonl", row, vars(TRACE))
    assert is_known(path) and is_known("prose") and not is_known(tmp_path / "other.jsonl")
    assert load_known(path) == [KnownTrace("?", "7", "3 + 4 = 6\nSo 7.\n", ""), TRACE]


def test_a_row_without_its_parts_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "known.jsonl", {"necessary": "So 7.", "answer": "7"})
    with pytest.raises(ValueError, match="line 1: no text in problem, redundant"):
        load_known(path)


def test_the_command_shows_two_judges_in_80_columns_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path, out = written(tmp_path / "known.jsonl", vars(TRACE)), tmp_path / "found.json"
    options = ["--against", "rule", "--against-options", '{"max_words": 3}']
    main(["judge", str(path), "--passage", "line", "--out", str(out), *options])
    shown = capsys.readouterr().out
    assert "1 traces whose necessary part is known" in shown and "…" not in shown and shown.count("100.0 %") == 6
    assert [one["f1"] for one in json.loads(out.read_text())] == [1, 1]


def test_known_traces_and_samples_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="one kind at a time"):
        main(["judge", "prose", str(tmp_path / "samples.jsonl")])


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text('{"problem": "?", "answer": "7", "necessary": "7.", "redundant": ""}\n\n{"problem": \n')
    assert is_known(path)
    with pytest.raises(ValueError, match=r"traces\.jsonl, line 3: not valid JSON"):
        load_known(path)
