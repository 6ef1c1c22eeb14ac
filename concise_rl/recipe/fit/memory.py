"""What a run takes of a GPU's memory, as arithmetic: bytes of the trainer, bytes of vLLM beside it, and what is left
for keys and values.

Lines are of trl 1.16.0, vllm 0.31.0, accelerate 1.15.0 and deepspeed 0.19.8. P parameters, N GPUs, L layers, h hidden,
q and k the width of queries and of keys, i intermediate, V vocabulary, T tokens of a micro-batch. AdamW keeps two fp32
moments. docs/benchmarks.md sets the trainer's bytes of one process against what a GPU has measured.
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
PLAIN: tuple[Kind, ...] = ("single", "ddp")
"""Strategies whose weights stay as they are loaded: 16 bits come from autocast. All others keep a copy in 16 bits."""


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
        tokens: T, of the largest micro-batch that has one backward pass.
        autocast: whether it computes in 16 bits.
        weight_bytes: of one weight as it is loaded: 4 or 2, less where it is quantised.
        checkpointing: of activations.
        adapter_parameters: of LoRA; 0 trains all weights.
        reference: whether a frozen copy is kept (`beta` above 0 without adapters).
        at_once: tokens that the model runs over at once, where that is less than T (`rows_per_forward`).
        accumulates: whether gradients are there when an activation is: those of an earlier micro-batch, or of rows
            whose backward pass came before.
    """

    tokens: int
    autocast: bool = True
    weight_bytes: float = 2
    checkpointing: bool = True
    adapter_parameters: int = 0
    reference: bool = False
    at_once: int | None = None
    accumulates: bool = True


def state_bytes(shape: Shape, strategy: Strategy, training: Training) -> float:
    """Weights, gradients and optimizer of the trainer, on one GPU.

    With fp32 weights PyTorch keeps 4P + 4P + 8P. Autocast's casts of them are no states: they go with the forward pass
    (`activation_bytes`). DeepSpeed keeps bf16 weights, and gradients, weights and moments in fp32: 2P + 4P + 12P, split
    over the GPUs as far as its stage says. FSDP2 keeps fp32 weights (accelerate/utils/fsdp_utils.py:812), gradients and
    moments, all split.
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
    return held.get(strategy.kind, 4 * training.weight_bytes * p) + (
        _reference_bytes(shape, strategy) if training.reference else 0
    )


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


def is_wide(strategy: Strategy, training: Training) -> bool:
    """Whether the residual stream is in fp32: the embedding is no operation that autocast casts."""
    return training.weight_bytes == 4 and strategy.kind in PLAIN


def layer_bytes(shape: Shape, strategy: Strategy, training: Training) -> float:
    """Bytes that one layer saves of a token for its backward pass, with norms of queries and keys as in Qwen3, and
    attention that saves its inputs and output alone (sdpa's flash kernel).

    With weights in 16 bits a norm saves its input in fp32, and a copy and its output in 16 bits: 16h for both. Queries
    take 10q, their norm being in fp32, keys and values 10k, and the products of the MLP 8i. With fp32 weights under
    autocast a norm saves two tensors in fp32, and each of five projections its own cast: 26h. Frozen weights need no
    inputs, but each LoRA saves its own in 16 bits, and a byte of a dropout's mask.
    """
    h, q, k, i = shape.hidden, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim, shape.intermediate
    in_fp32 = training.weight_bytes == 4 and not training.autocast
    if training.adapter_parameters:
        return (23 * h + 11 * q + 8 * k + 9 * i) * (2 if in_fp32 else 1)
    if in_fp32:
        return 24 * h + 16 * q + 16 * k + 16 * i
    return (26 if is_wide(strategy, training) else 16) * h + 10 * q + 10 * k + 8 * i


def inside_bytes(shape: Shape, strategy: Strategy, training: Training) -> float:
    """Bytes of a token while the backward pass computes one checkpointed layer again: what it saves, and the gradients
    that exist at a time.

    Those of the MLP are two of i in 16 bits beyond what is dropped by then, and one of h; behind LoRA two in fp32 and
    two in 16 bits. With a copy of the weights in 16 bits 24i, against prime-rl's measured peaks with FSDP2 on 8 H100
    (benchmarks/baselines, Qwen3-4B): 17.1 GiB at 16k tokens and 36.1 at 65k, by these formulas 16.3 and 35.4.
    """
    saved = layer_bytes(shape, strategy, training)
    if training.adapter_parameters:
        return saved + 12 * shape.intermediate
    if is_wide(strategy, training):
        return saved + (4 if training.autocast else 8) * shape.intermediate + 4 * shape.hidden
    return 24 * shape.intermediate


def activation_bytes(shape: Shape, strategy: Strategy, training: Training) -> float:
    """What the backward pass needs of the forward pass.

    With checkpointing the input of each layer, 2h a token, 4h of an fp32 residual stream. Beside that lie autocast's
    casts of all layers at the end of the forward pass, and then the insides of one layer: the larger counts. Without
    it all that each layer saves, and the casts, which the backward pass needs.
    """
    casts = 2 * shape.layers * shape.of_layer if training.autocast and is_wide(strategy, training) else 0
    if not training.checkpointing:
        return training.tokens * shape.layers * layer_bytes(shape, strategy, training) + casts
    inputs = training.tokens * shape.layers * shape.hidden * (4 if is_wide(strategy, training) else 2)
    insides = (training.at_once or training.tokens) * inside_bytes(shape, strategy, training)
    return inputs + (insides if training.adapter_parameters else max(casts, insides))


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
        late: of the states, gradients that come as activations go.
    """

    states: float
    activations: float
    head: float
    late: float = 0

    @classmethod
    def of(cls, shape: Shape, strategy: Strategy, training: Training) -> "Trainer":
        """By the formulas of this module."""
        trained = training.adapter_parameters or shape.parameters
        width = 4 if training.adapter_parameters else training.weight_bytes
        return cls(
            state_bytes(shape, strategy, training),
            activation_bytes(shape, strategy, training),
            head_bytes(shape, training),
            0 if training.accumulates or strategy.kind != "single" else width * trained,
        )

    @property
    def peak(self) -> float:
        """While it is trained."""
        return self.states + max(0, self.activations + self.head - self.late)


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
