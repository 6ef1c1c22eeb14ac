"""What thinking claims as its result, read from prose: a claim, not a mention.

A number that stands where a result stands (behind `=`, `is`, `gives`, `so` and the like) is a claim, unless

- it is supposed, doubted, hedged, denied or asked for, or computed for a value that is only tried: "If n = 2, then
  n^2 + n equals 6";
- the problem gives it, and the sentence neither computes nor concludes;
- the thinking goes on with it: it is an operand of a later calculation, or a later result is a new number.

The last holds as far as the next second look ("Wait, let me check"): there old numbers come again, and nothing goes on.
What is no number (an expression, a choice, a text) is what a clause ends with, behind the same words.
"""

import functools
import itertools
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from concise_rl.labels.judges import cues
from concise_rl.verify.verifiers.text import boxed

_SENTENCE_END = re.compile(
    r"(?<=[.!?])[\"'\u201d)*]*\s+|\n+"
    r"|\s(?=(?:Wait|Hmm+|Hold on|Alternatively|Actually|Let me|Let['\u2019]s|Okay|Just to)\b)"
)
_CLAUSE_END = re.compile(
    r",\s+(?=[A-Za-z]{2})|[;\u2014]\s+|\b(?:which|because|since|and|but|then|although)\b", re.IGNORECASE
)
_RESULT = re.compile(rf"{cues.SIGN}|{cues.VERB}", re.IGNORECASE)
_IN_PLACE = re.compile(rf"(?:{cues.SIGN}|{cues.VERB}){cues.FILLER}$", re.IGNORECASE)
_FILLS = " \t\n,*$([{~&"
"""Of what a filler may be, the plain characters."""
_MAY_END, _NO_EQUALS = ("=", ":", "\\", "!", ";"), ("<", ">", "!", ":", "=", "\u2260")
"""What else, but for letters, a sign and the filler behind it may end with; what is no equals sign in front of one."""
_VERB, _MORE = (
    re.compile(cues.VERB, re.IGNORECASE),
    re.compile(rf"{cues.FILLER_WORDS}|approx|Rightarrow", re.IGNORECASE),
)
_GOES_ON = re.compile(rf"{cues.FACTOR}|{cues.UNIT}{cues.OPERATOR}")
_COMPUTES = re.compile(r"[\d)]\s*(?:[-+*/\u00d7\u00f7\u2212\u2013x]|\\times|\\div|\\cdot)\s*[\d$(]")
_DIGITS = re.compile(r"(?<![\w.\\])(?:(?:\d{1,3}(?:(?:,|\{,\}|\\,)\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)")
_BOX = re.compile(r"\\(?:boxed|fbox)\b")
_LAST_WORD = re.compile(r"\b(?:which|because|since|and|but|then|although)\b\s*$", re.IGNORECASE)
_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: value for value, word in enumerate(_SMALL)}
_WORDS |= {ten: 20 + 10 * i for i, ten in enumerate(_TENS)}
_WORDS |= {f"{ten}-{_SMALL[i]}": _WORDS[ten] + i for ten in _TENS for i in range(1, 10)}
_WORD = re.compile(rf"\b(?=[efnostz])(?:{'|'.join(sorted(_WORDS, key=len, reverse=True))})\b(?!-)", re.IGNORECASE)
_LEAD = 120
"""Characters in front of a number, and behind it, that say what it is."""
_MARKS = " \t\r,;:!*$&"
_OPENING, _CLOSING = (r"\(", r"\["), (r"\)", r"\]", r"\\", ".")


@dataclass(frozen=True)
class Claim:
    """An answer that thinking claims.

    Attributes:
        text: the answer, as a verifier may read it.
        end: where it ends, in characters of the thinking.
        plain: whether it is a number, written plainly.
    """

    text: str
    end: int
    plain: bool


