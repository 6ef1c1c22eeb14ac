"""A recipe on given GPUs, as the quantities that the arithmetic of memory takes."""

import functools
import math
from dataclasses import dataclass
from typing import Any

from peft import get_peft_model
from trl import get_peft_config

from concise_rl.methods import Objective
from concise_rl.named import mapping
from concise_rl.recipe.compatibility import parts_of, shares_prefixes
from concise_rl.recipe.fit.facts import Facts, Shape, on_meta, shape_of
from concise_rl.recipe.fit.hardware import Gpus, Launch
from concise_rl.recipe.fit.memory import Cache, Trainer, Training, cache_of, largest_share
from concise_rl.recipe.parse import Recipe
from concise_rl.recipe.precision import Strategy
from concise_rl.rollout.plans.serial import SerialExits
from reward import build_objective

WEIGHT_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
USUAL_PROMPT = 1024
"""Tokens taken for a prompt where the recipe does not say."""


@dataclass(frozen=True)
class Setup:
    """A recipe on given GPUs.

    Attributes:
        recipe: parsed for as many processes.
        facts: of its model.
        gpus: on which it is to run.
        launch: how its processes are started.
    """

    recipe: Recipe
    facts: Facts
    gpus: Gpus
    launch: Launch

    @property
    def config(self) -> Any:
        """The training's configuration."""
        return self.recipe.training

    @functools.cached_property
    def shape(self) -> Shape:
        """Sizes of the model."""
        return shape_of(self.facts.config)

    @property
    def samples(self) -> bool:
        """Whether vLLM runs on the GPUs of the training."""
        return self.recipe.stage == "rl" and self.config.use_vllm and self.config.vllm_mode == "colocate"

    @property
    def sequence(self) -> int:
        """The most tokens of a prompt and its completion."""
        if self.recipe.stage != "rl":
            return self.config.max_length or self.facts.context
        if self.config.use_vllm and self.config.vllm_max_model_length:
            return self.config.vllm_max_model_length
        return min(self.facts.context, self.config.max_completion_length + USUAL_PROMPT)

    @property
    def engine_sequence(self) -> int:
        """The most tokens that vLLM is started for: the model's whole context unless the recipe says less."""
        return self.config.vllm_max_model_length or self.facts.context

    @property
    def rows(self) -> int:
        """Rollouts of one GPU in a batch."""
        return self.config.per_device_train_batch_size * self.config.steps_per_generation

    @property
    def tensor_parallel(self) -> int:
        """GPUs that make one vLLM beside the trainer."""
        return self.config.vllm_tensor_parallel_size

    @functools.cached_property
    def training(self) -> Training:
        """What decides the trainer's memory."""
        config = self.config
        adapters = adapter_parameters(self.recipe, self.facts)
        return Training(
            tokens=self._tokens(),
            autocast=bool(config.bf16 or config.fp16),
            weight_bytes=weight_bytes(self.recipe),
            checkpointing=bool(config.gradient_checkpointing),
            adapter_parameters=adapters,
            reference=self._has_reference and not adapters,
            at_once=self._rows_at_once * self.sequence if self._rows_at_once else None,
            accumulates=config.gradient_accumulation_steps > 1 or bool(self._rows_at_once),
        )

    @property
    def _rows_at_once(self) -> int:
        """Rows of one forward pass, where a micro-batch has several: 0 where it is one."""
        rows = getattr(self.config, "rows_per_forward", None) or 0
        return rows if rows < self.config.per_device_train_batch_size else 0

    @property
    def _has_reference(self) -> bool:
        """Whether a second model is compared with, unless adapters are trained."""
        if self.recipe.stage == "dpo":
            return not self.config.precompute_ref_log_probs
        return self.recipe.stage == "rl" and self.config.beta > 0

    def _tokens(self) -> int:
        """Tokens of the largest micro-batch. One that shares prefixes has each of them once."""
        rows = self.config.per_device_train_batch_size
        if self.recipe.stage != "rl":
            return rows * self.sequence * (2 if self.recipe.stage == "dpo" else 1)  # of a pair
        method, cap = objective_of(self.recipe), self.config.max_completion_length
        if not shares_prefixes(method, self.config):
            return rows * self.sequence
        members, prompt = self.config.num_generations, self.sequence - cap
        plan = parts_of(method, self.config).plan
        group = prompt + members * cap
        if isinstance(plan, SerialExits):
            paths = members // plan.num_members
            group = prompt + paths * (cap + (plan.num_members - 1) * plan.tail)
        return math.ceil(rows / members) * group

    @property
    def strategy(self) -> Strategy:
        """How the run lies on its GPUs, in the words of `precision`."""
        kind = self.launch.strategy.kind
        return "deepspeed" if kind in ("zero1", "zero2", "zero3") else kind

    @functools.cached_property
    def trainer(self) -> Trainer:
        """Bytes of the trainer on each GPU."""
        return Trainer.of(self.shape, self.launch.strategy, self.training)

    def share(self, sleep: bool) -> float:
        """The largest share of a GPU for a vLLM beside the trainer."""
        return largest_share(self.trainer, self.gpus.memory, sleep)

    def cache(self, share: float) -> Cache:
        """Keys and values under a share of the GPU."""
        return cache_of(
            self.shape,
            share,
            self.gpus.memory,
            self.engine_sequence,
            2 if self.training.autocast else 4,
            self.tensor_parallel,
        )


def weight_bytes(recipe: Recipe) -> float:
    """Bytes of one weight as the trainer loads it."""
    if recipe.model.load_in_4bit:
        return 0.5
    if recipe.model.load_in_8bit:
        return 1.0
    return WEIGHT_BYTES.get(str(mapping(recipe.training.model_init_kwargs).get("dtype", "float32")), 2.0)


def objective_of(recipe: Recipe) -> Objective:
    """The recipe's method.

    Raises:
        ValueError: as `build_objective` does.
    """
    config = recipe.training
    return build_objective(config.objective, config.options, config.scale_rewards)


def adapter_parameters(recipe: Recipe, facts: Facts) -> int:
    """Parameters of the recipe's adapters; 0 where it trains all weights."""
    adapters = get_peft_config(recipe.model)
    if adapters is None:
        return 0
    model: Any = get_peft_model(on_meta(facts.config), adapters)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
