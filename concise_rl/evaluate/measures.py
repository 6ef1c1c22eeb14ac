"""Compute what follows from stored samples alone, beside accuracy and tokens. Pure functions of tables.

Axes: P problems, K samples of each. A function returns a `Measure`, not a number. `estimates` turns many of them into
values and 95 % intervals over the same resamples of the problems.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from concise_rl.evaluate.frontier import Frontier
from concise_rl.evaluate.intervals import (
    ANY,
    SHARE,
    Estimate,
    Interval,
    bounds,
    mean_of_known,
    resampled_means,
    seed_draws,
)
from concise_rl.evaluate.statistics import Table, unclosed
from concise_rl.evaluate.underthinking import missing_tokens, stopped_short
from concise_rl.evaluate.vote import ballot

HALVINGS = 6
"""Budgets of a curve: the cap, and this many halves of halves of it."""
OAA_LIMIT = 1000
"""Thinking tokens over which the area of OAA is taken, as OptimalThinkingBench has it."""


@dataclass(frozen=True)
class Measure:
    """A number that is a function of means over problems.

    Attributes:
        statistic: from the mean of each column to the number; NaN where that is not defined.
        columns_P: one number for each problem, NaN nowhere.
        ends: beyond which the number cannot be.
    """

    statistic: Callable[..., np.ndarray]
    columns_P: tuple[np.ndarray, ...]
    ends: Interval = ANY

    @property
    def value(self) -> float:
        """Return the number on these problems."""
        return float(self.statistic(*(column_P.mean() for column_P in self.columns_P)))


def estimates(measures: Sequence[Measure], runs: Sequence[Sequence[Measure | None]] = ()) -> list[Estimate]:
    """Evaluate measures on the problems, and on 10,000 resamples of them, all in one pass.

    Args:
        measures: of a label, all its runs pooled.
        runs: the same measures of each run, in the same order; None for one that a run does not have.

    Returns:
        For each measure its value and its paired 95 % interval, see `concise_rl.evaluate.intervals`. Resamples in which
        the number is not defined are left out of the interval. None where the number, or with one problem the interval,
        is not defined.
    """
    columns = {id(column): column for measure in measures for column in measure.columns_P}
    if not columns:
        return []
    stacked_NP, row = np.stack(list(columns.values())), {key: i for i, key in enumerate(columns)}
    drawn_RN = resampled_means(stacked_NP) if stacked_NP.shape[1] > 1 else None
    mean_N = stacked_NP.mean(axis=1)
    seeds = [np.array([math.nan if one is None else one.value for one in same]) for same in zip(*runs, strict=True)]
    seeds = seeds or [np.zeros(0)] * len(measures)
    rows = [[row[id(c)] for c in measure.columns_P] for measure in measures]
    return [_estimate(*one, mean_N, drawn_RN) for one in zip(measures, rows, seeds, strict=True)]


def _estimate(
    measure: Measure, rows: Sequence[int], seeds_S: np.ndarray, mean_N: np.ndarray, drawn_RN: np.ndarray | None
) -> Estimate:
    value = float(measure.statistic(*(mean_N[i] for i in rows)))
    if math.isnan(value):
        return Estimate(None, None)
    if drawn_RN is None:
        return Estimate(value, None)
    drawn_R = measure.statistic(*(drawn_RN[:, i] for i in rows)) + seed_draws([seeds_S])
    return Estimate(value, bounds(drawn_R[~np.isnan(drawn_R)].clip(*measure.ends)))


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN by zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator == 0, np.nan, np.divide(numerator, denominator))


def mean_over_problems(values_P: np.ndarray, ends: Interval = ANY) -> Measure:
    """Average over the problems whose value is known: not NaN. No value is beyond the ends."""
    known_P = ~np.isnan(values_P)
    return Measure(ratio, (np.where(known_P, values_P, 0.0), known_P.astype(float)), ends)


def mean_over_samples(values_PK: np.ndarray, ends: Interval = ANY) -> Measure:
    """Average over problems the mean over the samples of each whose value is known: not NaN. None is beyond the
    ends."""
    return mean_over_problems(mean_of_known(values_PK), ends)


def share_of_samples(values_PK: np.ndarray) -> Measure:
    """Average as `mean_over_samples` does values that are between 0 and 1."""
    return mean_over_samples(values_PK, SHARE)


def pooled_mean(values_PK: np.ndarray, chosen_PK: np.ndarray) -> Measure:
    """Average over the chosen samples of all problems together."""
    return Measure(ratio, (np.where(chosen_PK, values_PK, 0.0).sum(axis=1), chosen_PK.sum(axis=1).astype(float)))


def budgets(cap: int) -> list[int]:
    """Return the token budgets of a curve: the cap, its half and so on, from the least to the cap."""
    return sorted({-(-cap // 2**i) for i in range(HALVINGS + 1)})


def accuracy_within(table: Table, budget: int) -> Measure:
    """Count a sample as right if it is right and has at most `budget` tokens.

    Ours, from stored samples. The published curves (arXiv 2506.07104) force an answer at the budget, so that theirs
    lie above: a sample that is cut may still be right.
    """
    return share_of_samples(_if_graded(table, table.length_PK <= budget))


def budget_area(table: Table, cap: int) -> Measure:
    """Take the area under accuracy within each budget from 0 to the cap, divided by the cap: 0 to 1.

    Exact: a right sample of L tokens counts from L on, which makes (cap - L) / cap.
    """
    return share_of_samples(_if_graded(table, np.clip(1 - table.length_PK / cap, 0, None)))


def oaa(drawn: Table, limit: int) -> Measure:
    """Overthinking-adjusted accuracy: a sample is right if it is, with fewer than `limit` thinking tokens
    (OptimalThinkingBench, arXiv 2508.13141, section 3)."""
    within_PK = np.where(np.isnan(drawn.think_length_PK), np.nan, drawn.think_length_PK < limit)
    return share_of_samples(_if_graded(drawn, within_PK))


def oaa_area(drawn: Table, limit: int = OAA_LIMIT) -> Measure:
    """Take the area under OAA up to `limit` thinking tokens, divided by it (facebookresearch/RAM
    projects/otb/eval.py)."""
    return share_of_samples(_if_graded(drawn, otb_row_scores(1.0, drawn.think_length_PK, limit)))


def _if_graded(table: Table, worth_PK: np.ndarray) -> np.ndarray:
    """Return what a right sample is worth, 0 for a wrong one, NaN for one without a verdict."""
    return np.where(np.isnan(table.correct_PK), np.nan, table.correct_PK * worth_PK)


def efficiency_gap(table: Table, frontier: Frontier) -> Measure:
    """REG, the reasoning-efficiency gap: the frontier's accuracy minus the samples', summed over every token budget
    (arXiv 2506.07104).

    Ours: the samples' accuracy at a budget is `accuracy_within`; the sum runs from the first to the last budget of the
    frontier, which is a straight line between its points.
    """
    first, last = frontier.tokens[0], frontier.tokens[-1]
    every = np.arange(first, last + 1)
    best = float(np.interp(every, frontier.tokens, frontier.accuracy).sum())
    within_PK = np.clip(last + 1 - np.maximum(table.length_PK, first), 0, None)
    return mean_over_samples(np.where(np.isnan(table.correct_PK), np.nan, best - table.correct_PK * within_PK))


def pass_at_k(correct_P: np.ndarray, drawn_P: np.ndarray, k: int) -> np.ndarray:
    """Estimate without bias, for each problem, the chance that one of k samples is right: 1 - C(n - c, k) / C(n, k)
    (arXiv 2107.03374, equation 1).

    Args:
        correct_P: right samples c.
        drawn_P: graded samples n.
        k: how many are looked at. 0 where k > n, as alphadl/DDCA dca/metrics.py has it: leave those out of averages.
    """
    chances = [
        0.0 if k > n else 1 - math.comb(n - c, k) / math.comb(n, k)
        for c, n in zip(correct_P.astype(int).tolist(), drawn_P.astype(int).tolist(), strict=True)
    ]
    return np.array(chances)


def pass_at(table: Table, k: int) -> Measure:
    """Average `pass_at_k` over the problems with k graded samples."""
    graded_P = (~np.isnan(table.correct_PK)).sum(axis=1)
    chance_P = pass_at_k(np.nansum(table.correct_PK, axis=1), graded_P, k)
    return mean_over_problems(np.where(graded_P < k, np.nan, chance_P), SHARE)


def majority_at(table: Table, k: int, ballots_PK: np.ndarray) -> Measure:
    """Grade what most of k samples answer, by value (self-consistency, arXiv 2203.11171).

    Samples of a problem are taken k by k in their order; what is left over counts nowhere. Samples without an answer
    do not vote, and a group without any vote is wrong. A tie counts by the share of its answers that are right.

    Args:
        table: the samples.
        k: how many vote.
        ballots_PK: see `ballots`.
    """
    groups = range(table.correct_PK.shape[1] // k)
    graded_PG = [
        [_majority(ballots[g * k : g * k + k], correct[g * k : g * k + k]) for g in groups]
        for ballots, correct in zip(ballots_PK.tolist(), table.correct_PK.tolist(), strict=True)
    ]
    return share_of_samples(np.array(graded_PG))


def ballots(table: Table) -> np.ndarray:
    """Return (P, K) what each sample votes for, see `concise_rl.evaluate.vote.ballot`; None without an answer."""
    votes = {answer: ballot(answer) for answer in {a for row in table.answer_PK for a in row if a is not None}}
    return np.array([[votes.get(answer) for answer in row] for row in table.answer_PK], dtype=object)


def _majority(votes: Sequence[str | None], correct: Sequence[float]) -> float:
    """Return the verdict on the answer that most voters gave; NaN where no sample that gave it has a verdict."""
    verdicts: dict[str, list[float]] = {}
    for vote, verdict in zip(votes, correct, strict=True):
        if vote is not None:
            verdicts.setdefault(vote, []).append(verdict)
    most = max(map(len, verdicts.values()), default=0)
    winners = [[v for v in given if not math.isnan(v)] for given in verdicts.values() if len(given) == most]
    if not winners:
        return 0.0
    return sum(sum(known) / len(known) if known else math.nan for known in winners) / len(winners)


def ended_thinking(drawn: Table) -> Measure:
    """Measure the share of samples that ended by themselves inside the thinking, and have no answer."""
    return share_of_samples(np.where(np.isnan(drawn.think_length_PK), np.nan, unclosed(drawn)))


def outcome_efficiency(drawn: Table) -> Measure:
    """Average, over all samples, the share of the tokens up to the first right answer; 0 for a wrong sample
    ("Do NOT Think That Much for 2+3=?", arXiv 2412.21187, equation 1).

    Ours: the line of which the judge says that it states the gold answer stands for the end of the first right
    solution, and a right sample whose thinking never states it has it at its very end. The published code splits
    solutions with a language model, and counts a wrong sample that was right on its way (galaxyChen/overthinking
    src/compute_metrics.py).
    """
    stated_PK = drawn.measures_PK["states_answer"]
    first_PK = np.where(stated_PK == 1, _first_stated(drawn), drawn.length_PK)
    return share_of_samples(_if_read(drawn, first_PK / drawn.length_PK))


def token_efficiency(drawn: Table) -> Measure:
    """Average, over all samples, the share of the *thinking* up to the first right answer; 0 for a wrong sample, and
    for one whose thinking does not state it (EvalScope 1.14.1, third_party/thinkbench/eval.py, `EvalThink`).

    Ours: the judge in place of a language model; the line that states the answer counts as needed, where the published
    code leaves out the paragraph that does, and only right samples are read.
    """
    stated_PK, think_PK = drawn.measures_PK["states_answer"], np.maximum(drawn.think_length_PK, 1)
    return share_of_samples(_if_read(drawn, np.where(stated_PK == 1, _first_stated(drawn) / think_PK, 0.0)))


def _first_stated(drawn: Table) -> np.ndarray:
    """Return (P, K) thinking tokens up to and with the line that first states the answer, in the passage that does; NaN
    where none does."""
    return drawn.think_length_PK - drawn.measures_PK["overshoot"]


def _if_read(drawn: Table, share_PK: np.ndarray) -> np.ndarray:
    """Return the share of a right sample that a judge has read, 0 for a wrong one, NaN for others, and for all where no
    judge has read any."""
    read_PK = ~np.isnan(drawn.measures_PK["states_answer"])
    if not read_PK.any():
        return np.full(read_PK.shape, np.nan)
    return np.where(drawn.correct_PK == 0, 0.0, np.where(read_PK, share_PK, np.nan))


def process_efficiency(drawn: Table) -> Measure:
    """Average, over all samples, the share of the completion that is no repetition (arXiv 2412.21187, equation 2).

    Ours: a line whose numbers no earlier line has, in their order, stands for a solution that differs from those before
    it, and characters for tokens. See `concise_rl.reading.repeats`. The published code has a language model group
    solutions.
    """
    return share_of_samples(drawn.measures_PK["new_text"])


def hard_over_easy(table: Table, difficulty_P: np.ndarray) -> Measure:
    """Divide mean tokens on hard problems by mean tokens on easy ones (after ALP, arXiv 2506.05256).

    Args:
        table: the samples.
        difficulty_P: of each problem; NaN where unknown. Ours: hard is what is above the median, easy what is not.
    """
    known_P = ~np.isnan(difficulty_P)
    middle = np.median(difficulty_P[known_P]) if known_P.any() else 0.0
    hard_P, easy_P = (difficulty_P > middle).astype(float), (difficulty_P <= middle).astype(float)
    return Measure(
        lambda hard, hards, easy, easies: ratio(ratio(hard, hards), ratio(easy, easies)),
        (table.tokens_P * hard_P, hard_P, table.tokens_P * easy_P, easy_P),
    )


def difficulty_of(table: Table) -> np.ndarray:
    """Return (P,) the task's own difficulty where that is a number, else the share of samples that are wrong."""
    if all(isinstance(d, int | float) for d in table.difficulty_P) and len(set(table.difficulty_P)) > 1:
        return np.array(table.difficulty_P, dtype=float)
    return 1 - table.accuracy_P


