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
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from concise_rl.curriculum.curricula import Kappa, kappa_quota
from concise_rl.curriculum.memory import OversampleFactor
from concise_rl.evaluate.statistics import aes
from concise_rl.labels.labeller import Labels
from concise_rl.methods import LossInputs, RolloutBatch, RunContext, group_advantages
from concise_rl.reading.passages import ChunkTokens, chunk_spans
from concise_rl.reading.trace import Delimiters, StopReason
from concise_rl.rollout.engine import Asked, Completion, Request, Sampling, stop_reason
from concise_rl.rollout.exits.deer import confidence
from concise_rl.rollout.exits.eat import ema_variance, is_at_rest, window_variance
from reward.acoer import Acoer
from reward.adaptthink import FirstTokenLoss, adaptthink_advantages
from reward.conciser import Conciser
from reward.ddca import Ddca
from reward.decs import Decs
from reward.dot import Dot
from reward.elastic import Elastic
from reward.gfpo import Gfpo
from reward.grpo_lambda import top_fraction_gate
from reward.hapo import Hapo
from reward.jet import jet_rewards
from reward.l1 import exact_rewards, max_rewards
from reward.lc_r1 import lc_r1_rewards, think_end_bonus, with_bonus
from reward.length_penalty import penalised_rewards
from reward.mrt import progress
from reward.s_grpo import SGrpo
from reward.thinkprune import ThinkPrune
from reward.vsrm import step_rewards

Fields = dict[str, Any]
Comparison = Callable[[Fields, Fields], Fields]
"""From a case's inputs and parameters to the outputs that the case records, by the same names."""

DEFAULT_DIR = Path(__file__).resolve().parents[2] / "shared" / "goldens"
UNSAID = object()
"""Stands for an output that a case records, and that its inputs and parameters do not determine."""
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
        closed=finished_B,
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


def decs_chunks(inputs: Fields, params: Fields) -> Fields:
    """Chunks as the published code cuts them, and what is redundant if `42` is a yes. A token's id is its place."""
    tokens, ids = inputs["tokens"], list(range(len(inputs["tokens"])))
    words, newlines = (
        frozenset(i for i in ids if tokens[i] in params[name]) for name in ("split_words", "newline_tokens")
    )
    end = next((i for i in ids if tokens[i] == params["think_end"]), None)
    spans = chunk_spans(ids, ChunkTokens(words, newlines), () if end is None else (end,), through_answer=True)
    states = [inputs["correct"] == 1 and "42" in tokens[start:stop] for start, stop in spans]
    labels = Labels.of(spans, states, spans[-1][1])
    redundant = labels.redundant_tokens(params["skip_last_tokens"])
    after = [i > (len(spans) if labels.first is None else labels.first) for i in range(len(spans))]
    return {
        "chunks": [list(span) for span in spans],
        "labels": ["bacd"[stated + 2 * late] for stated, late in zip(states, after, strict=True)],
        "redundant_token_indices": redundant,
        "redundant_span": [redundant[0], redundant[-1] + 1] if redundant else None,
        "n_chunks": len(spans),
        "first_yes_ratio": round(torch.tensor(labels.necessary).item(), 12),  # recorded in float32, to 12 digits
    }


def dot_oversample(inputs: Fields, params: Fields) -> Fields:
    """The factor before the first step and after each."""
    schedule = OversampleFactor(**params)
    factors = [schedule.factor]
    for step in inputs["steps"]:
        schedule.update(**step)
        factors.append(schedule.factor)
    return {"factor": factors}


def kappas(method: Kappa, steps: list[tuple[list[float], float]]) -> list[dict[str, float]]:
    """What the curriculum knows after each step of ratios and share of easy groups."""
    values, after = method.initial(), []
    for ratios, easy_share in steps:
        values = method.observe(values, ratios, easy_share)
        after.append(values)
    return after


def decs_kappa(inputs: Fields, params: Fields) -> Fields:
    """kappa and R after each step, unclipped."""
    method = Kappa(kappa_init=params["kappa_init"], ratio_init=params["R_init"], kappa_lr=params["kappa_lr"])
    after = kappas(method, [(ratios, 0.0) for ratios in inputs["nrp_ratio_per_step"]])
    return {"kappa": [values["kappa"] for values in after], "R": [values["ratio"] for values in after]}


