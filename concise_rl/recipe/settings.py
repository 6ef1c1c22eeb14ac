"""What each setting of TRL, transformers and this project means here. Read at TRL 1.16 and transformers 5.17.

Every field of a stage's configuration stands in exactly one class of its `Keys`. A test fails when TRL or transformers
add a field or drop one.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Keys:
    """The fields of a configuration.

    Attributes:
        as_trl: obeyed by TRL or transformers, as their documentation says.
        ours: read by this project in place of TRL, or with another default.
        refused: refused unless they have their default, and why: they would be dropped, or break the run.
        without_data: refused in a recipe unless they have their default: a recipe has no data to evaluate on.
    """

    as_trl: frozenset[str]
    ours: frozenset[str]
    refused: dict[str, str]
    without_data: frozenset[str] = frozenset()


TRANSFORMERS = frozenset(
    {
        *("output_dir", "num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps"),
        *("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"),
        *("optim", "optim_args", "optim_target_modules", "weight_decay", "max_grad_norm"),
        *("adam_beta1", "adam_beta2", "adam_epsilon"),
        *("bf16", "fp16", "tf32", "use_cpu", "seed", "full_determinism"),
        *("gradient_checkpointing", "gradient_checkpointing_kwargs", "torch_empty_cache_steps", "use_cache"),
        *("torch_compile", "torch_compile_backend", "torch_compile_mode", "use_liger_kernel", "liger_kernel_config"),
        *("neftune_noise_alpha", "parallelism_config", "accelerator_config"),
        *("logging_strategy", "logging_steps", "logging_first_step", "log_on_each_node", "log_level"),
        *("log_level_replica", "disable_tqdm", "report_to", "run_name", "project"),
        *("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),
        *("save_strategy", "save_steps", "save_on_each_node", "save_total_limit", "enable_jit_checkpoint"),
        *("push_to_hub", "hub_private_repo", "hub_model_id", "hub_strategy", "hub_always_push"),
        *("hub_revision", "debug", "skip_memory_metrics", "local_rank"),
        *("dataloader_drop_last", "dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers"),
        *("dataloader_prefetch_factor", "dataloader_multiprocessing_context"),
        *("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph"),
        *("ddp_backend", "ddp_timeout", "fsdp", "fsdp_config", "deepspeed"),
        *("model_init_kwargs", "trust_remote_code", "router_aux_loss_coef", "pad_to_multiple_of", "shuffle_dataset"),
    }
)
"""What each stage hands to transformers, accelerate, or what TRL's trainers have in common."""

EVALUATION = frozenset(
    {
        *("eval_strategy", "eval_steps", "eval_delay", "eval_on_start", "per_device_eval_batch_size"),
        *("load_best_model_at_end", "metric_for_best_model", "greater_is_better", "do_eval"),
    }
)
"""Evaluation while training: obeyed where Python hands ConciseTrainer an `eval_dataset`."""

NO_DATA = (
    "a recipe has no data to evaluate on. Leave it out, and run `concise-rl eval` on the trained model, or hand "
    "ConciseTrainer(eval_dataset=...) some in Python"
)

NEEDS_EVALUATION = {
    "save_strategy": ("best",),
    "lr_scheduler_type": ("reduce_lr_on_plateau", "greedy"),
}
"""Values of other keys that a recipe without such data cannot have."""

_OF_SCRIPTS = "only scripts read it. Leave it out"
_RESUME = (
    "a run goes on from the last complete checkpoint in its output_dir by itself, when the same command is given "
    "again. Leave it out, or give it to trainer.train() in Python"
)
_METRICS_OF_EVALUATION = "nothing reads it: an evaluation hands on its rollouts' metrics, no predictions. Leave it out"
_IN_HALF = "it would turn the weights themselves into 16 bit when the model is evaluated. Leave it out"

