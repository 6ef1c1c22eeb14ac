"""What is not finite reaches neither the weights nor a checkpoint."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from torch import Tensor
from transformers import TrainerCallback
from trl import SFTConfig

from concise_rl.files import MARKER, read_lines
from concise_rl.methods import Clipped, Credit, LossInputs, Parts, RolloutBatch, RunContext
from concise_rl.models.resolve import resolve_model
from concise_rl.train.checkpoint import last_complete
from concise_rl.train.finish import finish_training
from concise_rl.train.finite import MAX_SKIPPED, FiniteSteps, demand_finite_weights, weights_are_finite
from concise_rl.train.sft import DemonstrationTrainer
from reward import Grpo
from tests.concise_rl.train.test_resume import steps_of
from tests.concise_rl.train.test_trainer import trainer_of
from tests.concise_rl.train.test_world_size import launch
from tests.device import ON_CPU

NAN = float("nan")


def demonstrations(folder: Path, **settings: Any) -> DemonstrationTrainer:
    """Three steps of a row each."""
    defaults: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": 3,
        "per_device_train_batch_size": 1,
        "use_cpu": ON_CPU,
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


class OneNan(Grpo):
    """GRPO that has no number for one rollout from the second step on."""

    def advantages(self, batch: RolloutBatch) -> Tensor:
        advantages_B = super().advantages(batch)
        return advantages_B.index_fill(0, torch.tensor([5]), NAN) if batch.step else advantages_B


class OnPadding(Grpo):
    """GRPO by token, infinite behind the end of the rollouts."""

    @property
    def credit(self) -> Credit:
        return Credit(by_token=True)

    def advantages(self, batch: RolloutBatch) -> Tensor:
        width = int(batch.length.max()) + 1
        advantages_BT = super().advantages(batch)[:, None].repeat(1, width)
        return advantages_BT.masked_fill(torch.arange(width) >= batch.length[:, None], float("inf"))


SHORT: dict[str, Any] = {"max_completion_length": 48, "save_strategy": "steps", "save_steps": 1, "max_steps": 3}


def test_a_run_goes_on_behind_advantages_that_were_not_finite_as_if_there_had_been_none(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path / "broken", OneNan(), **SHORT)
    with pytest.raises(RuntimeError, match="Method OneNan gave advantages that are not finite"):
        trainer.train()
    assert last_complete(tmp_path / "broken") == tmp_path / "broken" / "checkpoint-1"
    assert are_those_of(trainer, tmp_path / "broken" / "checkpoint-1")
    for name in ("broken", "whole"):
        finish_training(trainer_of(tmp_path / name, Grpo(), **SHORT), str(tmp_path / name))
    broken, whole = (steps_of(tmp_path / name / "metrics.jsonl") for name in ("broken", "whole"))
    assert broken == whole and len(whole) == 3


def test_advantages_that_are_not_finite_on_padding_alone_stop_a_run(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Method OnPadding gave advantages that are not finite"):
        trainer_of(tmp_path, OnPadding(), max_completion_length=48).train()
    assert [event["event"] for event in read_lines(tmp_path / "events.jsonl")][-1] == "failed"


@dataclass(frozen=True)
class LastInfinite:
    """GRPO's loss, infinite at the last column of a micro-batch."""

    facts: tuple[str, ...] = ()

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return (B, T)."""
        loss_BT = Clipped()(inputs)
        return loss_BT.index_fill(1, torch.tensor([loss_BT.size(1) - 1]), float("inf"))


class WithInfinite(Grpo):
    """GRPO with that loss."""

    def parts(self, run: RunContext) -> Parts:
        return Parts(loss=LastInfinite())


def test_a_loss_that_is_not_finite_at_some_tokens_leaves_the_weights_and_no_checkpoint(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, WithInfinite(), **SHORT)
    before = weights(trainer)
    with pytest.raises(RuntimeError, match=r"The loss is (nan|inf|-inf) at step 0; the weights are untouched"):
        trainer.train()
    assert all(map(torch.equal, before, weights(trainer)))
    assert last_complete(tmp_path) is None and not list(tmp_path.rglob("*.safetensors"))


def are_those_of(trainer: Any, checkpoint: Path) -> bool:
    """Whether the weights are those that a checkpoint holds."""
    held = load_file(checkpoint / "model.safetensors")
    return all(torch.equal(held[name], param) for name, param in trainer.model.named_parameters() if name in held)


@pytest.mark.parametrize("broken", [[0.0, 1.0], [1.0, 0.0]])
def test_weights_that_are_broken_on_one_rank_are_saved_on_none(tmp_path: Path, broken: list[float]) -> None:
    trainer: Any = SimpleNamespace(
        model=torch.nn.Linear(1, 1),
        accelerator=SimpleNamespace(device="cpu", gather=lambda mine: torch.tensor(broken)),
        state=SimpleNamespace(global_step=3),
    )
    with pytest.raises(RuntimeError, match="Weights are not finite after step 3, and are not saved"):
        demand_finite_weights(trainer)


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_in_one_process_stops_both_before_their_weights_change(tmp_path: Path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    said = launch([sys.executable, *torchrun, Path(__file__).with_name("finite_run.py"), tmp_path])
    stops = sorted(line for line in said.splitlines() if line.startswith("process "))
    expected = "The gradient norm is nan at step 1; this step leaves the weights untouched. finite True alike True"
    assert stops == [f"process {rank}: {expected}" for rank in (0, 1)]
    assert last_complete(tmp_path) == tmp_path / "checkpoint-1"
