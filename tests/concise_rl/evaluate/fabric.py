"""Samples made by hand, and an engine that follows a script, for the tests of the evaluation."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from concise_rl.evaluate.claim import claim_folder
from concise_rl.evaluate.samples import Sample, append_samples
from concise_rl.evaluate.spec import Manifest, Measurement, ModelRun
from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import Asked, Completion, Landed, Request, derive_seed
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.tasks.tiny.model import build_tokenizer

TOKENIZER = build_tokenizer()


def sample(problem: int, number: int, correct: int | None = 1, length: int = 20, **fields: object) -> Sample:
    """A finished sample; `fields` replace what it would hold."""
    values = {
        "problem": problem,
        "sample": number,
        "prompt_hash": f"hash {problem}",
        "prompt": f"What is {problem}?",
        "gold": "7",
        "completion_ids": [9] * length,
        "text": "<think>\n7\n</think>\n7",
        "length": length,
        "think_length": length - 4,
        "sampled": length,
        "stop_reason": "eos",
        "finished": True,
        "correct": correct,
        "answer": "7",
    }
    return Sample.model_validate(values | fields)


def labelled(
    problem: int,
    number: int,
    passages: int = 4,
    first: int | None = 0,
    redundant: int = 0,
    overshoot: int = 0,
    **fields: object,
) -> Sample:
    """A correct sample whose thinking a judge has read."""
    labels = {"passages": passages, "first": first, "redundant": redundant, "overshoot": overshoot}
    return sample(problem, number, **({"labels": labels, "reflections": 2} | fields))


def given_up(problem: int, number: int, length: int = 20) -> Sample:
    """A sample that the engine gave up."""
    return sample(problem, number, None, length, answer=None, finished=False, stop_reason="aborted")


def grid(
    num_problems: int, num_samples: int, correct: Callable[[int, int], int | None], length: Callable[[int, int], int]
) -> list[Sample]:
    """A sample for each (problem, number), by functions of the two."""
    pairs = [(p, k) for p in range(num_problems) for k in range(num_samples)]
    return [sample(p, k, correct(p, k), length(p, k)) for p, k in pairs]


def write_evaluation(
    folder: Path,
    baseline: Sequence[Sample] | None,
    *models: tuple[str, Sequence[Sample]],
    problems: int,
    samples: int,
    **measurement: Any,
) -> Manifest:
    """A finished evaluation's folder; the same label several times makes several runs."""
    labels = [label for label, _ in models]
    runs = tuple(ModelRun(label=n, run=labels[:i].count(n), model=f"runs/{n}{i}") for i, n in enumerate(labels))
    base = None if baseline is None else ModelRun(label="baseline", model="tiny:base")
    settings = {"task": "rows.jsonl", "max_tokens": 512, **measurement, "problems": problems, "samples": samples}
    manifest = Manifest(
        measurement=Measurement(**settings),
        models=runs,
        baseline=base,
        num_problems=problems,
        num_dropped=0,
        versions={"torch": "2.13.0"},
    )
    claim_folder(folder, manifest)
    for run, content in zip(runs, [content for _, content in models], strict=True):
        append_samples(run.samples_path(folder), content)
    if base is not None:
        append_samples(base.samples_path(folder), baseline or ())
    return manifest


class ScriptedEngine:
    """Thinks for a while that its seeds decide, then answers 7 or 8.

    Attributes:
        calls: the requests of each call of `generate`.
        fail_at: number of the call that raises, as an interruption would.
        alone: whether a row's draws depend on its own seed alone, as with vLLM, or on those of the whole batch.
        stop_after: completions that are handed on before a call is interrupted.
    """

    def __init__(self, fail_at: int | None = None, alone: bool = False, stop_after: int | None = None) -> None:
        self.tokenizer, self.eos_token_ids = TOKENIZER, [TOKENIZER.eos_token_id]
        self.calls: list[list[Request]] = []
        self.fail_at, self.alone, self.stop_after = fail_at, alone, stop_after

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`."""
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(list(asked.requests))
        whole = random.Random(derive_seed(*[request.seed or 0 for request in asked.requests]))
        completions = [
            self._complete(random.Random(request.seed) if self.alone else whole, request.max_tokens)
            for request in asked.requests
        ]
        if asked.landed:
            self._land(asked.landed, completions)
        return obey(asked.give_up, completions) if asked.give_up else completions

    def _land(self, landed: Landed, completions: Sequence[Completion]) -> None:
        """Hand completions on, the last first."""
        for number, i in enumerate(reversed(range(len(completions)))):
            if number == self.stop_after:
                raise KeyboardInterrupt
            landed(i, completions[i])

    def _complete(self, rng: random.Random, max_tokens: int) -> Completion:
        text = "<think>" + " wait" * rng.randint(1, 30) + "</think>" + rng.choice(["7", "8"])
        ids = [*self.tokenizer.encode(text, add_special_tokens=False), *self.eos_token_ids]
        if len(ids) > max_tokens:
            return Completion(ids[:max_tokens], StopReason.LENGTH)
        return Completion(ids, StopReason.EOS)


def obey(give_up: ShortestOnly, completions: Sequence[Completion]) -> list[Completion]:
    """What is left of completions that grow side by side, a token at a time."""
    left = list(completions)
    for i in sorted(range(len(left)), key=lambda i: len(left[i].ids)):
        cap = give_up.cap(i)
        if len(left[i].ids) > cap:
            left[i] = Completion(left[i].ids[: int(cap)], StopReason.ABORTED)
        else:
            give_up.end(i, len(left[i].ids))
    return left
