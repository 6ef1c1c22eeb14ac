"""Everything that a report says about samples. Pure functions.

Axes: P problems, K samples of each (of all runs of a label, side by side), S runs (training seeds).

Intervals are over problems, and over the runs of a label: `concise_rl.evaluate.intervals`.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from concise_rl.evaluate.intervals import ANY, SHARE, Estimate, Interval, estimate, interval, mean_of_known
from concise_rl.evaluate.samples import COST_MEASURES, MEASURES, TARGET_MEASURES, TEXT_MEASURES, Sample
from concise_rl.reading.trace import StopReason

MOSTLY_TRUNCATED = 0.5
"""Share of samples at the cap above which their accuracy and length say little."""
OFTEN_UNCLOSED = 0.1
"""Share of samples that ended inside the thinking above which `think_end` is probably not the model's."""


@dataclass(frozen=True)
class Table:
    """The samples of one or several runs, as numbers.

    Attributes:
        correct_PK: 1 / 0; NaN where it could not be graded, or was given up.
        length_PK, think_length_PK: tokens; NaN where those of the thinking were not counted.
        stop_PK: labels of stop reasons.
        answer_PK: texts of the answers; None where there is none.
        prompt_hash_P: of each problem.
        difficulty_P: of each problem; None where the task has none.
        oracle_P: tokens of the shortest sufficient completion; NaN where unknown.
        measures_PK: of each name in `MEASURES`, `TARGET_MEASURES`, `TEXT_MEASURES` and `COST_MEASURES`; NaN where a
            sample has none.
            Empty for questions that several samples answer together: thinking is a sample's own.
        runs: how many runs the samples are of, which stand side by side, with as many samples each.
    """

    correct_PK: np.ndarray
    length_PK: np.ndarray
    think_length_PK: np.ndarray
    stop_PK: np.ndarray
    answer_PK: np.ndarray
    prompt_hash_P: tuple[str, ...]
    difficulty_P: tuple[int | float | str | None, ...]
    oracle_P: np.ndarray
    measures_PK: Mapping[str, np.ndarray] = field(default_factory=dict)
    runs: int = 1

    @property
    def accuracy_P(self) -> np.ndarray:
        """Return the mean verdict of each problem over its graded samples; NaN where none was graded."""
        return mean_of_known(self.correct_PK)

    @property
    def tokens_P(self) -> np.ndarray:
        """Return the mean tokens of each problem: of the samples, and of what was decoded to look into them."""
        return (self.length_PK + self.cost_PK("decoded")).mean(axis=1)

    @property
    def accuracy_SP(self) -> np.ndarray:
        """Return `accuracy_P` of each run."""
        return self.by_run(self.correct_PK)

    @property
    def tokens_SP(self) -> np.ndarray:
        """Return `tokens_P` of each run."""
        return self.by_run(self.length_PK + self.cost_PK("decoded"))

    def by_run(self, values_PK: np.ndarray) -> np.ndarray:
        """Return (S, P) means of each run over what is not NaN."""
        return np.stack([mean_of_known(part_PK) for part_PK in np.hsplit(values_PK, self.runs)])

    def cost_PK(self, name: str) -> np.ndarray:
        """Return one of `COST_MEASURES`; 0 where nothing was spent."""
        return np.nan_to_num(self.measures_PK[name]) if name in self.measures_PK else np.zeros(self.length_PK.shape)

    def rows(self, keep_P: np.ndarray) -> "Table":
        """Return the problems where `keep_P` is true."""
        index = np.flatnonzero(keep_P)
        return replace(
            self,
            correct_PK=self.correct_PK[index],
            length_PK=self.length_PK[index],
            think_length_PK=self.think_length_PK[index],
            stop_PK=self.stop_PK[index],
            answer_PK=self.answer_PK[index],
            prompt_hash_P=tuple(self.prompt_hash_P[i] for i in index),
            difficulty_P=tuple(self.difficulty_P[i] for i in index),
            oracle_P=self.oracle_P[index],
            measures_PK={name: values_PK[index] for name, values_PK in self.measures_PK.items()},
        )


