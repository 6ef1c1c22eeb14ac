"""Compare this project's functions with recorded inputs and outputs of the published implementations.

    python -m tests.goldens [DIR]

Every JSON file in DIR (default: shared/goldens beside the checkout) holds the cases of one function: inputs, parameters
and output. A file is compared when `COMPARISONS` has an entry of its name; the others are listed. Exits 1 when a
difference exceeds a file's tolerance. To add a method, write the function that feeds it a case, and enter that there.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from concise_rl.evaluate.statistics import aes
from concise_rl.objective import PlanContext, RolloutBatch, group_advantages
from concise_rl.rollout.engine import Completion, Progress, Request, Sampling, stop_reason
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.schedule import OversampleFactor
from concise_rl.trace import Delimiters, StopReason
from reward.dot import Dot
from reward.elastic import Elastic
from reward.gfpo import Gfpo
from reward.grpo_lambda import top_fraction_gate
from reward.jet import jet_rewards
from reward.length_penalty import penalised_rewards
from reward.s_grpo import SGrpo
from reward.thinkprune import ThinkPrune

Fields = dict[str, Any]
Comparison = Callable[[Fields, Fields], Fields]
"""From a case's inputs and parameters to the outputs that the case records, by the same names."""

DEFAULT_DIR = Path(__file__).resolve().parents[2] / "shared" / "goldens"
NO_EPS = 1e-300
"""Stands in for no eps at all where a standard deviation may be 0: 0 / 1e-300 is 0, where 0 / 0 would be NaN."""


def padded(groups: list[list[float]]) -> Tensor:
    """Groups of any sizes as (P, G) float64. NaN fills them up: a member that could not be judged counts nowhere."""
    columns = [torch.tensor(group, dtype=torch.float64) for group in groups]
    return torch.nn.utils.rnn.pad_sequence(columns, batch_first=True, padding_value=torch.nan)


def unpadded(values_PG: Tensor, groups: list[list[float]]) -> list[list[float]]:
    """The members that `padded` was given, as lists."""
    return [row[: len(group)].tolist() for row, group in zip(values_PG, groups, strict=True)]


def leave_one_out(rewards_PG: Tensor) -> Tensor:
    """RLOO, reward minus the mean of the others: the group-centred reward times G / (G - 1)."""
    sizes_P1 = (~rewards_PG.isnan()).sum(dim=1, keepdim=True)
    return group_advantages(rewards_PG, "none") * sizes_P1 / (sizes_P1 - 1).clamp(min=1)


def grpo_lambda(inputs: Fields, params: Fields) -> Fields:
    """The rank gate, the penalty inside it, and unbiased-std advantages."""
    groups = [group["correct"] for group in inputs["groups"]]
    correct_PG, length_PG = padded(groups), padded([group["length"] for group in inputs["groups"]])
    gate_P = top_fraction_gate(correct_PG.nanmean(dim=1), params["top_fraction"])
    penalised_PG = penalised_rewards(correct_PG, length_PG, params["alpha"], eps=NO_EPS)
    rewards_PG = torch.where(gate_P[:, None], penalised_PG, correct_PG)
    return {
        "top_groups": gate_P.nonzero().flatten().tolist(),
        "reward": unpadded(rewards_PG, groups),
        "advantage": unpadded(group_advantages(rewards_PG, "group", params["eps"]), groups),
    }


def zanette(inputs: Fields, params: Fields) -> Fields:
    """The length penalty on one group, and its leave-one-out advantage."""
    earned_PG = padded([inputs["correct"]]) * padded([inputs["finished"]])
    rewards_PG = penalised_rewards(earned_PG, padded([inputs["length"]]), params["alpha"], params["eps"])
    return {"reward": rewards_PG[0].tolist(), "rloo_advantage": leave_one_out(rewards_PG)[0].tolist()}


