"""Micro-batches without their padding: the same numbers and gradients as TRL's, from fewer columns."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from trl import GRPOTrainer

from concise_rl.models.resolve import resolve_model
from concise_rl.train.forwards import Forwards, used_columns
from concise_rl.train.trainer import ConciseTrainer
from reward import Grpo
from tests.concise_rl.rollout.sync.test_links import GRADIENT, gradients_of
from tests.concise_rl.shared_prefix.test_tree import assert_all_close
from tests.concise_rl.train.test_trainer import metrics_of, trainer_of
from tests.device import DEVICE


@pytest.mark.parametrize(
    ("mask", "wanted"),
    [
        ([[0, 1, 1, 1, 1, 0, 0]], (1, 5)),
        ([[0, 1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1, 0]], (1, 6)),
        ([[0, 1, 1, 0, 0, 0, 0]], (1, 4)),  # nothing to train on: one column stays, so that every rank goes along
        ([[1, 1, 1, 1, 1, 1, 1]], (0, 7)),
    ],
    ids=["one row", "the widest of two", "a completion masked whole", "no padding"],
)
def test_columns_that_no_row_uses_are_left_out(mask: list[list[int]], wanted: tuple[int, int]) -> None:
    assert used_columns(torch.tensor(mask), 4) == wanted


def test_columns_are_kept_in_the_multiples_that_the_run_pads_to() -> None:
    mask = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]])
    assert used_columns(mask, 12, multiple=4) == (4, 16)


class Padded(ConciseTrainer):
    """As TRL does it."""

    _get_per_token_logps_and_entropies = GRPOTrainer._get_per_token_logps_and_entropies


@pytest.mark.parametrize(
    "settings",
    [
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8, "beta": 0.1, "num_iterations": 2},
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 16, "mask_truncated_completions": True},
        {"per_device_train_batch_size": 16, "rows_per_forward": 5},
    ],
    ids=["micro-batches", "old and reference policy", "rows one by one, truncated ones masked", "by length"],
)
def test_a_step_without_padding_has_the_loss_and_gradients_of_the_padded_one(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    found, steps = {}, {}
    settings = {**GRADIENT, "num_generations": 4, "max_completion_length": 200, "max_steps": 1, **settings}
    for name, cls in (("padded", Padded), ("used", ConciseTrainer)):
        # In float32 the gradients would be read off with an error of 1e-5: they are differences of weights.
        model = AutoModelForCausalLM.from_pretrained(resolve_model("tiny:base"), dtype="float64")
        found[name] = gradients_of(trainer_of(tmp_path / name, Grpo(), cls, model=model, **settings))
        steps[name] = metrics_of(tmp_path / name)[0]
    assert_all_close(found["used"], found["padded"], 1e-6)
    assert steps["used"]["loss"] == pytest.approx(steps["padded"]["loss"], abs=1e-6)
    assert steps["used"]["padding/forwarded"] < 1


def test_a_micro_batch_of_one_row_reaches_the_model_without_padding(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    seen: list[Tensor] = []
    trainer.model.register_forward_pre_hook(lambda _, __, given: seen.append(given["attention_mask"]), with_kwargs=True)
    ids = torch.randint(3, 9, (3, 20), device=DEVICE)
    mask = torch.zeros(3, 20, dtype=torch.long, device=DEVICE)
    for row, (first, end) in enumerate([(2, 11), (5, 20), (0, 14)]):
        mask[row, first:end] = 1
    logps, *_ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, 12, batch_size=1)
    assert [tuple(one.shape) for one in seen] == [(1, 9), (1, 15), (1, 14)] and all(one.all() for one in seen)
    assert logps.shape == (3, 12) and not logps[0, 3:].any()


def test_rows_of_like_length_run_together_and_come_back_in_their_order(tmp_path: Path) -> None:
    whole, parts = trainer_of(tmp_path / "whole"), trainer_of(tmp_path / "parts", rows_per_forward=2)
    seen: list[tuple[int, ...]] = []
    parts.model.register_forward_pre_hook(
        lambda _, __, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    ids, mask = torch.randint(3, 9, (2, 5, 20), device=DEVICE)
    mask.zero_()
    for row, end in enumerate([20, 11, 17, 10, 12]):
        mask[row, 4:end] = 1
    wanted, found = (
        one._get_per_token_logps_and_entropies(one.model, ids, mask, 12, compute_entropy=True) for one in (whole, parts)
    )
    assert seen == [(2, 7), (2, 13), (1, 16)]
    for each, other in zip(wanted[:2], found[:2], strict=True):
        torch.testing.assert_close(each * mask[:, 8:], other * mask[:, 8:])


def test_images_are_left_to_trl(tmp_path: Path, monkeypatch) -> None:
    trainer, given = trainer_of(tmp_path), {}
    monkeypatch.setattr(
        GRPOTrainer, "_get_per_token_logps_and_entropies", lambda *_, **images: given.update(images) or "theirs"
    )
    ids = torch.ones(2, 4, dtype=torch.long)
    assert (
        Forwards._get_per_token_logps_and_entropies(trainer, trainer.model, ids, ids, 2, num_images=[1, 0]) == "theirs"
    )
    assert given == {"num_images": [1, 0]}