def compression_macro(table: Table, baseline: Table) -> Measure:
    """Average over problems the tokens divided by the baseline's: every problem has the same weight."""
    return mean_over_problems(ratio(table.tokens_P, baseline.tokens_P))


def compression_pooled(table: Table, baseline: Table) -> Measure:
    """Divide all tokens by all of the baseline's: 1 minus the token savings."""
    return Measure(ratio, (table.tokens_P, baseline.tokens_P))


def otb_row_scores(accuracy: Any, think_tokens: Any, limit: int = OAA_LIMIT) -> np.ndarray:
    """Score rows of OverthinkingBench: accuracy times the share of `limit` thinking tokens that were not used."""
    return np.asarray(accuracy) * np.clip(limit - np.asarray(think_tokens, dtype=float), 0, None) / limit


def otb_scores(
    subsets: Sequence[str], accuracy: Sequence[float], think_tokens: Sequence[float], math_twice: bool = True
) -> dict[str, float]:
    """Score OptimalThinkingBench as its code does (facebookresearch/RAM projects/otb/utils.py:format_metrics).

    Args:
        subsets: of each row, `overthinking-bench` or `underthinking-math` say.
        accuracy, think_tokens: of each row.
        math_twice: whether the general mean holds the math rows too, which the published code does. The macro mean then
            counts them twice. False: the general mean is over the other rows.

    Returns:
        Macro means of accuracy, score and thinking tokens of both benchmarks, and their harmonic mean `f1`. NaN for a
        mean over no rows.
    """
    accuracy_R, tokens_R = np.asarray(accuracy, dtype=float), np.asarray(think_tokens, dtype=float)
    scores = {"over": otb_row_scores(accuracy_R, tokens_R), "under": accuracy_R}
    found: dict[str, float] = {}
    for side, score_R in scores.items():
        math_R = np.array([f"{side}thinking-math" in subset for subset in subsets], dtype=bool)
        general_R = np.array([f"{side}thinking" in subset for subset in subsets], dtype=bool)
        parts = (general_R if math_twice else general_R & ~math_R, math_R)
        for name, values_R in (("acc", accuracy_R), ("score", score_R), ("tokens", tokens_R)):
            means = [values_R[part].mean() if part.any() else math.nan for part in parts]
            found[f"{side}_{name}"] = float(sum(means)) / 2
    over, under = found["over_score"], found["under_score"]
    return found | {"f1": 2 * over * under / (over + under) if over + under else 0.0}