def tabulate(samples: Iterable[Sample], num_problems: int, num_samples: int, name: str = "The samples") -> Table:
    """Arrange samples by problem and sample, whatever their order.

    Args:
        samples: of one run.
        num_problems, num_samples: how many there must be.
        name: what errors call them.

    Raises:
        ValueError: when a sample is missing or too many, or samples of one problem were drawn from different prompts.
    """
    shape = (num_problems, num_samples)
    correct_PK, filled_PK = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    length_PK, think_PK = np.zeros(shape), np.zeros(shape)
    stop_PK, answer_PK = np.full(shape, "", dtype=object), np.full(shape, None, dtype=object)
    hashes: list[str] = [""] * num_problems
    difficulty: list[int | float | str | None] = [None] * num_problems
    oracle_P = np.full(num_problems, np.nan)
    names = (*MEASURES, *TARGET_MEASURES, *TEXT_MEASURES, *COST_MEASURES)
    measures_PK = {name: np.full(shape, np.nan) for name in names}
    for s in samples:
        p, k = s.problem, s.sample
        if p >= num_problems or k >= num_samples:
            raise ValueError(
                f"{name}: problem {p}, sample {k} is outside the {num_problems} x {num_samples} of the evaluation."
            )
        if hashes[p] not in ("", s.prompt_hash):
            raise ValueError(f"{name}: the samples of problem {p} were drawn from different prompts.")
        correct_PK[p, k] = np.nan if s.correct is None else s.correct
        length_PK[p, k], filled_PK[p, k] = s.length, True
        think_PK[p, k] = np.nan if s.think_length is None else s.think_length
        stop_PK[p, k], answer_PK[p, k] = s.stop_reason, s.answer
        hashes[p], difficulty[p] = s.prompt_hash, s.difficulty
        oracle_P[p] = np.nan if s.oracle_length is None else s.oracle_length
        for measure, value in (s.measures | s.text_measures).items():
            measures_PK[measure][p, k] = value
    if not filled_PK.all():
        raise ValueError(f"{name}: {(~filled_PK).sum()} of {filled_PK.size} samples are missing.")
    return Table(
        correct_PK, length_PK, think_PK, stop_PK, answer_PK, tuple(hashes), tuple(difficulty), oracle_P, measures_PK
    )


def pool(tables: Sequence[Table]) -> Table:
    """Put the runs of one label side by side: each problem has the samples of all of them."""
    for table in tables[1:]:
        check_comparable(table, tables[0])
    return Table(
        np.hstack([t.correct_PK for t in tables]),
        np.hstack([t.length_PK for t in tables]),
        np.hstack([t.think_length_PK for t in tables]),
        np.hstack([t.stop_PK for t in tables]),
        np.hstack([t.answer_PK for t in tables]),
        tables[0].prompt_hash_P,
        tables[0].difficulty_P,
        tables[0].oracle_P,
        {name: np.hstack([t.measures_PK[name] for t in tables]) for name in tables[0].measures_PK},
        sum(t.runs for t in tables),
    )


def check_comparable(table: Table, other: Table) -> None:
    """Refuse to compare what was not measured on the same prompts with the same number of samples.

    Raises:
        ValueError: saying what differs.
    """
    if table.length_PK.shape != other.length_PK.shape:
        raise ValueError(
            f"Problems x samples differ: {table.length_PK.shape} and {other.length_PK.shape}. They cannot be compared."
        )
    pairs = zip(table.prompt_hash_P, other.prompt_hash_P, strict=True)
    differing = [p for p, (one, two) in enumerate(pairs) if one != two]
    if differing:
        raise ValueError(
            f"The prompts of {len(differing)} problems differ (the first is problem {differing[0]}): the models were "
            "not asked the same, or they have different tokenizers, whose tokens cannot be compared."
        )


def aes(base_acc: float, base_tokens: float, acc: float, tokens: float, up: float = 3.0, down: float = 5.0) -> float:
    """Compute the accuracy-efficiency score (O1-Pruner, arXiv 2501.12570; by the convention of DECS, arXiv 2509.25827).

    The share of tokens saved, plus `up` times the *relative* gain in accuracy or minus `down` times the relative loss.
    A baseline of zero tokens or zero accuracy makes its term 0.
    """
    saved = (base_tokens - tokens) / base_tokens if base_tokens else 0.0
    gained = (acc - base_acc) / base_acc if base_acc else 0.0
    return saved + (up if gained >= 0 else down) * gained


def token_savings(model_P: np.ndarray, baseline_P: np.ndarray, axis: int = -1) -> np.ndarray:
    """Compute 1 - tokens / baseline tokens."""
    return 1 - model_P.mean(axis=axis) / baseline_P.mean(axis=axis)


def accuracy_change(model_P: np.ndarray, baseline_P: np.ndarray, axis: int = -1) -> np.ndarray:
    """Subtract baseline from model, as a fraction."""
    return (model_P - baseline_P).mean(axis=axis)


