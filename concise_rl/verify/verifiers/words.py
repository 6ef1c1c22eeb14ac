r"""Words in answers: units behind a number, numbers written out, and answers that are words themselves."""

import itertools
import re

_UNIT_NAMES = {
    "mm": "mm millimeter millimetre",
    "cm": "cm centimeter centimetre",
    "meter": "m meter metre",
    "km": "km kilometer kilometre",
    "inch": "in inch inche",
    "foot": "ft foot feet",
    "yard": "yd yard",
    "mile": "mi mile",
    "gram": "g gram gramme",
    "kg": "kg kilogram kilo",
    "mg": "mg milligram",
    "pound": "lb pound",
    "ounce": "oz ounce",
    "ton": "ton tonne",
    "second": "s sec second",
    "minute": "min minute",
    "hour": "h hr hour",
    "day": "day",
    "week": "week wk",
    "month": "month",
    "year": "year yr",
    "degree": "degree deg °",
    "radian": "radian rad",
    "dollar": "dollar usd buck",
    "cent": "cent ¢",
    "euro": "euro eur",
    "liter": "l liter litre",
    "ml": "ml milliliter millilitre",
    "gallon": "gallon gal",
    "quart": "quart qt",
    "pint": "pint pt",
    "cup": "cup",
    "acre": "acre",
    "hectare": "hectare ha",
    "square": "square sq squared",
    "cubic": "cubic cubed cu",
    "newton": "newton",
    "joule": "joule",
    "watt": "watt",
    "volt": "volt",
    "am": "am",
    "pm": "pm",
    "per": "per /",
}
_UNITS = {name: unit for unit, names in _UNIT_NAMES.items() for name in names.split()}
_POWERS = {"square", "cubic", "am", "pm", "per"}
"""What changes the unit or the time: both sides must have it, or one have no unit at all."""
_FILLERS = "unit the a an of total in all value way distinct different possible exactly about approximately each point"
_NOT_UNITS = (
    "or and not nor no less more than times time plus minus if over to half mod choose divided is are was by fewer "
    "greater above below off with without when where for from except squared cubed st nd rd th at up down"
)
"""Words behind a number that make it another statement."""
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
NUMBERS: dict[str, int] = {word: number for number, word in enumerate(_NUMBERS.split())}
"""Numbers written out."""
MULTIPLIERS = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
"""Words behind a number that multiply it."""
_LISTED = (
    "yes no true false none neither both even odd east west north south left right up down increasing decreasing "
    "positive negative always never sometimes finite infinite convergent divergent converges diverges "
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august "
    "september october november december ellipse circle parabola hyperbola line point empty undefined impossible"
)
LISTED = frozenset(_LISTED.split())
"""Answers that are words in many data sets. Others pass, too; where most answers are others, the column is wrong."""
MAX_WORDS, MAX_CHARACTERS = 5, 60
"""A text answer is at most this long; anything longer is prose."""

_RUN = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}")
_WORDY = re.compile(r"[A-Za-z0-9 ,.&'()\-]+")
_TAIL = re.compile(r"(?P<head>.*?\S)\s*\\text\{(?P<words>[^{}]*)\}\s*(?:\^\s*\{?(?P<power>[23])\}?)?", re.DOTALL)
_BARE_TAIL = re.compile(
    r"(?P<head>.*?[\d})\]°%])(?P<gap>\s*)(?P<words>[A-Za-z][A-Za-z .'/\-]*?)(?:\^\{?(?P<power>[23])\}?)?"
)

_CHAINED = re.compile(r"(?P<head>.*\\text\{[^{}]*\}(?:\s*\^\s*\{?[23]\}?)?)\s*(?P<sign>/|\\cdot)", re.DOTALL)
"""A unit, and what joins it to the next one."""


def is_product(letters: str) -> bool:
    """Whether bare letters are factors, as `xy`, `abc` and `prt`, and no word, as `east`."""
    low = letters.lower()
    ordered = "".join(sorted(low))
    runs = all(ord(b) - ord(a) == 1 for a, b in itertools.pairwise(ordered))
    return len(letters) <= 2 or runs or not re.search("[aeiou]", low)


def bare_words(text: str) -> list[str]:
    r"""The words of a text that stand in no `\text{}` and are no factors."""
    outside = re.sub(r"\\text\{[^{}]*\}", " ", text)
    return [
        run for run in _RUN.findall(outside) if not is_product(run) and run not in {"sqrt", "sin", "cos", "tan", "log"}
    ]


