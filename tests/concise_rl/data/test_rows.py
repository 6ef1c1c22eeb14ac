"""Loading, checking and presenting data rows."""

import json
import logging
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import Dataset

from concise_rl.data.rows import check_prompts, columns_read, keep_verifiable, load_rows, to_messages
from concise_rl.verify.pool import VerifierPool

SHARED = Path(__file__).parents[4] / "shared" / "data"
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


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1e16", "10000000000000000"),
        ("1e-7", "0.0000001"),
        ("142.0", "142"),
        ("0.1", "0.1"),
        ("-0.0", "0"),
        ("2.50", "2.5"),
        ("18446744073709551617", "18446744073709551617"),
    ],
)
def test_a_number_of_a_json_file_is_written_as_a_plain_decimal(tmp_path: Path, number: str, text: str) -> None:
    source = write_lines(tmp_path / "rows.jsonl", f'{{"prompt": "a", "answer": {number}}}')
    assert load_rows(source)["answer"][:] == [text]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pa.array([0.1], pa.float32()), "0.1"),
        (pa.array([np.float16(0.1)], pa.float16()), "0.1"),
        (pa.array([0.1], pa.float64()), "0.1"),
        (pa.array([float(np.float32(0.1))], pa.float64()), "0.10000000149011612"),
        (pa.array([1e16], pa.float32()), "10000000000000000"),
        (pa.array([7], pa.int8()), "7"),
        (pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
        (pa.array([Decimal("27.50")]), "27.5"),
        (pa.array([Decimal("100.00")]), "100"),
        (pa.array(["0.10"]).dictionary_encode(), "0.10"),
    ],
)
def test_a_number_of_a_parquet_file_is_the_shortest_that_its_type_tells_apart(
    tmp_path: Path, values: pa.Array, text: str
) -> None:
    path = tmp_path / "rows.parquet"
    nested = pa.StructArray.from_arrays([pa.ListArray.from_arrays([0, 1], values)], ["truth"])
    pa.parquet.write_table(pa.table({"prompt": ["a"], "answer": values, "reward": nested}), path)
    assert load_rows(str(path))["answer"][:] == [text]
    assert load_rows(str(path), answer_column="reward.truth.0")["answer"][:] == [text]


def test_columns_are_found_by_name_and_by_dotted_path(tmp_path: Path) -> None:
    row = {"chat": [{"content": "1 + 1?"}], "reward": {"truth": 2}, "prompt": ["unused"]}
    source = write_lines(tmp_path / "rows.jsonl", row)
    rows = load_rows(source, prompt_column="chat.0.content", answer_column="reward.truth")
    assert (rows[0]["prompt"], rows[0]["answer"], rows[0]["reward"]) == ("1 + 1?", "2", {"truth": 2})


# Columns that are read


def write_wide(folder: Path, ending: str, rows: int = 200, width: int = 10_000) -> str:
    """Rows with a wide column that nobody reads."""
    lines = [{"prompt": f"{i} + 1?", "answer": str(i + 1), "level": i, "wide": "x" * width} for i in range(rows)]
    path = folder / f"train.{ending}"
    if ending == "parquet":
        pa.parquet.write_table(pa.Table.from_pylist(lines), path)
        return str(path)
    return write_lines(path, *lines) if ending == "jsonl" else str(path.write_text(json.dumps(lines)) and path)


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet", "folder"])
def test_only_columns_that_are_asked_for_are_kept(tmp_path: Path, ending: str) -> None:
    source = str(Path(write_wide(tmp_path, "jsonl")).parent) if ending == "folder" else write_wide(tmp_path, ending)
    rows = load_rows(source, columns=["level", "absent"])
    assert sorted(rows.column_names) == ["answer", "level", "prompt"]
    assert rows[3] == {"prompt": "3 + 1?", "answer": "4", "level": 3}


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_wide_column_that_nobody_reads_takes_no_memory(tmp_path: Path, ending: str) -> None:
    source, wide = write_wide(tmp_path, ending), 200 * 10_000
    load_rows(source, num_rows=2, columns=())
    tracemalloc.start()
    before = pa.default_memory_pool().max_memory()
    rows = load_rows(source, columns=())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(rows) == 200
    assert peak < wide / 4
    assert pa.default_memory_pool().max_memory() - before < wide / 4


def test_a_nested_column_is_read_whole_and_only_what_the_path_leads_to_is_kept(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "rows.jsonl", {"reward": {"truth": 2}, "prompt.text": "1 + 1?", "prompt": 3})
    rows = load_rows(source, prompt_column="prompt.text", answer_column="reward.truth", columns=())
    assert rows[0] == ROW


def test_an_unknown_column_is_an_error_that_knows_those_not_read(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "rows.jsonl", {"question": "1 + 1?", "answer": "2"})
    with pytest.raises(ValueError, match=r"'questoin'.*'question'"):
        load_rows(source, prompt_column="questoin", columns=())


MIXED = [{**ROW, "prompt": f"{i}?", "x": x} for i, x in enumerate((1, "y", {"z": 1}, 2**70))]


