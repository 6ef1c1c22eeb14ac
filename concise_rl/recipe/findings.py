"""What a check has found: all faults of a recipe at once, rather than the first."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from concise_rl.errors import in_a_line


@dataclass
class Findings:
    """What is to be printed, and what is wrong.

    Attributes:
        facts: lines of a label and a text.
        hints: what works, but not as well as it could.
        faults: what cannot work, and what to change; a line each.
    """

    facts: list[tuple[str, str]] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, label: str, text: str) -> None:
        """A fact. A label that is empty goes on with what stands above it."""
        self.facts.append((label, text))

    @contextmanager
    def collecting(self) -> Generator[None]:
        """A part of the check: what it raises is one fault, and the next part is tried."""
        try:
            yield
        except ValidationError as error:
            self.faults.append(in_a_line(error))
        except ValueError as error:
            self.faults.append(str(error))

    def print(self) -> None:
        """Facts in two columns, then the hints. In a file, or through a pipe, each is a line, however long."""
        console = Console(highlight=False)
        if not console.is_terminal:
            width = max((len(label) for label, _ in self.facts), default=0)
            lines = [f"{label:<{width}}  {text}" for label, text in self.facts]
            print(*lines, *(f"! {hint}" for hint in self.hints), sep="\n")
            return
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for row in (*self.facts, *(("!", hint) for hint in self.hints)):
            table.add_row(*map(Text, row))
        console.print(table)

    def to_json(self) -> dict[str, Any]:
        """All that was found, as JSON can hold it; a fact without a label goes on in a new line."""
        facts: dict[str, str] = {}
        for label, text in self.facts:
            above = next(reversed(facts), label)
            facts[label or above] = text if label else f"{facts[above]}\n{text}"
        return {"ok": not self.faults, "facts": facts, "hints": self.hints, "faults": list(dict.fromkeys(self.faults))}

    def refuse(self) -> None:
        """
        Raises:
            ValueError: with the faults, if there are any, one a line.
        """
        faults = list(dict.fromkeys(self.faults))
        if len(faults) == 1:
            raise ValueError(faults[0])
        if faults:
            raise ValueError("\n  ".join([f"{len(faults)} faults:", *(f"- {fault}" for fault in faults)]))
