"""Which settings go together: what an objective needs of the recipe, and what it would silently mean otherwise."""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

from datasets import IterableDataset
from trl import DPOConfig

from concise_rl.curriculum.curricula import Curriculum
from concise_rl.errors import unknown
from concise_rl.methods import Label, Objective, Parts, RunContext, SequenceReward, Stage
from concise_rl.named import mapping
from concise_rl.recipe.config import ConciseConfig
from concise_rl.recipe.settings import (
    BESIDE,
    BESIDE_OF_DPO,
    CLIPPED_LOSSES,
    RL,
    Beside,
    defaults_of,
    is_default,
    refusal,
)

logger = logging.getLogger(__name__)

LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo")
"""Those that TRL has. It finds out about another one in the first step."""
PREFERENCE_LOSSES = (
    *("sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired"),
    *("apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm"),
)
"""The same of `stage: dpo`."""
LOSSES_BY_TOKEN = ("dapo", "cispo")
"""Losses that divide by the tokens of the whole batch: what is masked leaves the normaliser, too."""
LONG = 512
"""Tokens from where on a weight of a whole sequence is mostly rounding: .03 nats a token are .7 of a sequence."""

Rule = Callable[[Objective, ConciseConfig], str | None]
"""What is wrong with settings, as a line that says what to set; None where nothing is."""


def parts_of(method: Objective, args: ConciseConfig) -> Parts:
    """What a method brings along, as far as it can be known before there is a tokenizer.

    Raises:
        ValueError: as the method does, for a group size that does not go with it, say.
    """
    return method.parts(RunContext.sketch(args.num_generations or 8, args.think_end))


def shares_prefixes(method: Objective, args: ConciseConfig) -> bool:
    """Whether `shared_prefix` is on, which it is for serial groups unless the recipe says otherwise."""
    return parts_of(method, args).plan.shared_path if args.shared_prefix is None else args.shared_prefix


def stages_wanted(parts: Parts, args: ConciseConfig, curriculum: Curriculum | None) -> tuple[Stage, ...]:
    """What is done to rollouts: the method's stages. A curriculum may ask for labels, or a recipe for their metrics."""
    asked = (curriculum.labels if curriculum else None, "chunk" if args.judge else None)
    passage = next((passage for passage in asked if passage), None)
    if passage is None or any(isinstance(stage, Label) for stage in parts.stages):
        return parts.stages
    return (Label(passage), *parts.stages)


def label_of(stages: Sequence[Stage]) -> Label | None:
    """The stage that labels, if any does."""
    return next((stage for stage in stages if isinstance(stage, Label)), None)


def _no_refused_setting(objective: Objective, args: ConciseConfig) -> str | None:
    return refusal(RL, vars(args), defaults_of(ConciseConfig))


def _nothing_dropped(objective: Objective, args: ConciseConfig) -> str | None:
    return dropped_setting(BESIDE, args)


def dropped_setting(settings: Sequence[Beside], args: Any) -> str | None:
    """Find a setting that nothing reads, since the one beside which it is read has another value."""
    defaults = defaults_of(type(args))
    for beside in settings:
        for name in beside.names:
            if not beside.reads(args) and not is_default(getattr(args, name), defaults[name]):
                return f"{name}: nothing reads it but {beside.when}. Set that, or leave {name} out."
    return None


def _has_a_cap(objective: Objective, args: ConciseConfig) -> str | None:
    if args.max_completion_length is None:
        return "max_completion_length is not set: without a cap a rollout need not end."
    return None


def _known_loss(objective: Objective, args: ConciseConfig) -> str | None:
    return None if args.loss_type in LOSSES else str(unknown("loss_type", args.loss_type, LOSSES))


def _one_advantage_a_rollout(objective: Objective, args: ConciseConfig) -> str | None:
    gives = f"{type(objective).__name__} gives each token its own advantage"
    if objective.credit.by_token and args.off_policy_mask_threshold is not None:
        return f"{gives}: set off_policy_mask_threshold to null."
    if objective.credit.by_token and args.loss_type == "vespo":
        return f"{gives}, which loss_type vespo cannot take: use dapo."
    return None


