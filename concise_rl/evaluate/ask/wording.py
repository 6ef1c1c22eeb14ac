"""A reply in words: its verdict, its tokens, what it would have saved."""

from collections.abc import Sequence

from concise_rl.evaluate.ask.reply import Reply
from concise_rl.reading.trace import StopReason

NEEDED, SPENT = "\u2588", "\u2591"
"""Blocks of a bar: tokens that are not redundant, and those that are."""


def verdict(reply: Reply) -> str:
    """Say whether the answer is right, or why there is none."""
    if reply.answer is None:
        return f"no answer: {_why_none(reply)}"
    if not reply.trace.finished:
        return f"wrong: {_limit(reply)} cut its answer off"
    if not reply.is_graded:
        return "not graded: the right answer is not known (give it by --gold)"
    if reply.verdict is None:
        return "no verdict: the verifier could not grade the answer"
    if reply.verdict == 1.0:
        return "right"
    return f"wrong: the right answer is {reply.question.gold}"


def _why_none(reply: Reply) -> str:
    if reply.stop_reason is StopReason.LENGTH:
        return f"{_limit(reply)} cut its thinking off"
    if reply.trace.think_length < reply.trace.length - reply.trace.finished:
        return "it closed its thinking more than once"
    return "it ended without closing its thinking (--think-end says how this model does)"


def _limit(reply: Reply) -> str:
    """Say what cut a reply off."""
    if reply.context_ended:
        return f"the end of its context, {reply.trace.length:,} tokens behind the question,"
    return f"the cap of {reply.trace.length:,} tokens (--max-tokens)"


def cost(reply: Reply) -> str:
    """Say what it took."""
    return f"{reply.trace.length:,} tokens in {reply.seconds:.1f} s"


def split(reply: Reply) -> str:
    """Say how its tokens divide; empty where they do not. Delimiter and EOS are in neither part."""
    if not reply.trace.think_length or reply.trace.answer_ids is None:
        return ""
    redundant = f" ({reply.redundant:,} redundant)" if reply.redundant is not None else ""
    return f"{reply.trace.think_length:,} thinking{redundant}, {len(reply.trace.answer_ids):,} answer"


def statement(reply: Reply) -> str:
    """Say where the thinking first states the answer; empty for a model that does not think, and where nobody knows
    what to look for."""
    if reply.reference is None or not reply.trace.think_length:
        return ""
    whose = "right answer" if reply.is_graded else f"own answer ({reply.reference})"
    if reply.stated_at is None:
        return f"{whose} never stated in the thinking"
    at = f"{whose} stated after {reply.stated_at:,} tokens"
    if reply.redundant is None:
        return f"{at}, and left again" if reply.answer is not None else f"{at}, and it went on"
    return at if reply.is_graded or not reply.redundant else f"{at}; if right, the rest is redundant"


def comparison(replies: Sequence[Reply]) -> str:
    """Say what two models make of the same question; empty for one."""
    if len(replies) != 2:
        return ""
    short, long = sorted(replies, key=lambda reply: reply.trace.length)
    if short.trace.length == long.trace.length:
        return f"Both take {short.trace.length:,} tokens."
    saved = 1 - short.trace.length / long.trace.length
    least = "" if long.trace.finished else "at least "
    but = "" if short.trace.finished else ", but it was cut off"
    if short.trace.finished and short.verdict == 0.0 and long.verdict == 1.0:
        but = ", but its answer is wrong"
    return f"{short.model} takes {least}{100 * saved:.0f} % fewer tokens than {long.model} here{but}."


def bar(reply: Reply, longest: int, width: int) -> str:
    """Draw its tokens to scale, in the order in which they came.

    Args:
        longest: tokens that fill the width.
        width: in characters.
    """
    redundant = reply.redundant or 0
    before = reply.stated_at if redundant and reply.stated_at else reply.trace.length
    ends = [before, before + redundant, reply.trace.length]
    places = [0, *(round(end / longest * width) for end in ends)]
    return "".join(block * (b - a) for block, a, b in zip((NEEDED, SPENT, NEEDED), places, places[1:], strict=False))
