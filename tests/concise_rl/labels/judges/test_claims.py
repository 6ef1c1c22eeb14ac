"""What prose claims, and what it only mentions."""

import json
import time
from pathlib import Path

import pytest

from concise_rl.labels.judges import Passage, build_judge
from concise_rl.labels.judges.claims import claims
from concise_rl.verify.pool import VerifierPool

RATIONALES = Path(__file__).parents[5] / "shared" / "data" / "gsm8k_rationales.jsonl"


def claimed(text: str, problem: str = "") -> set[str]:
    return {claim.text for claim in claims(text, problem, plain=True)}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("So the new value is 120,000+80,000=$200,000", "200000"),
        ("Thus, there are a total of 9 + 6 = 15 liters of water out of the 24 liters.", "15"),
        ("And 120/60=2 hours.", "2"),
        ("If Carla is 99 years old now, in 10 years she will be 99+10 = 109 years old", "109"),
        ("32 / 96 * 100% = 33.333...%, which rounds down to 33%", "33"),
        ("They need to raise $26 more because 200 minus 174 equals 26.", "26"),
        ("x=105(2/7)=30 players", "30"),
        (r"So it costs \$1{,}250 in all.", "1250"),
        (r"which gives \(5 \times 7 = 35\).", "35"),
        ("So he has 4 * $4.00 = $16.00", "16"),
        ("So the answer is seven.", "7"),
        ("That makes twenty-one eggs in total.", "21"),
        ("The temperature is 3 - 8 = -5 degrees", "-5"),
        ("So -8.", "-8"),
        ("Finally, 6 * 7 = **42**.", "42"),
        ("80 - 54 = 26 people did not get a second one.", "26"),
        ("Let me add them: 20 + 15 = 35.", "35"),
        ("So he could buy 9000/5 = 1800 books.", "1800"),
        ("In May he sold 4 + 5 = 9 cars.", "9"),
    ],
)
def test_a_result_is_claimed(text: str, number: str) -> None:
    assert number in claimed(text)


@pytest.mark.parametrize(
    "text",
    [
        "Suppose the answer is 6.",
        "Let x = 6.",
        "Let's say it is 6.",
        "If the answer were 6, I would be done.",
        "Maybe it is 6.",
        "It might be 6.",
        "Could it be 6?",
        "So 6, right?",
        "So it is not 6.",
        "It isn't equal to 6.",
        "It can't be 6.",
        "So 6 is wrong.",
        "So 6 can't be right.",
        "I get 6. Wait, that's not right.",
        "So it is 6. Oh, I miscalculated.",
        "My first guess is 6.",
        "I have a feeling that it comes to 6.",
        "If n = 2, then n^2+n equals 6",
        "For n = 2, n^2 + n = 6.",
        "Suppose n = 2. Then n^2 + n = 6.",
        "I wonder whether the result is 6.",
        "n^2 != 6",
        "so x = 6y",
        "it is 6 * 7",
        "it is 6 apples + 2 pears",
        "the ratio is 6:7",
        "x lies in [6, 9)",
    ],
)
def test_what_is_supposed_doubted_denied_tried_or_part_of_more_is_not_claimed(text: str) -> None:
    assert "6" not in claimed(text)


@pytest.mark.parametrize("head", ["This many", "That means he has", "So the total is"])
def test_a_supposition_reaches_no_further_than_what_comes_of_it(head: str) -> None:
    assert claimed(f"Suppose the answer is 5. Then it would be odd. {head} 36 - 30 = 6") == {"6"}


def test_a_number_of_the_problem_is_claimed_only_where_something_is_computed_or_concluded() -> None:
    problem = "He has 8 eggs and eats 3. How many are left?"
    assert claimed("He has 8 eggs.", problem) == set()
    assert claimed("Therefore 8 are left.", problem) == claimed("5 + 3 = 8", problem) == {"8"}


