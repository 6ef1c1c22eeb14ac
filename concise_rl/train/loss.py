"""A method's own loss of each token, in place of the one that TRL's `loss_type` names. Read at TRL 1.16.

TRL computes the loss of a micro-batch in one function, which has no place for another formula. `TokenLosses` overrides
it for methods that bring a `TokenLoss`, and does the rest as TRL does: reference policy, entropy mask, importance
weights, the normalisation of `loss_type`, and what is logged. With `Clipped` its losses and gradients are TRL's, bit
for bit; a test says so for each `loss_type` in `CLIPPED_LOSSES`.

Axis letters in tensor names: B completions of a micro-batch, T completion tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from trl import GRPOTrainer
from trl.trainer.utils import nanmax, nanmin

from concise_rl.methods import LossInputs, Parts
from concise_rl.recipe.config import ConciseConfig

FACT = "fact/"
"""How the keys of facts begin in a batch of TRL's, whose rows are shuffled and split together."""


@dataclass(frozen=True)
class Scored:
    """A micro-batch after its forward.

    Attributes:
        log_probs_BT, entropies_BT: of the completion tokens.
        mask_BT: 1 for tokens that stay in the loss.
        aux_loss: the load-balancing loss of a mixture of experts, where it is trained.
    """

    log_probs_BT: Tensor
    entropies_BT: Tensor
    mask_BT: Tensor
    aux_loss: Tensor | None


def divergence(inputs: LossInputs, reference_BT: Tensor, *, corrected: bool) -> Tensor:
    """(B, T) estimate of the KL divergence from the reference policy (http://joschu.net/blog/kl-approx.html, k3).

    Args:
        inputs: of the loss.
        reference_BT: log-probabilities under the reference policy.
        corrected: whether to weigh it by the ratio to the old policy, as `use_bias_correction_kl` asks.
    """
    # The ratio first and the difference twice, as in TRL: autograd then adds the gradients up in the same order.
    ratio_BT, log_probs_BT = inputs.ratio_BT, inputs.log_probs_BT
    kl_BT = torch.exp(reference_BT - log_probs_BT) - (reference_BT - log_probs_BT) - 1
    return kl_BT * ratio_BT if corrected else kl_BT


