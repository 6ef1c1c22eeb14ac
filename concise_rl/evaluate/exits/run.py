"""Try exit policies on a folder's samples: ask what is missing, replay, and write the report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concise_rl.evaluate.engines import open_engine
from concise_rl.evaluate.exits.asking import Prober, Subject
from concise_rl.evaluate.exits.figure import draw_exits
from concise_rl.evaluate.exits.page import write_exits_page
from concise_rl.evaluate.exits.probing import Wish, complete_probes
from concise_rl.evaluate.exits.replay import Thinking, settings_of
from concise_rl.evaluate.exits.report import Tried, build_report
from concise_rl.evaluate.exits.store import Known, Place, known_probes, probes_path
from concise_rl.evaluate.exits.subjects import Probed, open_probed, problems_of
from concise_rl.evaluate.plots import png
from concise_rl.evaluate.run import OpenEngine
from concise_rl.evaluate.spec import ModelRun
from concise_rl.files import drop_torn_line, write_atomically
from concise_rl.rollout.exits import EXITS, parse_exit
from concise_rl.rollout.exits.policy import ExitPolicy
from concise_rl.verify.pool import VerifierPool

MOST_PLACES = 16
"""Places of a sample whose answers are forced for the oracle, unless told otherwise."""


@dataclass(frozen=True)
class Wanted:
    """What `concise-rl exits` is asked for.

    Attributes:
        folder: that `concise-rl eval` wrote.
        label: whose samples; None for the baseline, or the first label.
        policies: texts as `--exit` takes them; none for all that can be replayed.
        most: places of a sample that are answered for the oracle.
        from_probes: whether nothing may be asked.
        engine: in place of the one that drew the samples; None for that one.
    """

    folder: Path
    label: str | None = None
    policies: tuple[str, ...] = ()
    most: int = MOST_PLACES
    from_probes: bool = False
    engine: str | None = None

    @property
    def words(self) -> list[str]:
        """Return the arguments that say the same, without the folder."""
        label = ["--label", self.label] if self.label else []
        most = ["--places", str(self.most)] if self.most != MOST_PLACES else []
        return [*label, *(word for text in self.policies for word in ("--policy", text)), *most]


def try_exits(wanted: Wanted, load: OpenEngine = open_engine) -> dict[str, Any]:
    """Ask what replays need and is not stored, and write `exits.json`, `exits.html` and `plots/exits.png`.

    Returns:
        What `exits.json` holds.

    Raises:
        ValueError: when the folder, the label, a policy or the model cannot be used, or probes are missing and nothing
            may be asked.
        EngineError: when the engine fails.
    """
    if wanted.most < 1:
        raise ValueError(f"--places is {wanted.most}: at least one place of each sample has to be answered.")
    named = named_policies(wanted.policies)
    probed = open_probed(wanted.folder, wanted.label)
    policies, refused = usable(named, probed, strict=bool(wanted.policies))
    settings = {name: settings_of(name, policy) for name, policy in policies.items()}
    wish = Wish(policies, [one for of_policy in settings.values() for one in of_policy], wanted.most)
    known = {run: read_known(probed, run) for run in probed.runs}
    if not wanted.from_probes:
        ask_missing(probed, wish, known, wanted.engine, load)
    thoughts = {run: thoughts_of(probed, run, known[run]) for run in probed.runs}
    check_complete(thoughts, wish)
    report = build_report(Tried(probed, thoughts, settings, refused, wanted.words))
    write_report(report, wanted.folder)
    return report


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write page, figure and JSON: the same report gives the same bytes."""
    figure = draw_exits(report)
    write_atomically(folder / "plots" / "exits.png", png(figure))
    write_exits_page(report, figure, folder / "exits.html")
    write_atomically(folder / "exits.json", json.dumps(report, indent=2, allow_nan=False) + "\n")


