"""The rule judge: which answers it reads out of a passage, and the real verifiers on them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from concise_rl.labels.judges import Passage, build_judge
from concise_rl.labels.judges.claims import claims
from concise_rl.verify.pool import Item, VerifierPool


@pytest.fixture(scope="module")
def math() -> Iterator[VerifierPool]:
    with VerifierPool("math", workers=1) as pool:
        yield pool


def stated_answers(text: str) -> list[str]:
    """What is claimed, each once."""
    return list(dict.fromkeys(claim.text for claim in claims(text)))


def passage(text: str, answer: str, **fields: Any) -> Passage:
    return Passage({"prompt": "?", "answer": answer, **fields}, text, 0, len(text))


def states(pool: VerifierPool, *passages: Passage, **options: Any) -> list[bool | None]:
    return build_judge("rule", options, pool).states(passages)


def explode(response: str, row: Mapping[str, Any]) -> bool:
    """A verifier that raises on what is no number."""
    return float(response) == float(row["answer"])


def abstain(response: str, row: Mapping[str, Any]) -> bool | None:
    """A verifier that cannot judge 5."""
    return None if response == "5" else response == row["answer"]


class CountingPool(VerifierPool):
    """Notes what it is asked."""

    def judge(self, items: Sequence[Item]) -> list[float | None]:
        self.asked = [response for response, _ in items]
        return super().judge(items)


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        (r"Thus \boxed{\frac{3}{4}} it is", [r"\frac{3}{4}"]),
        ("So 7.\n", ["7"]),
        ("Yes, -7.\n", ["-7"]),
        ("**Final Answer:** 12", ["12"]),
        ("The answer is B.", ["B"]),
        ("So the answer is no.", ["no"]),
        (r"which gives \(\frac{1}{2}\).", [r"\frac{1}{2}"]),
        (r"\[ x = (2, 5] \]", ["(2, 5]"]),
        (r"&= 12 \\", ["12"]),
        ("f(2) = 2*2 + 1 = 5, that is enough", ["5", "enough"]),
        ("that makes 3.14. Good", ["3.14"]),
        ("(so it is 12).", ["12"]),
        ("the ratio is 3:4", ["3:4"]),
        ("x is [2, 5), which I should check", ["[2, 5)", "[2, 5), which I should check"]),
        ("The roots are 2 and 3.", ["2", "2 and 3"]),
    ],
)
def test_what_is_said_as_a_result_is_an_answer(text: str, answers: list[str]) -> None:
    assert stated_answers(text) == answers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Is it 12?",
        "Let x = 3",
        "If x = 3 there is more",
        "Suppose it is 12.",
        "x >= 5",
        "7 apples",
        "Yes.",
        r"\boxed{",
    ],
)
def test_questions_suppositions_and_the_rest_state_no_result_with_a_number(text: str) -> None:
    assert not any(character.isdigit() for answer in stated_answers(text) for character in answer)


@pytest.mark.parametrize("text", ["3 + 4 = 7\n7 + 2 = 9\n", "3 plus 4 is 7.\n7 plus 2 is 9.\n"])
def test_a_step_whose_result_the_next_line_goes_on_with_is_no_answer(text: str) -> None:
    assert stated_answers(text) == ["9"]


def test_the_next_line_may_be_in_the_next_passage(math: VerifierPool) -> None:
    thinking, row = "3 + 4 = 7\n7 + 0 = 7\n", {"prompt": "?", "answer": "7"}
    assert states(math, Passage(row, thinking, 0, 10), Passage(row, thinking, 10, 20)) == [False, True]


def test_a_result_that_only_begins_like_an_operand_of_the_next_line_is_an_answer() -> None:
    assert stated_answers("3 + 4 = 7\nWait, 70 + 2 = 72\n") == ["7", "72"]
    assert stated_answers("3 + 4 = 7\nWait, 7 + 2 = 9\n") == ["9"]


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ("So x = 0.5.", r"\frac{1}{2}"),
        (r"Therefore, the probability is \(\frac{2}{4}\).", "1/2"),
        (r"we get $2\sqrt{3}$.", r"\sqrt{12}"),
        ("So the interval is [2, 5).", "[2,5)"),
        (r"\[ \boxed{(3, \frac{\pi}{2})} \]", r"\left( 3, \frac{\pi}{2} \right)"),
        ("x = 5 - 2 = 3", "3"),
    ],
)
def test_gold_answers_that_are_expressions_are_found(math: VerifierPool, text: str, gold: str) -> None:
    assert states(math, passage(text, gold)) == [True]


@pytest.mark.parametrize(
    ("text", "gold"),
    [("So x = 0.25.", r"\frac{1}{2}"), ("Let me check.", "3"), ("x lies in (2, 5).", "[2,5)"), ("", "3")],
)
def test_other_answers_and_none_are_not_the_gold_answer(math: VerifierPool, text: str, gold: str) -> None:
    assert states(math, passage(text, gold)) == [False]


def test_verifiers_by_choice_and_by_text_work_too() -> None:
    with VerifierPool("choice", workers=1) as choice, VerifierPool("exact", workers=1) as exact:
        assert states(choice, passage("So the answer is (B).", "B"), passage("So it is A.", "B")) == [True, False]
        assert states(exact, passage("So it is a red  fox.", "a red fox")) == [True]


def test_each_answer_to_a_row_is_judged_once_for_all_passages() -> None:
    passages = [passage("So 7. Yes, 7.", "7"), passage("No, 7.", "7"), passage("So 7.", "8"), passage("So 6.", "7")]
    with CountingPool("exact", workers=1) as pool:
        judge = build_judge("rule", None, pool)
        assert judge.states(passages) == [True, True, False, False]
    assert sorted(pool.asked[:-1]) == ["6", "7", "7"]
    assert judge.counters["answers"] == 3


def test_rows_that_differ_in_what_the_verifier_may_read_are_not_taken_for_one() -> None:
    with CountingPool("exact", workers=1) as pool:
        assert states(pool, passage("So 7.", "7", unit="m"), passage("So 7.", "7", unit="s")) == [True, True]
    assert pool.asked[:-1] == ["7", "7"]


def test_the_verifier_keeps_its_counts_of_whole_completions() -> None:
    with VerifierPool("exact", workers=1) as pool:
        pool.judge([("7", {"answer": "7"})])
        before = dict(pool.counters)
        states(pool, passage("So 7.", "7"), passage("So 6.", "7"))
        assert dict(pool.counters) == before


def test_no_verdict_on_an_answer_is_none_unless_another_answer_is_right() -> None:
    passages = [passage("So 5.", "7"), passage("So 5. No, 7.", "7"), passage("So 6.", "7")]
    with VerifierPool(f"{__name__}.abstain", workers=1) as pool:
        judge = build_judge("rule", None, pool)
        assert judge.states(passages) == [None, True, False]
    assert judge.counters["unjudged_answers"] == 1


def test_a_verifier_that_raises_on_all_that_is_no_answer_is_not_taken_for_a_broken_one() -> None:
    passages = [passage(f"It is {word}.", "7") for word in ("so", "a", "b", "c", "d", "e", "f", "g", "h", "i")]
    with VerifierPool(f"{__name__}.explode", workers=1) as pool:
        assert set(states(pool, *passages)) <= {None, False}
        assert states(pool, *passages, passage("It is 7.", "7"))[-1] is True


def test_answers_that_are_prose_are_left_out() -> None:
    with CountingPool("exact", workers=1) as pool:
        long = "red and green foxes"
        states(pool, passage(f"It is {long}.", "fox"), max_words=4)
        assert long in pool.asked
        states(pool, passage(f"It is {long}. So fox.", "fox"), max_words=3)
        assert long not in pool.asked
        assert states(pool, passage(f"It is {'9' * 121}.", "7")) == [False]
        assert states(pool, passage(f"It is {'9' * 121}.", "9" * 121)) == [True]


@pytest.mark.parametrize("gold", ["x^3 + 3 x^2 y + 3 x y^2 + y^3", "1, 2, 3, 4, 5, 6, 7, 8, 9"])
def test_a_gold_answer_of_many_words_is_found(gold: str) -> None:
    with CountingPool("exact", workers=1) as pool:
        assert states(pool, passage(rf"So the answer is \boxed{{{gold}}}.", gold)) == [True]


def test_no_passages_are_no_work() -> None:
    assert states(VerifierPool("exact")) == []


@pytest.mark.parametrize(
    "text", ["=", "a = ", ". ", r"\boxed{", "*", "is ", "( ", "3 is 4 ", "\\\\ ", "so, ", "3 = 4\n", " \t"], ids=repr
)
def test_monotonous_text_is_read_in_time_linear_in_its_length(text: str) -> None:
    def once(length: int) -> float:
        began = time.thread_time()
        stated_answers((text * length)[:length])
        return time.thread_time() - began

    def seconds(length: int) -> float:
        return min(once(length) for _ in range(5))  # what else the machine does only ever adds

    assert seconds(40_000) < 30 * seconds(4_000) + 0.05
