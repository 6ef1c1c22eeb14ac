"""Probes: answers forced at several places of a rollout's thinking, to learn what each part of it is worth."""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import ClassVar

import torch

from concise_rl.reading.trace import Delimiters, StopReason, read_trace
from concise_rl.rollout.engine import Asked, Completion, Engine, Request, derive_seed
from concise_rl.rollout.facts import Fact
from concise_rl.rollout.plans.plan import Parallel, Plan, Probe, Rollout, as_rollout

Cut = Callable[[Sequence[int]], list[int]]
"""From the tokens of a thinking to the places where it is cut: how many of its tokens stand before each, ascending."""

REFLECTIONS = (
    *("wait", "Wait", "WAIT", "but", "But", "BUT", "alternatively", "Alternatively", "ALTERNATIVELY", "however"),
    *("However", "HOWEVER", "hmm", "Hmm", "HMM", "Let me double-check", "let me double-check", "Hold on", "hold on"),
    *("Looking back", "looking back", "Seems solid", "seems solid", "Similarly", "similarly", "That seems right"),
    *("that seems right", "That's correct, but", "that's correct, but", "So"),
)
"""Where VSRM's code (https://github.com/1benwu1/VSRM-Efficient-LRMs) takes a new step of thinking to begin."""
_SENTENCE_END = re.compile(r"[.!?\n]")


@dataclass(frozen=True)
class BeforeWords:
    """Cuts thinking before the sentences in which given words stand, as VSRM (https://hf.co/papers/2508.10293) does.

    Attributes:
        text_of: the text of a token.
        words: whole words, in the case given.
        skip: characters at the beginning in which nothing is cut.
        apart: least characters from a cut to the next word that makes one.
    """

    text_of: Callable[[int], str]
    words: tuple[str, ...] = REFLECTIONS
    skip: int = 0
    apart: int = 0

    def __call__(self, ids: Sequence[int]) -> list[int]:
        """See `Cut`. A cut that would lie inside a token lies before it; none lies before the first token."""
        texts = [self.text_of(token) for token in ids]
        ends = list(accumulate(map(len, texts)))
        places = (bisect_right(ends, cut) for cut in self._characters("".join(texts)))
        return [place for place in dict.fromkeys(places) if place > 0]

    def _characters(self, text: str) -> list[int]:
        """The characters before which a text is cut."""
        pattern = "|".join(map(re.escape, sorted(self.words, key=len, reverse=True)))
        ends = [match.end() for match in _SENTENCE_END.finditer(text)]
        cuts: list[int] = []
        for word in re.finditer(rf"\b(?:{pattern})\b", text):
            if word.start() >= self.skip and (not cuts or word.start() - cuts[-1] >= self.apart):
                before = bisect_right(ends, word.start())
                cuts.append(ends[before - 1] if before else word.start())
        return cuts


