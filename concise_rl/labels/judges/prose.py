"""Traces of plain English whose necessary part is known: what a judge can be tried on.

Each works a word problem or a small equation out, in the way of large reasoning models, and then goes on: it checks,
says its steps in other words, takes a wrong turn and comes back. The necessary part ends where the answer is first
stated. In front of that stand, now and then, what must not be taken for it: the answer supposed, doubted, hinted at or
denied, an intermediate value that equals it, a wrong turn that is taken back.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownTrace:
    """Thinking, and how much of it is necessary.

    Attributes:
        problem, answer: of the data row.
        necessary: the thinking up to where the answer is first stated.
        redundant: the rest of it.
    """

    problem: str
    answer: str
    necessary: str
    redundant: str


@dataclass(frozen=True)
class _Step:
    """One calculation: what it finds, how it is written, and what it comes to."""

    what: str
    left: int
    sign: str
    right: int
    value: int
    unit: str = ""

    @property
    def sum(self) -> str:
        """In signs."""
        return f"{self.left} {self.sign} {self.right}"

    @property
    def said(self) -> str:
        """In words."""
        words = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
        return f"{self.left} {words[self.sign]} {self.right}"

    @property
    def result(self) -> str:
        """With its unit."""
        return f"{self.value} {self.unit}".rstrip()


@dataclass(frozen=True)
class _Problem:
    text: str
    asked: str
    steps: tuple[_Step, ...]

    @property
    def answer(self) -> int:
        return self.steps[-1].value


def _eggs(rng: random.Random) -> _Problem:
    eaten, baked, price = rng.randint(1, 5), rng.randint(1, 6), rng.randint(1, 4)
    laid = eaten + baked + rng.randint(2, 12)
    name = rng.choice(("Janet", "Mira", "Tom"))
    kept = eaten + baked
    return _Problem(
        f"{name}'s hens lay {laid} eggs a day. {name} eats {eaten} of them, bakes with {baked} and sells the rest for "
        f"${price} each. How many dollars a day is that?",
        f"the money that {name} earns is",
        (
            _Step("the number of eggs used at home", eaten, "+", baked, kept, "eggs"),
            _Step("what is left to sell", laid, "-", kept, laid - kept, "eggs"),
            _Step("the money", laid - kept, "*", price, (laid - kept) * price, "dollars"),
        ),
    )


def _shelves(rng: random.Random) -> _Problem:
    shelves, each, lent = rng.randint(2, 9), rng.randint(3, 12), rng.randint(1, 5)
    total = shelves * each
    return _Problem(
        f"A library has {shelves} shelves with {each} books on each of them. {lent} books are lent out. How many books "
        "are still there?",
        "the number of books there is",
        (
            _Step("the number of books in all", shelves, "*", each, total, "books"),
            _Step("the number that stays", total, "-", lent, total - lent, "books"),
        ),
    )


def _sharing(rng: random.Random) -> _Problem:
    children, each, more = rng.randint(2, 6), rng.randint(2, 8), rng.randint(1, 6)
    start = children * each - more
    if start < 1:
        return _sharing(rng)
    return _Problem(
        f"Ben has {start} sweets and buys {more} more. He shares them equally among {children} children. How many does "
        "each child get?",
        "what each child gets is",
        (
            _Step("the number of sweets", start, "+", more, start + more, "sweets"),
            _Step("the share of a child", start + more, "/", children, each, "sweets"),
        ),
    )


def _trip(rng: random.Random) -> _Problem:
    speed, hours, rest = rng.randint(3, 60), rng.randint(2, 6), rng.randint(5, 90)
    done = speed * hours
    return _Problem(
        f"A cyclist rides at {speed} km/h for {hours} hours, and then has {rest} km to go. How long is the whole "
        f"way without its first {rest} km?",
        "the distance asked for comes to",
        (
            _Step("the distance so far", speed, "*", hours, done, "km"),
            _Step("the whole way", done, "+", rest, done + rest, "km"),
            _Step("the way without its start", done + rest, "-", rest, done, "km"),
        ),
    )


def _product(rng: random.Random) -> _Problem:
    n = rng.randint(1, 7)
    square = n * n
    k = rng.choice([k for k in range(1, 6) if k != n])
    return _Problem(
        f"Let f(n) = n^2 + n. What is f({n}) - {k}?"
        if square + n > k
        else f"Let f(n) = n^2 + n. What is f({n}) + {k}?",
        "the value asked for is",
        (
            _Step("the square", n, "*", n, square),
            _Step(f"f({n})", square, "+", n, square + n),
            _Step("the value", square + n, "-", k, square + n - k)
            if square + n > k
            else _Step("the value", square + n, "+", k, square + n + k),
        ),
    )


_PROBLEMS: tuple[Callable[[random.Random], _Problem], ...] = (_eggs, _shelves, _sharing, _trip, _product)

_OPENINGS = (
    "Okay, so I need to find out how this works. {problem}\n\n",
    "Okay, let's see. {problem} Let me think step by step.\n\n",
    "Alright, the problem says: {problem} Hmm, okay.\n\n",
    "First, I'll go through what is given.\n\n",
    "",
)
_STEPS = (
    "So {what} is {sum} = {result}.",
    "To get {what}, I compute {sum}, which is {result}.",
    "Next, {what}: {sum} = {result}.",
    "{Sum} = {result}, and that is {what}.",
    "Now {what} would be {sum}, so {result}.",
    "That makes {what} \\({sum} = {value}\\).",
    "For {what}, {said} gives {result}.",
)
_LAST = (
    "So {asked} {sum} = {result}.",
    "Therefore, {what} is {sum} = {result}.",
    "That means {asked} {said}, which equals {result}.",
    "Finally, {sum} = **{value}**.",
    "So {what} is \\({sum} = {value}\\).",
    "Hence {asked} {result}, because that is what {said} gives.",
)
_SUPPOSED = (
    "Suppose the answer is {gold}. Then I would have to see whether everything fits.",
    "Let me guess {gold} for a start.",
    "If the answer were {gold}, that would be nice and round.",
    "Say it is {gold}. I can't know that yet.",
    "Could it be {gold}? I don't know yet.",
    "Is it {gold}? Let me see.",
    "Maybe it is {gold}, but I should work it out.",
    "I have a feeling that it comes to {gold}, but that is no proof.",
    "The numbers hint at {gold}, but let me calculate it properly.",
    "My first guess is {gold}, without any calculation.",
    "Someone in a hurry might say {gold}.",
    "With {other} that would be something else, so it is not {gold} just because it looks like it.",
    "I shouldn't just say it's {gold} and move on.",
    "It can't simply be {gold} without any work.",
    "If n = {small}, then n^2 + {rest} equals {gold}, but that is another matter.",
    "For x = {small}, x^2 + {rest} = {gold}. That is only an example of such a calculation.",
)
_WRONG = (
    "So {what} is {sum} = {wrong}. Wait, no, that's not right: {sum} is not {wrong}.",
    "{Sum} = {wrong}. Hmm, no, I slipped there.",
    "I get {wrong} for {what}. Oh, wait, I miscalculated.",
)
_CHECKS = (
    "Wait, let me make sure I got that right.",
    "Let me double-check that.",
    "Hmm, wait. Is that correct?",
    "But wait, let me verify this by going through it again.",
    "Let me check the steps once more to be safe.",
    "Alternatively, I can look at it from another side.",
    "Hold on, did I read the problem correctly?",
    "Just to be thorough, I'll run the numbers again.",
    "Let me re-read the question.",
    "I think that's right, but let me verify.",
    "Wait a second. Let's go over the calculation again.",
    "Let me see if this makes sense.",
    "To be sure, I'll redo the calculation.",
    "Okay, let me recap.",
    "Does that add up? Let me look at it again.",
)
_AGAIN = (
    "{Said} is {result}, as before.",
    "{Sum} = {value}, yes.",
    "{What} was {result}: {said}.",
    "We had {said}, and that gives {value}.",
    "{Said}, that's {value}. Right.",
    "{Sum} equals {result}. That matches.",
)
_SLIPS = (
    "{Said} is {wrong}... no, it is {value}, of course.",
    "Hmm, {sum} = {wrong}? No, that can't be. {Sum} = {value}.",
    "Wait, shouldn't that be {wrong}? No, {said} is {value}.",
)
_VERDICTS = (
    "Yes, {gold}.",
    "So yes, {gold} is correct.",
    "Okay, so the answer is {gold}.",
    "So {gold} it is. I'm confident in that.",
    "Great, that confirms it: {gold}.",
    "That all checks out, so the answer should be {gold}.",
    "Yep, same result again.",
)
_ENDINGS = (
    "So the final answer is {gold}.\n",
    "**Final Answer**\n\\boxed{{{gold}}}\n",
    "I'm done here, the answer is \\boxed{{{gold}}}.\n",
    "",
)


def known_traces(count: int = 200, seed: int = 0) -> list[KnownTrace]:
    """Generated traces; the same seed gives the same ones."""
    rng = random.Random(seed)
    return [_trace(rng) for _ in range(count)]


def _trace(rng: random.Random) -> KnownTrace:
    problem = rng.choice(_PROBLEMS)(rng)
    gap = rng.choice((" ", "\n\n", "\n"))
    first = _first_pass(problem, rng)
    return KnownTrace(
        problem.text,
        str(problem.answer),
        rng.choice(_OPENINGS).format(problem=problem.text) + gap.join(first),
        second_looks(problem.steps, str(problem.answer), rng, gap),
    )


def _first_pass(problem: _Problem, rng: random.Random) -> list[str]:
    """Its sentences, with what must not be taken for the answer among them."""
    said = []
    traps = {rng.randrange(len(problem.steps)) for _ in range(rng.choice((0, 1, 1, 2)))}
    for i, step in enumerate(problem.steps):
        last = i == len(problem.steps) - 1
        if i in traps:
            said.append(_trap(problem.answer, rng))
        if rng.random() < 0.15:
            said.append(_said(rng.choice(_WRONG), step, rng))
        said.append(_said(rng.choice(_LAST if last else _STEPS), step, rng, asked=problem.asked))
    return said


def _trap(gold: int, rng: random.Random) -> str:
    small = rng.randint(1, 3)
    fits = [trap for trap in _SUPPOSED if gold > small * small or "{small}" not in trap]
    words = rng.choice(fits)
    return words.format(gold=gold, other=gold + 1, small=small, rest=gold - small * small)


def second_looks(steps: tuple[_Step, ...], gold: str, rng: random.Random, gap: str = " ") -> str:
    """One to three second looks at steps that have been taken, each with a verdict, and an end."""
    text = ""
    for _ in range(rng.randint(1, 3)):
        said = [_said(rng.choice(_SLIPS if rng.random() < 0.15 else _AGAIN), step, rng) for step in steps]
        verdict = rng.choice(_VERDICTS).format(gold=gold)
        text += rng.choice((" ", "\n\n")) + gap.join([rng.choice(_CHECKS), *said, verdict])
    return text + "\n\n" + rng.choice(_ENDINGS).format(gold=gold)


def _said(template: str, step: _Step, rng: random.Random, asked: str = "") -> str:
    wrong = step.value + rng.choice((-2, -1, 1, 2, 10))
    words = {"what": step.what, "sum": step.sum, "said": step.said}
    capitals = {word.capitalize(): text[:1].upper() + text[1:] for word, text in words.items()}
    return template.format(**words, **capitals, result=step.result, value=step.value, wrong=wrong, asked=asked)
