"""Ask a model about places of stored thinking: readings of looks, and answers that are forced there."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from concise_rl.evaluate.drawing import sampling_of, seed_of
from concise_rl.evaluate.engines import EvalEngine
from concise_rl.evaluate.exits.store import TAIL, Probes, StoredAnswer
from concise_rl.evaluate.problems import Problem
from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.spec import Measurement
from concise_rl.reading.trace import read_trace
from concise_rl.rollout.engine import Asked, Request, derive_seed
from concise_rl.rollout.exits.looks import Looking, take_looks
from concise_rl.rollout.exits.policy import Ending, Look
from concise_rl.rollout.exits.tools import ExitTools
from concise_rl.verify.grade import earned, grade
from concise_rl.verify.pool import VerifierPool


@dataclass(frozen=True, eq=False)
class Subject:
    """A stored sample, and the problem that it is of."""

    problem: Problem
    sample: Sample

    @property
    def thinking(self) -> list[int]:
        """Return the tokens of its thinking."""
        return self.sample.completion_ids[: self.sample.think_length]

    def prefix(self, at: int) -> list[int]:
        """Return its prompt and the first tokens of its thinking."""
        return [*self.problem.prompt_ids, *self.sample.completion_ids[:at]]

    def line(self, **content: Any) -> Probes:
        """Write what was found of it as a line."""
        sample = self.sample
        return Probes(
            problem=sample.problem,
            sample=sample.sample,
            length=sample.length,
            think_length=sample.think_length,
            prompt_length=len(self.problem.prompt_ids),
            prompt_tail=tuple(self.problem.prompt_ids[-TAIL:]),
            **content,
        )


@dataclass(frozen=True)
class Prober:
    """Asks, and grades what comes back.

    Attributes:
        engine: holds the model that drew the samples.
        measurement: how they were drawn. Answers are drawn so, too.
        tools: of the model.
        verifier: grades.
    """

    engine: EvalEngine
    measurement: Measurement
    tools: ExitTools
    verifier: VerifierPool

    def read(self, wanted: Sequence[tuple[Subject, Look, Sequence[int]]]) -> list[Probes]:
        """Take looks at places, all that are alike in one batch.

        Args:
            wanted: what to ask at which places of which samples.

        Raises:
            ValueError: when the engine cannot take such looks.
        """
        lines = []
        for look, of_look in by_look(wanted).items():
            looking = [self._looking(subject, at) for subject, places in of_look for at in places]
            found = iter(take_looks(self.engine, look, looking, self.tools))
            lines += [
                subject.line(look=look, readings=tuple(next(found) for _ in places)) for subject, places in of_look
            ]
        return lines

    def answer(self, wanted: Sequence[tuple[Subject, Ending, Sequence[int]]]) -> list[Probes]:
        """Force an answer at places, all of them together, and grade it.

        It is drawn as the sample was, under what its cap leaves. Nothing is drawn where the ending holds the answer.
        """
        asks = [(subject, ending, at) for subject, ending, places in wanted for at in places]
        open_ends = [ask for ask in asks if not ask[1].answered]
        requests = [self._request(*ask) for ask in open_ends]
        drawn = self.engine.generate(Asked(requests, sampling_of(self.measurement))) if requests else []
        completions = iter(drawn)
        ids = [() if ending.answered else tuple(next(completions).ids) for _, ending, _ in asks]
        stored = iter(self._graded(asks, ids))
        return [
            subject.line(ending=ending, answers=tuple(next(stored) for _ in places))
            for subject, ending, places in wanted
        ]

    def _looking(self, subject: Subject, at: int) -> Looking:
        thinking = subject.thinking
        return Looking(
            subject.problem.prompt_ids,
            thinking[:at],
            thinking[at] if at < len(thinking) else None,
            self._seed(subject, 2, at),
        )

    def _request(self, subject: Subject, ending: Ending, at: int) -> Request:
        room = self.measurement.max_tokens - at - len(ending.ids)
        assert room > 0, "a place without room for an answer is none"
        return Request([*subject.prefix(at), *ending.ids], room, self._seed(subject, 1, at))

    def _graded(
        self, asks: Sequence[tuple[Subject, Ending, int]], ids: Sequence[tuple[int, ...]]
    ) -> list[StoredAnswer]:
        traces = [read_trace([*ask[1].ids, *own], self.tools.delimiters) for ask, own in zip(asks, ids, strict=True)]
        rows = [subject.problem.row for subject, _, _ in asks]
        verdicts = grade(traces, rows, self.tools.tokenizer, self.verifier)
        return [
            StoredAnswer(at=at, ids=own, finished=trace.finished, correct=as_verdict(earned(verdict, trace)))
            for (_, _, at), own, trace, verdict in zip(asks, ids, traces, verdicts, strict=True)
        ]

    def _seed(self, subject: Subject, kind: int, at: int) -> int:
        return derive_seed(seed_of(self.measurement, subject.sample.problem, subject.sample.sample), kind, at)


def as_verdict(earned: float | None) -> int | None:
    """Write a verdict as samples have it: 1, 0 or None."""
    return None if earned is None else int(earned == 1)


def by_look(
    wanted: Sequence[tuple[Subject, Look, Sequence[int]]],
) -> Mapping[Look, list[tuple[Subject, Sequence[int]]]]:
    """Group what is wanted by the look."""
    groups: dict[Look, list[tuple[Subject, Sequence[int]]]] = defaultdict(list)
    for subject, look, places in wanted:
        groups[look].append((subject, places))
    return groups
