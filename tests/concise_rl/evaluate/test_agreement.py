import json
import shutil
from pathlib import Path

import pytest

from concise_rl.cli import main
from concise_rl.evaluate.agreement import JudgeSpec, compare_judges
from concise_rl.evaluate.claim import claim_folder
from concise_rl.evaluate.samples import Sample, append_samples
from concise_rl.evaluate.spec import MANIFEST, Manifest, Measurement, ModelRun
from concise_rl.models.resolve import resolve_model
from concise_rl.tasks.tiny import load_problems
from tests.concise_rl.evaluate.fabric import TOKENIZER, sample

RULE, ORACLE = JudgeSpec("rule"), JudgeSpec("oracle")
PROBLEMS = load_problems("test", 6)


def thought(problem: int, thinking: str, correct: int = 1) -> Sample:
    """A sample of a problem of `tiny:sums` that thinks so and then gives the answer."""
    row = PROBLEMS[problem]
    text = f"<think>\n{thinking}</think>\n{row['answer']}"
    ids = [*TOKENIZER.encode(text, add_special_tokens=False), TOKENIZER.eos_token_id]
    return sample(
        problem, 0, correct, len(ids), prompt=row["prompt"], gold=row["answer"], completion_ids=ids, text=text,
        think_length=len(TOKENIZER.encode(f"<think>\n{thinking}", add_special_tokens=False)),
    )  # fmt: skip


def worked_out(problem: int, passes: int = 3) -> str:
    """Every running total, again and again."""
    first = PROBLEMS[problem]["oracle_completion"].removeprefix("<think>\n").partition("</think>")[0]
    return "Wait, let me check.\n".join([first] * passes)


def written(folder: Path, samples: list[Sample], task: str = "tiny:sums") -> Path:
    """An evaluation of `tiny:base` that drew these samples; the path of their file."""
    run = ModelRun(label="m", model="tiny:base")
    measurement = Measurement(task=task, problems=len(PROBLEMS), samples=1, max_tokens=512, verifier="reasoning_gym")
    claim_folder(
        folder, Manifest(measurement=measurement, models=(run,), num_problems=6, num_dropped=0, versions={"torch": "2"})
    )
    append_samples(run.samples_path(folder), samples)
    return run.samples_path(folder)


def test_the_rule_finds_what_the_oracle_finds_in_sums_worked_out_again_and_again(tmp_path: Path) -> None:
    path = written(tmp_path, [thought(p, worked_out(p)) for p in range(6)])
    (found,) = compare_judges([path], RULE, ORACLE)
    assert (found.precision, found.recall, found.f1, found.same_first) == (1, 1, 1, 1)
    assert (found.traces, found.passages, found.failed) == (6, 18, 0)
    assert (found.stated, found.stated_against) == (1, 1)
    assert found.redundant == found.redundant_against > 0


def test_agreement_is_of_tokens_and_counts_what_only_one_of_them_calls_redundant(tmp_path: Path) -> None:
    problem = 0
    guess = f"So {PROBLEMS[problem]['answer']}.\n"
    thinking = f"{guess}Wait, let me check.\n{worked_out(problem, 2)}"
    (found,) = compare_judges([written(tmp_path, [thought(problem, thinking)])], RULE, ORACLE)
    last = len(TOKENIZER.encode(f"Wait, let me check.\n{worked_out(problem, 1)}", add_special_tokens=False))
    after_guess = len(TOKENIZER.encode(thinking.removeprefix(guess), add_special_tokens=False))
    assert (found.redundant, found.redundant_against) == (after_guess, last)
    assert (found.precision, found.recall) == (last / after_guess, 1)
    assert found.same_first == 0


def test_wrong_samples_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, [thought(0, worked_out(0)), thought(1, worked_out(1), correct=0)])
    assert compare_judges([path], RULE, ORACLE)[0].traces == 1


def test_where_nothing_is_redundant_there_is_no_precision_and_json_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, [thought(0, worked_out(0, 1))])
    numbers = compare_judges([path], RULE, ORACLE)[0].to_json()
    assert (numbers["precision"], numbers["recall"], numbers["redundant"], numbers["stated"]) == (None, None, 0, 1)
    json.dumps(numbers, allow_nan=False)


