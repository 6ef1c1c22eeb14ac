"""Batches of two processes with groups of fixed kinds. Started by test_filling."""

import json
import sys
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from datasets import Dataset

from concise_rl.curriculum.curricula import Curriculum, DynamicSampling, Kappa
from concise_rl.curriculum.filling import Filling, find_callback
from concise_rl.curriculum.kinds import GroupKind
from concise_rl.curriculum.memory import OversampleFactor
from concise_rl.reading.trace import StopReason, Trace
from concise_rl.rollout.collect import Judged, Row
from concise_rl.rollout.plans.plan import Rollout
from concise_rl.rollout.sync.main_rank import leave_process_group

GROUP = 2
MIXED, RIGHT, WRONG, UNJUDGED = GroupKind
CASES: dict[str, tuple[Curriculum, list[list[GroupKind]]]] = {
    "kappa": (Kappa(kappa_init=0.3, rounds=2), [[MIXED] * 4, [RIGHT, RIGHT, RIGHT, MIXED]]),
    "one rank": (DynamicSampling(rounds=1), [[WRONG] * 4, [WRONG, MIXED, RIGHT, WRONG]]),
    "no verdict": (DynamicSampling(rounds=1), [[MIXED] * 4, [UNJUDGED] * 4]),
    "nothing": (DynamicSampling(rounds=1), [[WRONG] * 4, [RIGHT, RIGHT, RIGHT, WRONG]]),
}
"""Curriculum, and the groups that each rank is given. What is drawn besides is wrong."""


def judged(rows: list[Row]) -> Judged:
    rollout, trace = Rollout([1], StopReason.EOS, 1), Trace(1, 0, (1,), True)
    verdicts = [None if row["kind"] == UNJUDGED else 1.0 for row in rows]
    return Judged(list(rows), [[1]] * len(rows), [rollout] * len(rows), [trace] * len(rows), verdicts)


def run(accelerator: Accelerator, curriculum: Curriculum, given: list[GroupKind]) -> dict[str, Any]:
    """What this rank gets."""
    filling = Filling(
        curriculum, Dataset.from_list([{"kind": int(WRONG)}] * 9), GROUP, accelerator, 0, lambda: callbacks
    )
    callbacks, asked = filling.fresh_callbacks(), []
    find_callback(callbacks, OversampleFactor).initial = 1.0

    def sample(rows: list[Row], turn: int) -> Judged:
        asked.append(len(rows) // GROUP)
        return judged(rows)

    def kinds(sampled: Judged) -> list[GroupKind]:
        return [GroupKind(row["kind"]) for row in sampled.rows[::GROUP]]

    try:
        rows = [{"kind": int(kind)} for kind in given for _ in range(GROUP)]
        filled = filling.collect(rows, sample, kinds, (0,))
    except ValueError as error:
        return {"error": str(error)}
    fills = filled.filler[::GROUP]
    names = [kind.name for kind in kinds(filled.judged)]
    return {
        "trained": [name for name, is_filler in zip(names, fills, strict=True) if not is_filler],
        "filler": [name for name, is_filler in zip(names, fills, strict=True) if is_filler],
        "known": filling.observe([0.75, 0.0], filled.easy_share),
        "metrics": filled.metrics,
        "asked": asked,
    }


def main(folder: str) -> None:
    """Write what this rank gets in each case."""
    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 2, "started by torchrun"
    rank = accelerator.process_index
    got = {name: run(accelerator, curriculum, given[rank]) for name, (curriculum, given) in CASES.items()}
    Path(folder, f"{rank}.json").write_text(json.dumps(got))
    accelerator.wait_for_everyone()
    leave_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
