"""List what a probe has found, each as fine, worth a look, or a fault."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from concise_rl.evaluate.probe.limits import LIMITS
from concise_rl.evaluate.probe.rollouts import Rollouts
from concise_rl.evaluate.probe.tokens import Tokens
from concise_rl.evaluate.spec import Measurement
from concise_rl.evaluate.text import percent

Level = Literal["ok", "look", "fault"]
OFTEN = 0.1
"""Share of the samples from where on another delimiter, or an end that no list names, is worth a word."""
UNJUDGED = 0.01
"""Share of the samples without a verdict from where on the verifier is worth a look."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: fine, worth a look, or a fault that makes the numbers mean something else.
        name: what was looked at.
        text: what was found, and what to do.
    """

    level: Level
    name: str
    text: str


@dataclass(frozen=True)
class Measured:
    """All that a probe has measured.

    Attributes:
        model, task: what was sampled, on what.
        measurement: how.
        rollouts: what the samples say.
        tokens: what the tokenizer and the template say.
    """

    model: str
    task: str
    measurement: Measurement
    rollouts: Rollouts
    tokens: Tokens


def find(measured: Measured) -> list[Finding]:
    """Look at everything that a recipe would have to get right."""
    return [look(measured) for look in LOOKS]


def _delimiter(measured: Measured) -> Finding:
    r, think_end = measured.rollouts, measured.measurement.think_end
    said = f"{percent(r.closed.value)} of the samples that ended have {think_end!r} exactly once"
    other, often = next(iter(measured.tokens.others.items()), ("", 0.0))
    instead = f"; {percent(often)} hold {other!r}: is that its delimiter (--think-end)?" if often > OFTEN else ""
    if r.closed.value is None:
        return Finding("look", "think_end", f"no sample ended before the cap, so {think_end!r} could not be checked")
    if LIMITS["closed_at_all"].holds(r) is False:
        return Finding("fault", "think_end", said + (instead or ". Does the model think, and close it otherwise?"))
    if LIMITS["closed"].holds(r) and not instead:
        return Finding("ok", "think_end", said)
    return Finding("look", "think_end", said + instead)


def _template(measured: Measured) -> Finding:
    tokens = measured.tokens
    opening = repr(tokens.opening[-40:])
    switch = "; it takes enable_thinking (chat_template_kwargs)" if tokens.switch else ""
    if tokens.closes:
        return Finding(
            "fault",
            "template",
            f"the template closes the thinking before the model begins ({opening}){switch}: let it think",
        )
    who = "the template opens the thinking" if tokens.opens else "the model opens the thinking itself"
    return Finding("ok", "template", f"{who} (the prompt ends in {opening}){switch}")


def _ends(measured: Measured) -> Finding:
    ends = measured.tokens.ends
    said = ", ".join(f"{end!r} ({count:,})" for end, count in ends.items())
    idle = not ends.get(measured.tokens.tokenizer_end) and any(ends.values())
    if not any(ends.values()):
        return Finding("look", "EOS", f"no sample ended by itself; EOS tokens are {said}")
    if idle:
        return Finding(
            "look", "EOS",
            f"samples ended by {said}; the tokenizer's own {measured.tokens.tokenizer_end!r} ended none. All of these "
            "end a rollout",
        )  # fmt: skip
    return Finding("ok", "EOS", f"samples ended by {said}")


def _cap(measured: Measured) -> Finding:
    r = measured.rollouts
    said = f"{percent(r.cut.value)} of the samples were cut at {r.cap:,} tokens"
    if LIMITS["half_cut"].holds(r) is not True:
        return Finding("fault", "cap", f"{said}: raise --max-tokens, or the numbers mean little")
    return Finding("ok" if LIMITS["rarely_cut"].holds(r) else "look", "cap", said)


def _unclosed(measured: Measured) -> Finding:
    share = measured.rollouts.unclosed.value or 0.0
    said = f"{percent(share)} of the samples ended inside the thinking"
    return Finding("look" if share > OFTEN else "ok", "unclosed", said)


def _prompts(measured: Measured) -> Finding:
    tokens, cap = measured.tokens, measured.rollouts.cap
    longest = tokens.prompts[100]
    said = f"prompts have up to {longest:,} tokens (half of them up to {tokens.prompts[50]:,})"
    if tokens.context is None:
        return Finding("look", "prompts", f"{said}; the model's context is not known")
    fits = f"{longest + cap:,} with the cap, of a context of {tokens.context:,}"
    return Finding("ok" if longest + cap <= tokens.context else "fault", "prompts", f"{said}: {fits}")


def _verifier(measured: Measured) -> Finding:
    r, name = measured.rollouts, measured.measurement.verifier
    if r.unjudged > UNJUDGED * r.samples:
        return Finding("look", "verifier", f"{name} could not grade {r.unjudged:,} of {r.samples:,} samples")
    return Finding("ok", "verifier", f"{name} graded {r.samples - r.unjudged:,} of {r.samples:,} samples")


def _statement(measured: Measured) -> Finding:
    stated = measured.rollouts.stated
    if stated.value is None:
        return Finding("look", "judge", "no right sample was read, so nothing is known of redundancy")
    said = f"the thinking states the answer in {percent(stated.value)} of the right samples"
    well = LIMITS["stated"].holds(measured.rollouts)
    return Finding("ok" if well else "look", "judge", said + ("" if well else f"; {LIMITS['stated'].reason}"))


LOOKS: tuple[Callable[[Measured], Finding], ...] = (
    _delimiter, _template, _ends, _cap, _unclosed, _prompts, _verifier, _statement,
)  # fmt: skip