def decs_kappa_paper(inputs: Fields, params: Fields) -> Fields:
    """kappa after each step, clipped."""
    inits = {"kappa_init": params["kappa_init"], "ratio_init": params["R_init"]}
    method = Kappa(**inits, kappa_lr=params["lr"], variant="paper")
    steps = [([ratio], share) for ratio, share in zip(inputs["R"], inputs["easy_share"], strict=True)]
    return {"kappa": [values["kappa"] for values in kappas(method, steps)]}


def decs_easy_quota(inputs: Fields, params: Fields) -> Fields:
    """Easy groups added in each round of a step, and the mixed ones that still count after it."""
    added, carry = [], [0]
    for batch in inputs["batches"]:
        quota, waiting = kappa_quota(params["kappa"], carry[-1] + batch["n_mixed"], batch["n_all_correct"])
        added.append(quota)
        carry.append(waiting)
    return {"n_easy_added": added, "carry_after": carry[1:]}


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

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`. The log-probability of a token is minus its id."""
        self.calls.append((list(asked.requests), asked.sampling))
        if asked.progress:
            asked.progress(len(asked.requests))
        return [self._complete(request, asked.sampling) for request in asked.requests]

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
    plan = method.parts(RunContext(delimiters, 1, lambda text: ())).plan
    rollout = plan.rollouts(engine, Asked([request], Sampling()))[0]
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


def conciser(inputs: Fields, params: Fields) -> Fields:
    """The reward of one group."""
    return {"reward": Conciser(**params).rewards(rollouts_of(**inputs)).tolist()}


def ddca(inputs: Fields, params: Fields) -> Fields:
    """The advantages of one group."""
    return {"advantage": Ddca(**params).advantages(rollouts_of(**inputs)).tolist()}


def decs(inputs: Fields, params: Fields) -> Fields:
    """Rewards and advantages by token. Recorded are those of a batch padded to `width`, which is the cap there, with
    the advantages of the padding masked; and for a group of one its reward over 1 + eps, where `Decs` gives 0."""
    beta, form = params.get("beta", params.get("r_plus", 1.0) - 1), params.get("variant", "code")
    method, width = Decs(beta=beta, redundant_reward=form, eps=params["eps"]), inputs["width"]
    rewards, advantages = {}, {}
    for rows in members_of(inputs.get("group", [0] * len(inputs["correct"]))):
        correct, length = ([inputs[name][row] for row in rows] for name in ("correct", "length"))
        spans = torch.tensor([inputs["redundant_span"][row] or [0, 0] for row in rows])
        batch = replace(rollouts_of(correct, length, width), facts={"redundant": spans})
        reward_GT = method.token_rewards(batch, width)
        advantage_GT = method.advantages(batch) if len(rows) > 1 else reward_GT / (1 + method.eps)
        advantage_GT = torch.nn.functional.pad(advantage_GT, (0, width - advantage_GT.size(1)))
        advantage_GT = advantage_GT.masked_fill(torch.arange(width) >= batch.length[:, None], 0)
        rewards |= zip(rows, reward_GT.tolist(), strict=True)
        advantages |= zip(rows, advantage_GT.tolist(), strict=True)
    return {
        name: [of[row] for row in range(len(of))] for name, of in (("rewards", rewards), ("advantages", advantages))
    }


def lc_r1(inputs: Fields, params: Fields) -> Fields:
    """Advantages of one group as the published code has them: the length term is paid to wrong rollouts, too. The crop
    is the trainer's; its lengths are taken as recorded."""
    correct_PG, formatted_PG, last_PG = (padded([inputs[name]]) for name in ("correct", "format_ok", "eos_index"))
    rewards_PG = lc_r1_rewards(correct_PG, formatted_PG, last_PG, 1.0, params["len_coef"], pay_wrong=True)
    advantage_B = group_advantages(rewards_PG, "none").flatten()
    cut_B, thought_B, place_B = (
        torch.tensor(inputs[name]) for name in ("cut_index", "think_end_index", "think_end_index_after")
    )
    right_B = (correct_PG + formatted_PG == 2).flatten()
    bonus_B = think_end_bonus(right_B, cut_B, thought_B, cut_B > 0, params["think_end_coef"])
    return {
        "length_after": inputs["length_after"],
        "seq_advantage": advantage_B.tolist(),
        "think_end_bonus": bonus_B.tolist(),
        "advantages": with_bonus(advantage_B, bonus_B, place_B, inputs["width"]).tolist(),
    }


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


def adaptthink(inputs: Fields, params: Fields) -> Fields:
    """The advantages of one group, which are its rewards."""
    correct_B, skips_B = (torch.tensor(inputs[name]).double() for name in ("correct", "nothinking"))
    reference_B = torch.full_like(correct_B, inputs["ref_acc"])
    reward = adaptthink_advantages(correct_B, reference_B, skips_B, params["bonus"]).tolist()
    return {"reward": reward, "advantage": reward}


def adaptthink_loss(inputs: Fields, params: Fields) -> Fields:
    """The mean over rollouts of their loss, with some forced to skip their thinking."""
    old_BT = torch.tensor(inputs["old_logprob"])
    loss_BT = FirstTokenLoss(params["nothinking_ratio"])(
        LossInputs(
            torch.tensor(inputs["logprob"]),
            old_BT,
            torch.tensor(inputs["advantage"])[:, None],
            (torch.arange(old_BT.size(1)) < torch.tensor(inputs["length"])[:, None]).float(),
            params["clip_low"],
            params["clip_high"],
            {"forced_first": torch.tensor(inputs["nothinking"])},
        )
    )
    return {"loss": loss_BT[:, 0].mean().item()}


def mrt_progress(inputs: Fields, params: Fields) -> Fields:
    """The progress of each episode, and what a rollout earns in all."""
    gained = progress(torch.tensor([inputs["J"]], dtype=torch.float64))[0]
    bonus = params["alpha"] * gained
    total = inputs["correct"] + bonus.sum().item()
    return {"progress": gained.tolist(), "bonus": bonus.tolist(), "total_reward": total}


def vsrm_step_reward(inputs: Fields, params: Fields) -> Fields:
    """The reward at each cut: none where cuts and shares do not fit together, or the rollout has ended before."""
    cuts, shares = inputs["cut_position"], inputs["prefix_accuracy"]
    fits = len(shares) == len(cuts) + 1
    rewards = step_rewards(shares, params["gamma"], params["max_lookahead"]) if fits else [0.0] * len(cuts)
    within = [reward if cut < inputs["length"] else 0.0 for cut, reward in zip(cuts, rewards, strict=True)]
    return {"reward_at_cut": within}


def hapo(inputs: Fields, params: Fields) -> Fields:
    """Rewards of the visits to one problem, and its history before and after each."""
    assert params["floor"] == -0.7, params
    method, visits = Hapo(weight=params["weight"]), []
    memory = method.initial()
    for visit in inputs["visits"]:
        problem_B = torch.zeros(len(visit["correct"]), dtype=torch.int64)
        batch = replace(rollouts_of(visit["correct"], visit["length"]), facts={"problem": problem_B}, memory=memory)
        before, memory = memory["shortest"].get(0), method.learn(batch)
        after = memory["shortest"].get(0)
        visits.append({"reward": method.rewards(batch).tolist(), "h_before": before, "h_after": after})
    return {"visits": visits}


def acoer(inputs: Fields, params: Fields) -> Fields:
    """Rewards without those for form, and the loop's weight and budget after each step; characters for tokens."""
    same = ("alpha_init", "alpha_min", "alpha_max", "alpha_up", "alpha_down", "ema_span", "check_window")
    renamed = {"acc_drop": params["acc_drop_threshold"], "budget_min": 4 * params["min_budget"]}
    renamed |= {"budget_init": 4 * params["max_thinking_tokens"]}
    scale = params["log_scale"] if params["mode"] == "log" else 0.0
    options = {name: params[name] for name in (*same, "budget_ratio", "warmup_steps")} | renamed
    method, steps = Acoer(**options, log_scale=scale, format_weight=0.0), []
    memory = method.initial()
    for step, rollouts in enumerate(inputs["steps"]):
        think_B = torch.tensor(rollouts["think_length"])
        batch = replace(rollouts_of(rollouts["correct"], rollouts["think_length"]), think_length=think_B)
        batch = replace(batch, memory=memory, step=step)
        memory = method.learn(batch)
        after = {"alpha_after": memory["alpha"], "budget_after": memory["budget"]}
        steps.append({"reward": method.rewards(batch).tolist(), **after})
    return {"steps": steps}


def l1_columns(inputs: Fields) -> tuple[Tensor, Tensor, Tensor]:
    """Verdict, length and target of the one rollout of a case."""
    correct_B, length_B, target_B = (
        torch.tensor([inputs[name]], dtype=torch.float64) for name in ("correct", "length", "target_length")
    )
    return correct_B, length_B, target_B


def l1_exact(inputs: Fields, params: Fields) -> Fields:
    """The published sum. As a product, which no setting uses, a penalty gives 0."""
    correct_B, length_B, target_B = l1_columns(inputs)
    delta = exact_rewards(torch.zeros_like(correct_B), length_B, target_B, params["alpha"]).item()
    reward = exact_rewards(correct_B, length_B, target_B, params["alpha"]).item()
    return {"delta": delta, "reward": reward if params["combine"] == "add" else correct_B.item() * max(0.0, delta)}


def l1_max(inputs: Fields, params: Fields) -> Fields:
    """The published product; the code halves the slope of the paper's equation. No setting uses the sum."""
    correct_B, *columns = l1_columns(inputs)
    delta = max_rewards(torch.ones_like(correct_B), *columns, params["alpha"] / 2, 0.5).item()
    reward = max_rewards(correct_B, *columns, params["alpha"] / 2, 0.5).item()
    return {"delta": delta, "reward": reward if params["combine"] == "multiply" else correct_B.item() + delta}


def eat(inputs: Fields, params: Fields) -> Fields:
    """The index at which a whole trace of entropies is stopped, and its moving variance.

    Cases of the other rule record a moving variance too, but neither its timescale nor its first value.
    """
    entropies = inputs["entropy"]
    is_window = params["rule"] == "moving_window"
    if is_window:
        least, variances = params["window"], window_variance(entropies, params["window"])
    else:
        least, variances = params["min_distance"], ema_variance(entropies, params["timescale"], params["ema_0"])
        bar = params["min_value"]
        below = [i for i, entropy in enumerate(entropies) if bar is not None and entropy < bar]
        least = max(least, min(below, default=0))
    stops = (n - 2 for n in range(2, len(variances) + 1) if is_at_rest(variances[:n], params["threshold"], least))
    return {"stop_index": next(stops, -1), "ema_variance": UNSAID if is_window else variances}


COMPARISONS: dict[str, Comparison] = {
    "acoer": acoer,
    "adaptthink": adaptthink,
    "adaptthink_loss": adaptthink_loss,
    "aes": lambda inputs, params: {"aes": aes(**inputs, **params)},
    "decs_chunks": decs_chunks,
    "decs_easy_quota": decs_easy_quota,
    "decs_kappa": decs_kappa,
    "decs_kappa_paper": decs_kappa_paper,
    "conciser_lgrpo": conciser,
    "ddca": ddca,
    "decs_advantage": decs,
    "deer_confidence": lambda inputs, params: {"confidence": confidence(inputs["logprob"], params["policy"])},
    "eat": eat,
    "decs_advantage_paper": decs,
    "dot": dot,
    "dot_oversample": dot_oversample,
    "elastic_rollout": elastic_rollout,
    "gfpo": gfpo,
    "grpo_lambda": grpo_lambda,
    "hapo": hapo,
    "jet": jet,
    "l1_exact": l1_exact,
    "l1_max": l1_max,
    "lc_r1": lc_r1,
    "mrt_progress": mrt_progress,
    "s_grpo": s_grpo,
    "thinkprune": thinkprune,
    "verl_drgrpo": by_group(lambda rewards_PG, eps: group_advantages(rewards_PG, "none")),
    "verl_grpo": by_group(
        lambda rewards_PG, eps: group_advantages(rewards_PG, "group", eps), lambda reward, eps: reward / (1 + eps)
    ),
    "vsrm_step_reward": vsrm_step_reward,
    "verl_rloo": by_group(lambda rewards_PG, eps: leave_one_out(rewards_PG)),
    "zanette": zanette,
}


def difference(expected: Any, got: Any) -> float:
    """The largest difference between two outputs: absolute up to 1, relative above. Infinite where their shapes differ.

    Args:
        expected: numbers, text, and lists and dicts of them; `"nan"`, `"inf"` and `"-inf"` stand for those numbers.
        got: the same; a dict may have keys that are not expected. What is `UNSAID` in it is not compared.
    """
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return math.inf
        said = {key: value for key, value in expected.items() if got.get(key) is not UNSAID}
        return max((difference(value, got.get(key)) for key, value in said.items()), default=0.0)
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