def rollouts_of(correct: Sequence[float], length: Sequence[int], max_length: int | None = None) -> RolloutBatch:
    """One group as methods read it, in float64. What is longer than `max_length` is clipped there and unfinished."""
    length_B, cap = torch.tensor(length), max_length or max(length)
    finished_B = length_B <= cap
    return RolloutBatch(
        correct=torch.tensor(correct, dtype=torch.float64),
        length=length_B.clamp(max=cap),
        think_length=torch.zeros_like(length_B),
        finished=finished_B,
        stop_reason=torch.where(finished_B, int(StopReason.EOS), int(StopReason.LENGTH)),
        num_generations=len(correct),
        max_length=cap,
        step=0,
    )


def gfpo(inputs: Fields, params: Fields) -> Fields:
    """Who is kept, and the advantages over them."""
    assert params["std"] == "unbiased", params
    batch, method = rollouts_of(inputs["correct"], inputs["length"]), Gfpo(keep=params["k"], metric=params["metric"])
    advantage_PG = group_advantages(batch.grouped(method.rewards(batch)), "group", params["eps"])
    return {"kept": method.kept(batch).nonzero().flatten().tolist(), "advantage": advantage_PG[0].tolist()}


def members_of(groups: Sequence[Any]) -> list[list[int]]:
    """The rows of each group, from the group of each row."""
    members: dict[Any, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    return list(members.values())


def dot(inputs: Fields, params: Fields) -> Fields:
    """The cut, the verdicts on what it leaves, and the advantages on those."""
    method, kept_B = Dot(**params), list(inputs["length"])
    for rows in members_of(inputs["group"]):
        batch = rollouts_of([inputs["correct"][row] for row in rows], [inputs["length"][row] for row in rows])
        for row, kept in zip(rows, method.kept_length(batch).tolist(), strict=True):
            kept_B[row] = kept
    survives = [end <= kept for end, kept in zip(inputs["answer_end"], kept_B, strict=True)]
    reward = [float(c and s) for c, s in zip(inputs["correct"], survives, strict=True)]
    after = COMPARISONS["verl_grpo"]({"reward": reward, "group": inputs["group"]}, {"eps": 1e-6})
    return {
        "kept_length": kept_B,
        "reward_after": reward,
        "grpo_advantage_after": after["advantage"],
        "tokens_truncated": sum(inputs["length"]) - sum(kept_B),
    }


def dot_oversample(inputs: Fields, params: Fields) -> Fields:
    """The factor before the first step and after each."""
    schedule = OversampleFactor(**params)
    factors = [schedule.factor]
    for step in inputs["steps"]:
        schedule.update(**step)
        factors.append(schedule.factor)
    return {"factor": factors}


def thinkprune(inputs: Fields, params: Fields) -> Fields:
    """What the limit clips, and that a rollout which shows its answer within it is paid."""
    method = ThinkPrune(limits=(inputs["limit"],))
    limit = method.cap(0, max(inputs["length"]))
    shown = [float(c and end <= limit) for c, end in zip(inputs["correct"], inputs["answer_end"], strict=True)]
    batch = rollouts_of(shown, inputs["length"], limit)
    reward_PG = batch.grouped(method.rewards(batch))
    return {
        "kept_length": method.kept_length(batch).tolist(),
        "reward": reward_PG[0].tolist(),
        "advantage": group_advantages(reward_PG, "group", params["eps"])[0].tolist(),
    }


class ReplayEngine:
    """An `Engine` that replays what a model would sample: one stream while it thinks, another as its answer.

    A prompt begins with the number of its script; what follows there has been sampled, or forced. A request with stop
    tokens is for thinking, and goes on in that stream at the place that its prompt has reached.

    Attributes:
        calls: the requests and the sampling of each call.
    """

    def __init__(self, scripts: dict[int, tuple[list[int], list[int]]], eos: int) -> None:
        self.scripts, self.eos = scripts, eos
        self.calls: list[tuple[list[Request], Sampling]] = []

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Progress | None = None,
        rule: ShortestOnly | None = None,
    ) -> list[Completion]:
        """See `Engine.generate`. The log-probability of a token is minus its id."""
        self.calls.append((list(requests), sampling))
        if progress:
            progress(len(requests))
        return [self._complete(request, sampling) for request in requests]

    def _complete(self, request: Request, sampling: Sampling) -> Completion:
        thinking, answer = self.scripts[request.prompt_ids[0]]
        stream = thinking[len(request.prompt_ids) - 1 :] if sampling.stop_ids else answer
        ends = {self.eos, *sampling.stop_ids}
        first = next((i + 1 for i, token in enumerate(stream) if token in ends), len(stream))
        ids = stream[: min(first, request.max_tokens)]
        logprobs: list[float | None] | None = [-float(token) for token in ids] if sampling.logprobs else None
        return Completion(ids, stop_reason(ids, [self.eos], sampling.stop_ids), logprobs)


