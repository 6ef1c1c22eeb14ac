"""Questions answered by several samples together: the first to end answer, and the others are given up.

short-m@k and first-finish, which is its m = 1 (Hassid et al. 2025, https://hf.co/papers/2505.17813): k samples side by
side, until m have ended; the majority of those m answers, a tie going to the one that was found in the fewest tokens.
"""

import numpy as np

from concise_rl.evaluate.statistics import Table
from concise_rl.reading.trace import StopReason
from concise_rl.verify.ballot import ballot


def vote(table: Table, keep: int) -> Table:
    """Return what each question is answered, and what that costs.

    Args:
        table: the samples of one run, K of each problem.
        keep: how many of them vote: the shortest of those that ended by themselves.

    Returns:
        One column: the verdict on the answer that most voters gave, wrong where none gave any; the tokens of all K
        samples, given up or not; how the question ended: by the cap where every sample ran into it.
    """
    winners = [_winners(table, problem, keep) for problem in range(len(table.oracle_P))]
    ended_P = (table.stop_PK == StopReason.EOS.label).any(axis=1)
    return Table(
        correct_PK=np.array([[_verdict(row, won)] for row, won in zip(table.correct_PK, winners, strict=True)]),
        length_PK=table.length_PK.sum(axis=1, keepdims=True),
        think_length_PK=table.think_length_PK.sum(axis=1, keepdims=True),
        stop_PK=np.where(ended_P, StopReason.EOS.label, StopReason.LENGTH.label).astype(object)[:, None],
        answer_PK=np.array(
            [[row[won[0]] if won else None] for row, won in zip(table.answer_PK, winners, strict=True)], dtype=object
        ),
        prompt_hash_P=table.prompt_hash_P,
        difficulty_P=table.difficulty_P,
        oracle_P=table.oracle_P,
    )


def _winners(table: Table, problem: int, keep: int) -> list[int]:
    """Return the samples that gave the answer of a question, the shortest first; none where no voter has an answer."""
    ended = np.flatnonzero(table.stop_PK[problem] == StopReason.EOS.label).tolist()
    voters = sorted(ended, key=lambda k: table.length_PK[problem, k])[:keep]
    votes: dict[str, list[int]] = {}  # in the order of each answer's shortest sample: `max` takes the first of a tie
    for k in voters:
        answer = table.answer_PK[problem, k]
        if answer is not None:
            votes.setdefault(ballot(answer), []).append(k)
    return max(votes.values(), key=len, default=[])


def _verdict(correct_K: np.ndarray, winners: list[int]) -> float:
    """Return the first verdict that there is on the answer: NaN where the verifier failed on every sample that gave
    it."""
    known = [float(correct_K[k]) for k in winners if not np.isnan(correct_K[k])]
    return known[0] if known else float("nan") if winners else 0.0