@dataclass(frozen=True)
class Description:
    """Hold what one label says by itself. Where samples answer questions together, these are the units, not the
    samples.

    Attributes:
        samples: how many were drawn.
        accuracy: mean over problems of the mean over graded units.
        tokens: mean over all units, wrong and truncated ones included, with what was decoded to look into them.
        tokens_correct: mean length of the correct units; None without any.
        tokens_thinking: mean tokens before the closing think delimiter; None where any sample's were not counted.
        truncated: share of the units that hit the cap.
        ended_thinking: share of the samples that ended by themselves, inside the thinking: they have no answer.
        unjudged: units without a verdict, which accuracy leaves out.
        stop_reasons: samples drawn, by why they ended.
        oracle_ratio: tokens divided by the oracle's; None where the oracle is not known for every problem.
    """

    samples: int
    accuracy: float | None
    accuracy_ci95: Interval | None
    tokens: float
    tokens_ci95: Interval | None
    tokens_correct: float | None
    tokens_thinking: float | None
    truncated: float
    ended_thinking: float
    unjudged: int
    stop_reasons: dict[str, int]
    oracle_ratio: float | None


def describe(table: Table, drawn: Table | None = None) -> Description:
    """Summarise a label.

    Args:
        table: what is counted.
        drawn: the samples behind it, where those are not what is counted.
    """
    drawn = drawn or table
    accuracy, tokens = mean_of_samples(table, table.correct_PK, SHARE), float(table.tokens_P.mean())
    oracle = oracle_tokens(table)
    return Description(
        samples=drawn.length_PK.size,
        accuracy=accuracy.value,
        accuracy_ci95=accuracy.ci95,
        tokens=tokens,
        tokens_ci95=interval(np.mean, table.tokens_P, runs=[table.tokens_SP]),
        tokens_correct=_mean(table.length_PK[table.correct_PK == 1]),
        tokens_thinking=_mean_of_all(table.think_length_PK),
        truncated=float((table.stop_PK == StopReason.LENGTH.label).mean()),
        ended_thinking=float(unclosed(drawn).mean()),
        unjudged=int((np.isnan(table.correct_PK) & (table.stop_PK != StopReason.ABORTED.label)).sum()),
        stop_reasons=dict(sorted(Counter(drawn.stop_PK.ravel().tolist()).items())),
        oracle_ratio=tokens / oracle if oracle else None,
    )


def mean_of_samples(table: Table, values_PK: np.ndarray, ends: Interval = ANY) -> Estimate:
    """Average over problems the mean over those samples of each whose value is known: not NaN.

    Args:
        table: the samples.
        values_PK: of each sample.
        ends: beyond which no value can be.
    """
    return estimate(np.mean, mean_of_known(values_PK), runs=[table.by_run(values_PK)], ends=ends)


def unclosed(drawn: Table) -> np.ndarray:
    """Return (P, K) whether all of a sample but the EOS is thinking: the delimiter that closes it never came."""
    open_PK = (drawn.stop_PK == StopReason.EOS.label) & (drawn.think_length_PK == drawn.length_PK - 1)
    return open_PK & np.array([[answer is None for answer in answers] for answers in drawn.answer_PK])


def oracle_tokens(table: Table) -> float | None:
    """Return the mean tokens of the shortest sufficient completions; None unless every problem's is known."""
    return _mean_of_all(table.oracle_P)


def _mean_of_all(values: np.ndarray) -> float | None:
    """Return the mean; None where any value is unknown."""
    mean = float(values.mean())
    return None if math.isnan(mean) else mean


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if values.size else None


@dataclass(frozen=True)
class Comparison:
    """A label against the baseline, on the same problems.

    Attributes:
        token_savings: 1 - tokens / baseline tokens.
        accuracy_change: model minus baseline, over the problems that were graded for both.
        aes: see `aes`; None where an accuracy is not defined.
    """

    token_savings: Estimate
    accuracy_change: Estimate
    aes: float | None


def compare(runs: Sequence[Table], baseline: Sequence[Table]) -> Comparison:
    """Compare the runs of a label, pooled, with those of the baseline, paired by problem.

    Raises:
        ValueError: when the prompts or the numbers of samples of any two runs differ.
    """
    table, base = pool(runs), pool(baseline)
    check_comparable(runs[0], baseline[0])
    change = estimate(accuracy_change, table.accuracy_P, base.accuracy_P, runs=[table.accuracy_SP, base.accuracy_SP])
    return Comparison(
        token_savings=estimate(token_savings, table.tokens_P, base.tokens_P, runs=[table.tokens_SP, base.tokens_SP]),
        accuracy_change=change,
        aes=None if change.value is None else _aes(table, base),
    )


def _aes(table: Table, baseline: Table) -> float:
    accuracies = [float(np.nanmean(t.accuracy_P)) for t in (baseline, table)]
    tokens = [float(t.tokens_P.mean()) for t in (baseline, table)]
    return aes(accuracies[0], tokens[0], accuracies[1], tokens[1])
