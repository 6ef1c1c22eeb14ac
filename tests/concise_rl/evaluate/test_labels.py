import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.evaluate.labels import ThinkingReader
from concise_rl.evaluate.samples import ThinkingLabels
from concise_rl.labels.judges import Judge, JudgeOptions, Passage, build_judge
from concise_rl.labels.labeller import build_labeller
from concise_rl.reading.trace import Delimiters, read_trace
from concise_rl.verify.pool import VerifierPool
from tests.concise_rl.evaluate.fabric import TOKENIZER

DELIMITERS = Delimiters.of(TOKENIZER, [TOKENIZER.eos_token_id], "</think>")
ROW = {"prompt": "1 + 2 + 4 =", "answer": "7"}
FIRST_PASS = "1 + 2 = 3\n3 + 4 = 7\nSo 7.\n"
CHECK = "Wait, let me check.\n1 + 2 = 3\n3 + 4 = 7\nYes, 7.\n"


class SaysSeven:
    """Takes any passage with a 7 in it for a statement, and cannot tell where there is a 9."""

    class Options(JudgeOptions):
        """It has none."""

    def __init__(self, options: Options, verifier: VerifierPool) -> None:
        self.counters: Counter[str] = Counter()
        self.read: list[Passage] = []

    def states(self, passages: Sequence[Passage]) -> list[bool | None]:
        self.read += passages
        return [None if "9" in passage.text else "7" in passage.text for passage in passages]

    def close(self) -> None:
        """Nothing is held."""


def seven() -> SaysSeven:
    return SaysSeven(SaysSeven.Options(), VerifierPool("exact"))


def completion(thinking: str, answer: str = "7") -> list[int]:
    return [
        *TOKENIZER.encode(f"<think>\n{thinking}</think>\n{answer}", add_special_tokens=False),
        TOKENIZER.eos_token_id,
    ]


def size(text: str) -> int:
    return len(TOKENIZER.encode(text, add_special_tokens=False))


def at(before: str) -> int:
    """Characters of a completion whose thinking begins so."""
    return len(f"<think>\n{before}")


def read(judge: Judge, *thinking: str, verdicts: Sequence[float | None] | None = None) -> list[ThinkingLabels | None]:
    ids = [completion(text) for text in thinking]
    traces = [read_trace(one, DELIMITERS) for one in ids]
    return ThinkingReader.of(judge, TOKENIZER, DELIMITERS).read(
        [ROW] * len(ids), ids, traces, verdicts or [1.0] * len(ids)
    )


def test_redundant_is_what_follows_the_chunk_and_overshoot_what_follows_the_line() -> None:
    assert read(seven(), FIRST_PASS + CHECK + CHECK) == [
        ThinkingLabels(
            passages=3,
            first=0,
            redundant=2 * size(CHECK),
            overshoot=size("So 7.\n") + 2 * size(CHECK),
            redundant_at=at(FIRST_PASS),
        )
    ]


def test_a_later_chunk_may_be_the_first_that_states_the_answer() -> None:
    slipped = FIRST_PASS.replace("7", "8")
    assert read(seven(), slipped + CHECK + CHECK) == [
        ThinkingLabels(
            passages=3,
            first=1,
            redundant=size(CHECK),
            overshoot=size("Yes, 7.\n") + size(CHECK),
            redundant_at=at(slipped + CHECK),
        )
    ]


def test_thinking_that_never_states_the_answer_has_nothing_redundant() -> None:
    slipped = (FIRST_PASS + CHECK).replace("7", "8")
    assert read(seven(), slipped) == [ThinkingLabels(passages=2, first=None, redundant=0, overshoot=0)]


def test_no_thinking_at_all_has_no_passages() -> None:
    ids = [*TOKENIZER.encode("</think>\n7", add_special_tokens=False), TOKENIZER.eos_token_id]
    reader = ThinkingReader.of(seven(), TOKENIZER, DELIMITERS)
    found = reader.read([ROW], [ids], [read_trace(ids, DELIMITERS)], [1.0])
    assert found == [ThinkingLabels(passages=0, first=None, redundant=0, overshoot=0)]


