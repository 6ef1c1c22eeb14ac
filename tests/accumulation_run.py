"""Gradients of many micro-steps under a DeepSpeed configuration. Started by test_deepspeed with `accelerate launch`."""

import json

import torch
from accelerate import Accelerator
from deepspeed.utils import safe_get_full_grad
from transformers import TrainingArguments

from concise_rl.rollout.sync.main_rank import leave_process_group

STEPS = 65
SMALL = 2.0**-10
"""Too little to change a bf16 number of 1."""


def main() -> None:
    """Add up a gradient of 1 and 64 small ones, and print the sum."""
    arguments = TrainingArguments("unused", bf16=True, use_cpu=True, per_device_train_batch_size=1)
    plugin = arguments.deepspeed_plugin
    plugin.hf_ds_config.config |= {"train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": STEPS}
    accelerator = Accelerator(deepspeed_plugin=plugin)
    model = torch.nn.Linear(8, 8, bias=False)
    engine, _ = accelerator.prepare(model, torch.optim.AdamW(model.parameters()))
    for step in range(STEPS):
        inputs = torch.full((1, 8), SMALL if step else 1.0, dtype=torch.bfloat16)
        engine.backward(engine(inputs).sum() * STEPS)  # DeepSpeed takes the mean over the steps
        if step < STEPS - 1:  # the last one would use the gradients up
            engine.step()
    summed = safe_get_full_grad(next(engine.module.parameters()))
    if accelerator.is_main_process:
        stage = engine.config["zero_optimization"]["stage"]
        print(json.dumps({"stage": stage, "sum": summed.mean().item()}))
    leave_process_group()


if __name__ == "__main__":
    main()
