"""A short training run with completions that are fixed for each prompt and member. Started by test_world_size."""

import random
import sys
from typing import Any

from concise_rl import ConciseConfig, ConciseTrainer, load_rows, to_messages
from concise_rl.tiny.traces import overthinking_completion

GROUP, ROWS = 4, 12


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

    def fixed_rollout(prompts: list[Any], _: ConciseTrainer) -> dict[str, Any]:
        first = trainer.accelerator.process_index * len(prompts)
        tokenizer = trainer.processing_class
        texts = [(p[0]["content"], (first + i) % GROUP) for i, p in enumerate(prompts)]
        completions = [
            overthinking_completion(text.split(": ")[1].removesuffix(" ="), random.Random(f"{text}{member}"))
            for text, member in texts
        ]
        return {
            "prompt_ids": trainer._tokenize_prompts(prompts)[0],
            "completion_ids": [[*tokenizer(c).input_ids, tokenizer.eos_token_id] for c in completions],
            "logprobs": None,
        }

    trainer.rollout_func = fixed_rollout
    trainer.train()
    if trainer.accelerator.is_main_process:
        print("world size", trainer.accelerator.num_processes)


if __name__ == "__main__":
    main(sys.argv[1])
