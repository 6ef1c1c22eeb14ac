"""The source `selected:`: rows that a method chooses from the samples of an evaluation."""

from pathlib import Path

import pytest

from concise_rl.data.rows import load_rows
from tests.concise_rl.recipe.stored import stored_samples, write_samples


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("samples") / "base.jsonl", stored_samples())


def test_a_selection_is_named_with_its_samples_and_options(file: Path) -> None:
    rows = load_rows(f"selected:adar1?samples={file}&group_pairs=1&inner_pairs=0", columns=("rejected",))
    assert len(rows) == 4 and set(rows.column_names) == {"prompt", "answer", "rejected"}
    assert load_rows(f"selected:shortest_right?samples={file}", num_rows=2).num_rows == 2


def test_samples_of_several_models_keep_apart(file: Path) -> None:
    rows = load_rows(f"selected:adar1?samples={file}&samples={file}&inner_pairs=0")
    assert rows.num_rows == 8, "two right ones of the second, one wrong one of the first"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("selected:shortest_right", "does not say from what: add ?samples=FILE"),
        ("selected:shortest?samples={file}", "Did you mean 'shortest_right'"),
        ("selected:adar1?samples={file}&group_pair=1", "Did you mean 'group_pairs'"),
        ("selected:adar1?samples={file}&group_pairs=-1", "group_pairs"),
        ("selected:adar1?samples={file}&group_pairs=0&inner_pairs=0", "adar1 selects nothing from the 12 samples"),
        ("selected:adar1?samples=nowhere.jsonl", "There is no file nowhere.jsonl. concise-rl eval writes one"),
    ],
)
def test_what_cannot_be_selected_is_said(file: Path, source: str, said: str) -> None:
    with pytest.raises(ValueError) as stopped:
        load_rows(source.replace("{file}", str(file)))
    assert said in str(stopped.value)


def test_a_file_of_something_else_is_refused_with_the_line(tmp_path: Path) -> None:
    samples = stored_samples(1)
    del samples[1]["correct"]
    path = write_samples(tmp_path / "other.jsonl", samples)
    with pytest.raises(ValueError, match=r"line 2: no sample of an evaluation, which has 'correct'"):
        load_rows(f"selected:shortest_right?samples={path}")
