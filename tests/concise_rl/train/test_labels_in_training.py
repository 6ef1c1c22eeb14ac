"""What a judge says of rollouts reaches the objective, the loss and the metrics."""

from pathlib import Path

import pytest

from reward import Decs, Grpo, LcR1
from tests.concise_rl.train.test_trainer import metrics_of, trainer_of


def test_decs_trains_on_labelled_rollouts_and_logs_what_is_redundant(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, Decs(), max_steps=1)
    trainer.train()
    batch, step = trainer.credited.batch, metrics_of(tmp_path)[0]
    assert batch.redundant is not None
    right_B = batch.earned == 1
    assert step["redundant/tokens"] == pytest.approx(batch.redundant[right_B].diff(dim=1).double().mean().item())
    assert 0 < step["redundant/necessary_ratio"] < 1 and step["redundant/stated"] == 1
    assert step["reflections/mean"] > 1
    assert step["judge/judged"] == right_B.sum()


def test_lc_r1_trains_on_right_rollouts_without_their_redundant_tokens(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, LcR1(), max_steps=1)
    trainer.train()
    now, step = trainer.credited, metrics_of(tmp_path)[0]
    assert now.batch.redundant is not None
    taken_B = now.batch.redundant.diff(dim=1).flatten()
    assert taken_B.sum() > 0 and (taken_B[now.batch.earned == 0] == 0).all()
    assert step["length/mean"] == pytest.approx(step["rollout/sampled"] - taken_B.double().mean().item())
    assert [len(rollout.ids) for rollout in now.judged.rollouts] == now.batch.length.tolist()


def test_any_method_has_the_metrics_where_the_recipe_names_a_judge(tmp_path: Path) -> None:
    trainer_of(tmp_path / "named", Grpo(), max_steps=1, judge="oracle").train()
    trainer_of(tmp_path / "not", Grpo(), max_steps=1).train()
    assert metrics_of(tmp_path / "named")[0]["redundant/tokens"] > 0
    assert not {"redundant/tokens", "reflections/mean"} & metrics_of(tmp_path / "not")[0].keys()


def test_a_judge_that_is_not_there_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Unknown judge 'rul'\. Did you mean 'rule'"):
        trainer_of(tmp_path, Decs(), judge="rul")
