"""Verdicts on mathematical answers. `verdicts.jsonl` holds triples that were reasoned out, not computed."""

import json
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pyarrow.parquet
import pytest

from concise_rl.verify.pool import VerifierPool
from concise_rl.verify.verifiers.math import verify, verify_worked_out
from concise_rl.verify.verifiers.values import read

TRIPLES = Path(__file__).parent / "verdicts.jsonl"
SHARED = Path(__file__).resolve().parents[5] / "shared" / "data"


def judge(gold: str, response: str) -> bool | None:
    return verify(response, {"answer": gold})


def box(text: str) -> str:
    return rf"\boxed{{{text}}}"


def golds(*names: str) -> list[str]:
    """The different gold answers of benchmark files that are not empty."""
    missing = [name for name in names if not (SHARED / f"{name}.parquet").is_file()]
    if missing:
        pytest.skip(f"the benchmark files {', '.join(missing)} are not here")
    tables = [pyarrow.parquet.read_table(SHARED / f"{name}.parquet").to_pylist() for name in names]
    return sorted({str(row["reward_model"]["ground_truth"]) for table in tables for row in table} - {""})


def test_every_reasoned_verdict_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    triples = [json.loads(line) for line in TRIPLES.read_text(encoding="utf-8").splitlines()]
    found = [judge(triple["gold"], triple["response"]) for triple in triples]
    with capsys.disabled():
        print()
        for name, verdicts in (("math-verify alone", [t["math_verify"] for t in triples]), ("verifier math", found)):
            kinds = Counter((bool(t["verdict"]), v) for t, v in zip(triples, verdicts, strict=True))
            print(
                f"{name:18} {kinds[True, True] + kinds[False, False]} of {len(triples)} agree, "
                f"{kinds[False, True]} false accepts, {kinds[True, False]} false refusals, "
                f"{kinds[True, None] + kinds[False, None]} without verdict"
            )
    wrong = [t for t, verdict in zip(triples, found, strict=True) if verdict is not bool(t["verdict"])]
    assert len(triples) >= 400 and wrong == []


@pytest.mark.parametrize(
    ("gold", "response", "verdict"),
    [
        (r"2007 + \frac\pi 2", box("2"), False),
        (r"2007 + \frac\pi 2", box(r"2007+\frac{\pi}{2}"), True),
        ("2s", box("2"), False),
        ("2s", box("s+s"), True),
        (r"\frac{1}{2^{98}}", box(r"\frac{1}{2^{97}}"), False),
        (r"\frac{2^{99}+1}{3\cdot 2^{99}}", box(r"\frac{7}{2^{60}}"), False),
        ("1e16", box("10^{16}"), True),
        ("1e+16", box("e+16"), False),
        ("52_8", box("52_9"), False),
        (r"(2,\infty)", box(r"(2,\infty]"), False),
        (r"(-\infty,3)", box("x<3"), True),
        (r"\log(\frac{2007}{2006})", box("99999999"), False),
        ("seat", box("east"), False),
        ("2", "1\n" * 32_000, False),
    ],
)
def test_values_are_compared_and_not_spellings(gold: str, response: str, verdict: bool) -> None:
    assert judge(gold, response) is verdict