@dataclass(slots=True)
class _Number:
    """A number in a sentence.

    Attributes:
        start, end: where it stands, in characters of the sentence.
        value: in one spelling.
        in_place: it stands where a result stands.
        is_open: and the words around it neither hedge nor deny it.
        is_answer: and they call it the answer.
        is_result: it is the result of its sentence.
        is_kept: and nothing behind it goes on with it.
    """

    start: int
    end: int
    value: str
    in_place: bool = False
    is_open: bool = False
    is_answer: bool = False
    is_result: bool = False
    is_kept: bool = False

    def copied(self) -> "_Number":
        """A copy as it was read: before anything is known of the sentences around it."""
        return _Number(self.start, self.end, self.value, self.in_place, self.is_open, self.is_answer)


@dataclass(frozen=True)
class _Reading:
    """What a sentence says, wherever it stands.

    Attributes:
        tries, asks, retracts, concludes: what it does.
        look: 2 where a second look begins with it, 1 where one may, 0 where the thinking goes on.
        clauses: where each begins.
        numbers: what is in it, to be copied.
    """

    tries: bool
    asks: bool
    retracts: bool
    concludes: bool
    look: int
    clauses: list[int]
    numbers: list[_Number]


@dataclass
class _Sentence:
    """A sentence or a line.

    Attributes:
        start: where it begins in the thinking.
        look: see `_Reading`.
        quiet: it claims nothing: a question, a supposition, or what comes of one.
    """

    start: int
    text: str
    look: int
    quiet: bool
    numbers: list[_Number]
    clauses: list[int]


def numbers_in(text: str) -> set[str]:
    """The numbers of a text, each in one spelling: `1,000.50` as `1000.5`."""
    return {number.value for number in _numbers(text)}


def _numbers(text: str) -> list[_Number]:
    found = [
        _Number(match.start(), match.end(), ("-" if _is_negative(text, match.start()) else "") + _spelt(match[0]))
        for match in _DIGITS.finditer(text)
    ]
    words = [_Number(match.start(), match.end(), str(_WORDS[match[0].lower()])) for match in _WORD.finditer(text)]
    return sorted([*found, *words], key=lambda number: number.start) if words else found


def _spelt(digits: str) -> str:
    plain = digits if digits.isdigit() else re.sub(r"[,{}\\]", "", digits)
    whole, _, decimals = plain.partition(".")
    return (whole.lstrip("0") or "0") + (f".{decimals.rstrip('0')}" if decimals.strip("0") else "")


def _is_negative(text: str, start: int) -> bool:
    """Whether a minus stands in front of a number and nothing that it could be taken from."""
    lead = text[max(0, start - 8) : start].rstrip("$\\")
    return lead[-1:] in ("-", "\u2212") and not re.search(r"(?:[\d)\]}%]|\b[A-Za-z])\s*$|\w$", lead[:-1])


def _sentences(thinking: str, given: set[str]) -> list[_Sentence]:
    found: list[_Sentence] = []
    start, of_a_try = 0, cues.NEVER
    for end in [*(match.span() for match in _SENTENCE_END.finditer(thinking)), (len(thinking), len(thinking))]:
        text, begin, start = thinking[start : end[0]], start, end[1]
        if not text.strip():
            continue
        says = _read(text)
        follows = of_a_try.match(text)
        of_a_try = cues.OF_A_TRY if says.tries else cues.THEN if follows else cues.NEVER
        if found and says.retracts:
            found[-1].quiet = True
        # What is tried or put right belongs to the pass that it stands in.
        look = 0 if says.tries or follows or says.retracts else says.look
        numbers = [number.copied() for number in says.numbers]
        quiet = bool(says.tries or follows or says.asks)
        found.append(_Sentence(begin, text, look, quiet, numbers, says.clauses))
        for number in numbers:
            number.is_result = number.is_open and (says.concludes or number.value not in given)
    return found


@functools.lru_cache(maxsize=8192)  # lines come again: in second looks, and in the other rollouts of a group
def _read(text: str) -> _Reading:
    head = text[:_LEAD]
    clauses = [0, *(match.end() for match in _CLAUSE_END.finditer(text))]
    numbers = _numbers(text)
    _place(text, clauses, numbers)
    return _Reading(
        tries=bool(cues.TRY.match(head)),
        asks=text.rstrip(" *\"')").endswith("?"),
        retracts="?" not in head and bool(cues.RETRACTS.match(head)),
        concludes=bool(cues.CONCLUDES.search(text) or _COMPUTES.search(text)),
        look=2 if cues.SECOND_LOOK.search(head) else int(bool(cues.STUMBLE.match(head))),
        clauses=clauses,
        numbers=numbers,
    )