IN_EVERY_STAGE = {
    "do_train": _OF_SCRIPTS,
    "do_predict": _OF_SCRIPTS,
    "resume_from_checkpoint": _RESUME,
    "save_only_model": "a run could not go on from such a checkpoint, which lacks the optimizer. Leave it out; "
    "save_total_limit bounds the disk space",
    "hub_token": "it would lie in training_args.bin, which push_to_hub shows to everybody. Leave it out, and log in by "
    "`hf auth login`, or set HF_TOKEN",
    "ignore_data_skip": "a run that goes on would train on other rows than if it had not been cut. Leave it out",
    "bf16_full_eval": _IN_HALF,
    "fp16_full_eval": _IN_HALF,
    "prediction_loss_only": _METRICS_OF_EVALUATION,
    "eval_do_concat_batches": _METRICS_OF_EVALUATION,
    "eval_use_gather_object": _METRICS_OF_EVALUATION,
    "eval_accumulation_steps": _METRICS_OF_EVALUATION,
    "include_for_metrics": _METRICS_OF_EVALUATION,
    "batch_eval_metrics": _METRICS_OF_EVALUATION,
    "label_names": _METRICS_OF_EVALUATION,
}

_ORDER = "rows come in the order of groups, shuffled by seed or not (shuffle_dataset). Leave it out"

RL = Keys(
    as_trl=TRANSFORMERS
    | EVALUATION
    | {
        *("num_generations_eval", "disable_dropout", "cast_lm_head_to_fp32", "ds3_gather_for_generation"),
        *("generation_batch_size", "steps_per_generation", "num_iterations", "chat_template_kwargs"),
        *("repetition_penalty", "generation_kwargs", "cache_implementation", "use_transformers_continuous_batching"),
        *("transformers_continuous_batching_config", "use_transformers_paged"),
        *("beta", "epsilon", "epsilon_high", "delta", "loss_type", "importance_sampling_level"),
        *("sapo_temperature_neg", "sapo_temperature_pos"),
        *("vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg"),
        *("mask_truncated_completions", "sync_ref_model", "ref_model_mixup_alpha", "ref_model_sync_steps"),
        *("top_entropy_quantile", "entropy_coef", "use_adaptive_entropy", "entropy_coef_min", "entropy_coef_max"),
        *("entropy_coef_delta", "entropy_target", "off_policy_mask_threshold", "use_bias_correction_kl"),
        *("vllm_importance_sampling_correction", "vllm_importance_sampling_clip_min"),
        *("log_completions", "num_completions_to_print", "log_unique_prompts", "log_completions_hub_repo"),
    },
    ours=frozenset(
        {
            *("num_generations", "max_completion_length", "scale_rewards"),
            *("temperature", "top_p", "top_k", "min_p"),
            *("use_vllm", "vllm_mode", "vllm_model_impl", "vllm_enable_sleep_mode", "vllm_structured_outputs_regex"),
            *("vllm_server_base_url", "vllm_server_host", "vllm_server_port", "vllm_server_timeout"),
            *("vllm_gpu_memory_utilization", "vllm_max_model_length", "vllm_tensor_parallel_size"),
            *("vllm_importance_sampling_mode", "vllm_importance_sampling_clip_max"),
            *("logging_nan_inf_filter", "restore_callback_states_from_checkpoint"),
        }
    ),
    refused={
        **IN_EVERY_STAGE,
        "remove_unused_columns": "the verifier reads the rows' other columns, and would judge nothing. Leave it out",
        "train_sampling_strategy": _ORDER,
        "length_column_name": _ORDER,
        "data_seed": "seed orders the rows. Set seed",
        "dataloader_in_order": "groups would be torn apart between ranks, and a run that goes on would differ. "
        "Leave it out",
        "auto_find_batch_size": "a smaller batch would not hold whole groups. Lower per_device_train_batch_size",
        "label_smoothing_factor": "the loss has no labels to smooth. Leave it out",
        "average_tokens_across_devices": "the loss_type says what the loss is divided by. Leave it out",
        "include_num_input_tokens_seen": "it would count nothing. Leave it out; num_tokens is logged",
        "reward_weights": "the objective says what a rollout is paid for, see objective_options; reward_weights would "
        "only change the reward that is logged. Leave it out",
        "multi_objective_aggregation": "there is one reward, the verifier's verdict, and the objective says what is "
        "made of it. Leave it out",
        "max_tool_calling_iterations": "rollouts call no tools. Leave it out",
        "log_multimodal": "rollouts are text. Leave it out",
        "vllm_group_port": "the weights do not go to the server through TRL's process group. Leave it out",
        "vllm_importance_sampling_cap": "it is vllm_importance_sampling_clip_max by its old name. Set that one",
    },
    without_data=EVALUATION | {"num_generations_eval"},
)
"""`stage: rl`: TRL's GRPOConfig in ConciseTrainer."""

