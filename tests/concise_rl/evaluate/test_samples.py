import json
import logging
import os
from pathlib import Path

import pytest

from concise_rl.evaluate.samples import Sample, append_samples, cut_torn_line, read_samples
from concise_rl.files import write_atomically
from tests.concise_rl.evaluate.fabric import given_up, labelled, sample


def test_samples_come_back_as_they_were_written(tmp_path: Path) -> None:
    samples = [
        sample(0, 0, text='two\nlines \u2028 and "quotes"'),
        sample(0, 1, correct=None, difficulty=3, oracle_length=9),
        given_up(0, 2),
    ]
    append_samples(tmp_path / "a.jsonl", samples)
    assert list(read_samples(tmp_path / "a.jsonl")) == samples


def test_no_file_holds_no_samples(tmp_path: Path) -> None:
    assert list(read_samples(tmp_path / "a.jsonl")) == []


def test_a_torn_last_line_is_passed_over_and_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.jsonl"
    append_samples(path, [sample(0, 0), sample(0, 1)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    assert [s.sample for s in read_samples(path)] == [0]
    with caplog.at_level(logging.WARNING):
        cut_torn_line(path)
    assert path.read_bytes() == whole[: whole.index(b"\n") + 1]
    assert str(path) in caplog.text


def test_cutting_leaves_a_complete_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_samples(path, [sample(0, 0)])
    whole = path.read_bytes()
    cut_torn_line(path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("length", "20"),
        ("length", 19),
        ("correct", 2),
        ("stop_reason", "bored"),
        ("answer", None),
        ("surplus", 1),
        ("sampled", 21),
    ],
)
def test_a_corrupt_line_is_named_by_file_line_and_field(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "a.jsonl"
    append_samples(path, [sample(0, 0), sample(0, 1), sample(0, 2)])
    lines = path.read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | {field: value})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=rf"a\.jsonl, line 2: .*{field}"):
        list(read_samples(path))


def test_labels_come_back_as_they_were_written(tmp_path: Path) -> None:
    samples = [labelled(0, 0, first=1, redundant=5, overshoot=7), labelled(0, 1, first=None)]
    append_samples(tmp_path / "a.jsonl", samples)
    assert list(read_samples(tmp_path / "a.jsonl")) == samples


def test_a_line_from_before_places_were_kept_is_read(tmp_path: Path) -> None:
    old = labelled(0, 0, redundant=5, overshoot=5).model_dump(exclude={"labels": {"redundant_at"}})
    (tmp_path / "a.jsonl").write_text(json.dumps(old) + "\n")
    (found,) = read_samples(tmp_path / "a.jsonl")
    assert found.labels is not None and found.labels.redundant == 5 and found.labels.redundant_at is None


def test_a_line_from_before_thinking_was_read_is_read_and_claims_nothing(tmp_path: Path) -> None:
    old = sample(0, 0).model_dump(exclude={"reflections", "labels"})
    (tmp_path / "a.jsonl").write_text(json.dumps(old) + "\n")
    (found,) = read_samples(tmp_path / "a.jsonl")
    assert (found.reflections, found.labels, found.measures) == (None, None, {})


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"first": 4}, "passage 4 is none of 4"),
        ({"first": None, "redundant": 1, "overshoot": 1}, "never states the answer"),
        ({"redundant": 3, "overshoot": 2}, "less than the 3 redundant tokens"),
        ({"overshoot": 17}, "overshoot is 17, but think_length is 16"),
        ({"redundant_at": 3}, "redundant_at is 3, but no token is redundant"),
        ({"redundant": 1, "overshoot": 1, "redundant_at": 99}, "redundant_at is 99, but the text ends at 20"),
        ({"passages": 4.0}, "passages"),
    ],
)
def test_labels_that_contradict_themselves_are_refused(labels: dict[str, object], said: str) -> None:
    sound = {"passages": 4, "first": 1, "redundant": 0, "overshoot": 0}
    with pytest.raises(ValueError, match=said):
        sample(0, 0, labels=sound | labels)


def test_only_a_correct_sample_has_labels() -> None:
    with pytest.raises(ValueError, match="labels are for correct completions"):
        sample(0, 0, correct=0, labels={"passages": 4, "first": 1, "redundant": 0, "overshoot": 0})


@pytest.mark.parametrize("claim", [{"correct": 0}, {"answer": "7"}, {"finished": True}])
def test_a_sample_that_was_given_up_has_neither_end_nor_answer_nor_verdict(claim: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="was given up has no end, no answer and no verdict"):
        Sample.model_validate(given_up(0, 0).model_dump() | claim)


def test_a_line_from_before_tokens_could_be_forced_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(sample(0, 0).model_dump(exclude={"sampled"})) + "\n")
    assert [s.sampled for s in read_samples(tmp_path / "a.jsonl")] == [None]


def test_a_line_of_garbage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_samples(path, [sample(0, 0)])
    path.write_bytes(path.read_bytes() + b"\x00\x00\n")
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2: line: Invalid JSON"):
        list(read_samples(path))


def test_a_sample_written_twice_is_refused_rather_than_counted_twice(tmp_path: Path) -> None:
    append_samples(tmp_path / "a.jsonl", [sample(0, 0), sample(1, 0), sample(0, 0)])
    with pytest.raises(ValueError, match=r"line 3: problem 0, sample 0 is in line 1 too"):
        list(read_samples(tmp_path / "a.jsonl"))


def test_a_full_disk_leaves_the_previous_file_and_no_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    write_atomically(path, "before")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