def named_policies(texts: Sequence[str]) -> dict[str, ExitPolicy]:
    """Build the policies that texts name; without any, all that can be replayed.

    Raises:
        ValueError: for an unknown one, a wrong option, one that only a live run shows, or a name given twice.
    """
    if not texts:
        made = {name: kind for name, kind in EXITS.items() if issubclass(kind, ExitPolicy)}
        return {name: kind() for name, kind in made.items() if not needs_options(kind)}
    policies: dict[str, ExitPolicy] = {}
    for text in texts:
        policy, name = parse_exit(text, EXITS), text.partition(":")[0] if text not in policies else text
        if not isinstance(policy, ExitPolicy):
            raise ValueError(
                f"{text} changes the thinking, or reads every token of it: stored samples do not show what it does. "
                f"Sample with it: concise-rl eval ... --exit {text}; its row is then shown beside the curves."
            )
        if name in policies:
            name = text
        if name in policies:
            raise ValueError(f"--policy {text} is given twice: leave one out.")
        policies[name] = policy
    return policies


def needs_options(kind: type[ExitPolicy]) -> bool:
    """Say whether a policy cannot be built without being told something: a file, say."""
    return any(field.is_required() for field in kind.model_fields.values())


def usable(
    policies: Mapping[str, ExitPolicy], probed: Probed, strict: bool
) -> tuple[dict[str, ExitPolicy], dict[str, str]]:
    """Split policies into those that this model's tokenizer can write, and the reasons against the others.

    Raises:
        ValueError: with `strict`, for one that cannot be written.
    """
    kept, refused = {}, {}
    for name, policy in policies.items():
        try:
            policy.look(probed.tools)
            policy.places([], probed.tools)
            probed.tools.closing(policy.closing)
            kept[name] = policy
        except ValueError as error:
            if strict:
                raise
            refused[name] = str(error)
    return kept, refused


def read_known(probed: Probed, run: ModelRun) -> dict[Place, Known]:
    """Read what is on disk of a run."""
    return known_probes(probes_path(probed.evaluation.folder, run), probed.runs[run])


def ask_missing(
    probed: Probed, wish: Wish, known: Mapping[ModelRun, dict[Place, Known]], engine: str | None, load: OpenEngine
) -> None:
    """Ask the model of each run what is missing. No model is loaded where nothing is.

    Raises:
        ValueError: when the data has changed, or the engine cannot take what a policy asks.
    """
    measurement = probed.measurement.model_copy(update={"engine": engine} if engine else {})
    unfinished = [run for run in probed.runs if is_missing(probed, run, known[run], wish)]
    if not unfinished:
        return
    with VerifierPool(measurement.verifier) as verifier:
        problems = problems_of(probed, verifier)
        for run in unfinished:
            path = probes_path(probed.evaluation.folder, run)
            drop_torn_line(path)
            subjects = [Subject(problems[one.problem], one) for one in probed.runs[run]]
            with load(run.model, measurement) as opened:
                prober = Prober(opened, measurement, probed.tools, verifier)
                complete_probes(prober, wish, subjects, known[run], path, run.title)


def is_missing(probed: Probed, run: ModelRun, known: Mapping[Place, Known], wish: Wish) -> bool:
    """Say whether anything has to be asked of a run."""
    if len(known) < len(probed.runs[run]):
        return True
    return any(wish.looks(one) or wish.answers(one) for one in thoughts_of(probed, run, known))


def thoughts_of(probed: Probed, run: ModelRun, known: Mapping[Place, Known]) -> list[Thinking]:
    """Return every sample of a run as policies see it.

    Raises:
        ValueError: for a sample that nothing has been asked of.
    """
    samples, cap = probed.runs[run], probed.measurement.max_tokens
    missing = [one for one in samples if (one.problem, one.sample) not in known]
    if missing:
        raise ValueError(
            f"Of {len(missing)} of {len(samples)} samples of {run.title} there are no probes: run the command without "
            "--from-probes."
        )
    return [Thinking(one, known[one.problem, one.sample], probed.tools, cap) for one in samples]


def check_complete(thoughts: Mapping[ModelRun, Sequence[Thinking]], wish: Wish) -> None:
    """
    Raises:
        ValueError: when a reading or an answer is not stored.
    """
    for run, of_run in thoughts.items():
        missing = sum(1 for one in of_run if wish.looks(one) or wish.answers(one))
        if missing:
            raise ValueError(
                f"Probes are missing of {missing} of {len(of_run)} samples of {run.title}: run the command without "
                "--from-probes."
            )
