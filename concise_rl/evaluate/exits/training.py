"""Train LYNX's probe on a folder's own forced answers, and measure on held-out problems what it promises.

Axes: N places.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from concise_rl.evaluate.engines import EvalEngine, open_engine
from concise_rl.evaluate.exits.asking import Prober, Subject
from concise_rl.evaluate.exits.probing import keep, thinking_of
from concise_rl.evaluate.exits.store import Known, Place, known_probes, probes_path
from concise_rl.evaluate.exits.subjects import Probed, open_probed, problems_of
from concise_rl.evaluate.run import OpenEngine
from concise_rl.files import drop_torn_line
from concise_rl.rollout.engine import HiddenEngine
from concise_rl.rollout.exits.hidden_probe import HiddenProbe, published_layers, train_probe, write_probe
from concise_rl.rollout.exits.lynx import CUES, Lynx, cue_tokens
from concise_rl.verify.pool import VerifierPool

TRAINING, CALIBRATION = 0.5, 0.25
"""Shares of the problems that train and calibrate; the others are held out, and measure."""


@dataclass(frozen=True)
class Places:
    """Places before cue words, and what their forced answers are worth.

    Attributes:
        hidden_ND: hidden states of the cue words.
        right_N: verdicts.
        problem_N: number of the problem of each.
    """

    hidden_ND: Tensor
    right_N: Tensor
    problem_N: Tensor


@dataclass(frozen=True)
class Coverage:
    """What a probe promises at one `delta`, and what held-out places say. None where there are no such places.

    Attributes:
        delta: share of each class whose own verdict may be missing from its set.
        right, wrong: share of the right, and wrong, places whose set has their verdict; 1 - `delta` is promised.
        stops: share of the places whose set is {right}.
        precision: share of those that are right.
    """

    delta: float
    right: float | None
    wrong: float | None
    stops: float
    precision: float | None


@dataclass(frozen=True)
class Trained:
    """A trained probe, measured.

    Attributes:
        path: its file.
        layers: that it reads.
        places: how many there were for training, calibration and measuring.
        held_out_right: of those for measuring that are right.
        auc: chance that a right held-out place scores above a wrong one; None without both.
        coverage: at each `delta`.
    """

    path: str
    layers: tuple[int, ...]
    places: tuple[int, int, int]
    held_out_right: int
    auc: float | None
    coverage: tuple[Coverage, ...]

    def to_json(self) -> dict[str, Any]:
        """Return its fields."""
        return asdict(self)


def train_lynx(
    folder: Path,
    out: Path,
    label: str | None = None,
    cues: Sequence[str] = CUES,
    engine: str | None = None,
    seed: int = 0,
    load: OpenEngine = open_engine,
) -> Trained:
    """Force answers before every cue word of a folder's samples, train a probe on them, and measure it.

    Args:
        folder: that `concise-rl eval` wrote; best of a train split, as its problems are seen in training.
        out: where the probe goes.
        label: whose samples; None for the baseline, or the first label.
        cues: words, each one token.
        engine: in place of the one that drew the samples.
        seed: of the split and the first weights.
        load: opens an engine.

    Raises:
        ValueError: when the samples cannot be used, the engine shows no hidden states, or right or wrong places are
            too few.
    """
    probed = open_probed(folder, label)
    if len(probed.runs) > 1:
        raise ValueError(f"{probed.label} has {len(probed.runs)} models: a probe reads one. Choose another --label.")
    (run,) = probed.runs
    measurement = probed.measurement.model_copy(update={"engine": engine} if engine else {})
    with VerifierPool(measurement.verifier) as verifier, load(run.model, measurement) as opened:
        if not isinstance(opened, HiddenEngine):
            raise ValueError(f"--engine {measurement.engine} shows no hidden states: train with --engine transformers.")
        prober = Prober(opened, measurement, probed.tools, verifier)
        layers = layers_of(opened)
        places = gather(probed, prober, cue_tokens(probed.tools, cues), layers)
    role_N = split(places.problem_N, seed)
    learns_N = role_N < 2
    probe = train_probe(
        places.hidden_ND[learns_N],
        places.right_N[learns_N],
        (role_N == 1)[learns_N],
        layers,
        tuple(cue.lower() for cue in cues),
        run.fingerprint or "",
        seed,
    )
    write_probe(probe, out)
    return measure(probe, places, role_N, out)


def layers_of(engine: EvalEngine) -> tuple[int, ...]:
    """Return the layers that are read of an engine's model."""
    model: Any = getattr(engine, "model")  # noqa: B009  # engines that show hidden states have one
    return published_layers(model.config.get_text_config().num_hidden_layers)


