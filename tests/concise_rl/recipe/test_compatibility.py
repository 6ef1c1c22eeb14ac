"""Rules between settings, one by one, and what an importance weight does to a long rollout."""

import ast
import inspect
import math
import textwrap
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset, IterableDataset
from torch import Tensor
from trl import GRPOTrainer

from concise_rl.methods import Objective
from concise_rl.recipe import compatibility
from concise_rl.recipe.compatibility import check_compatible, check_datasets
from concise_rl.recipe.config import ConciseConfig
from reward import Conciser, Decs, Dot, Gppo, Grpo, SGrpo


def config(**settings: Any) -> ConciseConfig:
    return ConciseConfig(output_dir="unused", use_cpu=True, bf16=False, report_to="none", **settings)


def complaint(objective: Objective, **settings: Any) -> str:
    with pytest.raises(ValueError) as stopped:
        check_compatible(objective, config(**settings))
    return str(stopped.value)


@pytest.mark.parametrize(
    ("objective", "settings", "said"),
    [
        (Grpo(), {"remove_unused_columns": True}, "remove_unused_columns: the verifier reads"),
        (Grpo(), {"train_sampling_strategy": "sequential"}, "train_sampling_strategy: "),
        (Grpo(), {"multi_objective_aggregation": "normalize_then_sum"}, "multi_objective_aggregation: "),
        (Grpo(), {"save_only_model": True}, "save_only_model: "),
        (Grpo(), {"reward_weights": [1.0]}, "reward_weights would only change"),
        (Grpo(), {"max_completion_length": None}, "max_completion_length is not set"),
        (Grpo(), {"loss_type": "dappo"}, "Did you mean 'dapo'"),
        (Grpo(), {"loss_type": "cispo", "delta": 3.0}, "delta: nothing reads it but loss_type grpo"),
        (Grpo(), {"loss_type": "sapo", "epsilon": 0.1}, "epsilon: nothing reads it"),
        (Grpo(), {"sapo_temperature_pos": 2.0}, "sapo_temperature_pos: nothing reads it but loss_type sapo"),
        (Grpo(), {"vespo_k_pos": 1.0}, "vespo_k_pos: nothing reads it"),
        (Grpo(), {"entropy_target": 1.0}, "entropy_target: nothing reads it but use_adaptive_entropy: true"),
        (Grpo(), {"ref_model_sync_steps": 8}, "ref_model_sync_steps: nothing reads it"),
        (Grpo(), {"eval_steps": 5}, "eval_steps: nothing reads it but eval_strategy: steps"),
        (Grpo(), {"use_vllm": True, "vllm_server_base_url": "http://a"}, "nothing reads it but vllm_mode: server"),
        (Grpo(), {"use_vllm": True, "cache_implementation": "static"}, "cache_implementation: nothing reads it"),
        (Decs(), {"off_policy_mask_threshold": 0.5}, "set off_policy_mask_threshold to null"),
        (Decs(), {"loss_type": "vespo"}, "loss_type vespo cannot take"),
        (Decs(), {"think_end": None}, "set think_end"),
        (Dot(), {"loss_type": "grpo"}, "takes rollouts out of the loss"),
        (Grpo(), {"loss_type": "grpo", "curriculum": "kappa"}, "curriculum kappa takes groups out"),
        (Decs(), {"scale_rewards": "none"}, "Decs has a normalisation of its own"),
        (Grpo(), {"scale_rewards": "none"}, "the objective that was handed over has group"),
        (
            SGrpo(),
            {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
            "shared_prefix needs whole groups",
        ),
        (SGrpo(), {"neftune_noise_alpha": 5.0}, "neftune_noise_alpha"),
        (Grpo(), {"generation_kwargs": {"temperature": 0.5}}, "Set temperature"),
        (Grpo(), {"generation_kwargs": {"do_sample": False}}, "rollouts are sampled"),
        (Grpo(), {"accelerator_config": {"split_batches": True}}, "split_batches would tear groups apart"),
        (
            SGrpo(),
            {"use_vllm": True, "vllm_importance_sampling_mode": "sequence_mask"},
            "SGrpo makes rollouts that share a path",
        ),
        (Decs(), {"use_vllm": True, "vllm_importance_sampling_mode": "sequence_truncate"}, "Decs credits tokens"),
        (
            Grpo(),
            {"use_vllm": True, "vllm_importance_sampling_mode": "sequence_mask", "loss_type": "vespo"},
            "loss_type vespo needs",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(objective: Objective, settings: dict, said: str) -> None:
    found = complaint(objective, **settings)
    assert said in found and "\n" not in found


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        (Grpo(), {}),
        (Decs(), {}),
        (SGrpo(), {}),
        (Conciser(scale_rewards="none"), {"scale_rewards": "none"}),
        (Decs(), {"use_vllm": False, "vllm_importance_sampling_mode": "sequence_mask"}),
        (
            SGrpo(),
            {
                "use_vllm": True,
                "vllm_importance_sampling_mode": "sequence_mask",
                "vllm_importance_sampling_correction": False,
            },
        ),
        (Grpo(), {"loss_type": "cispo", "epsilon": 0.3}),
        (Grpo(), {"loss_type": "cispo", "epsilon_high": 5.0}),
        (Grpo(), {"sync_ref_model": True, "beta": 0.1, "ref_model_sync_steps": 8}),
        (Grpo(), {"vllm_gpu_memory_utilization": 0.5}),
        (Grpo(), {"eval_strategy": "steps", "eval_steps": 5}),
    ],
)
def test_settings_that_go_together_are_taken(objective: Objective, settings: dict) -> None:
    check_compatible(objective, config(**settings))


@pytest.mark.parametrize(("cap", "warns"), [(512, False), (513, True)])
def test_one_weight_for_a_long_rollout_is_warned_of(cap: int, warns: bool, caplog) -> None:
    compatibility._warn_once.cache_clear()
    settings = {"use_vllm": True, "vllm_importance_sampling_mode": "sequence_mask", "max_completion_length": cap}
    check_compatible(Grpo(), config(**settings))
    assert ("token_truncate weighs each token" in caplog.text) == warns


def test_importance_weights_are_by_token_unless_said_otherwise() -> None:
    args = config()
    assert args.vllm_importance_sampling_mode == "token_truncate" and args.vllm_importance_sampling_clip_max == 2.0


def weights_of_trl(args: ConciseConfig, difference_BT: Tensor) -> Tensor:
    """Run the lines of TRL that make importance weights, from the trainer's log-probabilities minus the sampler's."""
    source = textwrap.dedent(inspect.getsource(GRPOTrainer._generate_and_score_completions))
    (block,) = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.If) and "invalid_mis_mask" in ast.unparse(node) and "use_vllm" in ast.unparse(node.test)
        if "vllm_importance_sampling_correction" in ast.unparse(node.test)
    ]
    names = {
        "self": SimpleNamespace(**{**vars(args), "use_vllm": True}),
        "old_per_token_logps": difference_BT,
        "sampling_per_token_logps": torch.zeros_like(difference_BT),
        "completion_mask": torch.ones_like(difference_BT),
        "tool_mask": None,
        "torch": torch,
        "math": math,
    }
    exec(compile(ast.Module([block], []), "trl", "exec"), names)
    return names["vllm_importance_sampling_ratio"]


