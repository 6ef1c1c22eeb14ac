"""Forced beginnings and probes in training: what is sampled, judged and trained on, and evaluated plainly."""

from pathlib import Path
from typing import Any

import pytest
import torch

from concise_rl import to_messages
from concise_rl.data.rows import load_rows
from concise_rl.methods import Objective
from reward import AdaptThink, Mrt, Vsrm
from tests.concise_rl.rollout.sync.test_links import ENGINES, engines_are_closed  # noqa: F401 (runs by itself)
from tests.concise_rl.train.test_combinations import Watched
from tests.concise_rl.train.test_trainer import config, metrics_of, trainer_of

EXITS = {"exit_text": "</think>\n", "answer_max_tokens": 8}
SMALL = {"max_completion_length": 320, "per_device_train_batch_size": 16, "max_steps": 1}


def adaptthink_of(folder: Path, **settings: Any) -> Watched:
    """A trainer whose model is said to have solved half of everything."""
    rows = to_messages(load_rows("tiny:sums", num_rows=32))
    rows = rows.add_column("ref_accuracy", [0.5] * len(rows))
    method = AdaptThink(think_text="<think>")
    return Watched("tiny:base", config(folder, **SMALL, loss_type="grpo", **settings), rows, objective=method)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [Mrt(**EXITS, answers=2, max_episodes=2), Vsrm(**EXITS, answers=2, max_cuts=2, skip_chars=0, apart_chars=0)],
    ids=lambda method: type(method).__name__,
)
def test_probes_are_judged_and_counted_but_never_trained_on(tmp_path: Path, method: Objective) -> None:
    trainer = trainer_of(tmp_path, method, Watched, **SMALL)
    trainer.train()
    assert isinstance(trainer, Watched)
    [(credited, scored)] = trainer.seen
    rollouts, found = credited.judged.rollouts, metrics_of(tmp_path)[0]
    probes = [probe for rollout in rollouts for probe in rollout.probes]
    assert len(rollouts) == len(credited.judged.verdicts) == len(scored["completion_ids"]) == 16 and len(probes) > 16
    assert found["verifier/judged"] == 16 + len(probes)
    assert found["rollout/sampled"] * 16 == sum(rollout.sampled for rollout in rollouts)
    assert found["rollout/sampled"] > found["length/mean"] == found["completions/mean_length"]
    assert credited.advantages.shape == (16, credited.batch.length.max())


@pytest.mark.slow
@pytest.mark.parametrize("use_vllm", ENGINES)
def test_forced_first_tokens_are_trained_on_and_half_of_the_rollouts_skip(tmp_path: Path, use_vllm: bool) -> None:
    trainer = adaptthink_of(tmp_path, use_vllm=use_vllm)
    trainer.train()
    [(credited, scored)] = trainer.seen
    end, begin = (trainer.processing_class.convert_tokens_to_ids(text) for text in ("</think>", "<think>"))
    first_B = torch.tensor([rollout.ids[0] for rollout in credited.judged.rollouts])
    assert torch.equal(first_B == end, credited.batch.fact("forced_first") == 1)
    assert torch.equal(first_B == begin, credited.batch.fact("forced_first") == 0)
    assert scored["completion_mask"][:, 0].all() and "tool_mask" not in scored
    logged = metrics_of(tmp_path)[0]
    assert logged["objective/skipping"] == 0.5
    if use_vllm:
        assert logged["sampling/importance_sampling_ratio/min"] == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_an_evaluation_during_training_forces_nothing(tmp_path: Path) -> None:
    trainer = adaptthink_of(tmp_path)
    found = trainer.evaluate(trainer.train_dataset.select(range(4)))
    assert found["eval_objective/skipping"] == 0 and "forced_first" not in trainer.seen[0][0].batch.facts
