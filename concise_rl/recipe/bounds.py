"""Bound the values of a recipe's keys."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from concise_rl.errors import unknown


@dataclass(frozen=True)
class Range:
    """The numbers that a setting can be, both ends included unless said otherwise.

    Attributes:
        low, high: the ends; without `high` any finite number.
        above: whether `low` itself is out.
        below: whether `high` itself is out.
    """

    low: float
    high: float = sys.float_info.max
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number is in it. NaN never is."""
        inside = self.low < value if self.above else self.low <= value
        return inside and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        """As it is said: `above 0 and at most 1`."""
        if self.low == -sys.float_info.max:
            return "finite"
        low = f"{'above' if self.above else 'at least'} {self.low:g}"
        if self.high == math.inf:
            return low
        if self.high == sys.float_info.max:
            return f"{low} and finite"
        return f"{low} and {'below' if self.below else 'at most'} {self.high:.10g}"


_COUNT, _POSITIVE, _AT_LEAST_0, _SHARE = Range(1, math.inf), Range(0, above=True), Range(0), Range(0, 1)
BOUNDS: dict[str, Range] = {
    "temperature": _POSITIVE,  # 0 is greedy: the members of a group are alike
    "top_p": Range(0, 1, above=True),
    "top_k": Range(0, math.inf),
    "min_p": Range(0, 1, below=True),
    "repetition_penalty": _POSITIVE,
    "learning_rate": _AT_LEAST_0,
    "warmup_steps": _AT_LEAST_0,
    "weight_decay": _AT_LEAST_0,
    "max_grad_norm": Range(0, math.inf),
    "adam_beta1": Range(0, 1, below=True),
    "adam_beta2": Range(0, 1, below=True),
    "adam_epsilon": _AT_LEAST_0,
    "neftune_noise_alpha": _AT_LEAST_0,
    "label_smoothing_factor": Range(0, 1, below=True),
    "num_train_epochs": _POSITIVE,
    "logging_steps": _POSITIVE,
    "save_steps": _POSITIVE,
    "eval_steps": _POSITIVE,
    "save_total_limit": _COUNT,
    "page_every": Range(0, math.inf),
    "record_steps": Range(0, math.inf),
    "seed": Range(0, 2**32 - 1),
    "dataloader_num_workers": Range(0, math.inf),
    "ddp_timeout": _COUNT,
    "max_length": _COUNT,
    "ld_alpha": _SHARE,
    "label_smoothing": Range(0, 1, below=True),
    "discopop_tau": _POSITIVE,
    "precompute_ref_batch_size": _COUNT,
    **dict.fromkeys(
        (
            *("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"),
            *("num_generations", "num_generations_eval", "generation_batch_size", "steps_per_generation"),
            *("num_iterations", "max_completion_length", "ref_model_sync_steps"),
            *("vllm_max_model_length", "vllm_tensor_parallel_size"),
            *("verifier_workers", "verifier_memory_mb", "no_signal_patience", "record_groups"),
        ),
        _COUNT,
    ),
    "beta": _AT_LEAST_0,
    "epsilon": _AT_LEAST_0,
    "epsilon_high": _AT_LEAST_0,
    "delta": Range(1, above=True),  # at 1 and below, the loss has no gradient where the advantage is positive
    "sapo_temperature_neg": _POSITIVE,
    "sapo_temperature_pos": _POSITIVE,
    **dict.fromkeys(("vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg"), _AT_LEAST_0),
    "ref_model_mixup_alpha": _SHARE,
    "top_entropy_quantile": _SHARE,
    "entropy_coef": Range(-sys.float_info.max),
    "entropy_coef_min": Range(-sys.float_info.max),
    "entropy_coef_max": Range(-sys.float_info.max),
    "entropy_coef_delta": _AT_LEAST_0,
    "entropy_target": _AT_LEAST_0,
    "router_aux_loss_coef": _AT_LEAST_0,
    "off_policy_mask_threshold": _POSITIVE,
    "vllm_importance_sampling_clip_max": _POSITIVE,
    "vllm_importance_sampling_clip_min": _AT_LEAST_0,
    "vllm_gpu_memory_utilization": Range(0, 1, above=True),
    "vllm_server_timeout": _POSITIVE,
    "vllm_server_port": Range(1, 65535),
    "truncation_warning": _SHARE,
    "lora_r": _COUNT,
    "lora_alpha": _POSITIVE,
    "lora_dropout": Range(0, 1, below=True),
}
"""What numbers can be. null is not a number: it turns off what it may turn off."""
CHOICES: dict[str, tuple[str, ...]] = {
    "importance_sampling_level": ("token", "sequence"),
    "vllm_mode": ("colocate", "server"),
    "vllm_model_impl": ("vllm", "transformers"),
    "vllm_importance_sampling_mode": ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
    "dtype": ("auto", "bfloat16", "float16", "float32"),
}
"""What words can be, where TRL would find out in the first step or not at all."""


def check_values(values: Mapping[str, Any]) -> None:
    """
    Raises:
        ValueError: for a number out of its bounds or an unknown word, naming the setting.
    """
    for key, bound in BOUNDS.items():
        value = values.get(key)
        if isinstance(value, int | float) and not bound.holds(value):
            raise ValueError(f"{key} is {bound}, not {value}.")
    for key, choices in CHOICES.items():
        if isinstance(word := values.get(key), str) and word not in choices:
            raise unknown(key, word, choices)
    steps = values.get("max_steps", -1)
    if steps != -1 and steps < 1:
        raise ValueError(f"max_steps is at least 1, or -1 for num_train_epochs, not {steps}.")
    if values.get("top_k") == 1:
        raise ValueError("top_k 1 is greedy: all rollouts of a prompt would be alike. Set 0, which turns it off.")
