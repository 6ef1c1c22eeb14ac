"""vLLM that sleeps beside the trainer, for real, on CPU: the calls are those on CUDA, and the memory stays. One engine
for all tests."""

import importlib.util
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from concise_rl.errors import EngineError
from concise_rl.rollout.engine import Asked, Request, Sampling
from concise_rl.rollout.engines.vllm import VllmEngine, load_vllm_engine
from concise_rl.rollout.sync import links
from concise_rl.train.trainer import ConciseTrainer
from reward import Elastic
from tests.concise_rl.train.test_trainer import trainer_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
AWAKE = ["wake weights", "load_weights", "wake kv_cache", "score"]
SMALL = {"max_completion_length": 60, "use_vllm": True, "verifier_workers": 1}


class Watched(VllmEngine):
    """Writes down what it is asked."""

    calls: list[str]

    def generate(self, asked: Asked) -> list:
        self.calls.append("generate")
        return super().generate(asked)

    def score(self, ids: Any) -> list[float]:
        self.calls.append("score")
        return super().score(ids)

    def load_weights(self, named_params: Any) -> None:
        self.calls.append("load_weights")
        super().load_weights(named_params)

    def sleep(self) -> None:
        self.calls.append("sleep")
        super().sleep()

    def wake(self, part: str) -> None:
        self.calls.append(f"wake {part}")
        super().wake(part)


@pytest.fixture(scope="module")
def started() -> Iterator[Watched]:
    engine: Any = load_vllm_engine("tiny:base", max_tokens=400)
    engine.__class__ = Watched
    yield engine
    engine.close()


@pytest.fixture
def engine(started: Watched, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Awake, and every trainer's."""
    if started.sleeps:
        started.llm.wake_up()
    started.calls = []
    monkeypatch.setattr(links, "start_beside", lambda trainer: started)
    return started


class Remembering(ConciseTrainer):
    """Keeps what it sampled."""

    def _scored_by_trl(self) -> dict[str, Any]:
        self.sampled = [*getattr(self, "sampled", []), [rollout.ids for rollout in self.credited.sampled.rollouts]]
        return super()._scored_by_trl()


def weights_of(trainer: ConciseTrainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def test_each_batch_has_one_wake_and_one_sleep_and_is_what_a_waking_engine_samples(engine, tmp_path: Path) -> None:
    found = {}
    for sleeping in (False, True):
        folder, settings = tmp_path / str(sleeping), SMALL | {"max_steps": 2, "learning_rate": 1e-3}
        trainer: Any = trainer_of(folder, cls=Remembering, vllm_enable_sleep_mode=sleeping, **settings)
        trainer.train()
        found[sleeping] = trainer
    assert engine.calls[:6] == ["load_weights", "score", "generate"] * 2
    assert engine.calls[6:] == ["sleep", *[*AWAKE, "generate", "sleep"] * 2], "asleep from the start"
    assert found[True].sampled == found[False].sampled
    for name, value in weights_of(found[False]).items():
        assert torch.equal(value, found[True].model.state_dict()[name]), name


def test_plans_of_several_calls_and_curricula_of_several_rounds_wake_once(engine, tmp_path: Path) -> None:
    sleeping = SMALL | {"vllm_enable_sleep_mode": True, "max_steps": 1}
    trainer_of(tmp_path / "a", Elastic(think_tokens=20, answer_tokens=6), **sleeping).train()
    assert engine.calls == ["sleep", *AWAKE, "generate", "generate", "sleep"]
    engine.calls.clear()
    many = {"max_completion_length": 160, "per_device_train_batch_size": 16}  # of 4 groups some are mixed
    trainer_of(tmp_path / "b", curriculum="dynamic_sampling", **sleeping | many).train()
    generating = engine.calls.count("generate")
    assert engine.calls == ["sleep", *AWAKE, *["generate"] * generating, "sleep"] and generating > 0


def test_several_batches_of_a_step_are_handed_the_weights_each(engine, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, vllm_enable_sleep_mode=True, **SMALL)
    trainer.model.eval()
    rows = [trainer.train_dataset[i // 4] for i in range(8)]
    for _ in range(2):
        trainer._generate_and_score_completions(rows)
    assert engine.calls == ["sleep", *[*AWAKE, "generate", "sleep"] * 2]


def test_a_resumed_run_is_the_unbroken_one(engine, tmp_path: Path) -> None:
    settings = SMALL | {"save_strategy": "steps", "save_steps": 1, "learning_rate": 1e-3}
    whole = trainer_of(tmp_path / "whole", vllm_enable_sleep_mode=True, **settings)
    whole.train()
    resumed = trainer_of(tmp_path / "resumed", vllm_enable_sleep_mode=True, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-1"))
    for name, value in weights_of(whole).items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_an_engine_that_sleeps_refuses_at_once_what_it_is_asked(engine) -> None:
    engine.sleep()
    for ask in (lambda: engine.generate(Asked([Request([3], 4)], Sampling())), lambda: engine.score([3, 4])):
        with pytest.raises(EngineError, match="vLLM sleeps: it can only be asked between waking and sleeping"):
            ask()
    with pytest.raises(EngineError, match="wake them before others are loaded"):
        engine.load_weights([])
    engine.wake("weights")
    with pytest.raises(EngineError, match="vLLM sleeps"):
        engine.generate(Asked([Request([3], 4)], Sampling()))


def test_an_error_while_it_is_awake_leaves_it_asleep(engine, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, vllm_enable_sleep_mode=True, **SMALL)
    for stop in (KeyboardInterrupt, EngineError):
        with suppress(stop), trainer.link.awake():
            raise stop
        assert engine.sleeps and trainer.link.weights_gone
    trainer.train()  # what comes next wakes it again
    assert engine.sleeps and trainer.state.global_step == 2