def _place(text: str, clauses: Sequence[int], numbers: Sequence[_Number]) -> None:
    """Say which of a sentence's numbers stand where a result stands."""
    behind = 0
    for number in numbers:
        begin, behind = max(behind, number.start - _LEAD), number.end
        lead_end = begin + len(text[begin : number.start].rstrip("-\u2212"))
        goes_on = _GOES_ON.match(text[number.end : number.end + _LEAD])
        number.in_place = not goes_on and _is_in_place(text, begin, lead_end)
        number.is_open = number.in_place and not _taken_back(text, clauses, number.start, number.end)
        lead = text[max(0, number.start - _LEAD) : number.start]
        number.is_answer = number.is_open and bool(cues.ANSWER.search(lead))


def _is_in_place(text: str, begin: int, end: int) -> bool:
    """Whether a sign or a verb of a result, and at most a filler behind it, ends at `end`.

    The last word or sign decides it for most numbers. The others cost a search.
    """
    lead = text[begin:end].rstrip(_FILLS)
    last, before = lead[-1:], lead[-2:-1]
    if last == "=" and before and before not in _NO_EQUALS:
        return True
    blank = lead.rfind(" ")
    ends = _ends(lead[blank + 1 :]) if last.isalpha() and blank >= 0 else None
    if ends is None and last.isascii() and not last.isalpha() and last not in _MAY_END:
        return False
    return bool(_IN_PLACE.search(text, begin, end)) if ends is None else ends


@functools.lru_cache(maxsize=8192)
def _ends(word: str) -> bool | None:
    """Whether what stands in front of a result ends with this word: a verb does, other words do not. None for a filler,
    before which more stands, and for what is no plain word."""
    if _VERB.fullmatch(word):
        return True
    return None if not (word.isascii() and word.isalpha()) or _MORE.fullmatch(word) else False


def claims(thinking: str, problem: str = "", plain: bool = False) -> list[Claim]:
    """What thinking claims, in the order in which it ends.

    Args:
        thinking: all of it, or a passage that stands for itself.
        problem: whose numbers are given.
        plain: only numbers written plainly, and what is boxed: enough where the answer is one.
    """
    given = numbers_in(problem)
    sentences = _sentences(thinking, given)
    for sentence, behind in itertools.pairwise(sentences):
        _hand_on(sentence, behind)
    found = [*_boxes(thinking), *_plain(sentences, given)]
    if not plain:
        found += _others(sentences)
    return sorted(dict.fromkeys(found), key=lambda claim: claim.end)


def _hand_on(computed: _Sentence, said: _Sentence) -> None:
    """Where a sentence only says, in the problem's terms, what the calculation before it came to, it is the claim."""
    if (
        computed.quiet
        or not computed.numbers
        or said.quiet
        or said.look
        or "=" in said.text
        or "=" not in computed.text
    ):
        return
    result = computed.numbers[-1]
    again = next((number for number in said.numbers if number.value == result.value), None)
    speaks = len(cues.STOCK.sub(" ", said.text[:_LEAD]).split()) >= 2
    if again and result.is_result and speaks and not _taken_back(said.text, said.clauses, again.start, again.end):
        result.is_result, again.is_result = False, True


def _taken_back(text: str, clauses: Sequence[int], start: int, end: int) -> bool:
    """Whether the words around an answer hedge or deny it."""
    clause = clauses[bisect_right(clauses, start) - 1]
    lead = text[max(clause, start - _LEAD) : start]
    return bool(
        cues.HEDGE.search(lead) or cues.DENIED_BEFORE.search(lead) or cues.DENIED_BEHIND.match(text[end : end + _LEAD])
    )


