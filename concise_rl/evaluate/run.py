"""Sampling: k completions of every problem by every model, written to files batch by batch, resumable at any point."""

import logging
import time
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from concise_rl.data.rows import columns_read, keep_verifiable, listing, to_messages
from concise_rl.evaluate.engines import EvalEngine, context_of, open_engine
from concise_rl.evaluate.labels import ThinkingReader
from concise_rl.evaluate.rows import measured_rows
from concise_rl.evaluate.samples import Sample, append_samples, cut_torn_line, hash_prompt, read_samples
from concise_rl.evaluate.spec import EvalSpec, Manifest, Measurement, ModelRun, claim_folder, installed_versions
from concise_rl.evaluate.statistics import MOSTLY_TRUNCATED
from concise_rl.evaluate.training import record_trainings
from concise_rl.labels.judges import Judge, Passage, build_judge, judge_options
from concise_rl.reading.passages import count_cues
from concise_rl.reading.trace import Delimiters, StopReason, Trace, read_trace
from concise_rl.rollout.engine import Asked, Request, Sampling, derive_seed
from concise_rl.rollout.plans.budget import ThinkingBudget
from concise_rl.rollout.plans.plan import Parallel, Plan, Rollout
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.verify.grade import answer_text, earned, grade
from concise_rl.verify.pool import VerifierPool

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]
OpenEngine = Callable[[str, Measurement], AbstractContextManager[EvalEngine]]


@dataclass(frozen=True, eq=False)
class Problem:
    """A row, ready to be sampled. Itself and no other, so that it can be a key."""

    index: int
    row: Row
    prompt_ids: list[int]
    prompt_hash: str
    oracle_length: int | None


Place = tuple[Problem, int]
"""A problem, and the number of a sample among its samples."""


def evaluate(spec: EvalSpec, out: Path, overwrite: bool = False, load: OpenEngine = open_engine) -> Manifest:
    """Sample every model of `spec` into `out`; what an earlier call has already written there is kept.

    Args:
        spec: what to evaluate.
        out: folder of this evaluation, made if need be.
        overwrite: delete the samples and reports in `out` first.
        load: opens the engine for a model's name under a measurement.

    Returns:
        What the folder holds.

    Raises:
        ValueError: when `out` holds another measurement, a file there is corrupt, the problems cannot be used, or one
            server is to sample several models, or for an unknown judge or option of it.
    """
    measurement = spec.measurement
    if measurement.judge is not None:
        judge_options(measurement.judge, measurement.judge_options)
    judges = [measurement.judge] if measurement.judge else []
    rows = measured_rows(measurement, columns_read(measurement.verifier, *judges))
    with VerifierPool(measurement.verifier) as pool:
        rows, dropped = keep_verifiable(rows, pool)
        found = Manifest(
            measurement=measurement,
            models=spec.models,
            baseline=spec.baseline,
            num_problems=len(rows),
            num_dropped=dropped,
            versions=installed_versions(measurement.engine),
        )
        if measurement.is_served:
            _check_one_model(spec, out, len(rows) * measurement.samples, overwrite)
        manifest = claim_folder(out, found, overwrite)
        for run in spec.runs:
            _sample_run(run, rows, measurement, run.samples_path(out), pool, load)
    record_trainings(out, manifest)
    return manifest


def _check_one_model(spec: EvalSpec, out: Path, total: int, overwrite: bool) -> None:
    """A server holds one model."""
    there = {run: 0 if overwrite else sum(1 for _ in read_samples(run.samples_path(out))) for run in spec.runs}
    unfinished = [run.title for run in spec.runs if there[run] < total]
    if len(unfinished) > 1:
        raise ValueError(
            f"The server at {spec.measurement.engine} holds one model, and samples are missing of {len(unfinished)}: "
            f"{', '.join(unfinished)}. Give one of them alone; then serve the next, and add it to the same command."
        )


