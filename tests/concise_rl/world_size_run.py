"""A short training run with completions that are fixed for each prompt and member. Started by test_world_size."""

import random
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from concise_rl import ConciseConfig, ConciseTrainer, load_rows, to_messages
from concise_rl.rollout.engine import Completion, Request
from concise_rl.tiny.traces import overthinking_completion
from concise_rl.trace import StopReason

GROUP, ROWS = 4, 12


class FixedEngine:
    """Completes a prompt by what its text and its place in the group say."""

    def __init__(self, trainer: ConciseTrainer) -> None:
        self.trainer = trainer

    def generate(self, requests: Sequence[Request], *_: Any, **__: Any) -> list[Completion]:
        """See `Engine.generate`."""
        first = self.trainer.accelerator.process_index * len(requests)
        return [self._complete(request, (first + i) % GROUP) for i, request in enumerate(requests)]

    def _complete(self, request: Request, member: int) -> Completion:
        tokenizer = self.trainer.processing_class
        text = tokenizer.decode(request.prompt_ids)
        expression = re.search(r": (.+?) =", text).group(1)
        completion = overthinking_completion(expression, random.Random(f"{expression}{member}"))
        return Completion([*tokenizer(completion).input_ids, tokenizer.eos_token_id], StopReason.EOS)


def main(folder: str) -> None:
    """Train two steps of 12 rows, 3 groups of 4, whatever the number of processes."""
    rows = to_messages(load_rows("tiny:sums", num_rows=16))
    config = ConciseConfig(output_dir=folder, use_cpu=True)
    config = ConciseConfig(
        output_dir=folder,
        objective="grpo_lambda",
        objective_options={"gate": "threshold"},
        verifier="reasoning_gym",
        max_steps=2,
        per_device_train_batch_size=ROWS // config.world_size,
        num_generations=GROUP,
        learning_rate=1e-3,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    )
    trainer = ConciseTrainer("tiny:base", config, rows)

    trainer.collector = replace(trainer.collector, engine=FixedEngine(trainer))
    trainer.train()
    if trainer.accelerator.is_main_process:
        print("world size", trainer.accelerator.num_processes)


if __name__ == "__main__":
    main(sys.argv[1])
