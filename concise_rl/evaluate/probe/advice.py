"""Advise after a probe: whether to train, the cap, the size of groups, and the methods that fit."""

import math
from dataclasses import dataclass

from concise_rl.evaluate.probe.findings import Finding, Measured
from concise_rl.evaluate.probe.limits import LIMITS
from concise_rl.evaluate.probe.rollouts import Rollouts
from concise_rl.evaluate.text import percent, tokens

GAIN = 0.1
"""How many more groups of 16 than groups of 8 have to be mixed, as a share of all, to be worth twice the rollouts of a
prompt."""
STEPS = ((256, 16), (1024, 64), (8192, 256))
"""Up to so many tokens a cap is rounded up to a multiple of the second number; beyond, of 1024."""


@dataclass(frozen=True)
class Method:
    """When a method fits.

    Attributes:
        name: as recipes name it.
        needs: names of `LIMITS`, all of which must hold; the last is the one that speaks for this method.
        why: what it does with such a model.
    """

    name: str
    needs: tuple[str, ...]
    why: str


METHODS: tuple[Method, ...] = (
    Method(
        "grpo_lambda", ("rarely_cut", "right_enough", "worth_it", "gate"),
        "it shortens groups that are right and trains the others for correctness; no judge is needed",
    ),
    Method(
        "s_grpo", ("rarely_cut", "right_enough", "worth_it", "long_paths"),
        "it samples one long path and has its exits answered, so that a group costs little more than one rollout",
    ),
    Method(
        "decs", ("rarely_cut", "right_enough", "worth_it", "stated", "redundant"),
        "it lowers the credit of the tokens behind the first statement, and of no others",
    ),
    Method(
        "jet", ("rarely_cut", "right_enough", "long_paths", "redundant"),
        "it compares paths with their own early exits, which are right where the rest is redundant",
    ),
    Method(
        "lc_r1", ("rarely_cut", "right_enough", "stated", "redundant"),
        "it crops right rollouts behind the first statement and pays for closing there",
    ),
    Method(
        "ddca", ("rarely_cut", "worth_it", "right_enough"),
        "its length term is scaled by the share of right rollouts, so that hard problems keep their length",
    ),
    Method(
        "length_penalty", ("rarely_cut", "worth_it", "gate", "mostly_right"),
        "it penalises length in every group, which costs accuracy where many are wrong",
    ),
    Method("grpo", ("rarely_cut", "mixed"), "it trains for correctness alone; do that first where accuracy is low"),
)  # fmt: skip
"""In the order of advice: what needs no judge and no plan of its own, and costs the least, comes first."""


@dataclass(frozen=True)
class Fit:
    """Say whether a method fits.

    Attributes:
        name: of the method.
        fits: None where it cannot be said yet.
        why: the reason, or what speaks against it.
    """

    name: str
    fits: bool | None
    why: str


@dataclass(frozen=True)
class Choice:
    """A number to put into a recipe, and why."""

    value: int
    why: str


@dataclass(frozen=True)
class Advice:
    """Hold what to do with a model.

    Attributes:
        verdict: train, look, sample_more, raise_cap, accuracy_first or leave.
        headline: the same in a sentence.
        cap: max_completion_length.
        group: num_generations.
        methods: all of `METHODS`, those that fit first.
    """

    verdict: str
    headline: str
    cap: Choice
    group: Choice
    methods: list[Fit]

    @property
    def best(self) -> str | None:
        """Return the first method that fits."""
        return next((fit.name for fit in self.methods if fit.fits), None)


def advise(measured: Measured, findings: list[Finding]) -> Advice:
    """Say whether to train a model, and with what."""
    verdict, headline = _verdict(measured, findings)
    fits = [fit_of(method, measured.rollouts) for method in METHODS]
    order = {True: 0, None: 1, False: 2}
    return Advice(
        verdict=verdict,
        headline=headline,
        cap=cap_of(measured.rollouts, measured.tokens.context, measured.tokens.prompts[100]),
        group=group_of(measured.rollouts),
        methods=sorted(fits, key=lambda fit: order[fit.fits]),
    )


