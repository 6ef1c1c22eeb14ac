"""Ask of stored samples whatever replays will want, batch by batch; what an earlier call has asked is kept."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from concise_rl.evaluate.exits.asking import Prober, Subject
from concise_rl.evaluate.exits.replay import Setting, Thinking
from concise_rl.evaluate.exits.store import TAIL, Known, Place, Probes, append_probes
from concise_rl.rollout.exits.policy import Ending, ExitPolicy, Look
from concise_rl.rollout.plans.probed import spread


@dataclass(frozen=True)
class Wish:
    """What replays want to know of each sample.

    Attributes:
        policies: by name: what they read at their places.
        settings: each policy at each value of its dial: the answer where it stops.
        most: places of a sample, evenly spread over those of all policies, that are answered for the oracle.
    """

    policies: Mapping[str, ExitPolicy]
    settings: Sequence[Setting]
    most: int

    def looks(self, thinking: Thinking) -> list[tuple[Look, list[int]]]:
        """List what has not been read yet, and where."""
        wanted: dict[Look, set[int]] = defaultdict(set)
        for policy in self.policies.values():
            look = policy.look(thinking.tools)
            if look is not None:
                wanted[look].update(thinking.unread(look, thinking.places(policy)))
        return [(look, sorted(places)) for look, places in wanted.items() if places]

    def answers(self, thinking: Thinking) -> list[tuple[Ending, list[int]]]:
        """List the answers that have not been forced yet. All looks must have been taken."""
        wanted: dict[Ending, set[int]] = defaultdict(set)
        for setting in self.settings:
            stop = thinking.stop(setting.policy)
            if stop is not None:
                wanted[stop[1]].add(stop[0])
        for at in self.oracle_places(thinking):
            ending = thinking.closed(at)
            if thinking.has_room(at, ending):
                wanted[ending].add(at)
        answered = thinking.known.answers
        missing = {own: sorted(places - answered.get(own, {}).keys()) for own, places in wanted.items()}
        return [(own, places) for own, places in missing.items() if places]

    def oracle_places(self, thinking: Thinking) -> list[int]:
        """Return the places that are answered whatever policies say."""
        places = {at for policy in self.policies.values() for at in thinking.places(policy)}
        return spread(sorted(places), self.most)


def complete_probes(
    prober: Prober, wish: Wish, subjects: Sequence[Subject], known: dict[Place, Known], path: Path, title: str
) -> None:
    """Ask what is missing, and append it to `path` batch by batch. `known` then holds it too.

    Args:
        prober: asks.
        wish: what is wanted.
        subjects: the samples of one run.
        known: what is on disk.
        path: where probes go.
        title: of the run.
    """
    size = prober.measurement.batch_size
    with tqdm(desc=f"{title}: probes", total=len(subjects), unit="sample") as bar:
        for start in range(0, len(subjects), size):
            batch = subjects[start : start + size]
            thoughts = [thinking_of(subject, prober, known) for subject in batch]
            read = [
                (subject, look, places)
                for subject, thinking in zip(batch, thoughts, strict=True)
                for look, places in wish.looks(thinking)
            ]
            keep(prober.read(read), known, path)
            answered = [
                (subject, ending, places)
                for subject, thinking in zip(batch, thoughts, strict=True)
                for ending, places in wish.answers(thinking)
            ]
            keep(prober.answer(answered), known, path)
            bar.update(len(batch))


def thinking_of(subject: Subject, prober: Prober, known: dict[Place, Known]) -> Thinking:
    """Return a sample as policies see it."""
    place = (subject.sample.problem, subject.sample.sample)
    own = known.setdefault(place, Known(len(subject.problem.prompt_ids), tuple(subject.problem.prompt_ids[-TAIL:])))
    return Thinking(subject.sample, own, prober.tools, prober.measurement.max_tokens)


def keep(lines: Sequence[Probes], known: dict[Place, Known], path: Path) -> None:
    """Write lines to disk, and take them in."""
    if lines:
        append_probes(path, lines)
    for line in lines:
        known[line.problem, line.sample].add(line)
