"""Arrange the completions of logs as problems with equally many samples each, the same ones in every log."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from concise_rl.evaluate.exchange.log import Log, Logged

PARTLY = "--partial leaves them out, and counts them"
Key = tuple[str, str]
"""What a log calls a problem, and what is asked."""


@dataclass(frozen=True)
class Arranged:
    """The completions that are compared.

    Attributes:
        problems: of each log, in the order of the logs: the samples of each problem, all in the same order.
        samples: of each problem.
        dropped: problems of any log that are not among them.
        notes: what was left out, for people.
    """

    problems: Sequence[Sequence[Sequence[Logged]]]
    samples: int
    dropped: int
    notes: Sequence[str]


def arrange(logs: Sequence[Log], samples: int | None = None, partial: bool = False) -> Arranged:
    """Pair the problems of logs, and take equally many samples of each.

    Problems are the same by their name in the log and what they ask; where the logs name them otherwise, by what they
    ask alone. Their order is that of a hash of what they ask, so that logs that are arranged apart agree.

    Args:
        logs: of a model, and of its baseline where there is one.
        samples: of each problem: the first so many; None for as many as there are.
        partial: whether to leave out what is not complete: samples that were not finished, problems with too few of
            them, problems that a log does not have.

    Raises:
        ValueError: for a sample that is there twice, and without `partial` for what is not complete.
    """
    notes: list[str] = []
    grouped = [_problems(log) for log in logs]
    if not all(key in problems for problems in grouped[1:] for key in grouped[0]):
        grouped = _by_prompt(grouped)
    for log, problems in zip(logs, grouped, strict=True):
        _check_finished(log, problems, partial, notes)
    usable = [{key: [one for one in found if not one.fault] for key, found in problems.items()} for problems in grouped]
    wanted = samples or max(len(found) for problems in usable for found in problems.values())
    if wanted < 1:
        raise ValueError(f"{logs[0].name}: no sample was finished, so that there is nothing to compare.")
    everything = set().union(*usable)
    kept = {key for key in everything if all(len(one.get(key, ())) >= wanted for one in usable)}
    if kept != everything and not partial:
        raise ValueError(_incomplete(logs, usable, wanted))
    if not kept:
        raise ValueError(f"No problem has {wanted} samples in {' and '.join(log.name for log in logs)}.")
    if left := sum(max(0, len(found) - wanted) for one in usable for key, found in one.items() if key in kept):
        notes.append(f"{left} samples beyond the first {wanted} of their problems were left out.")
    if kept != everything:
        notes.append(f"{len(everything) - len(kept)} of {len(everything)} problems were left out.")
    order = sorted(kept, key=lambda key: (hash_text(key[1]), key[0]))
    chosen = [[one[key][:wanted] for key in order] for one in usable]
    return Arranged(chosen, wanted, len(everything) - len(kept), notes)


def hash_text(text: str) -> str:
    """Hash what a problem asks (sha256)."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _problems(log: Log) -> dict[Key, list[Logged]]:
    """Group the samples of each problem, in their order.

    Raises:
        ValueError: for a sample that is there twice, or a problem whose samples were asked different things.
    """
    found: dict[Key, list[Logged]] = {}
    ordered = sorted(log.logged, key=lambda one: (one.problem, one.number))
    for name, group in groupby(ordered, key=lambda one: one.problem):
        own = list(group)
        numbers = [one.number for one in own]
        if twice := [one for one, number in zip(own[1:], numbers, strict=False) if one.number == number]:
            raise ValueError(f"{log.name}: {twice[0].place} is there {numbers.count(twice[0].number)} times.")
        if other := [one for one in own if one.prompt != own[0].prompt]:
            raise ValueError(f"{log.name}: {other[0].place} was asked something else than the sample before it.")
        found[name, own[0].prompt] = own
    return found


def _by_prompt(grouped: Sequence[Mapping[Key, list[Logged]]]) -> list[dict[Key, list[Logged]]]:
    """Name problems by what they ask alone, where that tells them apart in every log; else leave their names."""
    if any(len({prompt for _, prompt in problems}) < len(problems) for problems in grouped):
        return [dict(problems) for problems in grouped]
    return [{("", prompt): found for (_, prompt), found in problems.items()} for problems in grouped]


def _check_finished(log: Log, problems: Mapping[Key, Sequence[Logged]], partial: bool, notes: list[str]) -> None:
    """Say what was never finished.

    Raises:
        ValueError: when there is any of that, unless it may be left out.
    """
    faulty = [one for found in problems.values() for one in found if one.fault]
    said = []
    if faulty:
        said.append(
            f"{log.name}: {len(faulty)} of {len(log.logged)} samples cannot be counted; {faulty[0].place}: "
            f"{faulty[0].fault}."
        )
    if log.short:
        said.append(f"{log.name}: the run was not finished, {log.short} samples are missing by its own count.")
    if said and not partial:
        raise ValueError(f"{' '.join(said)} Finish the run; or {PARTLY}.")
    notes += said


def _incomplete(logs: Sequence[Log], usable: Sequence[Mapping[Key, Sequence[Logged]]], wanted: int) -> str:
    """Say which problems a log lacks, or has too few samples of, and what to do."""
    lines, every = [], set().union(*usable)
    for log, problems in zip(logs, usable, strict=True):
        absent = sorted(every - problems.keys())
        few = sorted(key for key, found in problems.items() if len(found) < wanted)
        if absent:
            name, prompt = absent[0]
            lines.append(f"{log.name} lacks {len(absent)} of {len(every)} problems, {name} {prompt[:60]!r} say.")
        if few:
            least = min(len(problems[key]) for key in few)
            lines.append(
                f"{log.name} has fewer than {wanted} samples of {len(few)} problems ({least} at the least; --samples "
                "takes the first so many of each)."
            )
    return f"{' '.join(lines)} Only the same problems, with equally many samples, can be compared; {PARTLY}."
