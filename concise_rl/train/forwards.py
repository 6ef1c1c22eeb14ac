"""The forwards of a training step: over each micro-batch's own columns, or over the tree of its common prefixes.

TRL pads every row to the longest of the rank's whole generation batch (grpo_trainer.py:2443, read at TRL 1.16), cuts
micro-batches of that width (trainer/utils.py:1057), and runs the model over all of it (grpo_trainer.py:1444). Lengths
of reasoning are heavy-tailed: a rollout of 2k tokens would run through 16k positions. Here the columns that no row of
a micro-batch uses are left out before the forward, and the results padded back to TRL's width, which no loss reads. A
micro-batch of one row then has no padding at all, and `sdpa` takes its causal kernel in place of one that reads a mask
(transformers/masking_utils.py:236).
"""

from typing import Any

import torch
from torch import Tensor, nn
from trl import GRPOTrainer

from concise_rl.recipe.config import ConciseConfig
from concise_rl.shared_prefix.tree import build_tree, shared_forward, unfold_groups

Scored = tuple[Tensor, Tensor | None, Tensor | None]
"""Log-probabilities and entropies of (B, C) completion tokens, and the load-balancing loss of a mixture of experts."""


def used_columns(attention_mask: Tensor, completion_columns: int, multiple: int = 1) -> tuple[int, int]:
    """The first column that some row uses, and the one behind the last: at least one of the prompts, one of the
    completions.

    Args:
        attention_mask: (B, P + C) 1 for tokens; prompts padded on the left, completions on the right.
        completion_columns: C.
        multiple: of columns to keep on each side; P and C are multiples of it.
    """
    width = attention_mask.size(1)
    border = width - completion_columns
    used = attention_mask.any(dim=0).nonzero().flatten()
    first, last = (int(used[0]), int(used[-1])) if len(used) else (border, border)
    left, right = max(border - first, 1), max(last + 1 - border, 1)
    return border - -(-left // multiple) * multiple, border + -(-right // multiple) * multiple


class Forwards(GRPOTrainer):
    """The part of the trainer that runs the model over rollouts. Old, reference and training passes come here."""

    args: ConciseConfig

    def _prepare_inputs(self, inputs: Any) -> dict[str, Any]:
        prepared = super()._prepare_inputs(inputs)
        assert self.model is not None
        return unfold_groups(prepared) if self.args.shared_prefix and self.model.training else prepared

    def _get_per_token_logps_and_entropies(
        self,
        model: nn.Module,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **images: Any,
    ) -> Scored:
        if any(value is not None for value in images.values()):
            whole = (input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, compute_aux_loss)
            return super()._get_per_token_logps_and_entropies(model, *whole, **images)
        forward = self._over_tree if self.args.shared_prefix else self._over_used_columns
        rows, order_B = batch_size or len(input_ids), torch.arange(len(input_ids), device=input_ids.device)
        if self.args.rows_per_forward and not self.args.shared_prefix:
            rows, order_B = min(rows, self.args.rows_per_forward), attention_mask.sum(dim=1).argsort(stable=True)
        # As many forwards on every rank: ZeRO-3 and FSDP gather the weights in each.
        chunks = zip(*(each[order_B].split(rows) for each in (input_ids, attention_mask)), strict=True)
        parts = [forward(model, *chunk, logits_to_keep, compute_entropy, compute_aux_loss) for chunk in chunks]
        logps, entropies, aux_losses = zip(*parts, strict=True)
        place_B = order_B.argsort()
        return (
            torch.cat(logps)[place_B],
            torch.cat(entropies)[place_B] if compute_entropy else None,
            torch.stack(aux_losses).mean() if compute_aux_loss else None,
        )

    def _over_used_columns(
        self, model: nn.Module, ids: Tensor, mask: Tensor, keep: int, entropy: bool, aux_loss: bool
    ) -> Scored:
        border = ids.size(1) - keep
        first, end = used_columns(mask, keep, int(self.args.pad_to_multiple_of or 1))
        self._note("padding/forwarded", (end - first) / ids.size(1))
        logps, entropies, loss = super()._get_per_token_logps_and_entropies(
            model,
            ids[:, first:end],
            mask[:, first:end],
            end - border,
            compute_entropy=entropy,
            compute_aux_loss=aux_loss,
        )
        padded = [
            each if each is None else nn.functional.pad(each, (0, keep - each.size(1))) for each in (logps, entropies)
        ]
        return padded[0], padded[1], loss

    def _over_tree(
        self, model: nn.Module, ids: Tensor, mask: Tensor, keep: int, entropy: bool, aux_loss: bool
    ) -> Scored:
        assert not aux_loss, "a mixture of experts is refused: its loss counts each token once"
        tree = build_tree(ids, mask, keep)
        self._note("prefix/forwarded", tree.input_ids.numel() / tree.tokens)
        with self.accelerator.autocast():
            logps, entropies = shared_forward(model, tree)
        return logps, entropies, None

    def _note(self, metric: str, value: float) -> None:
        """Note a number of this rank's; the mean over ranks is logged."""
        assert self.model is not None
        self._metrics["train" if self.model.training else "eval"][metric].append(value)
