"""The forms in which models choose."""

import pytest

from concise_rl.verify.verifiers.text import choice


@pytest.mark.parametrize(
    "response",
    [
        "Option A is too small. Option B is too large. The answer is C.",
        "The answer is C because option A is too small.",
        "Option B fails, choice D fails; so the answer must be C.",
        '"answer": "C"',
        '{"answer": "C"}',
        "'answer': 'C'",
        "ANSWER: [C]",
        "**Answer**: C",
        "**Answer: C**",
        'Answer: "C"',
        "answer=C",
        "Answer\n\nC",
        "<answer>C</answer>",
        r"\boxed{Option C}",
        r"\boxed{\text{Option C}}",
        r"\boxed{\textbf{(C) } 12}",
        r"\boxed{}, that is \boxed{C}",
        r"\fbox{C}",
        r"$\text{(C)}$",
        r"The answer is $\text{C}$.",
        "The correct answer is **(C)**.",
        "The answer is C, not B.",
        "C is the correct answer.",
        "The correct option is C.",
        "Option C is correct.",
        "[C]",
        "The answer is A. Wait, that is wrong. The answer is C.",
        '"answer": "A"\nNo, that fails.\n{"answer": "C"}',
        "The answer is C. Answer choice A is too small.",
        'Answer: "C"\n(the answer A would need n = 3)',
    ],
)
def test_the_claim_with_answer_wins_in_each_published_form(response: str) -> None:
    assert choice(response, {"answer": "C"}) is True


@pytest.mark.parametrize(
    "response",
    [
        "The answer isn't C.",
        "The answer is not C.",
        "The answer is A or C",
        "The answer is A. No, it is C.",
        "Cats are C.",
        "Answer: (A) (B) (C) (D)",
        'Answer: "C" or "D"',
        "Answer: A-C",
        "Answer: C\nAnswer: A",
    ],
)
def test_a_denied_or_second_choice_is_wrong(response: str) -> None:
    assert choice(response, {"answer": "C"}) is False


def test_an_article_is_no_choice() -> None:
    assert choice("Answer: A bird in the hand", {"answer": "A"}) is False
    assert choice('"answer": "A bird"', {"answer": "A"}) is False
