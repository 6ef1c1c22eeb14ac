"""How sure a model is of its next token, read off its logits."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

from concise_rl.rollout.engine import Peek, Peeked, Watched


class Watcher(LogitsProcessor):
    """Reads the scores of every step of `generate`, and leaves them as they are. It has to be the first processor."""

    def __init__(self, likeliest: int) -> None:
        """
        Args:
            likeliest: tokens that the confidence is the mean over.
        """
        self.likeliest = likeliest
        self.steps: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(B, V) logits of the next token, as they came."""
        logprobs_BV = scores.float().log_softmax(-1)
        top_BK = logprobs_BV.topk(min(self.likeliest, scores.size(1))).values
        self.steps.append(torch.stack([entropy(logprobs_BV), -top_BK.mean(-1)], dim=-1))
        return scores

    def take(self) -> list[list[Watched]]:
        """For each row, what was seen since this was last called."""
        seen_BT2 = torch.stack(self.steps, dim=1).tolist()
        self.steps = []
        return [[Watched(*step) for step in row] for row in seen_BT2]


def entropy(logprobs_BV: Tensor) -> Tensor:
    """(B,) entropies in nats. A token that cannot come adds nothing."""
    return torch.special.entr(logprobs_BV.exp()).sum(-1)


def read_peeks(logits_BV: Tensor, peeks: Sequence[Peek]) -> list[Peeked]:
    """Return what the logits of the next token show for each look."""
    logprobs_BV = logits_BV.float().log_softmax(-1)
    top = logprobs_BV.max(-1)
    wanted = [tuple(logprobs_BV[row, list(peek.token_ids)].tolist()) for row, peek in enumerate(peeks)]
    columns = (entropy(logprobs_BV).tolist(), top.indices.tolist(), top.values.tolist())
    return [Peeked(*values) for values in zip(*columns, wanted, strict=True)]
