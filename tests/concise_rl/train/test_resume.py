"""A resumed run is the run that it resumes."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from concise_rl import ConciseTrainer, load_rows, to_messages
from concise_rl.models.resolve import resolve_model
from concise_rl.recipe.parse import parse_recipe
from concise_rl.train.checkpoint import mark_complete
from concise_rl.train.folder import check_folder
from concise_rl.train.resume import EpochSampler, check_reference, load_state, save_state, state_file
from tests.concise_rl.train.resume_run import trainer_of as trainer_of_two
from tests.concise_rl.train.test_run import TINY, begun
from tests.concise_rl.train.test_trainer import config, trainer_of
from tests.concise_rl.train.test_world_size import launch

OF_A_PROCESS = ("time/", "runtime", "_per_second", "step_time", "unix_time", "verifier/", "judge/")
"""Times, and what is counted since the process began."""


def run(folder: Path, checkpoint: Path | None = None, **settings: Any) -> list[dict[str, Any]]:
    """Metrics of every step of a run over six problems, two a generation batch."""
    rows = to_messages(load_rows("tiny:sums", num_rows=6))
    args = config(folder, save_strategy="steps", save_steps=1, save_only_model=False, **settings)
    ConciseTrainer("tiny:base", args, rows).train(resume_from_checkpoint=checkpoint and str(checkpoint))
    return steps_of(folder / "metrics.jsonl")


def steps_of(file: Path) -> list[dict[str, Any]]:
    """Metrics of every step but those of a process."""
    return [
        {key: value for key, value in step.items() if not any(word in key for word in OF_A_PROCESS)}
        for step in map(json.loads, file.read_text().splitlines())
        if "loss" in step
    ]


CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "between epochs of 3 steps": (3, {"max_steps": 5}),
    "in the second epoch": (4, {"max_steps": 5}),
    "in the middle of a generation batch": (
        3,
        {"max_steps": 5, "steps_per_generation": 2, "per_device_train_batch_size": 4},
    ),
    "between two iterations": (5, {"max_steps": 6, "num_iterations": 2}),
    "with a curriculum that has learnt": (
        2,
        {
            "max_steps": 4,
            "objective": "decs",
            "curriculum": "kappa",
            "curriculum_options": {"kappa_init": 0.4, "kappa_lr": 1.0, "rounds": 10},
        },
    ),
    "with a reference model that follows": (
        2,
        {"max_steps": 4, "beta": 0.1, "sync_ref_model": True, "ref_model_sync_steps": 1, "learning_rate": 1e-3},
    ),
    "with a history of problems": (4, {"max_steps": 6, "objective": "hapo"}),
    "with a control loop": (
        3,
        {
            "max_steps": 5,
            "objective": "acoer",
            "objective_options": {"warmup_steps": 1, "check_window": 2, "ema_span": 2, "alpha_up": 2.0},
        },
    ),
    "with requests in the prompts": (2, {"max_steps": 4, "objective": "l1_max"}),
    "in a generation batch of groups": (
        2,
        {"max_steps": 5, "steps_per_generation": 4, "per_device_train_batch_size": 4, "shared_prefix": True},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_has_the_metrics_of_the_unbroken_one(tmp_path: Path, case: str) -> None:
    step, settings = CASES[case]
    unbroken = run(tmp_path, **settings)
    resumed = run(tmp_path, tmp_path / f"checkpoint-{step}", **settings)  # makes the steps after it again
    assert resumed == unbroken


@pytest.mark.slow
def test_a_run_resumed_between_two_logs_has_the_metrics_since_the_first(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_steps": 4, "logging_steps": 2}
    *_, unbroken = run(tmp_path, **settings)
    *_, resumed = run(tmp_path, tmp_path / "checkpoint-3", **settings)
    of_transformers = ("loss", "grad_norm")  # which takes the mean over the steps since the resume
    assert {k: v for k, v in resumed.items() if k not in of_transformers} == {
        k: v for k, v in unbroken.items() if k not in of_transformers
    }


def test_each_epoch_has_an_order_of_its_own_whichever_was_before() -> None:
    def order(epoch: int) -> list[int]:
        sampler = EpochSampler(range(50), mini_repeat_count=1, seed=3)
        sampler.epoch = epoch
        return list(sampler)

    first, third = order(0), order(2)
    sampler = EpochSampler(range(50), mini_repeat_count=1, seed=3)
    assert list(sampler) == first
    sampler.epoch = 2
    assert list(sampler) == third
    assert first != third
    assert sorted(first) == sorted(third)


def written_by(trainer: Any, folder: Path, processes: int, **changed: Any) -> Path:
    """Write a trainer's state as the first of other processes would have."""
    save_state(trainer, folder)
    file = state_file(folder, 0)
    torch.save(torch.load(file) | {"world_size": processes} | changed, file)
    return folder


