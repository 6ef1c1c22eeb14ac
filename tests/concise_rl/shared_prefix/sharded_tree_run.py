"""A forward over a tree on each of two ranks, in a wrapper of torch's. Started by test_prefix_tree, by torchrun.

The ranks have trees of their own, of different sizes: their gradients have to be the mean of those of the padded rows.
"""

import random
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.nn.parallel import DistributedDataParallel
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from concise_rl.rollout.sync.main_rank import leave_process_group
from concise_rl.shared_prefix.attention import use_tree_attention
from tests.concise_rl.shared_prefix.test_tree import (
    TOLERANCE,
    assert_close,
    gradients,
    model_of,
    padded,
    parallel,
    plain,
    serial,
    shared,
    weights_like,
)


def fsdp(model: Any) -> nn.Module:
    """Rebuilds the dataclasses among the arguments of a layer."""
    policy = ModuleWrapPolicy({LlamaDecoderLayer})
    return FullyShardedDataParallel(model, auto_wrap_policy=policy, device_id=torch.device("cpu"), use_orig_params=True)


def fsdp2(model: Any) -> nn.Module:
    """What accelerate's `fsdp_version: 2` is."""
    for layer in model.model.layers:
        fully_shard(layer)
    return fully_shard(model)


def of_wrapped(wrapped: nn.Module, log_probs: torch.Tensor) -> list[torch.Tensor]:
    """Gradients, put together from the ranks."""
    log_probs.mul(weights_like(log_probs)).sum().backward()
    if isinstance(wrapped, FullyShardedDataParallel):
        with FullyShardedDataParallel.summon_full_params(wrapped, with_grads=True):
            return [p.grad.clone() for p in wrapped.parameters()]
    return [getattr(p.grad, "full_tensor", lambda p=p: p.grad)() for p in wrapped.parameters()]


def main(wrapper: str) -> None:
    """Compare, and say so."""
    dist.init_process_group("gloo")
    draw = random.Random(dist.get_rank())
    batch = padded(serial(draw) if dist.get_rank() else parallel(draw))
    exact = model_of()
    expected = gradients(exact, plain(exact, batch)[0])
    for gradient in expected.values():
        dist.all_reduce(gradient)
        gradient /= dist.get_world_size()

    model = model_of()
    use_tree_attention(model)
    wrapped = {"ddp": DistributedDataParallel, "fsdp": fsdp, "fsdp2": fsdp2}[wrapper](model)
    log_probs = shared(wrapped, batch)[0]
    assert_close(log_probs, plain(exact, batch)[0])
    found = of_wrapped(wrapped, log_probs)
    largest = max(gradient.abs().max() for gradient in expected.values())
    for (name, gradient), of_tree in zip(expected.items(), found, strict=True):
        torch.testing.assert_close(of_tree / largest, gradient / largest, atol=TOLERANCE, rtol=0, msg=name)
    if dist.get_rank() == 0:
        print(dist.get_world_size(), "ranks agree")
    dist.barrier()  # accelerate knows nothing of this group
    leave_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