def elastic_rollout(inputs: Fields, params: Fields) -> Fields:
    """Two phases with a budget each, and the delimiter forced between them where it is missing."""
    delimiters = Delimiters((params["think_end_id"],), frozenset([params["eos_id"]]))
    method = Elastic(think_tokens=params["think_budget"], answer_tokens=params["answer_budget"])
    engine = ReplayEngine({0: (inputs["think_stream"], inputs["answer_stream"])}, params["eos_id"])
    request = Request([0], params["think_budget"] + 1 + params["answer_budget"])
    rollout = method.plan(PlanContext(delimiters, 1, lambda text: ())).rollouts(engine, [request], Sampling())[0]
    answering = engine.calls[-1][0][0]
    return {
        "response": rollout.ids,
        "think_part": rollout.ids[: rollout.ids.index(params["think_end_id"]) + 1],
        "forced": int(rollout.stop_reason is StopReason.THINK_BUDGET),
        "second_prompt_suffix": list(answering.prompt_ids[1:]),
    }


def jet(inputs: Fields, params: Fields) -> Fields:
    """The reward of one group, which is the batch. What is formatted there (a box is shown) is recorded."""
    correct_PG, formatted_PG, length_PG = (padded([inputs[name]]) for name in ("correct", "boxed", "length"))
    reward_PG = jet_rewards(correct_PG, formatted_PG, length_PG, **params)
    return {"reward": reward_PG[0].tolist()}


def s_grpo(inputs: Fields, params: Fields) -> Fields:
    """Rewards and advantages of a serial group, whose exits may be listed in any order; those at one place keep it."""
    assert not params["divide_by_std"], params
    places = [*inputs["exit_position"], math.inf]
    order = sorted(range(len(places)), key=lambda member: places[member])
    correct = [*inputs["exit_correct"], inputs["full_correct"]]
    batch, method = rollouts_of([correct[member] for member in order], [1] * len(order)), SGrpo(decay=params["decay"])
    back = torch.tensor(order).argsort()
    return {"reward": method.rewards(batch)[back].tolist(), "advantage": method.advantages(batch)[back].tolist()}


def by_group(
    advantages_of: Callable[[Tensor, float], Tensor],
    of_one: Callable[[float, float], float] = lambda reward, eps: reward,
) -> Comparison:
    """Lift a function of (P, G) rewards and eps to cases that name each rollout's group by an id, in any order.

    Args:
        advantages_of: from rewards and eps to advantages.
        of_one: the advantage of a group of one. verl takes its mean as 0 and its standard deviation as 1. Here such a
            group has no signal and gets 0 (TRL refuses to sample it), so verl's rule is put in by this adapter.
    """

    def compare(inputs: Fields, params: Fields) -> Fields:
        members = members_of(inputs["group"])
        groups = [[inputs["reward"][row] for row in rows] for rows in members]
        compared = unpadded(advantages_of(padded(groups), params["eps"]), groups)
        advantage = {}
        for rows, rewards, values in zip(members, groups, compared, strict=True):
            advantage |= zip(rows, values if len(rows) > 1 else [of_one(rewards[0], params["eps"])], strict=True)
        return {"advantage": [advantage[row] for row in range(len(advantage))]}

    return compare


