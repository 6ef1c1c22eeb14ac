"""Loading, checking and presenting data rows."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import Dataset

from concise_rl.data import keep_verifiable, load_rows, to_messages
from concise_rl.verify import VerifierPool

SHARED = Path(__file__).parents[3] / "shared" / "data"
ROW = {"prompt": "1 + 1?", "answer": "2"}


@pytest.fixture(scope="module")
def exact() -> Iterator[VerifierPool]:
    with VerifierPool("exact", workers=1) as pool:
        yield pool


def write_lines(path: Path, *lines: Any) -> str:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


# Files


def test_every_file_format_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [{"prompt": f"{i} + 1?", "answer": str(i + 1), "level": i, "tags": ["sum"]} for i in range(3)]
    write_lines(tmp_path / "rows.jsonl", *rows)
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    pa.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    for ending in ("jsonl", "json", "parquet"):
        assert load_rows(str(tmp_path / f"rows.{ending}")).to_list() == rows


def test_a_field_that_only_some_rows_have_is_none_in_the_others(tmp_path: Path) -> None:
    rows = load_rows(write_lines(tmp_path / "rows.jsonl", ROW, {**ROW, "level": 3}))
    assert rows["level"][:] == [None, 3]


def test_a_number_for_an_answer_is_written_as_text(tmp_path: Path) -> None:
    rows = load_rows(write_lines(tmp_path / "rows.jsonl", {**ROW, "answer": 2}, {**ROW, "answer": 2.5}, ROW))
    assert rows["answer"][:] == ["2", "2.5", "2"]


def test_columns_are_found_by_name_and_by_dotted_path(tmp_path: Path) -> None:
    row = {"chat": [{"content": "1 + 1?"}], "reward": {"truth": 2}, "prompt": ["unused"]}
    source = write_lines(tmp_path / "rows.jsonl", row)
    rows = load_rows(source, prompt_column="chat.0.content", answer_column="reward.truth")
    assert (rows[0]["prompt"], rows[0]["answer"], rows[0]["reward"]) == ("1 + 1?", "2", {"truth": 2})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"prompt": None}, "'prompt' is missing"),
        ({"prompt": " "}, "'prompt' is empty"),
        ({"prompt": ["hi"]}, "'prompt' is a list, not text"),
        ({"answer": None}, "'answer' is missing"),
        ({"answer": True}, "'answer' is a bool, not text"),
        ({"answer": ["2"]}, "'answer' is a list, not text"),
        ({"answer": float("nan")}, "'answer' is nan"),
    ],
)
def test_a_bad_row_is_an_error_with_its_line_and_field(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    source = write_lines(tmp_path / "rows.jsonl", ROW, "", ROW | change)
    with pytest.raises(ValueError, match=rf"rows\.jsonl has bad rows:\n  line 3: {fault}"):
        load_rows(source)


def test_five_bad_rows_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "rows.jsonl", ROW, *[{"prompt": "1 + 1?"}] * 8)
    with pytest.raises(ValueError, match=r"line 6: 'answer' is missing\n  and 3 more$"):
        load_rows(source)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", b'{"prompt": "a", "answer": "b"}\n{"prompt": ', r"line 2: not valid JSON"),
        ("rows.jsonl", b'{"prompt": "\xff"}', r"line 1: not valid JSON"),
        ("rows.jsonl", b"[1]", "line 1: expected a dict, found a list"),
        ("rows.jsonl", b"[" * 10**5, "line 1: not valid JSON"),
        ("rows.jsonl", b"\n", "has no rows"),
        ("rows.jsonl", b'{"prompt": "\\ud800", "answer": "b"}', "'prompt' do not make one column"),
        (
            "rows.jsonl",
            b'{"prompt": "a", "answer": 1, "x": 1}\n{"prompt": "a", "answer": 1, "x": "y"}',
            "'x' do not make",
        ),
        ("rows.json", b'{"prompt": "a"}', "expected a list, found a dict"),
        ("rows.json", b'[{"prompt": "a", "answer": "b"}, 3]', "row 1: expected a dict, found a int"),
        ("rows.json", b'{"prompt": "a"}\n{"prompt": "b"}', r"\.jsonl"),
        ("rows.parquet", b"not parquet", "not a readable parquet file"),
        ("rows.csv", b"prompt,answer", r"\.jsonl, \.json, \.parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_with_its_name(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"(?s){name}.*{message}"):
        load_rows(str(tmp_path / name))


def test_a_missing_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file .*gone\.jsonl"):
        load_rows(str(tmp_path / "gone.jsonl"))


def test_an_unknown_column_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "rows.jsonl", {"problem": "1 + 1?", "answer": "2"})
    with pytest.raises(ValueError, match=r"'problme'.*'problem'"):
        load_rows(source, prompt_column="problme")


def test_num_rows_draws_by_seed_and_keeps_the_order(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "rows.jsonl", *[{**ROW, "answer": i} for i in range(100)])
    drawn = [int(answer) for answer in load_rows(source, num_rows=10, seed=1)["answer"]]
    assert drawn == sorted(drawn)
    assert drawn == [int(answer) for answer in load_rows(source, num_rows=10, seed=1)["answer"]]
    assert drawn != [int(answer) for answer in load_rows(source, num_rows=10, seed=2)["answer"]]


@pytest.mark.parametrize("num_rows", [0, -1, 2])
def test_more_rows_than_there_are_and_fewer_than_one_are_refused(tmp_path: Path, num_rows: int) -> None:
    with pytest.raises(ValueError, match="num_rows"):
        load_rows(write_lines(tmp_path / "rows.jsonl", ROW), num_rows=num_rows)


# The hub and the generated sources


def test_a_folder_loads_through_datasets_by_split(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", ROW)
    write_lines(tmp_path / "test.jsonl", {**ROW, "answer": "3"})
    assert load_rows(str(tmp_path), split="test")["answer"][:] == ["3"]


def test_a_split_that_a_data_set_lacks_is_an_error(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", ROW)
    with pytest.raises(ValueError, match="split 'dev', could not be loaded"):
        load_rows(str(tmp_path), split="dev")


def test_a_reasoning_gym_task_takes_options_of_the_type_of_its_fields() -> None:
    source = "reasoning_gym:chain_sum?min_terms=3&max_terms=3&allow_negation=true"
    metadata = [json.loads(text) for text in load_rows(source, num_rows=20)["metadata"]]
    assert {entry["num_terms"] for entry in metadata} == {3}
    assert any("-" in entry["expression"].split()[0] for entry in metadata)


def test_a_list_option_of_a_reasoning_gym_task_is_json() -> None:
    rows = load_rows('reasoning_gym:basic_arithmetic?operators=["*"]', num_rows=20)
    assert not any(sign in prompt for prompt in rows["prompt"] for sign in "+/")


def test_splits_and_seeds_of_a_reasoning_gym_task_share_no_rows() -> None:
    source = "reasoning_gym:chain_sum?min_terms=6&min_digits=4"
    draws = [("train", 0), ("train", 1), ("test", 0), ("test", 1)]
    prompts = [set(load_rows(source, split=split, num_rows=50, seed=seed)["prompt"]) for split, seed in draws]
    assert len(set.union(*prompts)) == 200
    assert prompts[0] == set(load_rows(source, num_rows=50)["prompt"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("reasoning_gym:chan_sum", "'chan_sum'.*'chain_sum'"),
        ("reasoning_gym:chain_sum?min_term=3", "'min_term'.*'min_terms'"),
        ("reasoning_gym:chain_sum?min_terms=x", "min_terms='x' is not valid"),
        ("reasoning_gym:chain_sum?min_terms=9", "refuses these options.*max_terms"),
        ("reasoning_gym:chain_sum?seed=9", "set `seed` and `num_rows`"),
        ("reasoning_gym:graph_color", "row 0: 'answer' is missing"),
        ("tiny:sum", "'sum'.*'sums'"),
        ("nothing", r"Cannot load 'nothing'.*org/name"),
    ],
)
def test_a_source_that_is_not_understood_is_an_error_that_says_what_to_write(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load_rows(source)


def test_reasoning_gym_tasks_have_the_splits_train_and_test() -> None:
    with pytest.raises(ValueError, match="train and test, not 'dev'"):
        load_rows("reasoning_gym:chain_sum", split="dev")


def test_the_embedded_reasoners_task_loads_by_name() -> None:
    rows = load_rows("tiny:sums", split="test", num_rows=3)
    assert len(rows) == 3
    assert {"prompt", "answer"} <= set(rows.column_names)


# Rows that the verifier can judge


def test_rows_whose_own_answer_is_not_accepted_are_dropped_and_logged(
    exact: VerifierPool, caplog: pytest.LogCaptureFixture
) -> None:
    rows = Dataset.from_list([{"prompt": "?", "answer": "" if i == 7 else str(i)} for i in range(300)])
    with caplog.at_level(logging.WARNING):
        kept, num_dropped = keep_verifiable(rows, exact)
    assert num_dropped == 1
    assert kept["answer"][:] == [str(i) for i in range(300) if i != 7]
    assert "1 of 300" in caplog.text and "row 7" in caplog.text


def test_more_than_one_percent_of_rows_that_are_not_accepted_is_an_error(exact: VerifierPool) -> None:
    rows = Dataset.from_list([{"prompt": "?", "answer": "" if i in (3, 7) else str(i)} for i in range(100)])
    with pytest.raises(ValueError, match=r"(?s)own answers of 2 of 100 rows.*row 3.*row 7"):
        keep_verifiable(rows, exact)


def test_checking_the_answers_does_not_count_as_judging_completions(exact: VerifierPool) -> None:
    keep_verifiable(Dataset.from_list([ROW]), exact)
    assert exact.counters["judged"] == 0


@pytest.mark.parametrize("name", ["math500", "aime2024", "amc23"])
def test_the_public_benchmarks_load_and_verify_whole(name: str) -> None:
    path = SHARED / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"the benchmark file {path.name} is not here")
    rows = load_rows(str(path), prompt_column="prompt.0.content", answer_column="reward_model.ground_truth")
    with VerifierPool("math", timeout_s=30) as pool:
        assert keep_verifiable(rows, pool) == (rows, 0)


# Prompts


def test_prompts_become_conversations_with_the_template_and_system_prompt() -> None:
    rows = Dataset.from_list([{**ROW, "prompt": r"{x} \frac{1}{2} {prompt}"}])
    messages = to_messages(rows, r"{prompt} Put it in \boxed{}.", "Be brief.")[0]["prompt"]
    assert messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": r"{x} \frac{1}{2} {prompt} Put it in \boxed{}."},
    ]


def test_without_a_template_the_prompt_is_the_users_turn() -> None:
    assert to_messages(Dataset.from_list([ROW]))[0] == {
        "problem": "1 + 1?",
        "answer": "2",
        "prompt": [{"role": "user", "content": "1 + 1?"}],
    }


def test_a_template_without_a_place_for_the_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="every row would ask the same"):
        to_messages(Dataset.from_list([ROW]), "Solve {promt}")


def test_a_column_called_problem_gives_way_to_the_text_of_the_prompt(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "rows.jsonl", {"problem": "1 + 1?", "answer": "2"})
    row = to_messages(load_rows(source, prompt_column="problem"))[0]
    assert (row["problem"], row["prompt"]) == ("1 + 1?", [{"role": "user", "content": "1 + 1?"}])
