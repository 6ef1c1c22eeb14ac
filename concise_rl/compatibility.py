"""Which settings go together: what an objective needs of the recipe, and what it would silently mean otherwise."""

from concise_rl.config import ConciseConfig
from concise_rl.errors import unknown
from concise_rl.objective import Objective
from concise_rl.redundancy import PassageKind
from concise_rl.schedule import Curriculum

LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo")
"""Those that TRL has. It finds out about another one in the first step."""
LOSSES_BY_TOKEN = ("dapo", "cispo")
"""Losses that divide by the tokens of the whole batch: what is masked leaves the normaliser, too."""


def shares_prefixes(objective: Objective, args: ConciseConfig) -> bool:
    """Whether `shared_prefix` is on, which it is for serial groups unless the recipe says otherwise."""
    return objective.ordered if args.shared_prefix is None else args.shared_prefix


def passages_wanted(objective: Objective, args: ConciseConfig, curriculum: Curriculum | None) -> PassageKind | None:
    """Into what the thinking is divided and judged: as the method asks for, or the curriculum, or the recipe, which
    wants the metrics."""
    asked = (objective.labels, curriculum.labels if curriculum else None, "chunk" if args.judge else None)
    return next((passage for passage in asked if passage), None)


def check_compatible(objective: Objective, args: ConciseConfig) -> None:
    """Refuse settings of TRL under which an objective would silently mean something else.

    Raises:
        ValueError: naming the setting and what to set it to.
    """
    name = type(objective).__name__
    if args.max_completion_length is None:
        raise ValueError("max_completion_length is not set: without a cap a rollout need not end.")
    if args.loss_type not in LOSSES:
        raise unknown("loss_type", args.loss_type, LOSSES)
    if args.reward_weights is not None:
        raise ValueError(
            "reward_weights would only change the reward that is logged: leave it out. What a rollout is paid for is "
            "the objective's, see objective_options."
        )
    if objective.token_level and args.off_policy_mask_threshold is not None:
        raise ValueError(f"{name} gives each token its own advantage: set off_policy_mask_threshold to null.")
    if objective.token_level and args.loss_type == "vespo":
        raise ValueError(f"{name} gives each token its own advantage, which loss_type vespo cannot take: use dapo.")
    if objective.labels and not args.think_end:
        raise ValueError(f"{name} reads what was thought: set think_end to the text that closes this model's thinking.")
    if objective.drops and args.loss_type not in LOSSES_BY_TOKEN:
        raise ValueError(
            f"{name} takes rollouts out of the loss, and loss_type {args.loss_type} would go on counting them: set it "
            f"to one of {', '.join(LOSSES_BY_TOKEN)}."
        )
    if args.curriculum and args.loss_type not in LOSSES_BY_TOKEN:
        raise ValueError(
            f"curriculum {args.curriculum} takes groups out of the loss where it finds too few, and loss_type "
            f"{args.loss_type} would go on counting them: set it to one of {', '.join(LOSSES_BY_TOKEN)}."
        )
    if shares_prefixes(objective, args) and args.per_device_train_batch_size % (args.num_generations or 1):
        raise ValueError(
            f"shared_prefix needs whole groups in a micro-batch: make per_device_train_batch_size "
            f"({args.per_device_train_batch_size}) a multiple of num_generations ({args.num_generations}), or set "
            "shared_prefix: false."
        )
    if shares_prefixes(objective, args) and args.neftune_noise_alpha:
        raise ValueError(
            "shared_prefix cannot be used with neftune_noise_alpha: rows that share a token would draw alike."
        )
    by_sequence = args.vllm_importance_sampling_mode.startswith("sequence")
    if args.use_vllm and args.vllm_importance_sampling_correction and args.loss_type == "vespo" and by_sequence:
        raise ValueError("loss_type vespo needs vllm_importance_sampling_mode token_truncate or token_mask.")
