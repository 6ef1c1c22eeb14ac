"""Training on rollouts that are a function of prompt and seed alone: alike however they fall on processes and
micro-batches, and whatever the weights."""

import contextlib
import random
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForCausalLM

from concise_rl import ConciseConfig, ConciseTrainer, load_rows, to_messages
from concise_rl.methods import SequenceReward
from concise_rl.models.resolve import resolve_model
from concise_rl.rollout.engine import Asked, Completion, Request, stop_reason
from concise_rl.tasks.reasoning.overthinking import Habits
from concise_rl.tasks.tiny.traces import overthinking_completion
from concise_rl.train.credit import Credited

GROUP = 4
OFTEN_WRONG = Habits(first_slip=0.1, check_slip=0.05, max_checks=2, no_check=0.4)


@dataclass(frozen=True)
class Layout:
    """How the rollouts of a step fall on processes and micro-batches; the product of all three is their number."""

    processes: int
    rows: int
    accumulated: int


class SeededEngine:
    """Completes a prompt by its text and its seed."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`."""
        return [self._complete(request, asked.sampling.stop_ids) for request in asked.requests]

    def _complete(self, request: Request, stop_ids: tuple[int, ...]) -> Completion:
        text, eos = self.tokenizer.decode(request.prompt_ids), self.tokenizer.eos_token_id
        problem = re.search(r": (.+?) =", text)
        assert request.seed is not None and problem
        completion = overthinking_completion(problem[1], random.Random(f"{text}{request.seed}"), OFTEN_WRONG)
        if "</think>" in text:
            completion = completion.rpartition("</think>")[2].strip()
        ids = [*self.tokenizer(completion).input_ids, eos][: request.max_tokens]
        end = next((i for i, token in enumerate(ids) if token in (eos, *stop_ids)), len(ids))
        return Completion(ids[: end + 1], stop_reason(ids[: end + 1], [eos], stop_ids))


class Watched(ConciseTrainer):
    """Keeps the rewards, where the method has them, and the advantages of each step."""

    worth: list[tuple[Tensor, Tensor]]

    def _log_batch(self, credited: Credited, scored: dict[str, Any], more: dict[str, float]) -> None:
        rewards = self.method.rewards(credited.batch) if isinstance(self.method, SequenceReward) else Tensor()
        self.worth = [*getattr(self, "worth", []), (rewards, credited.advantages)]
        super()._log_batch(credited, scored, more)


def config_of(method: str, layout: Layout, folder: Path, **settings: Any) -> ConciseConfig:
    """The settings of a run of two steps, unless they say otherwise. Weights move by the gradients: Adam makes much of
    those that are nearly 0."""
    given: dict[str, Any] = {"optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 1e9, "max_steps": 2} | settings
    config = ConciseConfig(
        output_dir=str(folder),
        objective=method,
        verifier="reasoning_gym",
        judge="oracle",
        num_generations=GROUP,
        max_completion_length=64,
        per_device_train_batch_size=layout.rows,
        gradient_accumulation_steps=layout.accumulated,
        shared_prefix=None if layout.rows % GROUP == 0 else False,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        page_every=0,
        record_steps=0,
        disable_tqdm=True,
        **given,
    )
    assert config.world_size == layout.processes
    return config


def problems(count: int) -> Dataset:
    """So many sums, which a model is said to solve now and then."""
    rows = to_messages(load_rows("tiny:sums", num_rows=count))
    return rows.add_column("ref_accuracy", [0.25 * (i % 4) for i in range(count)])


def train(config: ConciseConfig, **more: Any) -> tuple[list[dict[str, float]], list[tuple[Tensor, Tensor]]]:
    """Train in float32 on problems that come again in every step. Returns each step's metrics, and what its rollouts
    were worth."""
    model = AutoModelForCausalLM.from_pretrained(resolve_model("tiny:base"), dtype="float32")
    assert config.generation_batch_size
    trainer = Watched(model, config, problems(config.generation_batch_size // GROUP), **more)
    engine = SeededEngine(trainer.processing_class)
    trainer.rollouts.collector = replace(trainer.rollouts.collector, engine=engine)
    with contextlib.redirect_stdout(None):
        trainer.train()
    return trainer.state.log_history[: config.max_steps], trainer.worth
