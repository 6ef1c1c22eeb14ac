"""Labels of redundancy: whose thinking is read, what comes of each bad input, and how two judges are compared."""

import json
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import Field

from concise_rl.errors import EngineError
from concise_rl.labels.judges import JudgeOptions, Passage, judge_class, judge_options
from concise_rl.labels.labeller import Agreement, Labeller, Labels, PassageKind, agreement, build_labeller
from concise_rl.reading.trace import Delimiters, read_trace
from concise_rl.tasks.tiny import load_problems
from concise_rl.tasks.tiny.model import build_tokenizer
from concise_rl.tasks.tiny.traces import CARELESS, overthinking_completion
from concise_rl.verify.grade import grade
from concise_rl.verify.pool import VerifierPool

TOKENIZER = build_tokenizer()
DELIMITERS = Delimiters.of(TOKENIZER, [TOKENIZER.eos_token_id], "</think>")
ROW = {"prompt": "?", "answer": "7"}
FIRST = "<think>\n3 + 4 = 7\nSo 7.\n"
SECOND = "Wait, let me check.\n3 + 4 = 7\nYes, 7.\n"
THIRD = "Hmm, check again.\n3\n"


class SpyJudge:
    """Knows by the word `So` or `Yes` that a passage states the answer, and cannot tell where there is `Hmm`."""

    class Options(JudgeOptions):
        """What can be set."""

        loudness: int = Field(1, ge=1, le=3)
        """Nothing depends on it."""

    def __init__(self, options: Options, verifier: VerifierPool) -> None:
        self.options, self.verifier = options, verifier
        self.counters: Counter[str] = Counter(calls=0)
        self.passages: list[Passage] = []
        self.closed = False

    def states(self, passages: Sequence[Passage]) -> list[bool | None]:
        self.counters["calls"] += 1
        self.passages += passages
        return [None if "Hmm" in p.text else "So" in p.text or "Yes" in p.text for p in passages]

    def close(self) -> None:
        self.closed = True


class FailingJudge(SpyJudge):
    def states(self, passages: Sequence[Passage]) -> list[bool | None]:
        raise EngineError("the judge is gone")


def labeller_of(
    passage: PassageKind = "chunk", judge: str = f"{__name__}.SpyJudge", options: Mapping[str, Any] | None = None
) -> Labeller:
    return build_labeller(passage, judge, options, DELIMITERS, TOKENIZER, VerifierPool("exact"))


def label(labeller: Labeller, *texts: str, verdicts: Sequence[float | None] | None = None) -> list[Labels]:
    completions = [[*TOKENIZER.encode(text, add_special_tokens=False), TOKENIZER.eos_token_id] for text in texts]
    traces = [read_trace(ids, DELIMITERS) for ids in completions]
    return labeller.label([ROW] * len(texts), completions, traces, verdicts or [1.0] * len(texts))


def size(text: str) -> int:
    return len(TOKENIZER.encode(text, add_special_tokens=False))


def test_thinking_after_the_first_passage_that_states_the_answer_is_redundant() -> None:
    (labels,) = label(labeller_of(), f"{FIRST}{SECOND}{THIRD}</think>\n7")
    first, thinking = size(FIRST), size(FIRST + SECOND + THIRD)
    assert labels.spans == ((0, first), (first, size(FIRST + SECOND)), (size(FIRST + SECOND), thinking))
    assert (labels.first, labels.think_length, labels.redundant) == (0, thinking, (first, thinking))
    assert labels.necessary == pytest.approx(1 / 3)


def test_nothing_is_redundant_when_the_last_passage_is_the_first_to_state_the_answer() -> None:
    (labels,) = label(labeller_of(), f"<think>\n3 + 4 = 6\n7\n{SECOND}</think>\n7")
    assert labels.first == 1 and labels.necessary == 1.0
    assert labels.redundant == (labels.think_length, labels.think_length)


