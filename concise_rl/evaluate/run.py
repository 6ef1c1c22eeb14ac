"""Sampling: k completions of every problem by every model, written to files batch by batch, resumable at any point."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from datasets import Dataset
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from concise_rl.data import keep_verifiable, load_rows, to_messages
from concise_rl.evaluate.samples import Sample, append_samples, cut_torn_line, hash_prompt, read_samples
from concise_rl.evaluate.spec import EvalSpec, Manifest, Measurement, claim_folder, installed_versions
from concise_rl.evaluate.statistics import MOSTLY_TRUNCATED
from concise_rl.judge import grade
from concise_rl.rollout.engine import Completion, Engine, Sampling
from concise_rl.rollout.transformers_engine import load_engine
from concise_rl.trace import Delimiters, StopReason, read_trace
from concise_rl.verify import VerifierPool

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]


class EvalEngine(Engine, Protocol):
    """An engine that also says how it reads and writes tokens."""

    tokenizer: PreTrainedTokenizerBase
    eos_token_ids: list[int]


@dataclass(frozen=True)
class Problem:
    """A row, ready to be sampled."""

    index: int
    row: Row
    prompt_ids: list[int]
    prompt_hash: str
    oracle_length: int | None


def evaluate(
    spec: EvalSpec, out: Path, overwrite: bool = False, load: Callable[..., EvalEngine] = load_engine
) -> Manifest:
    """Sample every model of `spec` into `out`; what an earlier call has already written there is kept.

    Args:
        spec: what to evaluate.
        out: folder of this evaluation, made if need be.
        overwrite: delete the samples and reports in `out` first.
        load: makes an engine from a model's name and `batch_size`.

    Returns:
        What the folder holds.

    Raises:
        ValueError: when `out` holds another measurement, a file there is corrupt, or the problems cannot be used.
    """
    measurement = spec.measurement
    rows = load_rows(
        measurement.task,
        split=measurement.split,
        num_rows=measurement.problems,
        seed=measurement.seed,
        prompt_column=measurement.prompt_column,
        answer_column=measurement.answer_column,
    )
    with VerifierPool(measurement.verifier) as pool:
        rows, dropped = keep_verifiable(rows, pool)
        found = Manifest(
            measurement=measurement,
            models=spec.models,
            baseline=spec.baseline,
            num_problems=len(rows),
            num_dropped=dropped,
            versions=installed_versions(),
        )
        manifest = claim_folder(out, found, overwrite)
        for run in spec.runs:
            path = run.samples_path(out)
            cut_torn_line(path)
            progress = Progress(run.title, len(rows) * measurement.samples)
            progress.add(read_samples(path))
            if progress.missing:
                engine = load(run.model, batch_size=measurement.batch_size)
                complete_samples(engine, rows, measurement, path, pool, progress)
            progress.warn_if_truncated(measurement.max_tokens)
    return manifest


@dataclass
class Progress:
    """Which samples there are, and what is worth watching about them."""

    title: str
    total: int
    prompt_hashes: dict[tuple[int, int], str] = field(default_factory=dict)
    tokens: int = 0
    correct: int = 0
    judged: int = 0
    truncated: int = 0

    @property
    def missing(self) -> int:
        """Samples still to be drawn."""
        return self.total - len(self.prompt_hashes)

    def add(self, samples: Iterable[Sample]) -> None:
        """Count samples that are on disk."""
        for sample in samples:
            self.prompt_hashes[sample.problem, sample.sample] = sample.prompt_hash
            self.tokens += sample.length
            self.correct += sample.correct or 0
            self.judged += sample.correct is not None
            self.truncated += sample.stop_reason == StopReason.LENGTH.label

    def summary(self) -> dict[str, str]:
        """The numbers beside the progress bar."""
        return {
            "tokens": f"{self.tokens / max(1, len(self.prompt_hashes)):.1f}",
            "accuracy": f"{self.correct / max(1, self.judged):.1%}",
        }

    def warn_if_truncated(self, max_tokens: int) -> None:
        """Say so loudly when most completions never came to their end: their accuracy and length say little."""
        if self.truncated > MOSTLY_TRUNCATED * len(self.prompt_hashes):
            logger.warning(
                "%s: %d of %d samples hit the cap of %d tokens. They count as they are: mostly without an answer, "
                "and no longer than the cap. Raise --max-tokens for numbers that mean something.",
                self.title, self.truncated, len(self.prompt_hashes), max_tokens,
            )  # fmt: skip


def complete_samples(
    engine: EvalEngine,
    rows: Dataset,
    measurement: Measurement,
    path: Path,
    verifier: VerifierPool,
    progress: Progress,
) -> None:
    """Draw the samples that are missing in `path` and append them, batch by batch.

    A batch of which any sample is missing is drawn again as a whole, with its own seed, and only what was missing is
    written: an interrupted evaluation so ends with the samples that an uninterrupted one draws.

    Raises:
        ValueError: when samples in `path` were drawn from other prompts.
    """
    problems = encode_problems(rows, engine.tokenizer, measurement)
    _check_prompts(problems, progress, path)
    delimiters = Delimiters.of(engine.tokenizer, engine.eos_token_ids, measurement.think_end)
    wanted = [(problem, number) for problem in problems for number in range(measurement.samples)]
    with tqdm(desc=progress.title, total=progress.total, initial=len(progress.prompt_hashes), unit="sample") as bar:
        for batch, start in enumerate(range(0, len(wanted), measurement.batch_size)):
            pairs = wanted[start : start + measurement.batch_size]
            missing = {(problem.index, number) for problem, number in pairs} - progress.prompt_hashes.keys()
            if not missing:
                continue
            began = time.perf_counter()
            sampling = batch_sampling(measurement, batch)
            completions = engine.generate([problem.prompt_ids for problem, _ in pairs], sampling, bar.update)
            tokens_per_s = sum(len(completion.ids) for completion in completions) / (time.perf_counter() - began)
            drawn = [(*pair, completion) for pair, completion in zip(pairs, completions, strict=True)]
            new = [one for one in drawn if (one[0].index, one[1]) in missing]
            samples = make_samples(new, engine.tokenizer, delimiters, verifier)
            append_samples(path, samples)
            progress.add(samples)
            bar.n = len(progress.prompt_hashes)
            bar.set_postfix({"tokens/s": f"{tokens_per_s:.0f}", **progress.summary()})


def batch_sampling(measurement: Measurement, batch: int) -> Sampling:
    """The engine's settings for one batch; its own seed lets it be drawn again alone."""
    seed = int(np.random.SeedSequence([measurement.seed, batch]).generate_state(1)[0])
    return Sampling(measurement.max_tokens, measurement.temperature, measurement.top_p, seed=seed)