def gather(probed: Probed, prober: Prober, cue_ids: Sequence[int], layers: Sequence[int]) -> Places:
    """Force the answer before every cue word, store it, and read the hidden states of the word.

    Raises:
        ValueError: when no thinking has a cue word.
    """
    ((run, samples),) = probed.runs.items()
    path = probes_path(probed.evaluation.folder, run)
    drop_torn_line(path)
    known, problems = known_probes(path, samples), problems_of(probed, prober.verifier)
    size, found = prober.measurement.batch_size, []
    for start in tqdm(range(0, len(samples), size), desc=f"{run.title}: cue words", unit="batch"):
        subjects = [Subject(problems[one.problem], one) for one in samples[start : start + size]]
        found.append(gather_batch(prober, subjects, set(cue_ids), layers, known, path))
    places = Places(
        *(torch.cat([getattr(one, name) for one in found]) for name in ("hidden_ND", "right_N", "problem_N"))
    )
    if not len(places.right_N):
        raise ValueError("No thinking in these samples has a cue word: name words that it has with --cue.")
    return places


def gather_batch(
    prober: Prober,
    subjects: Sequence[Subject],
    cue_ids: set[int],
    layers: Sequence[int],
    known: dict[Place, Known],
    path: Path,
) -> Places:
    """Do so for some samples. Places whose answer could not be graded are left out."""
    thoughts = {subject: thinking_of(subject, prober, known) for subject in subjects}
    cuts = [
        (subject, at, thinking.closed(at))
        for subject, thinking in thoughts.items()
        for at, token in enumerate(subject.thinking)
        if token in cue_ids and at and thinking.has_room(at, thinking.closed(at))
    ]
    missing = [
        (subject, ending, [at])
        for subject, at, ending in cuts
        if at not in thoughts[subject].known.answers.get(ending, {})
    ]
    keep(prober.answer(missing), known, path)
    verdicts = [(subject, at, thoughts[subject].known.answers[ending][at].correct) for subject, at, ending in cuts]
    graded = [(subject, at, right) for subject, at, right in verdicts if right is not None]
    engine: Any = prober.engine  # which shows hidden states
    return Places(
        engine.hidden_states([subject.prefix(at + 1) for subject, at, _ in graded], layers),
        torch.tensor([right == 1 for _, _, right in graded], dtype=torch.bool),
        torch.tensor([subject.sample.problem for subject, _, _ in graded], dtype=torch.int64),
    )


def split(problem_N: Tensor, seed: int) -> Tensor:
    """Return (N,) roles: 0 trains, 1 calibrates, 2 is held out. All places of a problem have one role."""
    problems = torch.unique(problem_N)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(problems)))
    bounds = torch.tensor([TRAINING, TRAINING + CALIBRATION]) * len(problems)
    role_P = torch.empty(len(problems), dtype=torch.int64)
    role_P[order] = torch.bucketize(torch.arange(len(problems), dtype=torch.float32), bounds, right=True)
    return role_P[torch.searchsorted(problems, problem_N)]


def measure(probe: HiddenProbe, places: Places, role_N: Tensor, path: Path) -> Trained:
    """Measure a probe on the places that are held out."""
    held_N = role_N == 2
    scores_N, right_N = probe.scores(places.hidden_ND[held_N]), places.right_N[held_N]
    counts = (int((role_N == 0).sum()), int((role_N == 1).sum()), int(held_N.sum()))
    coverage = tuple(coverage_at(probe, scores_N, right_N, delta) for delta in Lynx.grid)
    return Trained(str(path), probe.layers, counts, int(right_N.sum()), auc(scores_N, right_N), coverage)


def coverage_at(probe: HiddenProbe, scores_N: Tensor, right_N: Tensor, delta: float) -> Coverage:
    """Count on how many places the conformal sets keep their promise."""
    has_right_N = torch.tensor([probe.holds_right(score, delta) for score in scores_N.tolist()], dtype=torch.bool)
    has_wrong_N = torch.tensor([probe.holds_wrong(score, delta) for score in scores_N.tolist()], dtype=torch.bool)
    stops_N = has_right_N & ~has_wrong_N
    return Coverage(
        delta,
        _share(has_right_N[right_N]),
        _share(has_wrong_N[~right_N]),
        _share(stops_N) or 0.0,
        _share(right_N[stops_N]),
    )


def _share(values_N: Tensor) -> float | None:
    return float(values_N.float().mean()) if len(values_N) else None


def auc(scores_N: Tensor, right_N: Tensor) -> float | None:
    """Return the chance that a right place scores above a wrong one, ties counting half; None without both."""
    right, wrong = scores_N[right_N], scores_N[~right_N]
    if not len(right) or not len(wrong):
        return None
    ranked = torch.sort(wrong).values
    below = torch.searchsorted(ranked, right) + torch.searchsorted(ranked, right, right=True)
    return float(below.double().mean() / (2 * len(wrong)))
