"""Batches of which nothing can be learnt leave the weights alone, and the run goes on."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from concise_rl.rollout.engine import Asked, Completion, stop_reason
from reward import LengthPenalty
from tests.concise_rl.train.test_finite import weights
from tests.concise_rl.train.test_trainer import metrics_of, trainer_of

CAP = 8


@dataclass(frozen=True)
class Fixed:
    """An engine that says the same to everything."""

    ids: list[int]
    eos_token_id: int

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`."""
        reason = stop_reason(self.ids, [self.eos_token_id], ())
        return [Completion(list(self.ids), reason) for _ in asked.requests]


@pytest.mark.parametrize("masked", [True, False], ids=["cut rollouts masked", "all in the loss"])
@pytest.mark.parametrize("said", ["an EOS alone", "as much as the cap lets it"])
def test_rollouts_that_are_all_empty_or_all_cut_leave_the_weights(tmp_path: Path, said: str, masked: bool) -> None:
    trainer = trainer_of(
        tmp_path, LengthPenalty(), max_steps=1, max_completion_length=CAP, mask_truncated_completions=masked
    )
    eos = trainer.processing_class.eos_token_id
    ids = [eos] if said == "an EOS alone" else [7] * CAP
    trainer.rollouts.collector = replace(trainer.rollouts.collector, engine=Fixed(ids, eos))
    before = weights(trainer)
    trainer.train()
    step = metrics_of(tmp_path)[0]
    assert step["loss"] == 0 and step["grad_norm"] == 0 and step["rewards/correct/mean"] == 0
    assert step["length/mean"] == len(ids) and step["groups/all_wrong"] == 1
    assert all(map(torch.equal, before, weights(trainer)))