COMPARISONS: dict[str, Comparison] = {
    "aes": lambda inputs, params: {"aes": aes(**inputs, **params)},
    "dot": dot,
    "dot_oversample": dot_oversample,
    "elastic_rollout": elastic_rollout,
    "gfpo": gfpo,
    "grpo_lambda": grpo_lambda,
    "jet": jet,
    "s_grpo": s_grpo,
    "thinkprune": thinkprune,
    "verl_drgrpo": by_group(lambda rewards_PG, eps: group_advantages(rewards_PG, "none")),
    "verl_grpo": by_group(
        lambda rewards_PG, eps: group_advantages(rewards_PG, "group", eps), lambda reward, eps: reward / (1 + eps)
    ),
    "verl_rloo": by_group(lambda rewards_PG, eps: leave_one_out(rewards_PG)),
    "zanette": zanette,
}


def difference(expected: Any, got: Any) -> float:
    """The largest difference between two outputs: absolute up to 1, relative above. Infinite where their shapes differ.

    Args:
        expected: numbers, text, and lists and dicts of them; `"nan"`, `"inf"` and `"-inf"` stand for those numbers.
        got: the same; a dict may have keys that are not expected.
    """
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return math.inf
        return max((difference(value, got.get(key)) for key, value in expected.items()), default=0.0)
    if isinstance(expected, list):
        if not isinstance(got, list) or len(got) != len(expected):
            return math.inf
        return max((difference(*pair) for pair in zip(expected, got, strict=True)), default=0.0)
    if expected in ("nan", "inf", "-inf"):
        expected = float(expected)
    if not isinstance(expected, int | float) or not isinstance(got, int | float):
        return 0.0 if expected == got else math.inf
    if expected == got or (math.isnan(expected) and math.isnan(got)):
        return 0.0
    gap = abs(expected - got) / max(1.0, abs(expected))
    return gap if math.isfinite(gap) and math.isfinite(expected) else math.inf


def tolerance(text: str) -> float:
    """The first number in a file's tolerance, `1e-5 relative/absolute` say. None there: `exact`, which is 0."""
    number = re.search(r"\d+(\.\d+)?(e-?\d+)?", text)
    return float(number.group()) if number else 0.0


def compare_file(path: Path) -> bool:
    """Compare every case of a file, print its line, and say whether all are within its tolerance."""
    golden = json.loads(path.read_text())
    compare, allowed = COMPARISONS[path.stem], tolerance(golden["tolerance"])
    differences = {
        case["id"]: difference(case["output"], compare(case["inputs"], case["params"])) for case in golden["cases"]
    }
    worst = max(differences, key=lambda case: differences[case])
    ok = differences[worst] <= allowed
    verdict = "ok" if ok else f"DIFFERS (tolerance {allowed:.0e}) in {worst}"
    print(f"{path.stem:<20} {len(differences):>4} cases   largest difference {differences[worst]:.1e}   {verdict}")
    return ok


def main(arguments: list[str] | None = None) -> int:
    """Compare a folder. Returns the exit status: 1 when anything differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.goldens", description=__doc__.splitlines()[0])
    parser.add_argument("dir", nargs="?", type=Path, default=DEFAULT_DIR, metavar="DIR", help="default: %(default)s")
    folder = parser.parse_args(arguments).dir
    paths = sorted(folder.glob("*.json"))
    if not paths:
        parser.error(f"there are no JSON files in {folder}")
    results = [compare_file(path) for path in paths if path.stem in COMPARISONS]
    missing = [path.stem for path in paths if path.stem not in COMPARISONS]
    print(f"\n{sum(results)} of {len(results)} files agree.")
    if missing:
        print(f"No method yet for {len(missing)}: {', '.join(missing)}")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
