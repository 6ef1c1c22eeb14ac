"""Open an evaluation's folder for probing: whose samples are looked at, and whether they still are what they were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from concise_rl.data.rows import columns_read, keep_verifiable
from concise_rl.evaluate.evaluation import Evaluation, read_evaluation
from concise_rl.evaluate.problems import Problem, check_same_prompts, encode_problems
from concise_rl.evaluate.rows import measured_rows
from concise_rl.evaluate.samples import Sample, read_samples
from concise_rl.evaluate.spec import BASELINE, Manifest, Measurement, ModelRun, fingerprint
from concise_rl.models.eos import load_tokenizer
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import Delimiters
from concise_rl.rollout.exits.tools import ExitTools
from concise_rl.verify.pool import VerifierPool


@dataclass(frozen=True)
class Probed:
    """What is probed: the full samples of one label.

    Attributes:
        evaluation: the folder.
        label: whose thinking is looked at.
        runs: its models, each with its samples in the order of problem and sample.
        tools: what policies read thinking with.
    """

    evaluation: Evaluation
    label: str
    runs: Mapping[ModelRun, Sequence[Sample]]
    tools: ExitTools

    @property
    def measurement(self) -> Measurement:
        """Return how the samples were drawn."""
        return self.evaluation.manifest.measurement


def open_probed(folder: Path, label: str | None = None) -> Probed:
    """Read a folder whose thinking is to be looked at.

    Args:
        folder: that `concise-rl eval` wrote.
        label: whose samples; None for the baseline, or without one for the first label.

    Raises:
        ValueError: when samples are missing or no thinking can be cut in them, the label is not there, or its model
            has gone or changed.
    """
    evaluation = read_evaluation(folder)
    manifest = evaluation.manifest
    refuse_cut_samples(manifest.measurement)
    runs = runs_of(manifest, label)
    for run in runs:
        check_unchanged(run)
    drawn = {run: sorted_samples(evaluation.paths[run]) for run in runs}
    source = (manifest.measurement.revision, manifest.measurement.trust_remote_code)
    tokenizer, ends = load_tokenizer(resolve_model(runs[0].model), *source)
    tools = ExitTools(Delimiters.of(tokenizer, ends, manifest.measurement.think_end), tokenizer)
    return Probed(evaluation, runs[0].label, drawn, tools)


def refuse_cut_samples(measurement: Measurement) -> None:
    """
    Raises:
        ValueError: for samples that are no full ones: an exit is tried on thinking that came to its own end.
    """
    if measurement.think_end is None:
        raise ValueError("The model does not think (think_end is empty): there is nothing to stop early.")
    for name in ("think_budget", "keep_shortest"):
        if getattr(measurement, name) is not None:
            flag = name.replace("_", "-")
            raise ValueError(f"The samples were cut by --{flag}: evaluate without it, and try exits on those samples.")


def runs_of(manifest: Manifest, label: str | None) -> list[ModelRun]:
    """Return the runs of a label.

    Raises:
        ValueError: when there is none of that name, or its samples were drawn with an exit policy.
    """
    named = label or (BASELINE if manifest.baseline else next((r.label for r in manifest.runs if not r.exit), BASELINE))
    runs = [run for run in manifest.runs if run.label == named]
    if not runs:
        known = ", ".join(dict.fromkeys(run.label for run in manifest.runs))
        raise ValueError(f"There is no label {named!r} in the folder; it has {known}.")
    if cut := next((run.exit for run in runs if run.exit), None):
        raise ValueError(f"The samples of {named} were drawn with --exit {cut}: choose a label of full samples.")
    return runs


def check_unchanged(run: ModelRun) -> None:
    """
    Raises:
        ValueError: when the model is gone, or its folder holds other weights than drew the samples.
    """
    now = fingerprint(run.model)
    if now != run.fingerprint:
        raise ValueError(
            f"{run.model} has changed since it drew the samples of {run.title} ({run.fingerprint} then, {now} now): "
            "its probes would be another model's. Evaluate it again, with --overwrite or another --out."
        )


def sorted_samples(path: Path) -> list[Sample]:
    """Read samples by problem and number.

    Raises:
        ValueError: for samples without token ids, in which no place can be found.
    """
    samples = sorted(read_samples(path), key=lambda one: (one.problem, one.sample))
    if any(one.completion_ids is None for one in samples):
        raise ValueError(
            f"{path} was imported without token ids: no exit can be tried on it. Evaluate the model with "
            "`concise-rl eval`."
        )
    return samples


def problems_of(probed: Probed, verifier: VerifierPool) -> list[Problem]:
    """Write the problems as prompt tokens again.

    Raises:
        ValueError: when the data or the chat template has changed since the samples were drawn.
    """
    measurement, manifest = probed.measurement, probed.evaluation.manifest
    columns = columns_read(measurement.verifier) if measurement.prompts is None else None
    rows, _ = keep_verifiable(measured_rows(measurement, columns), verifier)
    if len(rows) != manifest.num_problems:
        raise ValueError(
            f"{measurement.task} has {len(rows)} problems now, {manifest.num_problems} when it was sampled: the data "
            "has changed. Evaluate again into another folder."
        )
    problems = encode_problems(rows, probed.tools.tokenizer, measurement)
    for run, samples in probed.runs.items():
        hashes = {(one.problem, one.sample): one.prompt_hash for one in samples}
        check_same_prompts(problems, hashes, probed.evaluation.paths[run])
    return problems
