"""A run of two processes, and the same resumed in the middle of a generation batch. Started by test_resume."""

import shutil
import sys
from pathlib import Path

from concise_rl import ConciseConfig, ConciseTrainer, load_rows, to_messages
from concise_rl.rollout.sync.main_rank import leave_process_group

RESUMED_AT = 3


def trainer_of(folder: Path, per_device_train_batch_size: int = 4) -> ConciseTrainer:
    """Four steps, two to a generation batch."""
    args = ConciseConfig(
        output_dir=str(folder / "run"),
        verifier="reasoning_gym",
        max_steps=4,
        per_device_train_batch_size=per_device_train_batch_size,
        steps_per_generation=2,
        num_generations=4,
        max_completion_length=48,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        bf16=False,
        use_cpu=True,
        save_strategy="steps",
        save_steps=1,
        logging_steps=1,
        disable_tqdm=True,
        report_to="none",
    )
    return ConciseTrainer("tiny:base", args, to_messages(load_rows("tiny:sums", num_rows=6)))


def main(folder: Path) -> None:
    """Leave the metrics of both runs, `unbroken.jsonl` and `resumed.jsonl`."""
    trainer = trainer_of(folder)
    accelerator = trainer.accelerator
    assert accelerator.num_processes == 2, "started by torchrun or accelerate"
    trainer.train()
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.copy(folder / "run" / "metrics.jsonl", folder / "unbroken.jsonl")
    accelerator.free_memory()
    trainer = trainer_of(folder)
    trainer.train(resume_from_checkpoint=str(folder / "run" / f"checkpoint-{RESUMED_AT}"))
    if accelerator.is_main_process:
        shutil.copy(folder / "run" / "metrics.jsonl", folder / "resumed.jsonl")
        print("world size", accelerator.num_processes)
    accelerator.wait_for_everyone()
    leave_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
