"""Runs of every method, every loss, and twenty steps of one, in several layouts. Started by test_layouts.

One start of processes for each number of them: every layout of as many is run in it, one after another.
"""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from concise_rl.rollout.sync.main_rank import leave_process_group
from concise_rl.train.parts import start_verifier
from tests.concise_rl.train.seeded import Layout, config_of, train

ROOT = Path(__file__).parents[3]
SERIAL = {"exit_text": "\n</think>\n", "answer_max_tokens": 12}
PROBES = {"exit_text": "</think>\n", "answer_max_tokens": 12, "answers": 2}
METHODS: dict[str, dict[str, Any]] = {
    "acoer": {"warmup_steps": 0, "check_window": 1, "budget_init": 60, "budget_min": 16},
    "adaptthink": {"think_text": "<think>"},
    "conciser": {},
    "ddca": {},
    "decs": {},
    "dot": {"std_multiplier": 0.5, "min_margin": 1},
    "elastic": {"think_tokens": 40, "answer_tokens": 16},
    "gfpo": {"keep": 2},
    "gppo": {},
    "grpo": {},
    "grpo_lambda": {"top_fraction": 0.5},
    "hapo": {},
    "jet": {"fractions": (0.3, 0.6, 0.9), **SERIAL},
    "l1_exact": {"low": 10, "high": 80, "alpha": 0.004},
    "l1_max": {"low": 10, "high": 80, "alpha": 0.004},
    "lc_r1": {},
    "length_penalty": {},
    "mrt": {**PROBES, "max_episodes": 4},
    "on_policy_sft": {},
    "s_grpo": SERIAL,
    "thinkprune": {"limits": (60, 50), "stage_steps": 1},
    "vsrm": {**PROBES, "skip_chars": 0, "apart_chars": 0, "max_cuts": 4},
}
WHOLE_GROUPS = ("adaptthink", "jet", "s_grpo")
"""Methods that need them on each process; groups of the others straddle two."""
LAYOUTS = {"1x12": Layout(1, 12, 1), "1x1x12": Layout(1, 1, 12), "2x6": Layout(2, 6, 1)}
LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo")
OF_LOSSES = {"losses of 1x12": Layout(1, 12, 1), "losses of 2x3x2": Layout(2, 3, 2)}
KINDS = {"one": Layout(1, 8, 1), **dict.fromkeys(("ddp", "fsdp2", "zero2", "zero3"), Layout(2, 2, 2))}
TWENTY_STEPS: dict[str, Any] = {
    "max_steps": 20,
    "optim": "adamw_torch",
    "learning_rate": 5e-5,
    "lr_scheduler_type": "constant",
    "max_grad_norm": 0.1,  # most steps are clipped
    "beta": 0.1,  # by this the loss depends on the weights: the ratio to the old policy is 1
}


@contextmanager
def as_launched(kind: str) -> Generator[None]:
    """Set what `accelerate launch` would set for a configuration of launch/."""
    before = dict(os.environ)
    if kind.startswith("zero"):
        os.environ |= {"ACCELERATE_USE_DEEPSPEED": "true"}
        os.environ["ACCELERATE_DEEPSPEED_CONFIG_FILE"] = str(ROOT / f"launch/deepspeed/{kind}.json")
    if kind == "fsdp2":
        given = yaml.safe_load((ROOT / "launch/accelerate/fsdp.yaml").read_text())["fsdp_config"]
        os.environ |= {"ACCELERATE_USE_FSDP": "true"} | {name.upper(): str(to).lower() for name, to in given.items()}
        os.environ |= {name.upper(): given[name] for name in ("fsdp_state_dict_type", "fsdp_auto_wrap_policy")}
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ |= before


def let_cpus_shard() -> None:
    """Let accelerate take FSDP on CPUs.

    Version 1.15 takes it for kinds of accelerators alone (state.py:982, MULTI_CPU is not among them), and would train
    unsharded without a word. What it does for the others works on CPUs.
    """
    as_it_is = AcceleratorState.__init__

    def with_fsdp(self: AcceleratorState, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        as_it_is(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = with_fsdp


def methods_in(layout: Layout, folder: Path) -> dict[str, Any]:
    """What came of each method."""
    found, verifier = {}, start_verifier(config_of("grpo", layout, folder))
    whole = replace(layout, rows=layout.rows // 3 * 4) if layout.rows > 1 else replace(layout, accumulated=16)
    for method, options in METHODS.items():
        own = whole if method in WHOLE_GROUPS else layout
        config = config_of(method, own, folder / method, objective_options=options)
        found[method] = train(config, verifier=verifier)
    return found


def losses_in(layout: Layout, folder: Path) -> dict[str, Any]:
    """What came of GRPO with each loss."""
    verifier = start_verifier(config_of("grpo", layout, folder))
    rates = dict.fromkeys(LOSSES, 0.1) | {"luspo": 0.002}  # it sums over tokens where others take means
    configs = {
        loss: config_of("grpo", layout, folder / loss, loss_type=loss, beta=0.1, learning_rate=rate)
        for loss, rate in rates.items()
    }
    return {loss: train(config, verifier=verifier) for loss, config in configs.items()}


def twenty_steps(kind: str, folder: Path) -> dict[str, Any]:
    """What came of them, and how accelerate says that the model lay on the processes."""
    with as_launched(kind):
        steps, _ = train(config_of("grpo_lambda", KINDS[kind], folder, **TWENTY_STEPS))
        state = AcceleratorState()
        plugin = state.deepspeed_plugin if state.distributed_type == DistributedType.DEEPSPEED else None
        return {"spread": f"zero{plugin.zero_stage}" if plugin else state.distributed_type.value, "steps": steps}


def main(folder: str, *names: str) -> None:
    """Run some of the layouts, those of as many processes as there are, and write down what came of each."""
    let_cpus_shard()
    for name in names:
        where = Path(folder) / name
        if name in LAYOUTS:
            found = methods_in(LAYOUTS[name], where)
        else:
            found = losses_in(OF_LOSSES[name], where) if name in OF_LOSSES else twenty_steps(name, where)
        if PartialState().is_main_process:
            torch.save(found, f"{where}.pt")
    leave_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
