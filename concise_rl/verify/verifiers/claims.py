r"""Which part of a response is its answer: what stands in its boxes, or else its last claim, as a whole."""

import re

from concise_rl.verify.verifiers.text import boxed

LAST = 4000
"""Characters at the end of a response that are looked at. An answer further up has been buried."""

_MARKDOWN = re.compile(
    r"(?<!\\)(?:\*\*|__)|^\s*(?:#{1,3}(?!#)|>|[-*]\s)\s*|(?<!\S)[*_](?=\S)|(?<=\S)[*_](?!\S)", re.MULTILINE
)
_ANSWER = re.compile(
    r"\banswer\b(?:(?!n't|\banswer\b)[^\n.:=]){0,80}?(?:\bis\b\s*:?|\bare\b\s*:?|:|=|\bequals\b)\s*|\banswer\b\W*\n+\s*|^####\s*",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_END = re.compile(r"(?:(?<=[^\W\d_]{2})|(?<=[\d)}\]$%]))[.!?](?=\s|$)|\n\s*\n|[?]")
_CLAUSE = re.compile(
    r"\s*(?:;|—|,\s+(?=(?:so|which|because|since|as|where|and\s+(?:so|the|we|it|that)|but|the|it|i|we|not)\b)|"
    r"\b(?:because|since|which|where|so\s+that|when|for\s+which|as\s+(?:shown|required|desired|claimed|expected))\b)",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"(?<=[\w}$)])\s+(?:at|in|on|for|to|that|every|from|during|after|before|until|altogether)\b[^\d\\$]*$",
    re.IGNORECASE,
)
_RETRACTION = re.compile(r"\b(?:wait|actually|no,|correction|sorry|mistake|scratch that|rather)\b", re.IGNORECASE)
_DENIAL = re.compile(
    r"\b(?:not|never|cannot|neither|or|isn't|can't|between|about|maybe|perhaps|either)\b", re.IGNORECASE
)
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_CUE_IN_TEXT = re.compile(r"\\text\w*\{([^{}]*\banswer\b[^{}]*)\}", re.IGNORECASE)
_EMPTY = re.compile(r"\\text\{\s*\}|\\[a-z]*dots|[\s.~]")
_ADVERBS = re.compile(
    r"^\s*(?:(?:therefore|thus|then|clearly|simply|exactly|just|indeed|hence|equal to)\b[\s:,]*)+", re.IGNORECASE
)
_MATHEMATICS = re.compile(
    r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|(?<!\\)\$(?!\s)([^$\n]+?)(?<![\s\\])\$", re.DOTALL
)
_RESULT = re.compile(r"(?<![<>!:=])=(?!=)|\b(?:is|are|equals?|gets?|gives?|obtain|have|be)\b\s*:?|:\s", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.\\^/{+*-])[-+]?\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?\s?%?(?![\d\w\\^/_}]|\.\d|,\d)")


def answers(response: str) -> list[str]:
    r"""The answers that a response gives, each as a whole; empty where it gives none.

    Its boxes, each once, but for empty ones beside others. One that is never closed is an empty answer. Without any,
    its last claim: behind `answer is`, `Answer:`, `####`; or all of it; or what the last sentence ends with.
    """
    text = response[-LAST:]
    boxes = list(dict.fromkeys(boxed(text)))
    if boxes:
        return [box for box in boxes if _EMPTY.sub("", box)] or [""]
    tagged = _TAGGED.findall(text)
    if tagged:
        return [tagged[-1].strip()]
    text = _CUE_IN_TEXT.sub(r"\1", _MARKDOWN.sub(" ", text)).strip()
    claims = list(_ANSWER.finditer(text))
    if not claims:
        return _last_claims(text)
    claim = text[claims[-1].end() :]
    rest = claim[len(_sentence(claim)) :]
    retraction = _RETRACTION.search(rest)
    return _last_claims(rest[retraction.end() :]) if retraction else [_clause(_sentence(claim))]


def _sentence(text: str) -> str:
    """The first sentence of a text, or its first line with anything in it."""
    text_lines = text.lstrip()
    end = _SENTENCE_END.search(text_lines)
    lead = len(text) - len(text_lines)
    cut = end.start() if end else len(text_lines)
    newline = text_lines.find("\n")
    if 0 <= newline < cut and not text_lines.startswith((r"\[", "$$")):
        cut = newline
    return text[: lead + cut]


def _clause(text: str) -> str:
    """What a sentence claims, without the reasons that it gives."""
    found = _CLAUSE.search(text)
    text = text[: found.start()] if found else text
    place = _PLACE.search(text)
    return _ADVERBS.sub("", text[: place.start()] if place else text).strip()


def _last_claims(text: str) -> list[str]:
    """What a text without `answer` in it ends with. All of it where it is short; the caller reads which one it can."""
    text = text.strip()
    if "\n" not in text and not _is_prose(text):
        return [text]
    lines = [line for line in re.split(r"\n+", text) if line.strip(" \\[]$()")]
    if not lines:
        return []
    sentence = re.split(r"(?<=[A-Za-z\d)}$%])[.!]\s+(?=[A-Z\\$\d])", lines[-1].strip())[-1].strip()
    if sentence.endswith("?"):
        return []
    return _ending(sentence)


def _is_prose(text: str) -> bool:
    """Whether there are words around what a text claims; a word alone is a claim."""
    return len(text.split()) > 1 and re.search(r"(?<![\\a-zA-Z{])[A-Za-z]{3,}", text) is not None


def _ending(sentence: str) -> list[str]:
    denied = bool(_DENIAL.search(sentence))
    if not _is_prose(sentence):
        return [sentence]
    formulas = [next(filter(None, found)) for found in _MATHEMATICS.findall(sentence)]
    if formulas:
        after = sentence.rpartition(formulas[-1])[2]
        return [] if denied or re.match(r"\W*\w*\W*\d", after) else [formulas[-1]]
    results = list(_RESULT.finditer(sentence))
    if results:
        return [] if denied else [_clause(sentence[results[-1].end() :])]
    numbers = _NUMBER.findall(sentence)
    every = re.findall(r"\d[\d,.]*", sentence)
    return [numbers[0]] if len(numbers) == len(every) == 1 and not denied else []