def test_long_rollouts_keep_their_weight_under_the_default_and_lose_it_by_sequence() -> None:
    noise_BT = 0.03 * torch.randn(200, 8192, generator=torch.Generator().manual_seed(0))
    by_token = weights_of_trl(config(), noise_BT)
    by_sequence = weights_of_trl(config(vllm_importance_sampling_mode="sequence_mask"), noise_BT)
    assert by_token.shape == noise_BT.shape and by_token.mean(dim=1) == pytest.approx(torch.ones(200), abs=0.01)
    assert by_sequence.shape == (200, 1) and by_sequence.mean() < 0.5 and by_sequence.median() < 0.2


def test_short_rollouts_keep_theirs_either_way() -> None:
    noise_BT = 0.03 * torch.randn(200, 64, generator=torch.Generator().manual_seed(0))
    by_sequence = weights_of_trl(config(vllm_importance_sampling_mode="sequence_mask"), noise_BT)
    assert by_sequence.mean().item() == pytest.approx(1, abs=0.05)


def test_a_data_set_without_a_length_is_refused() -> None:
    check_datasets(Dataset.from_dict({"prompt": ["a"]}), None)
    endless = IterableDataset.from_generator(lambda: iter([{"prompt": "a"}]))
    for given in (endless, {"a": endless}):
        with pytest.raises(ValueError, match="An iterable data set"):
            check_datasets(given)


def test_an_evaluation_is_made_of_whole_groups() -> None:
    config(per_device_eval_batch_size=8).check_evaluation()
    with pytest.raises(ValueError, match=r"per_device_eval_batch_size x processes \(6\) a multiple of .* \(4\)"):
        config(per_device_eval_batch_size=6, num_generations_eval=4).check_evaluation()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"loss_type": "cispo"}, "loss_type cispo is a formula"),
        ({"loss_type": "sapo"}, "loss_type sapo is a formula"),
        ({"loss_type": "vespo"}, "loss_type vespo is a formula"),
        ({"delta": 3.0}, "Leave delta out"),
        ({"importance_sampling_level": "sequence"}, "Leave importance_sampling_level out"),
        ({"off_policy_mask_threshold": 0.5}, "Leave off_policy_mask_threshold out"),
        ({"entropy_coef": 0.01}, "Leave entropy_coef out"),
        ({"use_adaptive_entropy": True}, "Leave use_adaptive_entropy out"),
    ],
)
def test_a_setting_that_a_loss_of_the_method_would_not_read_is_named(settings: dict[str, Any], said: str) -> None:
    assert said in complaint(Gppo(), **settings)
    check_compatible(Grpo(), config(**settings))