Measures = Mapping[str, Measure | Mapping[int, Measure]]


def all_measures(
    table: Table, drawn: Table, baseline: Table | None, cap: int, frontier: Frontier | None = None
) -> Measures:
    """Return every measure of one label by its name; of curves, one for each place.

    Args:
        table: what is counted, see `concise_rl.evaluate.evaluation.Label`.
        drawn: the samples behind it.
        baseline: what it is compared with, if anything.
        cap: tokens that one of what is counted may have.
        frontier: see `efficiency_gap`.
    """
    votes_PK, counts = ballots(table), _powers(table.correct_PK.shape[1])
    hardness_P = difficulty_of(table if baseline is None else baseline)
    found: dict[str, Measure | Mapping[int, Measure]] = {
        "accuracy_within": {budget: accuracy_within(table, budget) for budget in budgets(cap)},
        "budget_area": budget_area(table, cap),
        "oaa": {budget: oaa(drawn, budget) for budget in budgets(cap)},
        "oaa_area": oaa_area(drawn),
        "pass_at": {k: pass_at(table, k) for k in counts},
        "majority_at": {k: majority_at(table, k, votes_PK) for k in counts},
        "tokens_right": pooled_mean(table.length_PK, table.correct_PK == 1),
        "tokens_wrong": pooled_mean(table.length_PK, table.correct_PK == 0),
        "ended_thinking": ended_thinking(drawn),
        "stopped_short": share_of_samples(stopped_short(drawn)),
        "missing_tokens": mean_over_samples(missing_tokens(drawn)),
        "outcome_efficiency": outcome_efficiency(drawn),
        "token_efficiency": token_efficiency(drawn),
        "process_efficiency": process_efficiency(drawn),
        "hard_over_easy": hard_over_easy(table, hardness_P),
    }
    if frontier is not None:
        found["efficiency_gap"] = efficiency_gap(table, frontier)
    if baseline is not None:
        found["compression_macro"] = compression_macro(table, baseline)
        found["compression_pooled"] = compression_pooled(table, baseline)
    return found


def _powers(most: int) -> list[int]:
    """Return 1, 2, 4 and so on below `most`, and `most`."""
    return sorted({most, *(2**i for i in range(most.bit_length()) if 2**i <= most)})
