"""Count what grading again changes, and keep examples of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from concise_rl.evaluate.samples import Sample

EXAMPLES = 5
"""Changed verdicts that are kept, of each label and kind."""
REREAD = ("answer", "think_length", "reflections", "labels")
"""What may change of a sample beside its verdict."""
_WORDS = {1: "right", 0: "wrong", None: "no verdict"}


@dataclass(frozen=True)
class Example:
    """One sample whose verdict changed."""

    label: str
    problem: int
    sample: int
    change: str
    gold: str
    answer: str | None


@dataclass
class Changes:
    """Hold what changed.

    Attributes:
        samples: that were graded again.
        verdicts: how often each change of a verdict came up, by label and then as in `right to wrong`.
        fields: how often something else changed, by label and then field.
        examples: the first changed verdicts of each label and kind.
    """

    samples: int = 0
    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    fields: dict[str, Counter[str]] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)

    @property
    def any(self) -> bool:
        """Say whether anything changed."""
        return any(self.verdicts.values()) or any(self.fields.values())

    def add(self, label: str, before: Sample, after: Sample) -> None:
        """Count a sample that was graded again."""
        self.samples += 1
        verdicts, fields = self.verdicts.setdefault(label, Counter()), self.fields.setdefault(label, Counter())
        fields.update(name for name in REREAD if getattr(before, name) != getattr(after, name))
        if before.correct == after.correct:
            return
        change = f"{_WORDS[before.correct]} to {_WORDS[after.correct]}"
        if verdicts[change] < EXAMPLES:
            self.examples.append(Example(label, after.problem, after.sample, change, after.gold, after.answer))
        verdicts[change] += 1

    def include(self, other: "Changes") -> None:
        """Count what another part of the samples showed."""
        self.samples += other.samples
        for counted, more in ((self.verdicts, other.verdicts), (self.fields, other.fields)):
            for label, found in more.items():
                counted[label] = counted.get(label, Counter()) + found
        for example in other.examples:
            if sum((one.label, one.change) == (example.label, example.change) for one in self.examples) < EXAMPLES:
                self.examples.append(example)

    def to_json(self) -> Mapping[str, Any]:
        """Return what `--json` prints."""
        return {
            "samples": self.samples,
            "verdicts": {label: dict(counted) for label, counted in self.verdicts.items()},
            "fields": {label: dict(counted) for label, counted in self.fields.items()},
            "examples": [vars(example) for example in self.examples],
        }

    def lines(self) -> list[str]:
        """Say it in lines: counts by label, then examples."""
        counted = [
            f"{label}: " + (", ".join(f"{number:,} {what}" for what, number in found.items()) or "nothing changes")
            for label in self.verdicts
            for found in [
                self.verdicts[label] + Counter({f"with another {n}": c for n, c in self.fields[label].items()})
            ]
        ]
        shown = [
            f"  {one.label}, problem {one.problem}, sample {one.sample}, {one.change}: {_short(one.answer)} "
            f"(gold {_short(one.gold)})"
            for one in self.examples
        ]
        return [f"{self.samples:,} samples were graded again.", *counted, *shown]


def _short(text: str | None) -> str:
    """Return the end of a text on one line: that is where an answer stands."""
    words = " ".join((text or "no answer").split())
    return words if len(words) <= 80 else f"...{words[-77:]}"
