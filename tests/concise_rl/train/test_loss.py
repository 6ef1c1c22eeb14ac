"""The loss of a method's own: with TRL's formula it is TRL's, whatever is set beside it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from concise_rl.methods import Clipped, LossInputs, Parts
from concise_rl.models.resolve import resolve_model
from concise_rl.recipe.config import ConciseConfig
from concise_rl.recipe.settings import CLIPPED_LOSSES
from concise_rl.train.loss import FACT, TokenLosses
from tests.device import DEVICE, ON_CPU

ROWS, PROMPT, WIDTH = 4, 5, 12


def trainer_of(folder: Path, **settings: Any) -> TokenLosses:
    given = {"per_device_train_batch_size": ROWS, "num_generations": ROWS, "gradient_accumulation_steps": 2}
    args = ConciseConfig(output_dir=str(folder), use_cpu=ON_CPU, bf16=False, report_to="none", **{**given, **settings})
    path = resolve_model("tiny:base")
    trainer = TokenLosses(
        model=AutoModelForCausalLM.from_pretrained(path),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=args,
        train_dataset=Dataset.from_dict({"prompt": ["1"] * 8}),
        processing_class=AutoTokenizer.from_pretrained(path),
    )
    trainer.parts = Parts()
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 2  # set while it trains
    return trainer


def micro_batch(*, by_token: bool = False, seed: int = 0) -> dict[str, Tensor]:
    """Rows of unequal length, one of them dropped whole, whose tokens were sampled under other weights."""
    generator = torch.Generator().manual_seed(seed)
    mask_BT = (torch.arange(WIDTH) < torch.tensor([[WIDTH], [7], [3], [5]])).long()
    kept_BT = mask_BT.clone()
    kept_BT[3] = 0
    kept_BT[0, 2] = 0
    batch = {
        "prompt_ids": torch.randint(3, 9, (ROWS, PROMPT), generator=generator),
        "prompt_mask": torch.ones(ROWS, PROMPT, dtype=torch.long),
        "completion_ids": torch.randint(3, 9, (ROWS, WIDTH), generator=generator),
        "completion_mask": mask_BT,
        "tool_mask": kept_BT,
        "advantages": torch.randn(*((ROWS, WIDTH) if by_token else (ROWS,)), generator=generator),
        "old_per_token_logps": -6 * torch.rand(ROWS, WIDTH, generator=generator),
        "ref_per_token_logps": -6 * torch.rand(ROWS, WIDTH, generator=generator),
        "importance_sampling_ratio": 2 * torch.rand(ROWS, WIDTH, generator=generator),
        "num_items_in_batch": torch.tensor(37),
    }
    return {name: values.to(DEVICE) for name, values in batch.items()}


def computed(trainer: TokenLosses, batch: dict[str, Tensor]) -> tuple[Tensor, list[Tensor], dict[str, Any]]:
    """The loss, its gradients and what was logged."""
    trainer.model.zero_grad()
    trainer._metrics["train"].clear()
    loss = trainer._compute_loss(trainer.model, dict(batch))
    loss.backward()
    grads = [p.grad.clone() for p in trainer.model.parameters() if p.grad is not None]
    return loss.detach(), grads, {name: list(values) for name, values in trainer._metrics["train"].items()}


def assert_same_as_trl(trainer: TokenLosses, batch: dict[str, Tensor]) -> None:
    of_trl, grads_of_trl, logged_by_trl = computed(trainer, batch)
    trainer.parts = Parts(loss=Clipped())
    loss, grads, logged = computed(trainer, batch)
    assert of_trl != 0 and any(grad.any() for grad in grads_of_trl)
    assert torch.equal(loss, of_trl)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(grads, grads_of_trl, strict=True))
    assert logged == logged_by_trl and "clip_ratio/region_mean" in logged


@pytest.mark.parametrize("by_token", [False, True], ids=["advantages by rollout", "advantages by token"])
@pytest.mark.parametrize("loss_type", CLIPPED_LOSSES)
def test_the_clipped_loss_and_its_gradients_are_those_of_trl_bit_for_bit(
    tmp_path: Path, loss_type: str, by_token: bool
) -> None:
    trainer = trainer_of(tmp_path, loss_type=loss_type, epsilon_high=0.28)
    assert_same_as_trl(trainer, micro_batch(by_token=by_token))


@pytest.mark.parametrize(
    "settings",
    [
        {"beta": 0.1},
        {"beta": 0.1, "use_bias_correction_kl": True},
        {"top_entropy_quantile": 0.5},
        {"steps_per_generation": 4},
    ],
    ids=["reference policy", "corrected divergence", "entropy mask", "two steps from a batch"],
)
def test_the_loss_is_that_of_trl_beside_other_settings(tmp_path: Path, settings: dict[str, Any]) -> None:
    assert_same_as_trl(trainer_of(tmp_path, loss_type="dapo", **settings), micro_batch())


def test_importance_weights_of_vllm_reach_the_loss_as_in_trl(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, loss_type="dapo")
    trainer.use_vllm = True  # TRL would start one if it were told before
    assert_same_as_trl(trainer, micro_batch())


def test_without_old_log_probabilities_the_policy_is_its_own_old_one(tmp_path: Path) -> None:
    batch = micro_batch()
    del batch["old_per_token_logps"]
    assert_same_as_trl(trainer_of(tmp_path, loss_type="grpo"), batch)


def test_an_evaluation_is_normalised_as_in_trl(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, loss_type="dapo")
    trainer.model.eval()
    of_trl = trainer._compute_loss(trainer.model, micro_batch())
    trainer.parts = Parts(loss=Clipped())
    assert torch.equal(trainer._compute_loss(trainer.model, micro_batch()), of_trl)
    assert trainer._metrics["eval"]["entropy"] and not trainer._metrics["train"]


class Noting(Clipped):
    """Remembers what it was given."""

    seen: list[LossInputs]

    def __call__(self, inputs: LossInputs) -> Tensor:
        self.seen.append(inputs)
        return super().__call__(inputs)


def test_a_loss_reads_the_facts_of_its_rows_that_it_names(tmp_path: Path) -> None:
    trainer, loss = trainer_of(tmp_path), Noting(facts=("mode",))
    object.__setattr__(loss, "seen", seen := [])
    trainer.parts = Parts(loss=loss)
    facts = {FACT + "mode": torch.arange(ROWS, device=DEVICE), FACT + "other": torch.zeros(ROWS, device=DEVICE)}
    trainer._compute_loss(trainer.model, micro_batch() | facts)
    assert list(seen[0].facts) == ["mode"] and seen[0].facts["mode"].tolist() == [0, 1, 2, 3]
    assert seen[0].advantages_BT.shape == (ROWS, 1)