@pytest.mark.parametrize(
    ("gold", "response", "verdict"),
    [
        # Minerva
        ("8.7e8", box("870000000"), True),
        ("8.7e8", box(r"8.7\times10^{8}"), True),
        ("8.7e8", box(r"8.7 \cdot 10^9"), False),
        ("7e37", box(r"7 \times 10^{37} \text{ W}"), True),
        ("9.6e-10", box(r"9.6\times10^{10}"), False),
        ("np.arcsin(10/13)", box(r"\arcsin\left(\frac{10}{13}\right)"), True),
        ("np.arcsin(10/13)", box("0.877636"), True),
        ("np.arcsin(10/13)", box(r"\arccos(10/13)"), False),
        ("-3./2", box(r"-\frac{3}{2}"), True),
        ("-3./2", box("1.5"), False),
        (r"I(0) e^{-\frac{t}{R C}}", box(r"I(0) e^{-t/(RC)}"), True),
        # OlympiadBench
        ("$2,5$", box(r"5 \text{ and } 2"), True),
        ("$2,5$", box("2"), False),
        ("$2,5$", box("2,5,6"), False),
        ("$2$, $5$", r"\boxed{2} or \boxed{5}", True),
        ("$(1,2),(2,1)$", box("(1,2)"), False),
        ("$f(x)=0, f(x)=x$", box(r"f(x)=x \text{ or } f(x)=0"), True),
        ("$f(x)=0, f(x)=x$", box("f(x)=x, f(x)=-x"), False),
        (r"$1+\sqrt{2}$, $1-\sqrt{2}$", box(r"1\pm\sqrt2"), True),
        (r"$[0,1)$", box(r"0\le x<1"), True),
        # HMMT
        (r"\frac{-1+\sqrt{17}}{2}, \frac{-1-\sqrt{17}}{2}", box(r"\frac{-1\pm\sqrt{17}}{2}"), True),
        (r"\frac{-1+\sqrt{17}}{2}, \frac{-1-\sqrt{17}}{2}", box(r"\frac{-1+\sqrt{17}}{2}"), False),
        (r"2^{25}\cdot 26!", box(r"26!\cdot 2^{25}"), True),
        (r"2^{25}\cdot 26!", box(r"2^{25}\cdot 25!"), False),
        (r"0.56 = 56\%", box(r"0.56 = 57\%"), False),
        (r"I_{0} e^{-t / \tau}", box(r"I_{1} e^{-t / \tau}"), False),
        ("E_0 t", box("tE_{0}"), True),
        (r"$m+n-\operatorname{gcd}(m, n)$", box(r"n+m-\gcd(m,n)"), True),
        (r"$m+n-\operatorname{gcd}(m, n)$", box("m+n-1"), False),
        (r"n \equiv 1 \pmod 4", box(r"n\equiv 1 \pmod{4}"), True),
        (r"n \equiv 1 \pmod 4", box(r"n\equiv 1 \pmod{5}"), False),
        (r"\left[\begin{array}{cc}1 & 2\\3 & 4\end{array}\right]", box(r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"), True),
        (r"9.8 \mathrm{~m} / \mathrm{s}^{2}", box(r"9.8 \text{ m/s}^2"), True),
        (r"9.8 \mathrm{~m} / \mathrm{s}^{2}", box(r"9.8 \text{ m/s}"), False),
    ],
)
def test_answers_in_the_forms_of_other_benchmarks_are_told_apart(gold: str, response: str, verdict: bool) -> None:
    assert judge(gold, response) is verdict


@pytest.mark.parametrize(("given", "verdict"), [("5.45", True), ("x = 5.4", True), ("5.51", False), ("a", False)])
def test_a_number_may_be_off_by_the_tolerance_of_its_row(given: str, verdict: bool) -> None:
    assert verify(box(given), {"answer": "$5.4$", "answer_tolerance": "0.1"}) is verdict
    assert verify(box(given), {"answer": "$5.4$", "answer_tolerance": None}) is (given == "x = 5.4")


@pytest.mark.parametrize(
    "response",
    [box("5^{5^{5^{5^5}}}"), box("{" * 100 + "5" + "}" * 100), box("(" * 400 + "5" + ")" * 400)],
)
def test_what_cannot_be_computed_or_read_gets_no_verdict(response: str) -> None:
    assert judge("5", response) in (None, True)


def test_running_out_of_memory_gives_no_verdict_and_does_not_say_wrong() -> None:
    with VerifierPool("math", workers=1, memory_mb=400) as pool:
        row = {"answer": "1"}
        verdicts = pool.judge([(box(r"\frac{2^{800000000}}{2^{800000000}}"), row), (box("1"), row)])
    assert verdicts == [None, 1.0]


@pytest.mark.parametrize(
    "column",
    [
        r"We add the terms: $5+3=8$, so the sum of the two numbers is $\boxed{8}$.",
        "test/precalculus/807.json",
        "math_train_0012",
        "aops_forum",
        r"\frac{1}{",
        "",
        "the number of ways in which this can be done",
    ],
)
def test_a_gold_answer_that_only_its_own_spelling_matches_is_refused(column: str) -> None:
    assert read(column) is None and judge(column, box(column)) is False


def test_benchmark_gold_answers_verify() -> None:
    some = golds("math_train", "math500", "aime2024", "amc23")[::12]
    assert [gold for gold in some if judge(gold, box(gold)) is not True] == []


@pytest.mark.slow
def test_all_benchmark_gold_answers_verify() -> None:
    every = golds("math_train", "math500", "aime2024", "amc23")
    assert [gold for gold in every if gold.strip() and judge(gold, box(gold)) is not True] == []


def wrong_variants(gold: str) -> list[str]:
    """Answers that differ from a whole number in value."""
    number = int(Fraction(gold))
    return [
        *map(box, (f"{number + 1}", f"{number}0", f"{number}.5", f"{number}x", f"-{number + 1}", f"{number}^2+2")),
        *map(box, (rf"\frac{{{number}}}{{7}}", rf"{number}\pi", f"{number}, {number + 1}", f"{number}_7", "x", "")),
        f"The answer is {number}a.",
        f"The answer is not {number}.",
        f"The answer is {number} or {number + 1}.",
        rf"\boxed{{{number}}} or \boxed{{{number + 1}}}",
    ]


def right_variants(gold: str) -> list[str]:
    """Spellings of one value."""
    return [
        box(gold),
        box(f"{gold}."),
        box(f"x = {gold}"),
        box(rf"\text{{{gold}}}"),
        f"The answer is **{gold}**.",
        gold,
    ]


def test_variants_of_competition_answers_are_told_apart() -> None:
    whole = [gold for gold in golds("aime2024", "amc23") if Fraction(gold).denominator == 1 and Fraction(gold) > 1]
    assert [(g, r) for g in whole for r in wrong_variants(g) if judge(g, r) is not False] == []
    assert [(g, r) for g in whole for r in right_variants(g) if judge(g, r) is not True] == []


def changed(gold: str) -> list[str]:
    """Answers with one number of a gold answer changed: one more, with its digits swapped, or ten times as large."""
    found = []
    for number in re.finditer(r"(?<![.\d])[1-9]\d*(?![.\d])", gold):
        text = number[0]
        swapped = text[1] + text[0] + text[2:] if len(text) > 1 else text + "0"
        for other in (str(int(text) + 1), f"{text}0", swapped):
            if int(other) != int(text):
                found.append(gold[: number.start()] + other + gold[number.end() :])
    return found


def test_a_benchmark_answer_with_one_number_changed_is_wrong() -> None:
    some = golds("math500", "aime2024", "amc23")[::4]
    wrong = [(gold, other) for gold in some for other in changed(gold)]
    assert len(wrong) > 200
    assert [(gold, other) for gold, other in wrong if judge(gold, box(other)) is not False] == []


# Copied answers


@pytest.mark.parametrize(
    ("problem", "gold", "answer"),
    [
        ("Compute $513^2 - 487^2.$", "26000", "513^2 - 487^2"),
        ("Compute $513^2 - 487^2.$", "26000", "-487^{2}+513^{2}"),
        (r"Simplify $\frac{84}{144}.$", r"\dfrac{7}{12}", r"\frac{ 84 }{144}"),
        (r"Compute $\sin 60^\circ$.", r"\frac{\sqrt{3}}{2}", r"\sin 60^\circ"),
        (r"Expand $(x+2)(x-5)$.", "x^2-3x-10", "(x+2)(x-5)"),
        (r"Write $\frac{3}{20}$ as a decimal.", "0.15", r"\frac{3}{20}"),
        (r"Evaluate \[\sum_{k=1}^{3} k = 1 + 2 + 3.\]", "6", "1+2+3"),
    ],
)
def test_a_formula_of_the_problem_is_worth_nothing_where_it_was_to_be_worked_out(
    problem: str, gold: str, answer: str
) -> None:
    row = {"answer": gold, "problem": problem}
    assert verify(box(answer), row) is True
    assert verify_worked_out(box(answer), row) is False
    assert verify_worked_out(box(gold), row) is True


@pytest.mark.parametrize(
    ("problem", "gold", "answer"),
    [
        ("Which is larger, $2^{10}$ or $3^6$?", "2^{10}", "2^{10}"),
        ("Which of $5$ and $7$ is even, if one is?", "7", "7"),
        ("Find $x$ where $x+3=8$.", "5", "x=5"),
        ("How many subsets have $10$ elements?", "1024", "2^{10}"),
        ("", "26000", "513^2-487^2"),
    ],
)
def test_an_answer_that_is_worked_out_or_asked_for_as_it_stands_is_right(problem: str, gold: str, answer: str) -> None:
    assert verify_worked_out(box(answer), {"answer": gold, "problem": problem}) is True


def test_copying_is_refused_where_the_pool_is_told_to() -> None:
    item = (box("17 \\cdot 3"), {"answer": "51", "prompt": "What is $17 \\cdot 3$?"})
    for refuse, verdict in ((False, 1.0), (True, 0.0)):
        with VerifierPool("math", workers=1, refuse_copied=refuse) as pool:
            assert pool.judge([item]) == [verdict]
