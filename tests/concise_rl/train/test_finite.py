"""What is not finite reaches neither the weights nor a checkpoint."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTConfig

from concise_rl.files import MARKER
from concise_rl.models.resolve import resolve_model
from concise_rl.train.finish import finish_training
from concise_rl.train.finite import MAX_SKIPPED, FiniteSteps, weights_are_finite
from concise_rl.train.sft import DemonstrationTrainer
from tests.concise_rl.train.test_trainer import trainer_of

NAN = float("nan")


def demonstrations(folder: Path, **settings: Any) -> DemonstrationTrainer:
    """Three steps of a row each."""
    defaults: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": 3,
        "per_device_train_batch_size": 1,
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "logging_steps": 10,
        "disable_tqdm": True,
        "report_to": "none",
    }
    rows = Dataset.from_dict({"prompt": ["1 + 1 ="] * 8, "completion": [" 2"] * 8})
    return DemonstrationTrainer(resolve_model("tiny:base"), SFTConfig(**{**defaults, **settings}), train_dataset=rows)


def weights(trainer: Any) -> list[torch.Tensor]:
    return [param.detach().clone() for param in trainer.model.parameters()]


def spoil(trainer: Any, step: int, value: float = NAN) -> None:
    """Put a value into the gradient from a step on."""
    param = next(trainer.model.parameters())
    param.register_hook(lambda grad: grad * value if trainer.state.global_step >= step else grad)


@pytest.mark.parametrize("settings", [{}, {"max_grad_norm": 0.0}, {"gradient_accumulation_steps": 2}])
def test_a_gradient_that_is_not_finite_stops_a_run_before_the_weights_change(tmp_path: Path, settings: dict) -> None:
    trainer = demonstrations(tmp_path, **settings)
    spoil(trainer, 0, float("inf") if settings else NAN)
    before = weights(trainer)
    with pytest.raises(RuntimeError, match=r"gradient norm is (nan|inf) at step 0; this step leaves the weights untou"):
        trainer.train()
    assert all(map(torch.equal, before, weights(trainer)))


def test_the_gradient_is_looked_at_in_steps_that_are_not_logged(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, logging_steps=10, save_strategy="steps", save_steps=1)
    spoil(trainer, 1)
    with pytest.raises(RuntimeError, match="at step 1"):
        trainer.train()
    assert weights_are_finite(trainer)
    assert not (tmp_path / "checkpoint-2").exists()


class Norms:
    """A trainer whose gradient has these norms."""

    def __init__(self, precision: str, *norms: float) -> None:
        self.accelerator, self.state = SimpleNamespace(mixed_precision=precision), SimpleNamespace(global_step=7)
        self.norms = iter(norms)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> float:
        return next(self.norms)


class Looked(FiniteSteps, Norms):
    pass


def test_the_scaler_of_float16_may_skip_steps_but_not_for_ever() -> None:
    trainer: Any = Looked("fp16", *[NAN] * (MAX_SKIPPED - 1), 1.0, *[NAN] * MAX_SKIPPED)
    for _ in range(2 * MAX_SKIPPED - 1):
        trainer._get_grad_norm(None)
    with pytest.raises(RuntimeError, match=f"has skipped {MAX_SKIPPED} steps in a row"):
        trainer._get_grad_norm(None)


def test_other_precisions_skip_no_step() -> None:
    with pytest.raises(RuntimeError, match="inf at step 7"):
        Looked("bf16", float("inf"))._get_grad_norm(None)


class Spoil(TrainerCallback):
    """An optimizer that has made a weight infinite."""

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        next(model.parameters()).data[0] = float("inf")


def test_weights_that_are_not_finite_are_saved_neither_on_the_way_nor_at_the_end(tmp_path: Path) -> None:
    for name, settings in (("way", {"save_strategy": "steps", "save_steps": 1}), ("end", {"max_steps": 1})):
        trainer = demonstrations(tmp_path / name, **settings)
        trainer.add_callback(Spoil())
        with pytest.raises(RuntimeError, match="Weights are not finite after step 1, and are not saved"):
            finish_training(trainer, str(tmp_path / name))
        assert not list((tmp_path / name).rglob(MARKER)) + list((tmp_path / name).rglob("*.safetensors"))


def test_a_checkpoint_with_weights_that_are_not_finite_is_not_resumed_from(tmp_path: Path, monkeypatch) -> None:
    settings = {"save_strategy": "steps", "save_steps": 1}
    trainer = demonstrations(tmp_path, max_steps=1, **settings)
    trainer.add_callback(Spoil())
    monkeypatch.setattr("concise_rl.train.checkpoint.demand_finite_weights", lambda trainer: None)
    trainer.train()
    with pytest.raises(ValueError, match=r"checkpoint-1 holds weights that are not finite\. Delete it"):
        finish_training(demonstrations(tmp_path, **settings), str(tmp_path))


class Stop(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = True


def test_a_run_that_a_callback_stops_is_not_complete(tmp_path: Path, capsys) -> None:
    trainer = demonstrations(tmp_path)
    trainer.add_callback(Stop())
    with pytest.raises(ValueError, match=r"ended after 1 of 3 steps and is not complete\. Rows: 8; prompts"):
        finish_training(trainer, str(tmp_path))
    assert not (tmp_path / MARKER).exists() and "trained model" not in capsys.readouterr().out
