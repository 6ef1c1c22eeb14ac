"""Samples made by hand, and an engine that follows a script, for the tests of the evaluation."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from concise_rl.evaluate.samples import Sample, append_samples
from concise_rl.evaluate.spec import Manifest, Measurement, ModelRun, claim_folder
from concise_rl.rollout.engine import Completion, Sampling
from concise_rl.tiny.model import build_tokenizer
from concise_rl.trace import StopReason

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
        "stop_reason": "eos",
        "finished": True,
        "correct": correct,
        "answer": "7",
    }
    return Sample.model_validate(values | fields)


def grid(
    num_problems: int, num_samples: int, correct: Callable[[int, int], int | None], length: Callable[[int, int], int]
) -> list[Sample]:
    """A sample for each (problem, number), by functions of the two."""
    pairs = [(p, k) for p in range(num_problems) for k in range(num_samples)]
    return [sample(p, k, correct(p, k), length(p, k)) for p, k in pairs]


def write_evaluation(
    folder: Path, baseline: Sequence[Sample] | None, *models: tuple[str, Sequence[Sample]], problems: int, samples: int
) -> Manifest:
    """A finished evaluation's folder; the same label several times makes several runs."""
    labels = [label for label, _ in models]
    runs = tuple(ModelRun(label=n, run=labels[:i].count(n), model=f"runs/{n}{i}") for i, n in enumerate(labels))
    base = None if baseline is None else ModelRun(label="baseline", model="tiny:base")
    manifest = Manifest(
        measurement=Measurement(task="rows.jsonl", problems=problems, samples=samples, max_tokens=512),
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
    """Thinks for a while that its seed decides, then answers 7; like a real engine, a row's draw depends on the batch.

    Attributes:
        calls: the number of prompts of each call of `generate`.
        fail_at: number of the call that raises, as an interruption would.
    """

    def __init__(self, fail_at: int | None = None) -> None:
        self.tokenizer, self.eos_token_ids = TOKENIZER, [TOKENIZER.eos_token_id]
        self.calls: list[int] = []
        self.fail_at = fail_at

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, progress: Callable[[int], None] | None = None
    ) -> list[Completion]:
        """See `Engine.generate`."""
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(len(prompts))
        rng = random.Random(sampling.seed)
        return [self._complete(rng, sampling.max_tokens) for _ in prompts]

    def _complete(self, rng: random.Random, max_tokens: int) -> Completion:
        text = "<think>" + " wait" * rng.randint(1, 30) + "</think>" + rng.choice(["7", "8"])
        ids = [*self.tokenizer.encode(text, add_special_tokens=False), *self.eos_token_ids]
        if len(ids) > max_tokens:
            return Completion(ids[:max_tokens], StopReason.LENGTH)
        return Completion(ids, StopReason.EOS)