SFT = Keys(
    as_trl=TRANSFORMERS
    | EVALUATION
    | {
        *("chat_template_path", "dataset_num_proc", "eos_token", "pad_token", "max_length", "truncation_mode"),
        *("packing", "packing_strategy", "padding_free", "completion_only_loss", "assistant_only_loss", "loss_type"),
        *("activation_offloading", "label_smoothing_factor", "average_tokens_across_devices", "data_seed"),
        *("train_sampling_strategy", "length_column_name", "include_num_input_tokens_seen", "auto_find_batch_size"),
        *("dataloader_in_order", "remove_unused_columns", "logging_nan_inf_filter"),
        "restore_callback_states_from_checkpoint",
    },
    ours=frozenset(),
    refused={
        **IN_EVERY_STAGE,
        "dataset_text_field": "the rows are prompts and answers, without a text. Set prompt_column and answer_column",
        "dataset_kwargs": "the rows are always tokenised by TRL. Leave it out",
    },
    without_data=EVALUATION | {"eval_packing"},
)
"""`stage: sft`: TRL's SFTConfig in its SFTTrainer."""

_FIRST_REFERENCE = "a run that goes on where it was cut would begin with the first reference again. Leave it out"

DPO = Keys(
    as_trl=(TRANSFORMERS - {"shuffle_dataset"})
    | EVALUATION
    | {
        *("dataset_num_proc", "pad_token", "max_length", "truncation_mode", "disable_dropout"),
        *("beta", "loss_type", "loss_weights", "label_smoothing", "ld_alpha", "use_weighting"),
        *("f_divergence_type", "f_alpha_divergence_coef", "discopop_tau"),
        *("precompute_ref_log_probs", "precompute_ref_batch_size", "activation_offloading", "data_seed"),
        *("train_sampling_strategy", "include_num_input_tokens_seen", "auto_find_batch_size"),
        *("dataloader_in_order", "remove_unused_columns", "logging_nan_inf_filter"),
        "restore_callback_states_from_checkpoint",
    },
    ours=frozenset(),
    refused={
        **IN_EVERY_STAGE,
        "sync_ref_model": _FIRST_REFERENCE,
        "ref_model_mixup_alpha": _FIRST_REFERENCE,
        "ref_model_sync_steps": _FIRST_REFERENCE,
        "padding_free": "TRL's DPOTrainer has no such forward any more. Leave it out",
        "length_column_name": "the rows are preferences, without a length. Leave it out",
        "label_smoothing_factor": "the loss has no labels to smooth. Set label_smoothing",
        "average_tokens_across_devices": "the loss is a mean over pairs. Leave it out",
    },
    without_data=EVALUATION,
)
"""`stage: dpo`: TRL's DPOConfig in its DPOTrainer."""

