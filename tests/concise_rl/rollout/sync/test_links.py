"""The trainer and its engine: what is handed over, what is given up, and what the loss then reads."""

import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from concise_rl.errors import EngineError
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import Asked, Request, Sampling
from concise_rl.rollout.sync.links import Colocated, OfTrl
from concise_rl.train.parts import build_steps
from concise_rl.train.trainer import ConciseTrainer
from reward import Dot, Elastic, Gfpo, ThinkPrune
from tests.concise_rl.rollout.altered import OPINIONS, altered
from tests.concise_rl.train.test_trainer import metrics_of, trainer_of

VLLM = importlib.util.find_spec("vllm") is not None
needs_vllm = [pytest.mark.slow, pytest.mark.skipif(not VLLM, reason="vLLM is not installed")]
ENGINES = [pytest.param(False, id="transformers"), pytest.param(True, id="vllm", marks=needs_vllm)]
# Weights move by exactly the gradient: steps of plain SGD of rate 1, without clipping.
GRADIENT = {"optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0, "lr_scheduler_type": "constant", "max_steps": 1}


@pytest.fixture(autouse=True)
def engines_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each trainer's vLLM holds memory of its own."""
    started: list[Colocated] = []
    original = Colocated.__init__

    def remember(self: Colocated, trainer: Any) -> None:
        original(self, trainer)
        started.append(self)

    monkeypatch.setattr(Colocated, "__init__", remember)
    yield
    for link in started:
        link.engine.close()


def gradients_of(trainer: ConciseTrainer) -> dict[str, Tensor]:
    """One step's gradients, by the names of the parameters."""
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    return {name: before[name] - p.detach() for name, p in trainer.model.named_parameters()}


class PatientGfpo(Gfpo):
    """GFPO that lets every rollout end."""

    def keep_shortest(self, num_generations: int) -> int | None:
        return None


@pytest.mark.parametrize(
    ("use_vllm", "dtype", "tolerance"),
    [
        pytest.param(False, "float64", 1e-6, id="transformers"),
        # vLLM has no float64. In float32 the padding alone, which is wider where rollouts end, moves the sums, and the
        # gradients are differences of weights.
        pytest.param(True, "float32", 1e-4, id="vllm", marks=needs_vllm),
    ],
)
def test_gradients_are_those_of_the_run_that_lets_every_rollout_end(
    tmp_path: Path, use_vllm: bool, dtype: str, tolerance: float
) -> None:
    settings = {"per_device_train_batch_size": 32, "num_generations": 16, "max_completion_length": 300}
    settings |= {"use_vllm": use_vllm, **GRADIENT}
    found = []
    for name, objective in (("given up", Gfpo(keep=4)), ("ended", PatientGfpo(keep=4))):
        model = AutoModelForCausalLM.from_pretrained(resolve_model("tiny:base"), dtype=dtype)
        trainer = trainer_of(tmp_path / name, objective, model=model, **settings)
        if not use_vllm:
            trainer.link.segment = 8
        found.append(gradients_of(trainer))
    given_up, ended = (metrics_of(tmp_path / name)[0] for name in ("given up", "ended"))
    assert given_up["stop/aborted"] > 0 and ended["stop/aborted"] == 0
    assert given_up["rollout/sampled"] < ended["rollout/sampled"]
    largest = max(gradient.abs().max() for gradient in found[1].values())
    assert largest > 0
    for name, gradient in found[1].items():
        torch.testing.assert_close(found[0][name], gradient, atol=tolerance * largest, rtol=0, msg=name)


def test_dropped_rollouts_leave_the_normaliser_of_the_loss(tmp_path: Path) -> None:
    seen: list[dict] = []

    class Spied(ConciseTrainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
            seen.append(inputs)
            return super().compute_loss(model, inputs, *args, **kwargs)

    trainer = trainer_of(tmp_path, PatientGfpo(keep=2), cls=Spied, max_steps=1)
    trainer.train()
    (inputs,) = seen
    trained_B = (inputs["completion_mask"] * inputs["tool_mask"]).sum(dim=1)
    assert (trained_B > 0).sum() == 4, "2 of 4 in each of two groups"
    assert inputs["num_items_in_batch"] == trained_B.sum()
    assert (inputs["advantages"][trained_B == 0] == 0).all()


def test_an_outlier_is_trained_on_up_to_its_cut_and_judged_by_what_is_left(tmp_path: Path, monkeypatch) -> None:
    # The reasoner's own lengths: whatever is a token longer than the mean of a group that is right throughout.
    settings = {"max_steps": 4, "per_device_train_batch_size": 16, "max_completion_length": 320}
    trainer = trainer_of(tmp_path, Dot(std_multiplier=0.0, min_margin=1), **settings)
    checked = []

    def check(*_: Any) -> None:
        now = trainer.credited
        cut_B = now.kept_B < now.batch.length
        checked.append(int(cut_B.sum()))
        assert (now.advantages[cut_B] <= 0).all(), "the answer is gone, and with it the reward"
        assert (now.batch.earned[cut_B] == 1).all(), "only groups that are right throughout are cut"
        return original(*_)

    original = trainer._log_batch
    monkeypatch.setattr(trainer, "_log_batch", check)
    trainer.train()
    assert sum(checked) > 0


@pytest.mark.parametrize("use_vllm", ENGINES)
def test_thinking_is_closed_at_its_budget_in_training(tmp_path: Path, use_vllm: bool) -> None:
    trainer = trainer_of(tmp_path, Elastic(think_tokens=20, answer_tokens=6), use_vllm=use_vllm, max_steps=1)
    trainer.train()
    rollouts = trainer.credited.judged.rollouts
    forced = [rollout for rollout in rollouts if rollout.stop_reason is StopReason.THINK_BUDGET]
    assert forced and metrics_of(tmp_path)[0]["stop/think_budget"] == len(forced) / len(rollouts)
    assert all(trace.think_length <= 20 for trace in trainer.credited.judged.traces)


def test_the_generation_of_trl_samples_the_policy_and_nothing_else(tmp_path: Path) -> None:
    """Without dropout, and with no settings of the model's own; those of the recipe hold."""
    settings = {"generation_kwargs": {"bad_words_ids": [[9]]}}
    path = altered(tmp_path / "opinionated", "generation_config.json", **OPINIONS | {"max_time": None})
    found = []
    for model in (path, "tiny:base"):
        model = AutoModelForCausalLM.from_pretrained(resolve_model(model), attention_dropout=0.5 * (model == path))
        trainer = trainer_of(tmp_path / "run", model=model, max_completion_length=24, **settings)
        assert isinstance(trainer.link, OfTrl) and trainer.model.train().training
        torch.manual_seed(0)
        requests = [Request(ids, 24) for ids in trainer._tokenize([trainer.train_dataset[i] for i in range(3)])]
        found.append([completion.ids for completion in trainer.link.generate(Asked(requests, Sampling()))])
        assert trainer.model.training and trainer.model.model.layers[0].training
        opinions = trainer.model.generation_config
    assert found[0] == found[1] and opinions is trainer.model.generation_config
    with pytest.raises(ValueError, match="the model has a context of 1024"):
        trainer.link.generate(Asked([Request([3] * 1001, 24)], Sampling()))


def test_the_cap_of_a_stage_holds_in_that_stage(tmp_path: Path) -> None:
    trainer_of(tmp_path, ThinkPrune(limits=(60, 30), stage_steps=1)).train()
    first, second = metrics_of(tmp_path)[:2]
    assert (first["completions/max_length"], second["completions/max_length"]) == (60, 30)


def test_rollouts_are_a_function_of_seed_and_step(tmp_path: Path) -> None:
    """A run that starts at a later step, as one that is resumed does, draws what the unbroken run draws there."""
    lengths = {}
    for name, step, seed in (("a", 3, 1), ("b", 3, 1), ("later", 4, 1), ("other", 3, 2)):
        trainer = trainer_of(tmp_path / name, seed=seed)
        trainer.state.global_step = step
        torch.manual_seed(len(lengths))
        rows = [trainer.train_dataset[i // 4] for i in range(8)]
        batch = trainer.rollouts.batch(rows, [False] * 8, trainer.creditor.kinds, trainer._moment())
        lengths[name] = [rollout.ids for rollout in batch.judged.rollouts]
    assert lengths["a"] == lengths["b"] and lengths["a"] != lengths["later"] and lengths["a"] != lengths["other"]


@pytest.mark.parametrize("use_vllm", ENGINES)
def test_silent_groups_are_exchanged_for_groups_with_a_signal(tmp_path: Path, use_vllm: bool) -> None:
    trainer = trainer_of(tmp_path, use_vllm=use_vllm, curriculum="dynamic_sampling", max_steps=2)
    trainer.train()
    for step in metrics_of(tmp_path)[:2]:
        assert step["curriculum/groups_sampled"] >= 3, "two wanted, times 1.5 to begin with"
        assert step["curriculum/filled"] == 1 and step["groups/mixed"] == 1 and step["groups/no_signal"] == 0


def test_dynamic_sampling_needs_whole_groups_on_each_rank(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, curriculum="dynamic_sampling")
    trainer.args.per_device_train_batch_size = 6  # of 12 on two ranks, say, with groups of 4
    with pytest.raises(ValueError, match="must be a multiple of num_generations"):
        build_steps(trainer)


def test_a_method_that_drops_rollouts_refuses_losses_that_would_count_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Gfpo takes rollouts out of the loss, and loss_type grpo would go on"):
        trainer_of(tmp_path, Gfpo(keep=2), loss_type="grpo")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"vllm_tensor_parallel_size": 2}, "concise-rl serve MODEL --tensor-parallel-size 2"),
        ({"vllm_enable_sleep_mode": True, "vllm_mode": "server"}, "a server has its own: leave it out"),
        ({"repetition_penalty": 1.1}, "remove them, or set use_vllm: false"),
    ],
)
def test_settings_of_vllm_that_would_be_passed_over_are_refused(tmp_path: Path, settings: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        trainer_of(tmp_path, use_vllm=True, **settings)


@pytest.mark.slow
@pytest.mark.skipif(not VLLM, reason="vLLM is not installed")
def test_engine_and_trainer_agree_after_every_step(tmp_path: Path) -> None:
    trainer_of(tmp_path, use_vllm=True, max_steps=3, learning_rate=3e-3).train()
    steps = metrics_of(tmp_path)[:3]
    assert all(step["sync/difference"] < 1e-4 for step in steps)
    assert all(step["sampling/sampling_logp_difference/mean"] < 1e-4 for step in steps)


@pytest.mark.slow
@pytest.mark.skipif(not VLLM, reason="vLLM is not installed")
def test_an_engine_left_behind_stops_the_run(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, use_vllm=True, max_steps=9, learning_rate=3e-2, sync_error=0.2)
    trainer.link.engine.load_weights = lambda _: None
    with pytest.raises(EngineError, match="the engine does not run the model that is trained"):
        trainer.train()


@pytest.mark.slow
@pytest.mark.skipif(not VLLM, reason="vLLM is not installed")
def test_an_engine_that_drifts_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        trainer_of(tmp_path, use_vllm=True, max_steps=1, sync_warning=0.0).train()
    assert "Engine and trainer differ by" in caplog.text


@pytest.mark.slow
@pytest.mark.skipif(not VLLM, reason="vLLM is not installed")
def test_the_engine_has_lora_adapters_merged_and_the_trainer_has_them_apart(tmp_path: Path) -> None:
    from peft import LoraConfig

    lora = LoraConfig(r=4, lora_alpha=64, target_modules="all-linear", lora_dropout=0.1)
    trainer = trainer_of(tmp_path, use_vllm=True, max_steps=3, learning_rate=3e-3, peft_config=lora)
    trainer.train()
    assert all(step["sync/difference"] < 1e-4 for step in metrics_of(tmp_path)[:3])
    moved = [p for name, p in trainer.model.named_parameters() if "lora_B" in name]
    assert moved and all(p.abs().max() > 0 for p in moved)


def test_a_cap_that_a_plan_does_not_fit_under_is_refused_before_anything_is_sampled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need a cap of 65 completion tokens with the delimiter: raise it from 40"):
        trainer_of(tmp_path, Elastic(think_tokens=48, answer_tokens=16), max_completion_length=40)
