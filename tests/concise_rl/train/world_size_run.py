"""A short training run with completions that are fixed for each prompt and member. Started by test_world_size."""

import random
import re
import sys
from dataclasses import replace
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from concise_rl import ConciseConfig, ConciseTrainer, load_rows, to_messages
from concise_rl.models.resolve import resolve_model
from concise_rl.rollout.engine import Asked, Completion, Request, stop_reason
from concise_rl.rollout.sync.main_rank import leave_process_group
from concise_rl.tasks.tiny.traces import overthinking_completion

GROUP = 4
METHODS: dict[str, dict[str, Any]] = {
    "grpo_lambda": {"rows": 12, "objective_options": {"gate": "threshold"}},
    "s_grpo": {"rows": 8, "objective_options": {"exit_text": "\n</think>\n", "answer_max_tokens": 12}},
}


class FixedEngine:
    """Completes a prompt by what its text and its place in the group say. A thought that is closed already is answered,
    but not on every fourth exit."""

    def __init__(self, trainer: ConciseTrainer) -> None:
        self.trainer = trainer

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`."""
        first = self.trainer.accelerator.process_index * len(asked.requests)
        return [self._complete(request, (first + i) % GROUP) for i, request in enumerate(asked.requests)]

    def _complete(self, request: Request, member: int) -> Completion:
        tokenizer = self.trainer.processing_class
        text = tokenizer.decode(request.prompt_ids)
        expression = re.search(r": (.+?) =", text).group(1)
        completion = overthinking_completion(expression, random.Random(f"{expression}{member}"))
        if "</think>" in text:
            completion = completion.rpartition("</think>")[2].strip() if member else ""
        ids = [*tokenizer(completion).input_ids, tokenizer.eos_token_id][: request.max_tokens]
        return Completion(ids, stop_reason(ids, [tokenizer.eos_token_id], ()))


def main(folder: str, method: str, shared_prefix: str) -> None:
    """Train two steps on groups of 4, whatever the number of processes, and save the weights."""
    settings = dict(METHODS[method])
    config = ConciseConfig(output_dir=folder, use_cpu=True)
    config = ConciseConfig(
        output_dir=folder,
        objective=method,
        verifier="reasoning_gym",
        judge="oracle",
        max_steps=2,
        per_device_train_batch_size=settings.pop("rows") // config.world_size,
        num_generations=GROUP,
        shared_prefix={"null": None, "false": False}[shared_prefix],
        optim="sgd",  # weights move by the gradients; Adam makes much of those that are nearly 0
        learning_rate=0.1,
        max_grad_norm=1e9,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        **settings,
    )
    model = AutoModelForCausalLM.from_pretrained(resolve_model("tiny:base"), dtype="float64")
    trainer = ConciseTrainer(model, config, to_messages(load_rows("tiny:sums", num_rows=16)))
    trainer.rollouts.collector = replace(trainer.rollouts.collector, engine=FixedEngine(trainer))
    trainer.train()
    if trainer.accelerator.is_main_process:
        torch.save(model.state_dict(), f"{folder}/weights.pt")
        print("world size", trainer.accelerator.num_processes)
    leave_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