def by_rollout(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean over rollouts of the mean over their tokens."""
    return ((loss_BT * mask_BT).sum(-1) / mask_BT.sum(-1).clamp(min=1.0)).mean()


def by_token(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean over the tokens of the micro-batch."""
    return (loss_BT * mask_BT).sum() / mask_BT.sum().clamp(min=1.0)


def summed(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean over rollouts of the sum over their tokens."""
    return (loss_BT * mask_BT).sum(-1).mean()


MEANS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"grpo": by_rollout, "bnpo": by_token, "luspo": summed}
"""Those of a micro-batch alone; `dr_grpo` and `dapo` divide by more than it holds."""


class TokenLosses(GRPOTrainer):
    """The part of the trainer that computes the loss of a method that brings its own."""

    args: ConciseConfig
    parts: Parts

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        if self.parts.loss is None:
            return super()._compute_loss(model, inputs)
        scored = self._score(model, inputs)
        given = self._loss_inputs(scored, inputs)
        kl_BT = self._divergence(given, inputs) if self.beta != 0.0 else None
        loss_BT = self._weighed(self._own_loss(given), scored, inputs)
        loss_BT = loss_BT if kl_BT is None else loss_BT + self.beta * kl_BT
        self._log_mean("entropy", scored.entropies_BT, given.mask_BT)
        self._log_clipping(given)
        loss = self._normalised(loss_BT, given.mask_BT, inputs)
        return loss if scored.aux_loss is None else loss + self._aux_term(scored.aux_loss)

    def _own_loss(self, given: LossInputs) -> Tensor:
        """
        Raises:
            ValueError: for a loss of another shape, which would be spread over the tokens.
        """
        assert self.parts.loss is not None
        loss_BT, shape = self.parts.loss(given), tuple(given.log_probs_BT.shape)
        if loss_BT.shape != shape:
            name = type(self.parts.loss).__name__
            raise ValueError(f"The loss {name} has the shape {tuple(loss_BT.shape)}, not {shape}: one for each token.")
        return loss_BT

    def _score(self, model: nn.Module, inputs: dict[str, Any]) -> Scored:
        """Run the model over a micro-batch."""
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        attention_mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        width = inputs["completion_ids"].size(1)
        log_probs_BT, entropies_BT, aux_loss = self._get_per_token_logps_and_entropies(
            model, ids, attention_mask, width, compute_entropy=True, compute_aux_loss=self.aux_loss_enabled
        )
        mask_BT = inputs["completion_mask"]
        mask_BT = mask_BT * inputs["tool_mask"] if "tool_mask" in inputs else mask_BT  # TRL's name of an env_mask
        return Scored(log_probs_BT, entropies_BT, mask_BT, aux_loss)

    def _loss_inputs(self, scored: Scored, inputs: dict[str, Any]) -> LossInputs:
        assert self.parts.loss is not None
        advantages = inputs["advantages"]
        old_BT = inputs.get("old_per_token_logps")  # TRL leaves them out where they would be the same
        return LossInputs(
            scored.log_probs_BT,
            scored.log_probs_BT.detach() if old_BT is None else old_BT,
            advantages if advantages.ndim == 2 else advantages.unsqueeze(1),
            scored.mask_BT,
            self.epsilon_low,
            self.epsilon_high,
            {name: inputs[FACT + name] for name in self.parts.loss.facts if FACT + name in inputs},
        )

    def _divergence(self, given: LossInputs, inputs: dict[str, Any]) -> Tensor:
        kl_BT = divergence(given, inputs["ref_per_token_logps"], corrected=self.args.use_bias_correction_kl)
        self._log_mean("kl", kl_BT, given.mask_BT)
        return kl_BT

    def _weighed(self, loss_BT: Tensor, scored: Scored, inputs: dict[str, Any]) -> Tensor:
        """(B, T) without tokens of low entropy, and weighed by what vLLM has sampled them with."""
        if self.top_entropy_quantile < 1.0:
            threshold = 1 - self.top_entropy_quantile
            loss_BT = loss_BT * self.get_high_entropy_mask(scored.entropies_BT, scored.mask_BT, threshold)
        if self.use_vllm and self.vllm_importance_sampling_correction:
            loss_BT = loss_BT * inputs["importance_sampling_ratio"]
        return loss_BT

    @property
    def _loss_mode(self) -> str:
        assert self.model is not None
        return "train" if self.model.training else "eval"

    @property
    def _accumulated(self) -> float:
        """How many micro-batches make a step; an evaluation accumulates none."""
        return self.current_gradient_accumulation_steps if self._loss_mode == "train" else 1.0

    def _normalised(self, loss_BT: Tensor, mask_BT: Tensor, inputs: dict[str, Any]) -> Tensor:
        """The loss of a micro-batch, as a share of its step's."""
        if self.loss_type == "dapo":
            tokens = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
            assert self.args.steps_per_generation, "TRL has derived it"
            if self._loss_mode == "train":  # of the whole generation batch, from which several steps may be made
                tokens = tokens * self._accumulated / self.args.steps_per_generation
            return (loss_BT * mask_BT).sum() / tokens
        if self.loss_type == "dr_grpo":
            assert self.max_completion_length, "checked"
            loss = (loss_BT * mask_BT).sum() / (loss_BT.size(0) * self.max_completion_length)
        else:
            loss = MEANS[self.loss_type](loss_BT, mask_BT)
        return loss / self._accumulated

    def _aux_term(self, aux_loss: Tensor) -> Tensor:
        mean = self.accelerator.gather_for_metrics(aux_loss).mean().item()
        self._metrics[self._loss_mode]["aux_loss"].append(mean)
        return self.router_aux_loss_coef * aux_loss / self._accumulated

    @torch.no_grad()
    def _log_mean(self, name: str, values_BT: Tensor, mask_BT: Tensor) -> None:
        """Log the mean over the tokens of all ranks."""
        parts = torch.stack([(values_BT * mask_BT).sum(), mask_BT.sum().float()])
        total, count = self.accelerator.reduce(parts, reduction="sum")
        self._metrics[self._loss_mode][name].append((total / count.clamp(min=1.0)).item())

    @torch.no_grad()
    def _log_clipping(self, given: LossInputs) -> None:
        """Log how often the ratio leaves the range in which the clipped loss has a gradient, as TRL names it."""
        metrics, mask_BT = self._metrics[self._loss_mode], given.mask_BT
        low_BT = (given.ratio_BT < 1 - given.epsilon_low) & (given.advantages_BT < 0)
        high_BT = (given.ratio_BT > 1 + given.epsilon_high) & (given.advantages_BT > 0)
        for name, is_out_BT in (("low", low_BT), ("high", high_BT), ("region", low_BT | high_BT)):
            self._log_mean(f"clip_ratio/{name}_mean", is_out_BT.float(), mask_BT)
        low_B, high_B = ((is_out_BT * mask_BT).sum(-1) / mask_BT.sum(-1) for is_out_BT in (low_BT, high_BT))
        metrics["clip_ratio/low_min"].append(nanmin(self.accelerator.gather(low_B)).item())
        metrics["clip_ratio/high_max"].append(nanmax(self.accelerator.gather(high_B)).item())