@pytest.mark.parametrize(
    ("why", "changed"), [("weights are in shards", {}), ("in the middle of a batch", {"rollouts": []})]
)
def test_a_checkpoint_of_other_processes_is_refused_where_ranks_hold_parts_of_it(tmp_path: Path, why, changed) -> None:
    trainer = trainer_of(tmp_path)
    written_by(trainer, tmp_path, 4, **changed)
    trainer.is_deepspeed_enabled = not changed
    with pytest.raises(
        ValueError, match=rf"cannot be resumed by 1 processes: it was written by 4, {why}.*Start as many"
    ):
        load_state(trainer, tmp_path)


def test_a_rank_that_a_checkpoint_lacks_goes_on_with_what_is_alike_on_all(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    written_by(trainer, tmp_path, 1, tokens=7)
    trainer.accelerator = SimpleNamespace(process_index=1, num_processes=2, device="cpu", is_main_process=False)
    load_state(trainer, tmp_path)
    assert trainer._total_train_tokens == 7 and trainer._step == 0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([8, 8], "only the rounding of sums changes"),
        ([16, 32], "A step has 8 rollouts, not 16, and a generation batch 8"),
    ],
)
def test_other_processes_are_told_what_changes(tmp_path: Path, rows: list[int], said: str, caplog) -> None:
    trainer = trainer_of(tmp_path)
    load_state(trainer, written_by(trainer, tmp_path, 2, rows=rows))
    assert "was written by 2 processes and goes on with 1" in caplog.text and said in caplog.text


def test_a_step_may_be_cut_otherwise_where_it_has_as_many_rollouts(tmp_path: Path) -> None:
    settings = begun(tmp_path, "--per_device_train_batch_size", "8")
    (tmp_path / "checkpoint-1").mkdir()
    torch.save({"rows": [16, 16]}, state_file(tmp_path / "checkpoint-1", 0))
    mark_complete(tmp_path, 1)
    check_folder(parse_recipe(TINY, [*settings, "--per_device_train_batch_size", "16"]))
    with pytest.raises(ValueError, match="holds another run"):
        check_folder(parse_recipe(TINY, [*settings, "--per_device_train_batch_size", "32"]))


def test_a_checkpoint_without_the_state_of_rollouts_is_refused_for_that_reason(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"it lacks rollout_state_0\.pt, the state of the rollouts"):
        load_state(trainer_of(tmp_path), tmp_path)