def spread(places: Sequence[int], most: int) -> list[int]:
    """At most so many of the places, evenly spread, the first and the last among them where there is room for two."""
    if len(places) <= most:
        return list(places)
    steps = max(1, most - 1)
    return [places[i * (len(places) - 1) // steps] for i in range(most)]


@dataclass(frozen=True)
class Probed(Plan):
    """Plain rollouts, and behind several places of their thinking answers that were forced there.

    Each place, and the end of the thinking, is closed by the exit text, and so many answers are sampled behind it.
    They are the rollout's probes: graded with it, never trained on, and counted in its `sampled` tokens. The engine is
    called twice, whatever the number of requests: ranks may share one.

    - Thinking that was never closed ends where the rollout does; what is forced there shows what it was worth.
    - A rollout's cap is lower than the request's by the exit text and `answer_tokens`: so the latest probe, too, fits
      under it.

    Facts:
        probe_at: the places, as thinking tokens before each, ascending. -1 where there are fewer than W.
        probe_correct: share of right answers at each place. NaN where there is no place, or nothing could be graded.

    Attributes:
        delimiters: of the model.
        exit_ids: tokens forced at each place. They hold the closing delimiter once.
        answer_tokens: cap of a probe's answer, EOS included.
        cut: from the token ids of the thinking to the places where it is cut, as tokens before each, ascending.
        samples: answers sampled at each place.
        most: the most places, not counting the end and the start. If `cut` gives more, so many of them are used, evenly
            spread.
        from_start: whether an answer is sampled before the first token of the thinking, too.
    """

    delimiters: Delimiters
    exit_ids: tuple[int, ...]
    answer_tokens: int
    cut: Cut
    samples: int = 1
    most: int = 8
    from_start: bool = False

    evaluated: ClassVar[Plan] = Parallel()

    def __post_init__(self) -> None:
        if not self.delimiters.think_end:
            raise ValueError("A probe needs the delimiter that closes the thinking: set think_end.")
        if read_trace(self.exit_ids, self.delimiters).answer_ids is None:
            raise ValueError(
                "The exit text must hold the delimiter that closes the thinking (think_end) once, as the same tokens: "
                "nothing behind a probe would be an answer otherwise."
            )

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The places, and the share of right answers at each."""
        return (Fact("probe_at", self.width, torch.int64), Fact("probe_correct", self.width))

    @property
    def width(self) -> int:
        """The most places that a rollout can have."""
        return self.from_start + self.most + 1

    @property
    def tail(self) -> int:
        """The most tokens that a probe can have behind its place."""
        return len(self.exit_ids) + self.answer_tokens

    def check_cap(self, max_tokens: int) -> None:
        """See `Plan.check_cap`."""
        if max_tokens <= self.tail:
            raise ValueError(
                f"A probe takes {len(self.exit_ids)} forced tokens and up to {self.answer_tokens} of answer, which "
                f"leaves no thinking under a cap of {max_tokens} tokens: raise max_completion_length or lower "
                "answer_max_tokens."
            )

    def rollouts(self, engine: Engine, asked: Asked) -> list[Rollout]:
        """See `Plan.rollouts`. Nothing is given up.

        Raises:
            ValueError: when a request's cap leaves no token for the thinking.
        """
        requests = asked.requests
        self.check_cap(min((request.max_tokens for request in requests), default=self.tail + 1))
        asked = replace(asked, give_up=None)
        paths = engine.generate(replace(asked, requests=[self._path_request(request) for request in requests]))
        places = [self.places(path) for path in paths]
        probes = [
            self._probe_request(request, path, at, number)
            for request, path, its_places in zip(requests, paths, places, strict=True)
            for number, at in enumerate(its_places * self.samples)
        ]
        sampling = replace(asked.sampling, logprobs=False)
        answers = iter(engine.generate(replace(asked, requests=probes, sampling=sampling)))
        return [
            self._rollout(path, its_places, [next(answers) for _ in its_places * self.samples])
            for path, its_places in zip(paths, places, strict=True)
        ]

    def places(self, path: Completion) -> list[int]:
        """Where a path is probed: at its cuts and at the end of its thinking. None for one that was given up."""
        if path.stop_reason is StopReason.ABORTED:
            return []
        thinking = read_trace(path.ids, self.delimiters).think_length
        cuts = [at for at in self.cut(path.ids[:thinking]) if 0 < at < thinking]
        start = [0] if self.from_start and thinking else []
        return [*start, *spread(cuts, self.most), thinking]

    def _path_request(self, request: Request) -> Request:
        return replace(request, max_tokens=request.max_tokens - self.tail, reserve=self.tail)

    def _probe_request(self, request: Request, path: Completion, at: int, number: int) -> Request:
        seed = None if request.seed is None else derive_seed(request.seed, 1, number)  # the seed itself is the path's
        return Request([*request.prompt_ids, *path.ids[:at], *self.exit_ids], self.answer_tokens, seed)

    def _rollout(self, path: Completion, places: list[int], answers: Sequence[Completion]) -> Rollout:
        probes = tuple(
            Probe(at, [*self.exit_ids, *answer.ids]) for at, answer in zip(places * self.samples, answers, strict=True)
        )
        own = as_rollout(path)
        return replace(
            own,
            sampled=own.sampled + sum(len(answer.ids) for answer in answers),
            facts={"probe_at": (*places, *[-1] * (self.width - len(places)))},
            probes=probes,
        )
