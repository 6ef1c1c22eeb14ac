"""Sets up what the steps of a run go through, from its configuration."""

from collections.abc import Sequence
from typing import Any

from concise_rl.curriculum.curricula import Curriculum, build_curriculum
from concise_rl.curriculum.filling import Filling
from concise_rl.labels.judges import DEFAULT_JUDGE
from concise_rl.labels.labeller import Labeller, build_labeller
from concise_rl.methods import Stage, Tools
from concise_rl.named import mapping
from concise_rl.recipe.compatibility import label_of, stages_wanted
from concise_rl.recipe.config import ConciseConfig
from concise_rl.rollout.collect import Collector
from concise_rl.rollout.engine import Sampling
from concise_rl.rollout.sync.links import refuse_plan
from concise_rl.train.credit import Creditor
from concise_rl.train.sampling import Sampler
from concise_rl.verify.pool import VerifierPool


def start_verifier(args: ConciseConfig) -> VerifierPool:
    """Start what judges answers, as the configuration says."""
    return VerifierPool(
        args.verifier, args.verifier_workers, args.verifier_timeout, args.verifier_memory_mb, args.refuse_copied
    )


def build_steps(trainer: Any) -> tuple[Sampler, Creditor]:
    """Build what makes the rollouts of a trainer, and what says what they are worth.

    Raises:
        ValueError: when groups that have to lie whole on each rank would not, a cap cannot hold what the plan forces
            into a rollout, or for an unknown curriculum, judge or option.
    """
    collector, curriculum = _collector(trainer), _curriculum(trainer)
    filling = _filling(trainer, curriculum) if curriculum else None
    stages = stages_wanted(trainer.parts, trainer.args, curriculum)
    tools = Tools(trainer.delimiters, trainer._tokenizer, _labeller(trainer, stages))
    of_run = (trainer.world, trainer.clock)
    sampler = Sampler(collector, trainer.method, trainer.parts, trainer._tokenize, trainer.args.seed, *of_run, filling)
    return sampler, Creditor(trainer.method, trainer.parts, stages, tools, collector, *of_run)


def _collector(trainer: Any) -> Collector:
    plan = trainer.parts.plan
    if plan.whole_groups:
        _demand_whole_groups(trainer, f"{type(trainer.method).__name__} makes the rollouts of a group together")
    corrected = trainer.use_vllm and trainer.vllm_importance_sampling_correction
    sampling = Sampling(
        trainer.temperature, trainer.top_p, trainer.top_k or 0, trainer.min_p or 0.0, logprobs=corrected
    )
    plan.check_cap(trainer.max_length)
    refuse_plan(trainer.link, plan)
    return Collector(trainer.link, plan, sampling, trainer.delimiters, trainer._tokenizer, trainer.verifier)


def _curriculum(trainer: Any) -> Curriculum | None:
    args: ConciseConfig = trainer.args
    if not args.curriculum:
        return None
    _demand_whole_groups(trainer, f"curriculum {args.curriculum} exchanges whole groups")
    return build_curriculum(args.curriculum, mapping(args.curriculum_options))


def _filling(trainer: Any, curriculum: Curriculum) -> Filling:
    filling = Filling(
        curriculum,
        trainer.train_dataset,
        trainer.num_generations,
        trainer.accelerator,
        trainer.args.seed,
        lambda: trainer.callback_handler.callbacks,
    )
    for callback in filling.fresh_callbacks():
        trainer.add_callback(callback)
    return filling


def _labeller(trainer: Any, stages: Sequence[Stage]) -> Labeller | None:
    """Build what says where thinking has become redundant, if any stage asks."""
    label = label_of(stages)
    if label is None:
        return None
    options = mapping(trainer.args.judge_options)
    tools = (trainer.delimiters, trainer._tokenizer, trainer.verifier)
    return build_labeller(label.passage, trainer.args.judge or DEFAULT_JUDGE, options, *tools)


def _demand_whole_groups(trainer: Any, reason: str) -> None:
    """
    Raises:
        ValueError: when a group could lie on two ranks.
    """
    rows = trainer.args.per_device_train_batch_size * trainer.args.steps_per_generation
    if rows % trainer.num_generations:
        raise ValueError(
            f"{reason} on each rank: per_device_train_batch_size x steps_per_generation ({rows}) must be a "
            f"multiple of num_generations ({trainer.num_generations})."
        )
