"""What a run takes of a GPU's memory, as arithmetic: bytes of the trainer, bytes of vLLM beside it, and what is left
for keys and values.

Lines are of trl 1.16.0, vllm 0.31.0, accelerate 1.15.0 and deepspeed 0.19.8. P parameters, N GPUs, L layers, h hidden,
i intermediate, V vocabulary, T tokens of a micro-batch. AdamW keeps two fp32 moments.
"""

import math
from dataclasses import dataclass
from typing import Literal

from concise_rl.recipe.fit.facts import Shape

GIB = 2**30
RESERVE = 3 * GIB
"""CUDA context, NCCL and what the allocator cannot use, of each process."""
ENGINE = 2.5 * GIB
"""vLLM's own: its profile at 4,096 batched tokens, and graphs."""
ASLEEP = 1.5 * GIB
"""What a sleeping vLLM keeps: graphs, NCCL, context."""
LARGEST_SHARE = 0.85
"""Of the memory, for a vLLM that sleeps while the model is trained."""
STEP = 0.05
"""Shares are rounded down to this."""
LIVE = 2 * GIB
"""ZeRO-2's buckets (reduce_bucket_size 5e8, deepspeed/runtime/zero/config.py:113) and ZeRO-3's live parameters
(max_live_parameters 1e9, :245), in two bytes each."""

Kind = Literal["single", "ddp", "zero1", "zero2", "zero3", "fsdp"]
SHARDED: tuple[Kind, ...] = ("zero3", "fsdp")
"""Strategies that split the weights themselves."""


@dataclass(frozen=True)
class Strategy:
    """How the trainer's states lie on the GPUs.

    Attributes:
        kind: single (one process), ddp, DeepSpeed's zero1 to zero3, or fsdp (FSDP2).
        gpus: N.
        offload_optimizer, offload_weights: kept in the machine's memory.
    """

    kind: Kind
    gpus: int
    offload_optimizer: bool = False
    offload_weights: bool = False


@dataclass(frozen=True)
class Training:
    """What of a recipe decides the trainer's memory.

    Attributes:
        tokens: T, of the largest micro-batch that a model runs over at once.
        autocast: whether it computes in 16 bits.
        weight_bytes: of one weight as it is loaded: 4 or 2, less where it is quantised.
        checkpointing: of activations.
        adapter_parameters: of LoRA; 0 trains all weights.
        reference: whether a frozen copy is kept (`beta` above 0 without adapters).
    """

    tokens: int
    autocast: bool = True
    weight_bytes: float = 2
    checkpointing: bool = True
    adapter_parameters: int = 0
    reference: bool = False


def state_bytes(shape: Shape, strategy: Strategy, training: Training) -> float:
    """Weights, gradients and optimizer of the trainer, on one GPU.

    With fp32 weights and autocast, PyTorch keeps 4P + 4P + 8P and casts of 2P. DeepSpeed keeps bf16 weights, and
    gradients, weights and moments in fp32: 2P + 4P + 12P, split over the GPUs as far as its stage says. FSDP2 keeps
    fp32 weights (accelerate/utils/fsdp_utils.py:812), gradients and moments, all split.
    """
    p, n = shape.parameters, strategy.gpus
    if training.adapter_parameters:
        return _frozen_bytes(shape, strategy, training) + 16 * training.adapter_parameters
    optimizer = 0 if strategy.offload_optimizer else 12 * p
    held = {
        "zero1": 2 * p + 4 * p + optimizer / n,
        "zero2": 2 * p + 4 * p / n + optimizer / n + LIVE,
        "zero3": (0 if strategy.offload_weights else 2 * p / n) + 4 * p / n + optimizer / n + gathered_bytes(shape),
        "fsdp": (0 if strategy.offload_weights else 16 * p / n) + 2 * shape.of_layer,
    }
    plain = 4 * training.weight_bytes * p + (2 * p if training.autocast and training.weight_bytes == 4 else 0)
    return held.get(strategy.kind, plain) + (_reference_bytes(shape, strategy) if training.reference else 0)


def gathered_bytes(shape: Shape) -> float:
    """What ZeRO-3 holds whole: live parameters, and embedding and head in bf16."""
    return LIVE + (2 if shape.tied else 4) * shape.vocabulary * shape.hidden


def _frozen_bytes(shape: Shape, strategy: Strategy, training: Training) -> float:
    """The weights under adapters."""
    if strategy.kind == "zero3":
        return 2 * shape.parameters / strategy.gpus + gathered_bytes(shape)
    if strategy.kind == "fsdp":
        return training.weight_bytes * shape.parameters / strategy.gpus + 2 * shape.of_layer
    return training.weight_bytes * shape.parameters


def _reference_bytes(shape: Shape, strategy: Strategy) -> float:
    return 2 * shape.parameters / (strategy.gpus if strategy.kind in SHARDED else 1)