def _sample_run(
    run: ModelRun, rows: Dataset, measurement: Measurement, path: Path, pool: VerifierPool, load: OpenEngine
) -> None:
    """Draw what is missing of one model. The engine is gone when this returns."""
    cut_torn_line(path)
    progress = Progress(run.title, len(rows) * measurement.samples)
    progress.add(read_samples(path))
    if progress.missing:
        with open_judge(measurement, rows[0], pool) as judge, load(run.model, measurement) as engine:
            complete_samples(engine, rows, measurement, path, pool, progress, judge)
    progress.warn_if_truncated(measurement.max_tokens)


@contextmanager
def open_judge(measurement: Measurement, row: Row, pool: VerifierPool) -> Generator[Judge | None]:
    """The measurement's judge, where it has one; it is let go of afterwards.

    Raises:
        ValueError: when it cannot be had, or cannot judge such rows.
    """
    if measurement.judge is None:
        yield None
        return
    with closing(build_judge(measurement.judge, measurement.judge_options, pool)) as judge:
        judge.states([Passage(row, "", 0, 0)])  # a judge that knows nothing of such rows says so before any is sampled
        yield judge


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
    judge: Judge | None = None,
) -> None:
    """Draw the samples that are missing in `path` and append them, batch by batch. An interrupted evaluation so ends
    with the samples that an uninterrupted one draws.

    Raises:
        ValueError: when samples in `path` were drawn from other prompts, or a prompt does not fit beside the cap.
    """
    problems = encode_problems(rows, engine.tokenizer, measurement)
    _check_prompts(problems, progress, path)
    _check_room(problems, context_of(engine), measurement.max_tokens)
    delimiters = Delimiters.of(engine.tokenizer, engine.eos_token_ids, measurement.think_end)
    reader = ThinkingReader.of(judge, engine.tokenizer, delimiters) if judge else None
    plan = plan_of(measurement, delimiters)
    sampling = Sampling(temperature=measurement.temperature, top_p=measurement.top_p)
    places = [(problem, number) for problem in problems for number in range(measurement.samples)]
    with tqdm(desc=progress.title, total=progress.total, initial=len(progress.prompt_hashes), unit="sample") as bar:
        for start in range(0, len(places), measurement.batch_size):
            batch = places[start : start + measurement.batch_size]
            missing = {place for place in batch if (place[0].index, place[1]) not in progress.prompt_hashes}
            if not missing:
                continue
            drawn = places_to_draw(batch, missing, measurement)
            began = time.perf_counter()
            requests, give_up = requests_of(drawn, measurement), give_up_of(drawn, measurement)
            rollouts = plan.rollouts(engine, Asked(requests, sampling, bar.update, give_up))
            tokens_per_s = sum(rollout.sampled for rollout in rollouts) / (time.perf_counter() - began)
            new = [(*place, rollout) for place, rollout in zip(drawn, rollouts, strict=True) if place in missing]
            samples = make_samples(new, engine.tokenizer, delimiters, verifier, reader)
            append_samples(path, samples)
            progress.add(samples)
            bar.n = len(progress.prompt_hashes)
            bar.set_postfix({"tokens/s": f"{tokens_per_s:.0f}", **progress.summary()})
    if reader:
        reader.warn_if_unsure(progress.title)


def plan_of(measurement: Measurement, delimiters: Delimiters) -> Plan:
    """How the completions come about."""
    if measurement.think_budget is None or measurement.answer_budget is None:
        return Parallel()
    return ThinkingBudget(measurement.think_budget, measurement.answer_budget, delimiters)


def places_to_draw(batch: Sequence[Place], missing: Collection[Place], measurement: Measurement) -> list[Place]:
    """The samples of a batch to draw so that those missing come out as they would have at first.

    With transformers all of them: the same batch gives the same bits. With vLLM those missing; whole problems, where a
    sample may be given up for the others of its problem.
    """
    if not measurement.draws_alone:
        return list(batch)
    if measurement.keep_shortest is None:
        return [place for place in batch if place in missing]
    incomplete = {problem.index for problem, _ in missing}
    return [place for place in batch if place[0].index in incomplete]


def requests_of(places: Sequence[Place], measurement: Measurement) -> list[Request]:
    """What the engine is asked for; each sample has a seed of its own."""
    return [
        Request(problem.prompt_ids, measurement.max_tokens, derive_seed(measurement.seed, problem.index, number))
        for problem, number in places
    ]


