"""Plans over one engine for two ranks. Started by test_distributed, by torchrun; each rank writes down what it got."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from concise_rl.reading.trace import Delimiters
from concise_rl.rollout.engine import Asked, Request, Sampling
from concise_rl.rollout.plans.budget import ThinkingBudget
from concise_rl.rollout.plans.plan import Plan
from concise_rl.rollout.plans.serial import AtFractions, SerialExits
from concise_rl.rollout.sync.main_rank import OnMainRank, leave_process_group
from tests.goldens import ReplayEngine

EOS, END = 1, 7
DELIMITERS = Delimiters((6, END), frozenset([EOS]))
STREAMS = {
    # The last token of the delimiter comes three times by itself before the delimiter is whole; then never by itself.
    3: ([10, END, 11, END, 12, END, 6, END], [12, EOS]),
    4: ([10, 11, 6, END], [13, 14, EOS]),
}
PLANS: dict[str, Plan] = {
    "budget": ThinkingBudget(12, 4, DELIMITERS),
    "serial": SerialExits(DELIMITERS, (6, END), 3, AtFractions((0.5,))),
}
ASKED = {"unequal": ([3, 3, 4, 4], [4, 4]), "none": ([], [3, 3]), "nobody": ([], [])}
"""Prompts of each of the two ranks."""


def rollouts_of(engine: Any, plan: Plan, prompts: list[int]) -> list[dict]:
    """What a plan makes of prompts of one token."""
    requests = [Request([prompt], 40, seed=5) for prompt in prompts]
    return [asdict(rollout) for rollout in plan.rollouts(engine, Asked(requests, Sampling()))]


def main(folder: Path) -> None:
    """Every plan with every division of the prompts, one after the other: one call too many shifts the rest."""
    accelerator = Accelerator(cpu=True)
    start: Any = lambda: ReplayEngine(STREAMS, EOS)  # noqa: E731
    engine, rank = OnMainRank.start(start, accelerator), accelerator.process_index
    found = {
        f"{plan} {case}": rollouts_of(engine, PLANS[plan], prompts[rank])
        for plan in PLANS
        for case, prompts in ASKED.items()
    }
    (folder / f"rank-{rank}.json").write_text(json.dumps({"world": accelerator.num_processes, "found": found}))
    accelerator.wait_for_everyone()
    leave_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