def test_a_column_that_cannot_be_stored_is_no_matter_where_nobody_reads_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_lines(tmp_path / "rows.jsonl", *MIXED)
    assert len(load_rows(source, columns=())) == 4
    assert not caplog.text
    assert load_rows(source).column_names == ["prompt", "answer"]
    assert "'x' do not make one column" in caplog.text


def test_a_column_that_is_read_and_cannot_be_stored_is_an_error_with_file_and_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"rows\.jsonl: the values of 'x' do not make one column"):
        load_rows(write_lines(tmp_path / "rows.jsonl", *MIXED), columns=["x"])


def test_a_type_that_data_sets_do_not_know_is_no_matter_where_nobody_reads_it(tmp_path: Path) -> None:
    maps = pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32()))
    pa.parquet.write_table(pa.table({"prompt": ["a"], "answer": ["1"], "x": maps}), tmp_path / "rows.parquet")
    assert load_rows(str(tmp_path / "rows.parquet")).column_names == ["prompt", "answer"]


def declared(response: str, row: Any) -> bool:
    return True


declared.columns = ("level",)  # ty: ignore[unresolved-attribute]


def misdeclared(response: str, row: Any) -> bool:
    return True


misdeclared.columns = "level"  # ty: ignore[unresolved-attribute]


def undeclared(response: str, row: Any) -> bool:
    return True


@pytest.mark.parametrize(
    ("readers", "columns"),
    [
        (("math", "rule"), {"answer_tolerance"}),
        (("reasoning_gym", "model"), {"metadata"}),
        (("exact", "oracle"), {"metadata"}),
        (("code", "rule"), {"tests"}),
        ((f"{__name__}.declared", "oracle"), {"level", "metadata"}),
        ((f"{__name__}.undeclared", "oracle"), None),
    ],
)
def test_verifiers_and_judges_say_what_they_read(readers: tuple[str, ...], columns: set[str] | None) -> None:
    assert columns_read(*readers) == columns


def test_columns_that_are_declared_as_one_word_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'level': give their names as a tuple"):
        columns_read(f"{__name__}.misdeclared")


# Prompts that are none

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_system_turn_is_no_prompt_and_the_users_turn_is_named(tmp_path: Path, ending: str) -> None:
    chats = [{"prompt": [CHAT[0], {"role": "user", "content": f"{i}?"}], "answer": str(i)} for i in range(2)]
    source = write_lines(tmp_path / "rows.jsonl", *chats)
    if ending == "parquet":
        pa.parquet.write_table(pa.Table.from_pylist(chats), tmp_path / "rows.parquet")
        source = str(tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=r"'prompt\.0\.content' is a turn of the role 'system'.*as prompt\.1\.content"):
        load_rows(source, prompt_column="prompt.0.content")
    assert load_rows(source, prompt_column="prompt.1.content")["prompt"][:] == ["0?", "1?"]


def test_a_system_turn_in_some_rows_only_is_refused(tmp_path: Path) -> None:
    rows = [{"prompt": CHAT, "answer": "2"}, {"prompt": CHAT[1:], "answer": "2"}]
    with pytest.raises(ValueError, match=r"in 1 of 2 rows \(the first is line 1\).*at one place in all rows"):
        load_rows(write_lines(tmp_path / "rows.jsonl", *rows), prompt_column="prompt.0.content")


def test_turns_may_be_written_as_from_and_value(tmp_path: Path) -> None:
    chat = [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "1 + 1?"}]
    source = write_lines(tmp_path / "rows.jsonl", {"chat": chat, "answer": "2"})
    with pytest.raises(ValueError, match=r"as chat\.1\.value"):
        load_rows(source, prompt_column="chat.0.value")


def test_a_chat_for_a_prompt_is_an_error_that_says_what_to_write(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "rows.jsonl", {"prompt": CHAT, "answer": "2"})
    with pytest.raises(ValueError, match=r"(?s)'prompt' is a list of messages.*prompt column as prompt\.1\.content"):
        load_rows(source)


def test_one_text_with_different_answers_in_all_rows_is_an_error() -> None:
    rows = Dataset.from_list([{"prompt": "Solve it.", "answer": str(i)} for i in range(5)])
    with pytest.raises(ValueError, match=r"a.jsonl: 'prompt' is the same text in 5 of 5 rows: 'Solve it\.'"):
        check_prompts(rows, "a.jsonl", "prompt")


@pytest.mark.parametrize(("same", "warned"), [(3, False), (5, True)])
def test_one_text_in_many_rows_is_a_warning(caplog: pytest.LogCaptureFixture, same: int, warned: bool) -> None:
    rows = [{"prompt": "Solve it." if i < same else f"{i}?", "answer": str(i)} for i in range(20)]
    check_prompts(Dataset.from_list(rows), "a.jsonl", "prompt")
    assert ("same text in 5 of 20 rows" in caplog.text) == warned


def test_one_problem_written_many_times_is_only_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    check_prompts(Dataset.from_list([ROW] * 8), "a.jsonl", "prompt")
    assert "same text in 8 of 8 rows" in caplog.text


# Rows


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
