"""Refuse TRL's vLLM settings that this project does not pass on."""

from trl import GRPOConfig

from concise_rl.named import mapping


def refuse_unsupported(args: GRPOConfig) -> None:
    """TRL's vLLM settings that would otherwise be passed over in silence.

    Raises:
        ValueError: naming the setting and what to do.
    """
    if args.vllm_tensor_parallel_size > 1:
        raise ValueError(
            "vllm_tensor_parallel_size > 1 is not supported beside the trainer: start `concise-rl serve MODEL "
            f"--tensor-parallel-size {args.vllm_tensor_parallel_size}` and set vllm_mode: server."
        )
    if args.vllm_enable_sleep_mode and args.vllm_mode == "server":
        raise ValueError(
            "vllm_enable_sleep_mode frees memory for the trainer beside vLLM, and a server has its own: leave it out."
        )
    if mapping(args.model_init_kwargs).get("quantization_config"):
        raise cannot_hand_over()
    if args.generation_kwargs or args.repetition_penalty != 1.0 or args.vllm_structured_outputs_regex:
        raise ValueError(
            "generation_kwargs, repetition_penalty and vllm_structured_outputs_regex change the distribution that is "
            "sampled, and the importance ratio with it: remove them, or set use_vllm: false."
        )


def cannot_hand_over() -> ValueError:
    """What to say of a quantized model, whose weights are packed."""
    return ValueError(
        "The packed weights of a quantized model cannot be handed to vLLM: set use_vllm: false, or train adapters on "
        "the model as it was before (leave out load_in_4bit and load_in_8bit)."
    )