def as_text(text: str) -> str | None:
    r"""The words of an answer that is words: all of it in `\text{}`, or a few bare ones. None where it is no such."""
    if text.lower() in LISTED or re.fullmatch(r"[A-Z]{2,8}", text):  # the name of a line, an order of letters
        return text
    inside = re.fullmatch(r"\(?\s*\\text\{([^{}]*)\}\s*\)?[.,]?", text)
    bare = inside is None and bool(bare_words(text)) and _WORDY.fullmatch(text)
    if not inside and not bare:
        return None
    words = " ".join((inside[1] if inside else text).split()).strip(" .,;:()")
    if not words or len(words) > MAX_CHARACTERS or len(words.split()) > MAX_WORDS:
        return None
    return words


def is_short_text(answer: str) -> bool:
    """Whether an answer is a few words."""
    return as_text(answer) is not None


def canonical(text: str) -> str:
    """Two text answers are one when this is equal."""
    return " ".join(re.sub(r"[^a-z0-9&]+", " ", text.lower()).split())


def _unit(word: str) -> str:
    singular = re.sub(r"(?<=[a-z]{2})s$", "", word)
    return _UNITS.get(word) or _UNITS.get(singular) or singular


def tail_words(words: str, power: str | None = None) -> frozenset[str] | None:
    """The units and nouns behind a number, one name for each; None where they make it another statement."""
    low = (
        re.sub(r"(?<=\b[a-z])\.\s*(?=[a-z]\b)", "", words.lower())
        .replace("/", " per ")
        .replace("mph", "miles per hour")
    )
    found = re.findall(r"[a-z°¢]+|\d", low)
    if set(found) & set(_NOT_UNITS.split()) or any(word.isdigit() for word in found):
        return None
    squared = {"2": {"square"}, "3": {"cubic"}}.get(power or "", set())
    return frozenset({_unit(word) for word in found} | squared) - set(_FILLERS.split())


def is_unit(word: str) -> bool:
    """Whether a bare word is a unit: of two letters or more, for single letters are factors."""
    return len(word) > 1 and _unit(word.lower()) in _UNIT_NAMES


def cut_tail(text: str) -> tuple[str, frozenset[str]]:
    r"""A number and the words behind it: `5\text{ cm}^2`, `5 apples`. Without such words, the text and nothing.

    Letters are no units: `2s` is a product.
    """
    found = _TAIL.fullmatch(text)
    if found is None:
        found = _BARE_TAIL.fullmatch(text)
        if found is None or not _are_words(found["words"], found["gap"]):
            return text, frozenset()
    words, head = tail_words(found["words"], found["power"]), found["head"]
    chained = _CHAINED.fullmatch(head)
    if words is not None and chained:
        words, head = words | ({"per"} if chained["sign"] == "/" else set()), chained["head"]
    if words is None or not re.search(r"[\d)}a-z°]\s*$", head):
        return text, frozenset()
    head, more = cut_tail(head)
    return head, words | more


def _are_words(text: str, gap: str) -> bool:
    words = re.findall(r"[A-Za-z]+", text)
    if len(words) > MAX_WORDS or re.match(r"(?:sin|cos|tan|log|ln|sqrt|exp)\b", text):
        return False
    return all(
        is_unit(word) or (gap and len(word) > 2 and not is_product(word)) or (i and len(word) <= 3)
        for i, word in enumerate(words)
    ) and bool(words)


def same_tail(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether units and nouns agree: one side may leave them out, or some of its nouns."""
    if not one or not other:
        return True
    return one & _POWERS == other & _POWERS and (one - _POWERS <= other - _POWERS or other - _POWERS <= one - _POWERS)


WORDS = "answers that are words, and compared as such"
"""The kind of gold answers that are accepted, and named where they are not `LISTED`."""


def kind_of_gold(answer: str) -> str:
    """What sort of gold answer a text is; empty for what looks like mathematics, and for words that are `LISTED`."""
    text = answer.strip().strip("$").removeprefix("\\text{").removesuffix("}")
    if as_text(text) is not None and bare_words(text):
        known = all(word in LISTED or word in NUMBERS or len(word) == 1 for word in canonical(text).split())
        return "" if known and "\\" not in text else WORDS
    plain = re.sub(r"\\(?:text|mbox|textbf|mathrm|textnormal)\s*\{[^{}]*\}", " ", answer)
    if re.fullmatch(r"\S+[/_]\S*|\S+\.[a-z]{2,5}", answer.strip()) and bare_words(answer):
        return "names of files or rows, not answers"
    if len(plain.split()) > MAX_WORDS and len(bare_words(plain)) > 2:
        return "long texts, not answers"
    return "more than an answer that could be read" if "\\boxed" in plain or bare_words(plain) else ""
