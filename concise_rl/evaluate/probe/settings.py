"""Choose what the methods take in a recipe that follows from a probe: published values, and where those would not do
here measured ones. Each comes with its reason."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from concise_rl.evaluate.intervals import Estimate
from concise_rl.evaluate.probe.advice import round_up
from concise_rl.evaluate.probe.findings import Measured
from concise_rl.evaluate.text import percent

MOST = 0.5
"""Share of groups that are mostly right from where on a threshold, and no ranking, gates GRPO-lambda."""
FEW_PROMPTS = 64
"""Prompts of a step below which DECS's published share of all-right groups, 0.1, would be a handful of them."""
SENTENCE = "Time is limited, stop thinking and start answering.\n{think_end}\n\n"


@dataclass(frozen=True)
class Key:
    """A line of a recipe.

    Attributes:
        name, value: of the setting.
        why: the reason, which stands in front of it as a comment.
    """

    name: str
    value: Any
    why: str = ""


@dataclass(frozen=True)
class Wanted:
    """Hold what decides a method's settings.

    Attributes:
        measured: by the probe.
        small: whether the model is one for a CPU.
        cap: max_completion_length.
        prompts: of a step.
    """

    measured: Measured
    small: bool
    cap: int
    prompts: int

    @property
    def think_end(self) -> str:
        """Return what closes the thinking; a probe has made sure of it."""
        assert self.measured.measurement.think_end
        return self.measured.measurement.think_end


@dataclass(frozen=True)
class Settings:
    """A method in a recipe.

    Attributes:
        method: its keys, from `objective_options` on.
        steps: optimizer steps on a CPU; as the recipes for the embedded reasoner, where they were measured.
        training: keys of a GPU recipe that replace or add to those that all have.
        ordered: whether a group has to lie whole in a micro-batch.
        group: rollouts of a prompt that it needs; None for the probe's advice.
    """

    method: Callable[[Wanted], list[Key]]
    steps: int = 80
    training: tuple[Key, ...] = ()
    ordered: bool = False
    group: int | None = None


def _nothing(wanted: Wanted) -> list[Key]:
    return []


def _grpo_lambda(wanted: Wanted) -> list[Key]:
    groups = wanted.measured.rollouts.group(8)
    solved = groups.mostly_right if groups else Estimate(None, None)
    if solved.value is not None and solved.value >= MOST:
        gate: dict[str, Any] = {"gate": "threshold", "threshold": 0.5}
        why = (
            f"{percent(solved.value, 0)} of groups of 8 are right in half of their rollouts, and shortened. The "
            "published gate is the best 20 % of a batch's groups (gate: top_fraction)"
        )
    else:
        gate = {"gate": "top_fraction", "top_fraction": 0.2}
        why = f"published. {percent(solved.value, 0)} of groups of 8 are right in half of their rollouts"
    return [Key("objective_options", gate | {"alpha": 0.6}, why)]


def _length_penalty(wanted: Wanted) -> list[Key]:
    alpha = 0.6 if wanted.small else 0.1
    return [Key("objective_options", {"alpha": alpha}, "" if wanted.small else "as the released script")]


def _exits(wanted: Wanted, published: int) -> dict[str, Any]:
    """Choose the text of an exit and the cap of its answer."""
    longest = 2 * wanted.measured.rollouts.answer_tokens
    if wanted.small:
        text = f"\n{wanted.think_end}\n"
        return {"exit_text": text, "answer_max_tokens": min(published, longest), "train_exit_text": False}
    text = SENTENCE.replace("{think_end}", wanted.think_end)
    return {"exit_text": text, "answer_max_tokens": min(published, round_up(longest)), "train_exit_text": True}


def _why_exits(wanted: Wanted) -> str:
    answers = f"99 % of the answers have up to {wanted.measured.rollouts.answer_tokens} tokens"
    if wanted.small:
        return (
            f"The exit ends the line before it closes the thinking. {answers}: an exit gets twice that. The model does "
            "not know the published sentence, so that the exit text is not trained on"
        )
    return (
        f"The exit text is the published one, and trained on. {answers}: an exit gets twice that, at most the published"
    )


def _s_grpo(wanted: Wanted) -> list[Key]:
    return [Key("objective_options", {"decay": 2.0, **_exits(wanted, 512)}, _why_exits(wanted))]


def _jet(wanted: Wanted) -> list[Key]:
    options = {"fractions": [0.3, 0.6, 0.9], **_exits(wanted, 50)}
    return [
        Key(
            "objective_options",
            options,
            f"3 exits and the path make 4: two paths in a group of 8. {_why_exits(wanted)}",
        )
    ]


def _decs(wanted: Wanted) -> list[Key]:
    keys = [
        Key(
            "objective_options",
            {"beta": 0.1, "redundant_reward": "code"},
            "the weight of the length, as in the released code",
        )
    ]
    groups = wanted.measured.rollouts.group(8)
    easy = groups.all_right.value if groups else None
    if wanted.prompts >= FEW_PROMPTS or easy is None:
        options, why = {"kappa_lr": 0.2, "rounds": 10}, "published: the share of all-right groups begins at 0"
    else:
        begin = min(0.5, math.floor(10 * easy) / 10)
        options = {"kappa_init": begin}
        why = (
            f"{percent(easy, 0)} of groups of 8 are all right, so that their share of a step begins at {begin:g}. The "
            f"published 0 rises to about 0.1, which would be {wanted.prompts // 10} of {wanted.prompts} groups"
        )
    return [Key("judge", "rule"), *keys, Key("curriculum", "kappa"), Key("curriculum_options", options, why)]


def _lc_r1(wanted: Wanted) -> list[Key]:
    options = {"len_coef": 1.0, "think_end_coef": 1.0, "pay_wrong": False}
    why = "as the released code, except that wrong rollouts are not paid for their length"
    return [Key("judge", "rule"), Key("objective_options", options, why)]


def _ddca(wanted: Wanted) -> list[Key]:
    return [Key("objective_options", {"beta": 0.2, "estimator": "grpo", "dynamic": True}, "published")]


OF_EACH = Key("loss_type", "grpo", "mean within each rollout, as S-GRPO's authors publish it")
OF_DECS = (Key("delta", 3.0, "dual clip, as published"), Key("learning_rate", 2e-6, "published"))
OF_LC_R1 = (
    Key("loss_type", "bnpo", "as the released code"),
    Key("learning_rate", 2e-6, "published"),
    Key("max_grad_norm", 0.1, "published"),
)


SETTINGS: dict[str, Settings] = {
    "grpo": Settings(_nothing),
    "length_penalty": Settings(_length_penalty),
    "grpo_lambda": Settings(_grpo_lambda, training=(OF_EACH,)),
    "s_grpo": Settings(_s_grpo, 200, (OF_EACH,), ordered=True),
    "jet": Settings(_jet, 160, ordered=True, group=8),
    "decs": Settings(_decs, 120, OF_DECS),
    "lc_r1": Settings(_lc_r1, training=OF_LC_R1),
    "ddca": Settings(_ddca),
}
"""The methods for which a recipe can be written."""