@pytest.mark.parametrize(
    "text",
    [
        "80 + 40 = 120\nThe sales were 240\n240 - 120 = 120",
        "64/4 = 16\n56/7 = 8\n16 - 8 = 8",
        "The cost is 2*20 = 40.\nThe rest is 60 - 40 = 20.",
    ],
)
def test_a_result_that_the_thinking_goes_on_with_is_not_the_answer(text: str) -> None:
    first_lines = text.rpartition("\n")[0]
    assert all(claim.end > len(first_lines) for claim in claims(text, plain=True))


@pytest.mark.parametrize(
    "cue",
    [
        "Wait, let me make sure.",
        "Let me double-check that.",
        "Hmm, is that right?",
        "Just to be safe, I'll go over it again.",
        "Alternatively, start from the other end.",
        "To verify this, I take it back.",
        "Let me re-read the question.",
        "Okay, let me recap.",
    ],
)
def test_a_second_look_in_which_the_answer_is_an_operand_leaves_it_the_answer(cue: str) -> None:
    text = f"50 - 8 = 42. {cue} 42 + 8 = 50. So 42."
    assert min(claim.end for claim in claims(text, plain=True) if claim.text == "42") == len("50 - 8 = 42")


def test_a_stumble_that_goes_on_with_a_result_to_a_new_one_shows_that_it_was_not_the_answer() -> None:
    assert claimed("80 + 40 = 120. Wait, there is more. 120 * 3 = 360.") == {"360"}


def test_a_calculation_that_is_said_in_the_terms_of_the_problem_right_behind_is_claimed_there() -> None:
    text = "3 * 81 = $243\nMishka spent $243 on clothing."
    assert [claim.end for claim in claims(text, plain=True)] == [text.index(" on clothing")]
    assert [claim.end for claim in claims("3 + 4 = 7\nSo the answer is 7.", plain=True)] == [9, 28]


def test_a_box_is_claimed_where_it_stands_and_not_where_its_content_stood_before() -> None:
    text = r"Is it 6? Suppose 6. \boxed{6}"
    assert [claim.end for claim in claims(text, plain=True)] == [len(text) - 1]


def test_no_text_claims_nothing() -> None:
    assert claims("") == claims(" \n") == []


@pytest.mark.parametrize(
    "text", ["3 apples ", "if 3, ", "not a ", "let me ", "Wait 3 ", "1,000", "-", "3, and ", "= 3 = "], ids=repr
)
def test_monotonous_prose_is_read_in_time_linear_in_its_length(text: str) -> None:
    def once(length: int) -> float:
        began = time.thread_time()
        claims((text * length)[:length])
        return time.thread_time() - began

    def seconds(length: int) -> float:
        return min(once(length) for _ in range(3))  # what else the machine does only ever adds

    assert seconds(20_000) < 30 * seconds(2_000) + 0.05


@pytest.mark.slow
@pytest.mark.skipif(not RATIONALES.is_file(), reason="needs ../shared/data")
@pytest.mark.parametrize("half", [0, 1])
def test_in_solutions_by_people_the_last_line_is_the_first_to_state_the_answer(half: int) -> None:
    rows = [json.loads(line) for line in RATIONALES.read_text().splitlines()][half::2]
    passages, ends = [], []
    for row in rows:
        text = "".join(f"{line}\n" for line in row["lines"])
        start = 0
        for line in row["lines"]:
            fields = {"prompt": row["problem"], "answer": row["answer"]}
            passages.append(Passage(fields, text, start, start + len(line) + 1))
            start += len(line) + 1
        ends.append(len(passages))
    with VerifierPool("math") as pool:
        states = build_judge("rule", None, pool).states(passages)
    solutions = [states[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    assert sum(any(one[:-1]) for one in solutions) / len(rows) <= 0.015
    assert sum(bool(one[-1]) and not any(one[:-1]) for one in solutions) / len(rows) >= 0.97