def test_thinking_that_never_states_the_answer_has_no_redundancy_and_is_counted() -> None:
    labeller = labeller_of()
    (labels,) = label(labeller, f"<think>\n3 + 4\n{THIRD}</think>\n7")
    assert labels.first is None and labels.necessary == 0.0
    assert labels.redundant == (labels.think_length, labels.think_length)
    assert labeller.counters["not_stated"] == 1 and labeller.counters["stated"] == 0


@pytest.mark.parametrize("kind", ["chunk", "sentence", "line"])
def test_empty_thinking_has_no_passages_and_is_counted(kind: PassageKind) -> None:
    labeller = labeller_of(kind)
    (labels,) = label(labeller, "</think>\n7")
    assert labels == Labels((), None, 0) and labels.redundant == (0, 0) and labels.necessary == 0.0
    assert labeller.counters["no_thinking"] == 1


def test_a_model_that_does_not_think_has_no_passages() -> None:
    delimiters = Delimiters.of(TOKENIZER, [TOKENIZER.eos_token_id], None)
    labeller = build_labeller("chunk", f"{__name__}.SpyJudge", None, delimiters, TOKENIZER, VerifierPool("exact"))
    ids = TOKENIZER.encode("So 7.", add_special_tokens=False)
    assert labeller.label([ROW], [ids], [read_trace(ids, delimiters)], [1.0]) == [Labels((), None, 0)]


def test_only_right_completions_are_judged_and_the_others_have_passages_without_a_first() -> None:
    labeller = labeller_of()
    labels = label(labeller, *[f"{FIRST}{SECOND}</think>\n7"] * 3, verdicts=[0.0, 1.0, None])
    assert [one.first for one in labels] == [None, 0, None]
    assert [len(one.spans) for one in labels] == [2, 2, 2]
    assert labeller.counters["judged"] == 1 and labeller.counters["passages"] == 2


def test_without_a_delimiter_all_but_the_eos_is_thinking() -> None:
    (labels,) = label(labeller_of(), FIRST + SECOND, verdicts=[0.0])
    assert labels.spans[-1][1] == labels.think_length == size(FIRST + SECOND)


def test_with_several_delimiters_the_thinking_ends_at_the_first() -> None:
    (labels,) = label(labeller_of(), f"{FIRST}</think>\n{SECOND}</think>\n7", verdicts=[0.0])
    assert labels.spans == ((0, size(FIRST)),) and labels.think_length == size(FIRST)


def test_the_judge_is_called_once_and_sees_row_text_and_what_comes_before() -> None:
    labeller = labeller_of()
    label(labeller, f"{FIRST}{SECOND}</think>\n7", f"{FIRST}</think>\n7")
    assert isinstance(labeller.judge, SpyJudge) and labeller.judge.counters["calls"] == 1
    seen = [(p.row, p.text, p.before) for p in labeller.judge.passages]
    assert seen == [(ROW, FIRST, ""), (ROW, SECOND, FIRST), (ROW, FIRST, "")]


def test_what_the_judge_cannot_tell_counts_as_no_and_is_counted() -> None:
    labeller = labeller_of()
    (labels,) = label(labeller, f"<think>\n3\n4\nHmm, So 7.\n3\n{SECOND}</think>\n7")
    assert labels.first == 2 and labeller.counters["unsure"] == 1


def test_a_judge_that_fails_ends_the_labelling() -> None:
    with pytest.raises(EngineError, match="the judge is gone"):
        label(labeller_of(judge=f"{__name__}.FailingJudge"), f"{FIRST}</think>\n7")


def test_counters_hold_the_judges_own_and_can_be_set_back() -> None:
    labeller = labeller_of()
    label(labeller, f"{FIRST}</think>\n7")
    counted = {"judged": 1, "stated": 1, "not_stated": 0, "no_thinking": 0, "passages": 1, "unsure": 0, "calls": 1}
    assert labeller.counters == counted
    labeller.reset_counters()
    assert labeller.counters == dict.fromkeys(counted, 0)


def test_closing_closes_the_judge() -> None:
    labeller = labeller_of()
    labeller.close()
    assert isinstance(labeller.judge, SpyJudge) and labeller.judge.closed