def test_files_are_read_together_and_each_kind_of_passage_has_its_line(tmp_path: Path) -> None:
    paths = [written(tmp_path / str(p), [thought(p, worked_out(p))]) for p in range(2)]
    found = compare_judges(paths, ORACLE, ORACLE, ["chunk", "sentence", "line"])
    assert [one.passage for one in found] == ["chunk", "sentence", "line"]
    assert [one.traces for one in found] == [2, 2, 2]
    assert [one.f1 for one in found] == [1, 1, 1]
    assert found[0].passages < found[2].passages


def test_files_of_models_with_different_tokenizers_are_refused(tmp_path: Path) -> None:
    first, second = (written(tmp_path / name, [thought(0, worked_out(0))]) for name in "ab")
    other = tmp_path / "other"
    shutil.copytree(resolve_model("tiny:base"), other)
    text = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.replace('"Wait"', '"Whoa"'))
    manifest = tmp_path / "b" / MANIFEST
    manifest.write_text(manifest.read_text().replace("tiny:base", str(other)))
    with pytest.raises(ValueError, match="have different tokenizers"):
        compare_judges([first, second], RULE, ORACLE)


def test_samples_of_other_problems_than_the_task_has_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [thought(0, worked_out(0)), sample(1, 0)])
    with pytest.raises(ValueError, match="problem 1, sample 0 is not of the task 'tiny:sums'"):
        compare_judges([path], RULE, ORACLE)


def test_without_a_correct_sample_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is correct: there is nothing for a judge to read"):
        compare_judges([written(tmp_path, [thought(0, worked_out(0), correct=0)])], RULE, ORACLE)


def test_a_file_that_the_evaluation_does_not_know_needs_a_tokenizer_named(tmp_path: Path) -> None:
    path = written(tmp_path, [thought(0, worked_out(0))])
    other = path.rename(path.with_name("other.jsonl"))
    with pytest.raises(ValueError, match="say whose tokenizer wrote it with --model"):
        compare_judges([other], RULE, ORACLE)
    assert compare_judges([other], RULE, ORACLE, model="tiny:base")[0].f1 == 1


def test_the_command_prints_a_table_that_fits_80_columns_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = written(tmp_path, [thought(p, worked_out(p)) for p in range(6)])
    main(["judge", str(path), "--passage", "chunk", "--passage", "sentence", "--out", str(tmp_path / "found.json")])
    shown = capsys.readouterr().out
    assert all(
        words in shown for words in ("Redundant tokens by rule, against oracle: 6 correct", "sentence", "100.00 %")
    )
    assert "…" not in shown
    assert [found["f1"] for found in json.loads((tmp_path / "found.json").read_text())] == [1, 1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--judge", "rul"], "Unknown judge 'rul'. Did you mean 'rule'?"),
        (["--against", "oracel"], "Unknown judge 'oracel'. Did you mean 'oracle'?"),
        (["--judge-options", '{"max_word": 3}'], "Did you mean 'max_words'?"),
        (["--verifier", "reasoning-gym"], "Did you mean 'reasoning_gym'?"),
    ],
)
def test_a_misspelt_name_is_one_line_with_the_nearest(tmp_path: Path, words: list[str], said: str) -> None:
    path = written(tmp_path, [thought(0, worked_out(0))])
    with pytest.raises(SystemExit, match=r"^error: ") as stopped:
        main(["judge", str(path), *words])
    assert said in str(stopped.value)


def test_a_file_that_is_not_there_and_one_outside_an_evaluation_are_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^error: There is no file .*nowhere\.jsonl\. Give samples that"):
        main(["judge", str(tmp_path / "nowhere.jsonl")])
    (tmp_path / "stray.jsonl").touch()
    with pytest.raises(SystemExit, match=r"^error: .*stray\.jsonl does not lie in an evaluation's folder"):
        main(["judge", str(tmp_path / "stray.jsonl")])


def test_a_task_without_an_oracle_is_refused(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": row["prompt"], "answer": row["answer"]}) + "\n" for row in PROBLEMS))
    path = written(tmp_path / "out", [thought(0, worked_out(0))], task=str(rows))
    with pytest.raises(SystemExit, match=r"^error: The judge `oracle` knows .* take `rule` or `model`"):
        main(["judge", str(path), "--verifier", "exact"])
