"""Two processes, of which the second has a gradient that is not finite. Started by test_finite."""

import sys
from pathlib import Path

import torch

from concise_rl.train.finite import weights_are_finite
from tests.concise_rl.train.test_finite import demonstrations, spoil


def main(folder: Path) -> None:
    """Print what each process says, and whether its weights are finite and those of the last checkpoint."""
    trainer = demonstrations(folder, save_strategy="steps", save_steps=1)
    accelerator = trainer.accelerator
    assert accelerator.num_processes == 2, "started by torchrun"
    if accelerator.process_index == 1:
        spoil(trainer, 1)
    try:
        trainer.train()
    except RuntimeError as error:
        finite = weights_are_finite(trainer)
        summed = accelerator.gather(sum(param.detach().double().sum() for param in trainer.model.parameters()).view(1))
        alike = torch.equal(summed[0], summed[1])
        sys.stdout.write(f"process {accelerator.process_index}: {error} finite {finite} alike {alike}\n")
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