def test_the_rule_agrees_with_the_oracle_on_sums_in_which_slips_are_found() -> None:
    rng, rows, completions = random.Random(0), load_problems("train", 40), []
    for row in rows:
        text = overthinking_completion(json.loads(row["metadata"])["expression"], rng, CARELESS)
        completions.append([*TOKENIZER.encode(text, add_special_tokens=False), TOKENIZER.eos_token_id])
    traces = [read_trace(ids, DELIMITERS) for ids in completions]
    with VerifierPool("reasoning_gym", workers=1) as pool:
        verdicts = grade(traces, rows, TOKENIZER, pool)
        rule, oracle = (
            build_labeller("line", judge, None, DELIMITERS, TOKENIZER, pool).label(rows, completions, traces, verdicts)
            for judge in ("rule", "oracle")
        )
    found = agreement(rule, oracle)
    assert found.redundant > 1000 and found.precision == found.recall == 1.0


def test_a_judge_of_the_users_own_is_named_by_its_path_and_gets_options_and_verifier() -> None:
    judge = labeller_of(options={"loudness": 2}).judge
    assert isinstance(judge, SpyJudge) and judge.options.loudness == 2 and judge.verifier.name == "exact"


@pytest.mark.parametrize(
    ("passage", "judge", "options", "says"),
    [
        ("chunks", "rule", {}, "Unknown kind of passage 'chunks'. Did you mean 'chunk'"),
        ("chunk", "rules", {}, "Unknown judge 'rules'. Did you mean 'rule'"),
        ("chunk", "rule", {"max_word": 3}, "option of judge 'rule': 'max_word'. Did you mean 'max_words'"),
        ("chunk", "rule", {"max_words": 0}, "Options of judge 'rule': max_words"),
        ("chunk", "oracle", {"exact": True}, "option of judge 'oracle': 'exact'"),
        ("chunk", "concise_rl.labels.labeller.Labels", {}, "is not a judge"),
        ("chunk", "concise_rl.labels.labeller.Label", {}, "Did you mean 'Labels'"),
    ],
)
def test_a_misspelt_name_is_an_error_that_names_the_nearest(passage: Any, judge: str, options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        labeller_of(passage, judge, options)


def test_every_option_of_every_judge_is_documented() -> None:
    for name in ("rule", "model", "oracle"):
        assert all(field.description for field in judge_class(name).Options.model_fields.values())
        assert judge_options(name) == judge_options(name, {})


def labels_of(redundant: tuple[int, int], think_length: int = 10) -> Labels:
    """Labels of thinking whose tokens in a span are redundant, up to its end."""
    start, end = redundant
    spans = ((0, start), (start, think_length)) if start < end else ((0, think_length),)
    labels = Labels(spans, 0 if start < end else None, think_length)
    assert labels.redundant == redundant
    return labels


def test_agreement_counts_tokens_over_all_completions() -> None:
    labels = [labels_of((4, 10)), labels_of((10, 10)), labels_of((8, 10))]
    truth = [labels_of((7, 10)), labels_of((5, 10)), labels_of((8, 10))]
    assert agreement(labels, truth) == Agreement(precision=5 / 8, recall=5 / 10, f1=10 / 18, found=8, redundant=10)


def test_agreement_is_nan_where_there_is_nothing_to_be_right_about() -> None:
    nothing, something = [labels_of((10, 10))], [labels_of((5, 10))]
    assert math.isnan(agreement(nothing, something).precision) and agreement(nothing, something).recall == 0.0
    assert math.isnan(agreement(something, nothing).recall) and agreement(something, nothing).precision == 0.0
    assert math.isnan(agreement(nothing, nothing).f1)


def test_the_last_tokens_of_each_redundant_passage_can_be_left_out() -> None:
    labels = Labels(((0, 3), (3, 6), (6, 7), (7, 11)), 0, 11)
    assert labels.redundant_tokens() == list(range(3, 11))
    assert labels.redundant_tokens(skip_last=2) == [3, 7, 8]
