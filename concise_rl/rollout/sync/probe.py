"""Compare the weights of engine and trainer by the log-probabilities that both give to a prompt."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor

from concise_rl.errors import EngineError

logger = logging.getLogger(__name__)

PROBE_TOKENS = 256


class Probe:
    """A token sequence whose log-probabilities engine and trainer must agree on."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.ids = trainer, []

    def compare(self, score: Any) -> float:
        """Mean absolute difference in nats; the largest of all ranks, and of all servers where `score` asks several.

        Raises:
            EngineError: above `sync_error`, on every rank. Above `sync_warning` there is a warning.
        """
        theirs = torch.tensor(score(self.ids), dtype=torch.float32)
        ours = self._of_trainer()
        gap = (theirs - ours).abs().mean(-1).max().to(self.trainer.accelerator.device, torch.float32)
        difference = self.trainer.accelerator.gather(gap).max().item()
        said = (
            f"Engine and trainer differ by {difference:.3g} nats a token on a probe after the weights were handed over"
        )
        args = self.trainer.args
        if not difference <= args.sync_error:
            raise EngineError(
                f"{said} (sync_error: {args.sync_error}): the engine does not run the model that is trained. Its "
                "precision, its vLLM version, or the model it was started with is wrong."
            )
        if difference > args.sync_warning and self.trainer.accelerator.is_main_process:
            logger.warning("%s (sync_warning: %g). Is its precision the trainer's?", said, args.sync_warning)
        return difference

    @torch.no_grad()
    def _of_trainer(self) -> Tensor:
        trainer, model = self.trainer, self.trainer.model
        ids = torch.tensor([self.ids], device=trainer.accelerator.device)
        training = model.training
        model.eval()  # dropout, LoRA's for one, is not the engine's
        with trainer.compute_loss_context_manager():
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
        model.train(training)
        return logits.float().log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0].cpu()

    def choose(self, prompt_ids: Sequence[int]) -> None:
        """Take the first prompt that the main process is given, on every rank."""
        if not self.ids:
            (self.ids,) = broadcast_object_list([list(prompt_ids[-PROBE_TOKENS:])])
