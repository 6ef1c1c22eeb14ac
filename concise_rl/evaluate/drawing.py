"""Drawing: from the problems of a measurement to one model's samples, by the collector that training samples with."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from concise_rl.evaluate.engines import EvalEngine, context_of
from concise_rl.evaluate.labels import ReadThinking, ThinkingReader
from concise_rl.evaluate.problems import check_room, check_same_prompts, encode_problems
from concise_rl.evaluate.progress import Progress
from concise_rl.evaluate.samples import Sample, append_samples
from concise_rl.evaluate.spec import Measurement
from concise_rl.evaluate.to_samples import Place, to_samples
from concise_rl.labels.judges import Judge
from concise_rl.methods import Delimiters, Parallel, Plan, Rollout, ThinkingBudget, Tools
from concise_rl.rollout.collect import Collector
from concise_rl.rollout.engine import Completion, Landed, Sampling, derive_seed
from concise_rl.rollout.engine import Progress as Told
from concise_rl.rollout.exits import ExitTools, exit_of, plan_exit
from concise_rl.rollout.plans.plan import as_rollout
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.verify.pool import VerifierPool

WRITE_EVERY_S = 60.0
"""How often the samples that have ended are graded and written while others are drawn."""


@dataclass(frozen=True)
class Drawing:
    """Hold what it takes to draw the samples of one model.

    Attributes:
        engine: holds the model.
        measurement: says how to draw.
        collector: samples and grades.
        reader: reads the thinking of right samples; None where nobody does.
    """

    engine: EvalEngine
    measurement: Measurement
    collector: Collector
    reader: ThinkingReader | None

    @classmethod
    def of(
        cls,
        engine: EvalEngine,
        measurement: Measurement,
        verifier: VerifierPool,
        judge: Judge | None = None,
        exit_name: str | None = None,
    ) -> "Drawing":
        """Set up the drawing.

        Args:
            engine: holds the model.
            measurement: says how to draw.
            verifier: grades.
            judge: reads the thinking; None for nobody.
            exit_name: what stops the thinking, as `--exit` has it; None for nothing.

        Raises:
            ValueError: when the tokenizer cannot write the measurement's delimiter or the exit's texts, or has no words
                to cut chunks at.
        """
        tokenizer = engine.tokenizer
        delimiters = Delimiters.of(tokenizer, engine.eos_token_ids, measurement.think_end)
        plan = plan_of(measurement, delimiters, tokenizer, exit_name)
        collector = Collector(engine, plan, sampling_of(measurement), delimiters, tokenizer, verifier)
        reader = ThinkingReader.of(judge, tokenizer, delimiters) if judge else None
        return cls(engine, measurement, collector, reader)

    @property
    def lands(self) -> bool:
        """Say whether a sample is what an engine completes, whatever becomes of the others."""
        plain = isinstance(self.collector.plan, Parallel) and self.measurement.keep_shortest is None
        return plain and self.measurement.draws_alone

    def sample(self, places: Sequence[Place], told: Told, landed: Landed | None = None) -> list[Rollout]:
        """Sample one rollout for each place.

        Args:
            places: problem and number of each.
            told: hears of those that end.
            landed: is handed completions as they end, where `lands`.
        """
        seeds = [seed_of(self.measurement, problem.index, number) for problem, number in places]
        prompt_ids = [problem.prompt_ids for problem, _ in places]
        give_up = give_up_of(places, self.measurement)
        return self.collector.sample(prompt_ids, self.measurement.max_tokens, seeds, give_up, told, landed)

    def read(self, places: Sequence[Place], rollouts: Sequence[Rollout]) -> list[Sample]:
        """Grade rollouts, read their thinking, and make samples of them."""
        problems = [problem for problem, _ in places]
        judged = self.collector.judge([one.row for one in problems], [one.prompt_ids for one in problems], rollouts)
        if self.reader:
            judged = ReadThinking(self.reader)(judged, Tools(self.collector.delimiters, self.collector.tokenizer))
        return to_samples(places, judged, self.collector.tokenizer)

    def complete(self, batch: Sequence[Place], path: Path, progress: Progress, bar: tqdm) -> None:
        """Draw the samples of a batch that are missing, and append them."""
        missing = {place for place in batch if (place[0].index, place[1]) not in progress.prompt_hashes}
        if not missing:
            return
        places = places_to_draw(batch, missing, self.measurement)
        began, writer = time.perf_counter(), Writer(self, places, missing, path, progress)
        rollouts = self.sample(places, bar.update, writer.land if self.lands else None)
        tokens_per_s = sum(rollout.sampled for rollout in rollouts) / (time.perf_counter() - began)
        writer.write(dict(enumerate(rollouts)))
        bar.n = len(progress.prompt_hashes)
        bar.set_postfix({"tokens/s": f"{tokens_per_s:.0f}", **progress.summary()})


class Writer:
    """Appends the samples of a batch: while they are drawn, those that have ended, so that an interruption loses no
    more than a minute of them."""

    def __init__(
        self, drawing: Drawing, places: Sequence[Place], missing: Collection[Place], path: Path, progress: Progress
    ) -> None:
        """
        Args:
            drawing: reads them.
            places: problem and number of each that is drawn.
            missing: those that are not written yet.
            path: of the file.
            progress: counts them.
        """
        self.drawing, self.places, self.path, self.progress = drawing, places, path, progress
        self.missing, self.ended = set(missing), {}
        self.written_at = time.monotonic()

    def land(self, i: int, completion: Completion) -> None:
        """Take in the completion of a place, and write when the time has come."""
        self.ended[i] = as_rollout(completion)
        if time.monotonic() - self.written_at >= WRITE_EVERY_S:
            self.write(self.ended)
            self.ended, self.written_at = {}, time.monotonic()

    def write(self, rollouts: Mapping[int, Rollout]) -> None:
        """Append the samples of rollouts, given by their place; those that are written already stay as they are."""
        new = [i for i in sorted(rollouts) if self.places[i] in self.missing]
        if new:
            samples = self.drawing.read([self.places[i] for i in new], [rollouts[i] for i in new])
            append_samples(self.path, samples)
            self.progress.add(samples)
            self.missing -= {self.places[i] for i in new}


def complete_samples(drawing: Drawing, rows: Dataset, path: Path, progress: Progress) -> None:
    """Draw the samples that are missing in `path` and append them, batch by batch. An interrupted evaluation so ends
    with the samples that an uninterrupted one draws.

    Raises:
        ValueError: when samples in `path` were drawn from other prompts, or a prompt does not fit beside the cap.
    """
    measurement = drawing.measurement
    problems = encode_problems(rows, drawing.engine.tokenizer, measurement)
    check_same_prompts(problems, progress.prompt_hashes, path)
    check_room(problems, context_of(drawing.engine), measurement.max_tokens)
    places = [(problem, number) for problem in problems for number in range(measurement.samples)]
    with tqdm(desc=progress.title, total=progress.total, initial=len(progress.prompt_hashes), unit="sample") as bar:
        for start in range(0, len(places), measurement.batch_size):
            drawing.complete(places[start : start + measurement.batch_size], path, progress, bar)
    if drawing.reader:
        drawing.reader.warn_if_unsure(progress.title)


def plan_of(
    measurement: Measurement, delimiters: Delimiters, tokenizer: PreTrainedTokenizerBase, exit_name: str | None = None
) -> Plan:
    """Return how the completions come about.

    Raises:
        ValueError: for an exit that is not there, or whose texts the tokenizer cannot write, or a cap too low for it.
    """
    if exit_name is not None:
        plan = plan_exit(exit_of(exit_name), ExitTools(delimiters, tokenizer))
        plan.check_cap(measurement.max_tokens)
        return plan
    if measurement.think_budget is None or measurement.answer_budget is None:
        return Parallel()
    return ThinkingBudget(measurement.think_budget, measurement.answer_budget, delimiters)


def sampling_of(measurement: Measurement) -> Sampling:
    """Return how tokens are drawn."""
    return Sampling(temperature=measurement.temperature, top_p=measurement.top_p, top_k=measurement.top_k)


def seed_of(measurement: Measurement, problem: int, number: int) -> int:
    """Return the seed of a sample's draws, by the numbers of its problem and its own."""
    return derive_seed(measurement.seed, problem, number)


def places_to_draw(batch: Sequence[Place], missing: Collection[Place], measurement: Measurement) -> list[Place]:
    """Choose the samples of a batch to draw so that those missing come out as they would have at first.

    With transformers all of them: the same batch gives the same bits. With vLLM those missing; whole problems, where a
    sample may be given up for the others of its problem.
    """
    if not measurement.draws_alone:
        return list(batch)
    if measurement.keep_shortest is None:
        return [place for place in batch if place in missing]
    incomplete = {problem.index for problem, _ in missing}
    return [place for place in batch if place[0].index in incomplete]


def give_up_of(places: Sequence[Place], measurement: Measurement) -> ShortestOnly | None:
    """Say what the engine may give up: samples that end too late to have a say in their problem's answer."""
    if measurement.keep_shortest is None:
        return None
    return ShortestOnly(measurement.keep_shortest, lambda request: places[request][0].index)
