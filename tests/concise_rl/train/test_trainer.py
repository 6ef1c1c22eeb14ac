"""The trainer against TRL: what it replaces, what it leaves, and what it stops."""

import json
import logging
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM
from trl import GRPOTrainer

from concise_rl import ConciseConfig, ConciseTrainer, load_rows, to_messages
from concise_rl.methods import Credit, Objective, Parts, RolloutBatch, RunContext
from concise_rl.models.resolve import resolve_model
from concise_rl.rollout.engine import Asked, Sampling
from concise_rl.rollout.sync.links import OfTrl, OwnModel
from concise_rl.rollout.sync.probe import Probe
from concise_rl.train.gather import fit_width
from reward import Decs, Grpo, LengthPenalty, SGrpo
from tests.device import ON_CPU


def config(tmp_path: Path, **settings: Any) -> ConciseConfig:
    """Two steps of 8 rollouts."""
    defaults: dict[str, Any] = {
        "output_dir": str(tmp_path),
        "verifier": "reasoning_gym",
        "max_steps": 2,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 160,
        "learning_rate": 1e-4,
        "bf16": False,
        "use_cpu": ON_CPU,
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "report_to": "none",
    }
    return ConciseConfig(**{**defaults, **settings})


def trainer_of(
    tmp_path: Path,
    objective: Objective | None = None,
    cls: type[ConciseTrainer] = ConciseTrainer,
    model: Any = "tiny:base",
    peft_config: Any = None,
    **settings: Any,
) -> ConciseTrainer:
    # The longest sums: the reasoner gets some of them wrong, so there is a signal.
    rows = to_messages(load_rows("tiny:sums", num_rows=64).filter(lambda row: row["difficulty"] == 6))
    return cls(model, config(tmp_path, **settings), rows, objective=objective, peft_config=peft_config)