def _own_loss_reads_its_settings(objective: Objective, args: ConciseConfig) -> str | None:
    loss = parts_of(objective, args).loss
    if loss is None:
        return None
    own = f"{type(loss).__name__} is a loss of its own"
    if args.loss_type not in CLIPPED_LOSSES:
        return f"loss_type {args.loss_type} is a formula, and {own}: set one of {', '.join(CLIPPED_LOSSES)}."
    given = {
        "delta": args.delta is not None,
        "importance_sampling_level": args.importance_sampling_level != "token",
        "off_policy_mask_threshold": args.off_policy_mask_threshold is not None,
        "entropy_coef": bool(args.entropy_coef),
        "use_adaptive_entropy": args.use_adaptive_entropy,
    }
    unread = next((name for name, is_set in given.items() if is_set), None)
    return f"{unread}: {own}, which does not read it. Leave {unread} out." if unread else None


def _own_loss_reads_facts_that_there_are(objective: Objective, args: ConciseConfig) -> str | None:
    parts = parts_of(objective, args)
    there = sorted({fact.name for fact in parts.facts} | ({"kept_correct"} if parts.rejudge else set()))
    missing = sorted(set(parts.loss.facts if parts.loss else ()) - set(there))
    if not missing:
        return None
    return (
        f"{type(parts.loss).__name__} reads the fact {missing[0]!r}, and no part of {type(objective).__name__} adds it "
        f"(there are: {', '.join(there) or 'none'}): name in parts() what does."
    )


def _delimiter_for_labels(objective: Objective, args: ConciseConfig) -> str | None:
    if label_of(parts_of(objective, args).stages) and not args.think_end:
        name = type(objective).__name__
        return f"{name} reads what was thought: set think_end to the text that closes this model's thinking."
    return None


def _loss_forgets_what_is_dropped(objective: Objective, args: ConciseConfig) -> str | None:
    if args.loss_type in LOSSES_BY_TOKEN:
        return None
    went_on = f"loss_type {args.loss_type} would go on counting them: set it to one of {', '.join(LOSSES_BY_TOKEN)}."
    if type(objective).kept_length is not Objective.kept_length:
        return f"{type(objective).__name__} takes rollouts out of the loss, and {went_on}"
    if args.curriculum:
        return f"curriculum {args.curriculum} takes groups out of the loss where it finds too few, and {went_on}"
    return None


def _scale_reaches_the_objective(objective: Objective, args: ConciseConfig) -> str | None:
    scale = args.scale_rewards
    if scale == "group" or "scale_rewards" in args.options:
        return None
    if not isinstance(objective, SequenceReward):
        return f"scale_rewards: {type(objective).__name__} has a normalisation of its own. Leave scale_rewards out."
    if objective.scale_rewards != scale:
        return (
            f"scale_rewards is {scale}, but the objective that was handed over has {objective.scale_rewards}: give it "
            "to the objective."
        )
    return None


def _whole_groups_share(objective: Objective, args: ConciseConfig) -> str | None:
    rows, group = args.per_device_train_batch_size, args.num_generations
    if shares_prefixes(objective, args) and rows % (group or 1):
        return (
            f"shared_prefix needs whole groups in a micro-batch: make per_device_train_batch_size ({rows}) a multiple "
            f"of num_generations ({group}), or set shared_prefix: false."
        )
    return None


def _rows_run_apart_or_share(objective: Objective, args: ConciseConfig) -> str | None:
    if shares_prefixes(objective, args) and args.rows_per_forward:
        return "rows_per_forward: shared_prefix runs the model once over all rows. Leave one of them out."
    return None


def _rows_share_no_noise(objective: Objective, args: ConciseConfig) -> str | None:
    if shares_prefixes(objective, args) and args.neftune_noise_alpha:
        return "shared_prefix cannot be used with neftune_noise_alpha: rows that share a token would draw alike."
    return None


