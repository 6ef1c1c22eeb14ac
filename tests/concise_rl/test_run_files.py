"""Files of lines that one process writes and another reads."""

import json
from pathlib import Path

import pytest

from concise_rl.files import append_line, forget_later, read_lines


def test_a_line_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    append_line(file, {"step": 1, "text": "zwölf\n"})
    with file.open("a") as open_file:
        open_file.write('{"step": 2, "lo')
    assert read_lines(file) == [{"step": 1, "text": "zwölf\n"}]


def test_no_file_has_no_lines(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize("line", ["[1]", '{"step": 2, "lo{"step": 1}', "\udcff"])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"step": 1}\n' + line.encode(errors="surrogateescape") + b"\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 is no JSON object"):
        read_lines(file)


def test_later_steps_are_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "rollouts.jsonl"
    file.write_text("".join(json.dumps({"step": step}) + "\n" for step in (1, 1, 2, 3)) + '{"st')
    forget_later(file, 2)
    assert [line["step"] for line in read_lines(file)] == [1, 1, 2]