def test_a_table_of_completions_in_the_middle_of_a_generation_batch_is_that_of_the_batch(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    trainer._step = 1
    trainer.args.steps_per_generation = 2
    trainer._logs["prompt"].extend(["a", "b"])
    trainer._logs["rewards"]["correct"].extend([1.0, 0.0])
    save_state(trainer, tmp_path)
    resumed = trainer_of(tmp_path)
    load_state(resumed, tmp_path)
    assert list(resumed._logs["prompt"]) == ["a", "b"] and list(resumed._logs["rewards"]["correct"]) == [1.0, 0.0]


def test_a_reference_model_that_follows_is_refused_where_no_checkpoint_would_hold_it() -> None:
    args = SimpleNamespace(sync_ref_model=True, save_strategy="steps")
    with pytest.raises(ValueError, match="sync_ref_model: true under DeepSpeed or FSDP"):
        check_reference(SimpleNamespace(args=args, is_deepspeed_enabled=True, is_fsdp_enabled=False))
    check_reference(SimpleNamespace(args=args, is_deepspeed_enabled=False, is_fsdp_enabled=False))


LORA = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")


def test_adapters_are_resumed_in_the_precision_that_they_had(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(resolve_model("tiny:base"), dtype="bfloat16")
    trainer = trainer_of(tmp_path, model=model, peft_config=LORA)
    adapters = {name: param for name, param in trainer.model.named_parameters() if param.requires_grad}
    for param in adapters.values():  # as TRL does with those of a quantized model
        param.data = torch.randn_like(param).to(torch.bfloat16)
    before = {name: param.detach().clone() for name, param in adapters.items()}
    trainer._save(str(tmp_path / "checkpoint-1"))
    for param in adapters.values():
        param.data.zero_()
    trainer._load_from_checkpoint(str(tmp_path / "checkpoint-1"))
    after = {name: param for name, param in trainer.model.named_parameters() if param.requires_grad}
    assert after.keys() == before.keys() and {param.dtype for param in after.values()} == {torch.bfloat16}
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_adapters_with_a_reference_beside_them_are_both_resumed(tmp_path: Path) -> None:
    model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(resolve_model("tiny:base")), LORA)
    trainer = trainer_of(tmp_path, model=model, beta=0.1)
    for i, param in enumerate(trainer.model.parameters()):
        if param.requires_grad:
            param.data.fill_(i)
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters() if "lora" in n}
    trainer._save(str(tmp_path / "checkpoint-1"))
    for name, param in trainer.model.named_parameters():
        param.data.zero_() if "lora" in name else None
    trainable = [name for name, param in trainer.model.named_parameters() if param.requires_grad]
    trainer._load_from_checkpoint(str(tmp_path / "checkpoint-1"))
    after = {n: p for n, p in trainer.model.named_parameters() if "lora" in n}
    assert any(".ref." in name for name in after)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert [name for name, param in trainer.model.named_parameters() if param.requires_grad] == trainable


@pytest.mark.slow
@pytest.mark.parametrize("how", ["two processes", "two processes with ZeRO-3"])
def test_a_run_of_two_processes_resumed_in_a_generation_batch_is_the_unbroken_one(tmp_path: Path, how: str) -> None:
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    zero3 = ["-m", "accelerate.commands.launch", "--config_file", "launch/accelerate/cpu_zero3.yaml"]
    script = Path(__file__).with_name("resume_run.py")
    launch([sys.executable, *(zero3 if "ZeRO" in how else torchrun), script, tmp_path])
    unbroken, resumed = (steps_of(tmp_path / f"{name}.jsonl") for name in ("unbroken", "resumed"))
    assert [step["step"] for step in unbroken] == [1, 2, 3, 4]
    assert resumed == unbroken
    if "ZeRO" not in how:
        goes_on_with_one_process(tmp_path, unbroken)


def goes_on_with_one_process(folder: Path, unbroken: list[dict[str, Any]]) -> None:
    """At the end of a generation batch the same rollouts are made. Which of them share a step is drawn by rank."""
    trainer = trainer_of_two(folder, per_device_train_batch_size=8)
    trainer.train(resume_from_checkpoint=str(folder / "run" / "checkpoint-2"))
    for step, expected in zip(steps_of(folder / "run" / "metrics.jsonl"), unbroken, strict=True):
        names = {"step", "epoch", "length/mean", "rewards/correct/mean", "reflections/mean", "groups/mixed"}
        assert {name: step[name] for name in names & expected.keys()} == {
            name: pytest.approx(expected[name], rel=1e-6) for name in names & expected.keys()
        }