def test_only_correct_completions_are_read_and_the_others_keep_their_places() -> None:
    judge = seven()
    one, two, three = read(judge, CHECK, FIRST_PASS, FIRST_PASS + CHECK, verdicts=[0.0, None, 1.0])
    assert (one, two) == (None, None)
    assert three is not None and three.passages == 2
    assert {passage.thinking for passage in judge.read} == {f"<think>\n{FIRST_PASS}{CHECK}"}


def test_lines_are_read_only_in_the_chunk_that_states_the_answer_and_in_their_thinking() -> None:
    judge = seven()
    read(judge, CHECK.replace("7", "8") + CHECK + CHECK)
    chunks, lines = judge.read[:3], judge.read[3:]
    assert "".join(line.text for line in lines) == chunks[1].text == CHECK
    assert [line.before for line in lines] == list(
        itertools.accumulate([line.text for line in lines[:-1]], initial=chunks[1].before)
    )


def test_a_chunk_that_no_line_of_states_the_answer_by_itself_counts_to_its_end() -> None:
    class Whole(SaysSeven):
        """Wants both lines."""

        def states(self, passages: Sequence[Passage]) -> list[bool | None]:
            return ["= 3" in passage.text and "= 7" in passage.text for passage in passages]

    assert read(Whole(Whole.Options(), VerifierPool("exact")), FIRST_PASS + CHECK) == [
        ThinkingLabels(passages=2, first=0, redundant=size(CHECK), overshoot=size(CHECK), redundant_at=at(FIRST_PASS))
    ]


def test_passages_that_the_judge_could_not_tell_about_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    reader = ThinkingReader.of(seven(), TOKENIZER, DELIMITERS)
    ids = completion(FIRST_PASS.replace("3", "9") + CHECK)
    labels = reader.read([ROW], [ids], [read_trace(ids, DELIMITERS)], [1.0])
    reader.warn_if_unsure("grpo")
    assert labels[0] is not None and labels[0].first == 1
    assert "grpo: the judge could not tell about 1 of 2 passages." in caplog.text


def test_the_rule_reads_the_running_total_that_ends_the_pass_as_the_answer() -> None:
    with VerifierPool("exact", workers=1) as verifier:
        judge = build_judge("rule", None, verifier)
        assert read(judge, FIRST_PASS + CHECK) == read(seven(), FIRST_PASS + CHECK)


@given(st.lists(st.sampled_from(["3 + 4 = 7\n", "So 7.\n", "1 + 2 = 3\n", "Wait", ",", " let me check.\n", "\n"])))
def test_the_overshoot_is_never_less_than_the_redundant_tokens_nor_more_than_the_thinking(pieces: list[str]) -> None:
    thinking = "".join(pieces)
    (labels,) = read(seven(), thinking)
    assert labels is not None
    assert labels.redundant <= labels.overshoot < size(f"<think>\n{thinking}") or labels.overshoot == 0


@given(
    st.lists(st.sampled_from(["3 + 4 = 7\n", "So 7.\n", "1 + 2 = 3\n", "Wait, let me check.\n", "But is it right?\n"]))
)
def test_labels_are_those_that_training_gives(pieces: list[str]) -> None:
    ids = completion("".join(pieces))
    trace = read_trace(ids, DELIMITERS)
    (found,) = read(seven(), "".join(pieces))
    labeller = build_labeller("chunk", f"{__name__}.SaysSeven", None, DELIMITERS, TOKENIZER, VerifierPool("exact"))
    (label,) = labeller.label([ROW], [ids], [trace], [1.0])
    assert found is not None
    assert (found.first, found.redundant) == (label.first, label.redundant[1] - label.redundant[0])