def give_up_of(places: Sequence[Place], measurement: Measurement) -> ShortestOnly | None:
    """Say what the engine may give up: samples that end too late to have a say in their problem's answer."""
    if measurement.keep_shortest is None:
        return None
    return ShortestOnly(measurement.keep_shortest, lambda request: places[request][0].index)


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
        _encode(i, row, conversation, tokenizer, measurement.chat_template_kwargs or {})
        for i, (row, conversation) in enumerate(zip(rows, conversations, strict=True))
    ]


def _encode(
    index: int, row: Row, messages: list[dict[str, str]], tokenizer: PreTrainedTokenizerBase, more: Mapping[str, Any]
) -> Problem:
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **more)
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


def _check_room(problems: Sequence[Problem], context: int | None, max_tokens: int) -> None:
    """
    Raises:
        ValueError: when the engine cannot take a prompt and a completion of `max_tokens`. None is left out: a benchmark
            without its longest problems is another one.
    """
    longest = max(len(problem.prompt_ids) for problem in problems)
    if context is None or longest + max_tokens <= context:
        return
    long = [problem for problem in problems if len(problem.prompt_ids) + max_tokens > context]
    examples = [f"row {one.index}: {len(one.prompt_ids)} tokens: {one.row['prompt'][:100]!r}" for one in long]
    what = f"{len(long)} of {len(problems)} prompts do not fit beside a cap of {max_tokens} tokens in {context}"
    advice = f"Lower --max-tokens to {context - longest}" if longest < context else "Leave these rows out"
    raise ValueError(listing(what, examples) + f"\n{advice}, or sample with a longer context.")


def make_samples(
    drawn: Sequence[tuple[Problem, int, Rollout]],
    tokenizer: PreTrainedTokenizerBase,
    delimiters: Delimiters,
    verifier: VerifierPool,
    reader: ThinkingReader | None = None,
) -> list[Sample]:
    """Read and judge completions: (problem, number of the sample, rollout). What was given up is not judged."""
    traces = [_read(rollout, delimiters) for *_, rollout in drawn]
    rows = [problem.row for problem, *_ in drawn]
    verdicts = [earned(*pair) for pair in zip(grade(traces, rows, tokenizer, verifier), traces, strict=True)]
    ids = [rollout.ids for *_, rollout in drawn]
    labels = reader.read(rows, ids, traces, verdicts) if reader else [None] * len(drawn)
    return [
        Sample(
            problem=problem.index,
            sample=number,
            prompt_hash=problem.prompt_hash,
            prompt=problem.row["prompt"],
            gold=problem.row["answer"],
            completion_ids=list(rollout.ids),
            text=_text(tokenizer, rollout.ids[: trace.length - trace.finished]),
            length=trace.length,
            think_length=trace.think_length,
            sampled=rollout.sampled,
            stop_reason=rollout.stop_reason.label,
            finished=trace.finished,
            correct=None if verdict is None or _given_up(rollout) else int(verdict == 1),
            answer=None if trace.answer_ids is None else answer_text(trace.answer_ids, tokenizer),
            difficulty=problem.row.get("difficulty"),
            oracle_length=problem.oracle_length,
            reflections=None if _given_up(rollout) else _cues(tokenizer, rollout.ids[: trace.think_length]),
            labels=labelled,
        )
        for (problem, number, rollout), trace, verdict, labelled in zip(drawn, traces, verdicts, labels, strict=True)
    ]


def _cues(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> int:
    return count_cues(_text(tokenizer, ids)).total()


def _given_up(rollout: Rollout) -> bool:
    return rollout.stop_reason is StopReason.ABORTED


def _read(rollout: Rollout, delimiters: Delimiters) -> Trace:
    """The trace; what was given up has no answer, however far it came."""
    trace = read_trace(rollout.ids, delimiters)
    return replace(trace, answer_ids=None) if _given_up(rollout) else trace


def _text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    text = tokenizer.decode(list(ids))
    assert isinstance(text, str), "one sequence decodes to one text"
    return text