def activation_bytes(shape: Shape, training: Training) -> float:
    """What the backward pass needs of the forward pass.

    With checkpointing the input of each layer (2h a token), and one layer's insides (24i a token). Against prime-rl's
    measured peaks with FSDP2 on 8 H100 (benchmarks/baselines, Qwen3-4B): 17.1 GiB at 16k tokens and 36.1 at 65k, by
    these formulas 16.3 and 35.4. Without it all that the layers of transformers save: the norms in fp32, the
    projections' inputs, the MLP's four products, 24h + 8i a layer.
    """
    width, inner = shape.hidden, shape.intermediate
    of_token = 2 * shape.layers * width + 24 * inner
    if not training.checkpointing:
        of_token = shape.layers * (24 * width + 8 * inner)
    return training.tokens * of_token * (1 if training.autocast or training.weight_bytes < 4 else 2)


def head_bytes(shape: Shape, training: Training) -> float:
    """The head's backward pass: its gradient in fp32 and bf16, 6Vh, and a tile of 256 MiB. TRL never makes (B, T, V)
    logits (trl/kernels/chunked_logprob.py:30, trl/trainer/utils.py:1506). Nothing when the head is frozen."""
    return 0 if training.adapter_parameters else 6 * shape.vocabulary * shape.hidden + GIB / 4


@dataclass(frozen=True)
class Trainer:
    """Bytes that the trainer takes on one GPU.

    Attributes:
        states: weights, gradients, optimizer; always there.
        activations, head: only while it is trained.
    """

    states: float
    activations: float
    head: float

    @classmethod
    def of(cls, shape: Shape, strategy: Strategy, training: Training) -> "Trainer":
        """By the formulas of this module."""
        return cls(
            state_bytes(shape, strategy, training), activation_bytes(shape, training), head_bytes(shape, training)
        )

    @property
    def peak(self) -> float:
        """While it is trained."""
        return self.states + self.activations + self.head


def fits_alone(trainer: Trainer, memory: float) -> bool:
    """Whether the trainer fits where vLLM is elsewhere, or nowhere."""
    return trainer.peak + RESERVE <= memory


def fits_beside_sleeping(trainer: Trainer, memory: float) -> bool:
    """Whether it can be trained while vLLM sleeps on the same GPU."""
    return trainer.peak + RESERVE + ASLEEP <= memory


def largest_share(trainer: Trainer, memory: float, sleep: bool) -> float:
    """The largest `vllm_gpu_memory_utilization` that fits, rounded down to 0.05; 0 where nothing does.

    vLLM counts what others hold on the GPU as its own to avoid: at start it wants its share free
    (vllm/v1/worker/utils.py:539). One that sleeps gives its memory back while the model is trained.

    Args:
        trainer: beside which it runs.
        memory: bytes of the GPU.
        sleep: whether it sleeps (`vllm_enable_sleep_mode`).
    """
    if sleep:
        share = min(LARGEST_SHARE, (memory - RESERVE - trainer.states) / memory)
        share = share if fits_beside_sleeping(trainer, memory) else 0.0
    else:
        share = (memory - RESERVE - trainer.peak) / memory
    return max(0.0, math.floor(share / STEP + 1e-9) * STEP)


@dataclass(frozen=True)
class Cache:
    """Room for keys and values on one GPU.

    Attributes:
        tokens: that fit; a whole pool's share of this GPU, where several GPUs make one engine. Negative: the weights
            alone do not fit.
        sequence: tokens of the longest prompt and completion.
    """

    tokens: float
    sequence: int

    @property
    def sequences(self) -> float:
        """Whole sequences that fit at a time."""
        return max(0.0, self.tokens / self.sequence)


def weights_of_vllm(shape: Shape, weight_bytes: int = 2, tensor_parallel: int = 1) -> float:
    """Bytes of vLLM's weights on one GPU."""
    return weight_bytes * shape.parameters / tensor_parallel


def cache_of(
    shape: Shape, share: float, memory: float, sequence: int, weight_bytes: int = 2, tensor_parallel: int = 1
) -> Cache:
    """What vLLM's share leaves for keys and values.

    Args:
        shape: of the model.
        share: `vllm_gpu_memory_utilization`.
        memory: bytes of the GPU.
        sequence: tokens of the longest prompt and completion.
        weight_bytes: of a weight, a key and a value.
        tensor_parallel: t. Keys are split over t GPUs, but no finer than by head, and the pool is shared by t GPUs.
    """
    t = tensor_parallel
    left = share * memory - weights_of_vllm(shape, weight_bytes, t) - ENGINE
    of_token = shape.key_bytes * weight_bytes / 2 * max(1, shape.kv_heads / t) / shape.kv_heads
    return Cache(left / of_token / t, sequence)