def metrics_of(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_grpo_gives_the_advantages_of_trl_bit_for_bit(tmp_path: Path, monkeypatch, scale: str) -> None:
    of_trl: list[Tensor] = []
    ours: list[Tensor] = []
    original = GRPOTrainer._generate_and_score_completions

    def spy_on_trl(self, inputs):
        output = original(self, inputs)
        of_trl.append(output["advantages"].clone())
        return output

    class Spied(Grpo):
        def advantages(self, batch: RolloutBatch) -> Tensor:
            ours.append(super().advantages(batch))
            return ours[-1]

    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", spy_on_trl)
    # A cap that no rollout reaches: TRL would pay a correct answer that lacks its EOS.
    settings = {"max_completion_length": 640, "per_device_train_batch_size": 32, "max_steps": 1, "temperature": 1.2}
    trainer_of(tmp_path, Spied(scale_rewards=scale), scale_rewards=scale, **settings).train()
    assert len(ours) == 1 and any(a.any() for a in ours)
    assert all(torch.equal(a, b) for a, b in zip(ours, of_trl, strict=True))


class NoFloat64(TorchFunctionMode):
    """Refuses to make a float64 tensor on a device that is named, or to move one there, as Apple's GPUs do."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        moved = getattr(func, "__name__", "") == "to" and any(isinstance(arg, torch.device) for arg in args)
        if (moved or kwargs.get("device")) and isinstance(made, Tensor) and made.dtype == torch.float64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        return made


def test_training_makes_no_float64_on_its_device(tmp_path: Path) -> None:
    # By token, judged, and with a curriculum: all that is gathered.
    trainer = trainer_of(tmp_path, Decs(), max_steps=1, curriculum="kappa", curriculum_options={"kappa_init": 0.9})
    with NoFloat64():
        trainer.train()
    assert metrics_of(tmp_path)[0]["loss"] is not None


def test_a_probe_makes_no_float64(tmp_path: Path) -> None:
    probe = Probe(trainer_of(tmp_path))
    probe.choose([5, 6, 7, 8])
    assert probe._of_trainer().dtype == torch.float32
    assert probe.compare(lambda ids: probe._of_trainer().tolist()) < 1e-6


def test_a_model_without_trainable_parameters_is_refused(tmp_path: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(resolve_model("tiny:base"))
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")).save_pretrained(tmp_path)
    for beta in (0.0, 0.1):
        frozen = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(resolve_model("tiny:base")), tmp_path)
        with pytest.raises(ValueError, match="no trainable parameters"):
            trainer_of(tmp_path, model=frozen, beta=beta)


class Broadcast(Grpo):
    """GRPO whose advantages are spelt out for each token."""

    @property
    def credit(self) -> Credit:
        return Credit(by_token=True)

    def advantages(self, batch: RolloutBatch) -> Tensor:
        return super().advantages(batch)[:, None].expand(-1, int(batch.length.max()))


def test_token_level_advantages_that_are_constant_train_as_rollout_level_ones(tmp_path: Path) -> None:
    for name, objective in (("sequence", Grpo()), ("token", Broadcast())):
        trainer_of(tmp_path / name, objective, seed=3).train()
    losses = [[step.get("loss") for step in metrics_of(tmp_path / name)] for name in ("sequence", "token")]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("setting", [{"loss_type": "vespo"}, {"off_policy_mask_threshold": 0.5}])
def test_settings_that_read_one_advantage_for_each_rollout_are_refused_for_token_level_methods(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        trainer_of(tmp_path, Broadcast(), **setting)


class Negative(Objective):
    """Pays every token of every rollout the same negative amount."""

    paper: ClassVar[str] = "none"

    def advantages(self, batch: RolloutBatch) -> Tensor:
        return -torch.ones_like(batch.correct)


def test_the_objective_moves_the_weights(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, Negative(), max_steps=1)
    before = AutoModelForCausalLM.from_pretrained(trainer.model.name_or_path).state_dict()
    trainer.train()
    after = trainer.model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


class NotFinite(Grpo):
    def advantages(self, batch: RolloutBatch) -> Tensor:
        return super().advantages(batch) / 0


def test_advantages_that_are_not_finite_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="NotFinite gave advantages that are not finite"):
        trainer_of(tmp_path, NotFinite()).train()


def test_a_loss_that_is_not_finite_stops_the_run_before_the_weights_change(tmp_path: Path, monkeypatch) -> None:
    trainer = trainer_of(tmp_path)
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    monkeypatch.setattr(GRPOTrainer, "compute_loss", lambda *_, **__: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(RuntimeError, match="loss is nan"):
        trainer.train()
    assert all(torch.equal(before[name], weight) for name, weight in trainer.model.state_dict().items())


def test_a_cap_that_cuts_most_rollouts_is_warned_about(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        trainer_of(tmp_path, max_completion_length=8, max_steps=1).train()
    assert "were cut at max_completion_length=8" in caplog.text


def test_answers_of_exits_that_their_cap_cuts_are_warned_about(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        trainer_of(tmp_path, SGrpo(answer_max_tokens=1, exit_text="\n</think>\n"), max_steps=1).train()
    assert "100 % of the exits' answers were cut at the method's answer_max_tokens" in caplog.text


def test_rollouts_that_end_inside_the_thinking_are_warned_about(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        trainer_of(
            tmp_path, max_steps=1, max_completion_length=300, think_end="<user>"
        ).train()  # the reasoner never writes it
    logged = metrics_of(tmp_path)[0]
    assert logged["rollout/ended_thinking"] == logged["stop/eos"] > 0.5
    assert "ended inside the thinking, without '<user>'" in caplog.text


def test_no_signal_for_many_steps_is_warned_about(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        trainer_of(tmp_path, max_completion_length=4, no_signal_patience=2).train()
    assert "no group has had a signal for 2 logged steps" in caplog.text


def test_what_a_person_wants_to_know_is_logged_each_step(tmp_path: Path) -> None:
    trainer_of(tmp_path, max_steps=1).train()
    logged = metrics_of(tmp_path)[0]
    for name in (
        "rewards/correct/mean",
        "length/mean",
        "length/correct",
        "groups/no_signal",
        "stop/eos",
        "verifier/timeouts",
    ):
        assert name in logged
    assert logged["stop/eos"] + logged["stop/length"] == 1


def test_what_a_method_pays_is_logged_beside_the_verdicts(tmp_path: Path) -> None:
    trainer_of(tmp_path, LengthPenalty(alpha=0.4), max_steps=1).train()
    logged = metrics_of(tmp_path)[0]
    assert 0 < logged["objective/reward"] < logged["correct/mean"] == logged["reward"]


def test_the_logged_advantages_are_those_of_the_objective(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, Negative(), max_steps=1)
    trainer.train()
    assert list(trainer._logs["advantages"]) == [-1.0] * 8


@pytest.mark.parametrize("setting", [{"repetition_penalty": 1.1}, {"generation_kwargs": {"bad_words_ids": [[9]]}}])
def test_what_the_embedded_engine_cannot_do_is_left_to_the_generation_of_trl(tmp_path: Path, setting: dict) -> None:
    trainer = trainer_of(tmp_path, max_steps=1, **setting)
    trainer.train()
    assert isinstance(trainer.link, OfTrl)
    assert trainer.link.generate(Asked([], Sampling())) == [], "a rank that wants nothing goes along"
    assert isinstance(trainer_of(tmp_path).link, OwnModel)


def test_an_unknown_model_is_named_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean 'tiny:base'"):
        ConciseTrainer("tiny:bass", config(tmp_path), to_messages(load_rows("tiny:sums", num_rows=4)))


def test_a_think_delimiter_that_the_tokenizer_cannot_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="think delimiter"):
        trainer_of(tmp_path, think_end="◁/think▷")


def test_advantages_are_padded_or_cropped_to_the_width_of_the_rank() -> None:
    advantages_BT = torch.ones(2, 3)
    assert fit_width(advantages_BT, 5).tolist() == [[1, 1, 1, 0, 0]] * 2
    assert fit_width(advantages_BT, 2).shape == (2, 2)


class FirstToken(Grpo):
    """Keeps one token of each rollout, on which nothing is right, and pays for that."""

    def parts(self, run: RunContext) -> Parts:
        return Parts(rejudge=True)

    def rewards(self, batch: RolloutBatch) -> Tensor:
        return batch.kept_correct

    def kept_length(self, batch: RolloutBatch) -> Tensor:
        return torch.ones_like(batch.length)


def test_a_method_that_judges_again_logs_what_it_pays_beside_what_was_right(tmp_path: Path) -> None:
    trainer_of(tmp_path, FirstToken(), max_steps=1).train()
    logged = metrics_of(tmp_path)[0]
    assert logged["objective/reward"] == 0 < logged["correct/mean"]


def test_a_method_sees_no_labels_where_none_have_been_made_yet(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Spy(Grpo):
        def kept_length(self, batch: RolloutBatch) -> Tensor:
            seen.append(batch.redundant is not None)
            return batch.length

    settings = {"judge": "oracle", "curriculum": "dynamic_sampling", "max_steps": 1, "num_generations": 8}
    trainer_of(tmp_path, Spy(), **settings).train()
    assert not seen[0] and seen[-1] and seen == sorted(seen), "while groups are chosen, then of the whole batch"