def _rollouts_are_sampled(objective: Objective, args: ConciseConfig) -> str | None:
    given = mapping(args.generation_kwargs)
    for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty"):
        if name in given:
            return f"generation_kwargs: {name} is a setting of its own. Set {name}."
    if not given.get("do_sample", True) or given.get("num_beams", 1) != 1:
        return (
            "generation_kwargs: rollouts are sampled, or those of a group would be alike. Leave out do_sample, beams."
        )
    return None


def _batches_as_sampled(objective: Objective, args: ConciseConfig) -> str | None:
    if getattr(args.accelerator_config, "split_batches", False):
        return "accelerator_config: split_batches would tear groups apart. Leave it out."
    return None


def check_preferences(args: DPOConfig) -> None:
    """Refuse settings of `stage: dpo` that TRL would refuse in the first step, or never read.

    Raises:
        ValueError: naming the setting and what to set it to.
    """
    for loss in args.loss_type:
        if loss not in PREFERENCE_LOSSES:
            raise unknown("loss_type", loss, PREFERENCE_LOSSES)
    if complaint := dropped_setting(BESIDE_OF_DPO, args):
        raise ValueError(complaint)


def corrects_by_sequence(args: ConciseConfig) -> bool:
    """Whether each rollout has one importance weight, a product over its tokens."""
    by_sequence = args.vllm_importance_sampling_mode.startswith("sequence")
    return args.use_vllm and args.vllm_importance_sampling_correction and by_sequence


def _weights_by_token(objective: Objective, args: ConciseConfig) -> str | None:
    if not corrects_by_sequence(args):
        return None
    instead = "set vllm_importance_sampling_mode to token_truncate"
    if args.loss_type == "vespo":
        return "loss_type vespo needs vllm_importance_sampling_mode token_truncate or token_mask."
    if parts_of(objective, args).plan.shared_path:
        return (
            f"{type(objective).__name__} makes rollouts that share a path, whose tokens would have another weight in "
            f"each: {instead}."
        )
    if objective.credit.by_token:
        return f"{type(objective).__name__} credits tokens, and a weight of a whole sequence blurs that: {instead}."
    return None


RULES: tuple[Rule, ...] = (
    _no_refused_setting,
    _has_a_cap,
    _known_loss,
    _nothing_dropped,
    _one_advantage_a_rollout,
    _own_loss_reads_its_settings,
    _own_loss_reads_facts_that_there_are,
    _delimiter_for_labels,
    _loss_forgets_what_is_dropped,
    _scale_reaches_the_objective,
    _whole_groups_share,
    _rows_run_apart_or_share,
    _rows_share_no_noise,
    _rollouts_are_sampled,
    _batches_as_sampled,
    _weights_by_token,
)


def check_compatible(objective: Objective, args: ConciseConfig) -> None:
    """Refuse settings that would be dropped, or under which an objective would silently mean something else.

    Raises:
        ValueError: naming the setting and what to set it to.
    """
    for rule in RULES:
        if complaint := rule(objective, args):
            raise ValueError(complaint)
    if corrects_by_sequence(args) and (args.max_completion_length or 0) > LONG and args.process_index == 0:
        _warn_once(
            f"vllm_importance_sampling_mode {args.vllm_importance_sampling_mode} gives a rollout one weight, a product "
            f"over its tokens: beyond some {LONG} tokens rounding alone leaves long ones next to none. token_truncate "
            "weighs each token."
        )


@functools.cache
def _warn_once(text: str) -> None:
    """A recipe is checked twice before it is trained."""
    logger.warning(text)


def check_datasets(*datasets: Any) -> None:
    """
    Raises:
        ValueError: for a data set that has no length, which a run could not go on in where it was cut.
    """
    parts = [part for given in datasets for part in (given.values() if isinstance(given, dict) else [given])]
    if any(isinstance(part, IterableDataset) for part in parts):
        raise ValueError("An iterable data set has no rows to count: give a datasets.Dataset, which load_rows makes.")