def _verdict(measured: Measured, findings: list[Finding]) -> tuple[str, str]:
    """Give the verdict and its sentence: the first thing that speaks against training, or that nothing does."""
    r = measured.rollouts
    if LIMITS["half_cut"].holds(r) is not True:
        return "raise_cap", f"Raise the cap first: {percent(r.cut.value)} of the samples were cut at {r.cap:,} tokens."
    faults = [finding for finding in findings if finding.level == "fault"]
    if faults:
        return "look", f"Look at {faults[0].name} first: {faults[0].text}."
    if LIMITS["right_enough"].holds(r) is False:
        return "accuracy_first", f"Train for accuracy first: {percent(r.accuracy.value)} of the samples are right."
    if r.redundant.value is None or r.saved.value is None:
        return "sample_more", "Sample more: no right sample tells what of the thinking is redundant."
    part = percent(r.redundant.value, 0)
    if LIMITS["worth_it"].holds(r) is False:
        return "leave", f"Not worth training: {part} of the thinking comes after the answer."
    unsure = [name for name in ("right_enough", "worth_it") if LIMITS[name].holds(r) is None]
    if unsure:
        return "sample_more", f"Sample more: {_unsure(unsure[0], r)}."
    return "train", f"Worth training: {part} of the thinking comes after the answer."


def _unsure(name: str, rollouts: Rollouts) -> str:
    limit = LIMITS[name]
    low, high = limit.fact(rollouts).ci95 or (0.0, 1.0)
    side = "above" if limit.above else "below"
    return (
        f"{limit.words}: {_number(limit.fact(rollouts).value, limit.at)} [{_number(low, limit.at)}, "
        f"{_number(high, limit.at)}] may or may not be {side} {_number(limit.at, limit.at)}"
    )


def _number(value: float | None, limit: float) -> str:
    """Write a share as percent; what has a limit above 1 is no share."""
    return tokens(value) if limit > 1 else percent(value)


def fit_of(method: Method, rollouts: Rollouts) -> Fit:
    """Say whether a method fits what was measured."""
    held = {name: LIMITS[name].holds(rollouts) for name in method.needs}
    if False in held.values():
        return Fit(
            method.name, False, "; ".join(_against(name, rollouts) for name, is_so in held.items() if is_so is False)
        )
    if None in held.values():
        name = next(name for name, is_so in held.items() if is_so is None)
        known = LIMITS[name].fact(rollouts).value is not None
        return Fit(
            method.name,
            None,
            f"sample more: {_unsure(name, rollouts)}" if known else f"not known: {LIMITS[name].words}",
        )
    limit = LIMITS[method.needs[-1]]
    return Fit(method.name, True, f"{method.why} ({limit.words}: {_number(limit.fact(rollouts).value, limit.at)})")


def _against(name: str, rollouts: Rollouts) -> str:
    limit = LIMITS[name]
    side = "at least" if limit.above else "at most"
    found = _number(limit.fact(rollouts).value, limit.at)
    return f"{limit.words}: {found}, and it needs {side} {_number(limit.at, limit.at)}"


def cap_of(rollouts: Rollouts, context: int | None, longest_prompt: int) -> Choice:
    """Choose the cap that 99 of 100 samples end within, rounded up; twice the probe's where that is not known.

    Args:
        rollouts: what the samples say.
        context: tokens that a prompt and its completion may have; None where it is not known.
        longest_prompt: tokens.
    """
    room = None if context is None else context - longest_prompt
    known = rollouts.quantiles[99] < rollouts.cap
    wanted = round_up(rollouts.quantiles[99]) if known else 2 * rollouts.cap
    why = (
        f"99 % of the samples end within {rollouts.quantiles[99]:,} tokens"
        if known
        else f"{percent(rollouts.cut.value)} of the samples were cut at {rollouts.cap:,}: twice that"
    )
    if room is not None and wanted > room:
        return Choice(room, f"{why}; the context leaves {room:,} beside the longest prompt")
    return Choice(wanted, why)


def round_up(length: int) -> int:
    """Round up to a number that people would write into a recipe."""
    step = next((step for limit, step in STEPS if length <= limit), 1024)
    return math.ceil(length / step) * step


def group_of(rollouts: Rollouts) -> Choice:
    """Choose 8 rollouts of a prompt, or 16 where these make many more groups mixed."""
    eight, sixteen = rollouts.group(8), rollouts.group(16)
    if eight is None or eight.mixed.value is None:
        return Choice(8, "published by most; how groups fall is not known from so few samples of a problem")
    mixed = f"{percent(eight.mixed.value, 0)} of groups of 8 are mixed"
    if sixteen is None or sixteen.mixed.value is None:
        return Choice(8, f"{mixed}; of groups of 16 that is not known from so few samples of a problem")
    both = f"{mixed}, and {percent(sixteen.mixed.value, 0)} of groups of 16"
    if sixteen.mixed.value - eight.mixed.value >= GAIN and (eight.all_right.value or 0) < LIMITS["gate"].at:
        return Choice(16, f"{both}: that is worth twice the rollouts of a prompt")
    return Choice(8, f"{both}; with 8 a step has twice as many prompts")