MODEL = Keys(
    as_trl=frozenset(
        {
            *("model_name_or_path", "model_revision", "dtype", "attn_implementation"),
            *("use_peft", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_target_parameters"),
            *("lora_modules_to_save", "use_rslora", "use_dora"),
            *("load_in_8bit", "load_in_4bit", "bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage"),
        }
    ),
    ours=frozenset(),
    refused={"lora_task_type": "a model that writes text is trained: CAUSAL_LM. Leave it out"},
)
"""The model of each stage: TRL's ModelConfig."""


def defaults_of(cls: Any) -> dict[str, Any]:
    """The default of each field of a dataclass, by name."""
    return {
        f.name: f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        for f in dataclasses.fields(cls)
    }


def refusal(keys: Keys, values: dict[str, Any], defaults: dict[str, Any], in_recipe: bool = False) -> str | None:
    """Why settings are refused, as a line about the first of them; None if they are not.

    Args:
        keys: what they mean.
        values: by name.
        defaults: theirs, by name. null and false count as one, as do null and an empty list.
        in_recipe: whether there are no data to evaluate on.
    """
    reasons = {**(dict.fromkeys(sorted(keys.without_data), NO_DATA) if in_recipe else {}), **keys.refused}
    for key, why in reasons.items():
        if key in values and not is_default(values[key], defaults[key]):
            return f"{key}: {why}."
    return None


def is_default(value: Any, default: Any) -> bool:
    """Whether a value is its field's default, or leaves the setting out."""
    unset = [each is None or each is False or each in ("", [], "no") for each in (value, default)]
    return all(unset) or str(getattr(value, "value", value)) == str(getattr(default, "value", default))  # enums


CLIPPED_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")


@dataclass(frozen=True)
class Beside:
    """Settings that are read only beside another one.

    Attributes:
        names: theirs.
        reads: whether a configuration reads them.
        when: that, in words.
    """

    names: tuple[str, ...]
    reads: Callable[[Any], bool]
    when: str


BESIDE = (
    Beside(("delta",), lambda c: c.loss_type in CLIPPED_LOSSES, f"loss_type {', '.join(CLIPPED_LOSSES)}"),
    Beside(
        ("epsilon",),
        lambda c: c.loss_type in CLIPPED_LOSSES or (c.loss_type == "cispo" and c.epsilon_high is None),
        "a loss_type that clips with it; cispo has epsilon_high",
    ),
    Beside(
        ("epsilon_high",), lambda c: c.loss_type in (*CLIPPED_LOSSES, "cispo"), "a loss_type other than sapo and vespo"
    ),
    Beside(("sapo_temperature_neg", "sapo_temperature_pos"), lambda c: c.loss_type == "sapo", "loss_type sapo"),
    Beside(
        ("vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg"),
        lambda c: c.loss_type == "vespo",
        "loss_type vespo",
    ),
    Beside(
        ("ref_model_mixup_alpha", "ref_model_sync_steps"), lambda c: c.sync_ref_model, "sync_ref_model: true and a beta"
    ),
    Beside(
        ("entropy_coef_min", "entropy_coef_max", "entropy_coef_delta", "entropy_target"),
        lambda c: c.use_adaptive_entropy,
        "use_adaptive_entropy: true",
    ),
    Beside(
        ("transformers_continuous_batching_config",),
        lambda c: c.use_transformers_continuous_batching,
        "use_transformers_continuous_batching: true",
    ),
    Beside(
        ("cache_implementation", "use_transformers_continuous_batching", "ds3_gather_for_generation"),
        lambda c: not c.use_vllm,
        "use_vllm: false",
    ),
    Beside(
        ("vllm_server_base_url", "vllm_server_host", "vllm_server_port", "vllm_server_timeout"),
        lambda c: not c.use_vllm or c.vllm_mode == "server",
        "vllm_mode: server",
    ),
    Beside(("liger_kernel_config",), lambda c: c.use_liger_kernel, "use_liger_kernel: true"),
    Beside(
        ("log_unique_prompts",),
        lambda c: c.log_completions and not {"wandb", "trackio"}.isdisjoint(c.report_to),
        "log_completions: true and report_to wandb or trackio",
    ),
    Beside(("eval_steps",), lambda c: c.eval_strategy == "steps", "eval_strategy: steps"),
    Beside(("do_eval", "eval_delay"), lambda c: c.eval_strategy != "no", "an eval_strategy"),
)
"""Those of `RL`. What only vLLM reads may stay where `use_vllm: false` turns it off."""

BESIDE_OF_DPO = (
    Beside(
        ("f_alpha_divergence_coef",),
        lambda c: c.f_divergence_type == "alpha_divergence",
        "f_divergence_type alpha_divergence",
    ),
    Beside(("discopop_tau",), lambda c: "discopop" in c.loss_type, "loss_type discopop"),
    Beside(("loss_weights",), lambda c: len(c.loss_type) > 1, "more than one loss_type"),
    Beside(("precompute_ref_batch_size",), lambda c: c.precompute_ref_log_probs, "precompute_ref_log_probs: true"),
)
"""Those of `DPO`."""

SWITCHES = {
    "use_vllm": ("vllm_",),
    "use_peft": ("lora_", "use_rslora", "use_dora"),
    "load_in_4bit": ("bnb_4bit_", "use_bnb_nested_quant"),
}
"""A key of a recipe, and how those begin that do nothing without it. A recipe that has one gives the key, true or
false: whoever forgets `use_peft` would train all weights."""