def _plain(sentences: list[_Sentence], given: set[str]) -> Iterator[Claim]:
    """Results that the thinking does not go on with. Read from the end."""
    first_seen = dict.fromkeys(given, -1)
    for sentence in sentences:
        for number in sentence.numbers:
            first_seen.setdefault(number.value, sentence.start + number.start)
    flow = _Flow(first_seen)
    for sentence in reversed(sentences):
        for number in flow.kept(sentence):
            number.is_kept = True
            yield Claim(number.value, sentence.start + number.end, True)


class _Flow:
    """What comes behind a place in the thinking, gathered from its end."""

    def __init__(self, first_seen: dict[str, int]) -> None:
        self.first_seen = first_seen
        self.used: set[str] = set()  # operands, as far as the next look
        self.used_for_new: set[str] = set()  # operands of what is new, as far as the next second look
        self.newest: list[str] = []  # the two results that were seen last for the first time

    def kept(self, sentence: _Sentence) -> Iterator[_Number]:
        """The results of a sentence that nothing behind them goes on with."""
        if sentence.quiet:
            self._begin(sentence.look)
            return
        later, new = False, False
        for number in reversed(sentence.numbers):
            place = sentence.start + number.start
            if number.is_result:
                if number.is_answer or not self._goes_on(number.value, place):
                    yield number
                later, new = True, new or self.first_seen[number.value] == place
                ranked = sorted({*self.newest, number.value}, key=lambda value: self.first_seen[value])
                self.newest = ranked[-2:]
            elif later:
                self.used.add(number.value)
                if new:
                    self.used_for_new.add(number.value)
        self._begin(sentence.look)

    def _goes_on(self, value: str, place: int) -> bool:
        superseded = any(self.first_seen[other] > place for other in self.newest if other != value)
        return superseded or value in self.used or value in self.used_for_new

    def _begin(self, look: int) -> None:
        if look:
            self.used, self.newest = set(), []
        if look == 2:
            self.used_for_new = set()


def _boxes(thinking: str) -> Iterator[Claim]:
    """Each box, where it ends."""
    position = 0
    for box in boxed(thinking):
        opened = _BOX.search(thinking, position)
        position = opened.end() if opened else position
        position = max(position, thinking.find(box, position) + len(box))
        if box:
            yield Claim(box, position, bool(_DIGITS.fullmatch(box)))


def _others(sentences: list[_Sentence]) -> Iterator[Claim]:
    """What clauses, and whole sentences, end with."""
    following = [*(sentence.text for sentence in sentences[1:]), ""][: len(sentences)]
    for sentence, next_text in zip(sentences, following, strict=True):
        if sentence.quiet or "\\boxed" in sentence.text:
            continue
        ends = [*sentence.clauses[1:], len(sentence.text)]
        spans = [*zip(sentence.clauses, ends, strict=True), (0, len(sentence.text))]
        dropped = {number.start for number in sentence.numbers if number.in_place and not number.is_kept}
        for start, end in dict.fromkeys(spans):
            claim = _tail(sentence, start, end, dropped)
            if claim and not ("=" in next_text and next_text.startswith(claim.text)):
                yield claim


def _tail(sentence: _Sentence, start: int, end: int, dropped: set[int]) -> Claim | None:
    """What stands behind the last word or sign of a result that has anything behind it; nothing where it begins with a
    number that is no claim."""
    clause = _LAST_WORD.sub("", sentence.text[start:end])
    for match in reversed(list(_RESULT.finditer(clause))):
        if tail := _bare(clause[match.end() :]):
            begin = sentence.text.find(tail, start + match.end())
            if dropped & {begin, begin + 1} or _taken_back(sentence.text, sentence.clauses, begin, begin + len(tail)):
                return None
            return Claim(tail, sentence.start + begin + len(tail), False)
    return None


def _bare(text: str) -> str:
    """Without the punctuation and mathematics delimiters around it, and a closing bracket that was opened before it."""
    before = None
    while text != before:
        before, text = text, text.strip(_MARKS)
        for opening in _OPENING:
            text = text.removeprefix(opening)
        for closing in _CLOSING:
            text = text.removesuffix(closing)
    return text[:-1].rstrip() if text.endswith(")") and not re.search(r"[(\[]", text) else text