def encode_problems(rows: Dataset, tokenizer: PreTrainedTokenizerBase, measurement: Measurement) -> list[Problem]:
    """Write each row as prompt tokens, as training does: by the model's own chat template.

    Raises:
        ValueError: when the tokenizer has no chat template.
    """
    if not tokenizer.chat_template:
        raise ValueError(
            f"The tokenizer of {tokenizer.name_or_path!r} has no chat template, so its prompts cannot be written. Add "
            "a chat_template.jinja to the model's folder."
        )
    conversations = to_messages(rows, measurement.prompt_template, measurement.system_prompt)["prompt"]
    return [
        _encode(i, row, conversation, tokenizer)
        for i, (row, conversation) in enumerate(zip(rows, conversations, strict=True))
    ]


def _encode(index: int, row: Row, messages: list[dict[str, str]], tokenizer: PreTrainedTokenizerBase) -> Problem:
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert isinstance(text, str), "one conversation is one text"
    ids = tokenizer.encode(text, add_special_tokens=False)
    oracle = row.get("oracle_completion")
    # The EOS that ends a completion is one of its tokens.
    oracle_length = len(tokenizer.encode(oracle, add_special_tokens=False)) + 1 if oracle else None
    return Problem(index, row, ids, hash_prompt(ids), oracle_length)


def _check_prompts(problems: Sequence[Problem], progress: Progress, path: Path) -> None:
    for (problem, sample), prompt_hash in progress.prompt_hashes.items():
        if problem >= len(problems) or problems[problem].prompt_hash != prompt_hash:
            raise ValueError(
                f"{path}: problem {problem}, sample {sample} was drawn from another prompt than the task has now. "
                "The data or the chat template has changed: use another --out, or --overwrite."
            )


def make_samples(
    drawn: Sequence[tuple[Problem, int, Completion]],
    tokenizer: PreTrainedTokenizerBase,
    delimiters: Delimiters,
    verifier: VerifierPool,
) -> list[Sample]:
    """Read and judge completions: (problem, number of the sample, completion)."""
    traces = [read_trace(completion.ids, delimiters) for *_, completion in drawn]
    verdicts = grade(traces, [problem.row for problem, *_ in drawn], tokenizer, verifier)
    return [
        Sample(
            problem=problem.index,
            sample=number,
            prompt_hash=problem.prompt_hash,
            prompt=problem.row["prompt"],
            gold=problem.row["answer"],
            completion_ids=list(completion.ids),
            text=_text(tokenizer, completion.ids[: trace.length - trace.finished]),
            length=trace.length,
            think_length=trace.think_length,
            stop_reason=completion.stop_reason.label,
            finished=trace.finished,
            correct=None if verdict is None else int(verdict == 1),
            answer=None if trace.answer_ids is None else _text(tokenizer, trace.answer_ids, skip_special_tokens=True),
            difficulty=problem.row.get("difficulty"),
            oracle_length=problem.oracle_length,
        )
        for (problem, number, completion), trace, verdict in zip(drawn, traces, verdicts, strict=True)
    ]


def _text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
    text = tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
    assert isinstance(text, str), "one sequence decodes to one text"
    return text
