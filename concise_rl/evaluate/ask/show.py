"""Replies on a screen: as they grow, then as a whole. In a pipe: as a whole, without control codes."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.segment import SegmentLines
from rich.table import Table
from rich.text import Text

from concise_rl.evaluate.ask import wording
from concise_rl.evaluate.ask.listening import Listening
from concise_rl.evaluate.ask.question import Question
from concise_rl.evaluate.ask.reply import Part, Reply

COLUMN, GAP, WIDEST = 36, 4, 100
"""Characters: the least width of a column, the space between two, and the most that a line of text should have."""
LONGEST = 28
"""Characters of a model's name that are shown."""
AROUND = 10
"""Lines of a screen that are not text of the reply while it grows."""
FRAMES_PER_S = 8
STYLES = {"thinking": "", "redundant": "dim", "delimiter": "", "answer": "bold"}


class Screen:
    """A view on a terminal. Two models stand side by side where there is room, and otherwise below each other."""

    def __init__(self, console: Console, question: Question, titles: Sequence[str]) -> None:
        """
        Args:
            console: a terminal.
            question: what is asked.
            titles: of the models, in order.
        """
        self.console, self.question, self.titles = console, question, titles
        self.replies: list[Reply] = []
        self.listening: Listening | None = None
        self.beside = len(titles) > 1 and console.width >= len(titles) * COLUMN + GAP
        self.live: Live | None = None

    def __enter__(self) -> Self:
        self.console.print(_heading(self.question))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        self._erase()
        if kind is None:
            self._end()
        else:
            self._break_off()

    def loads(self, title: str) -> None:
        """See `View`. Nothing moves meanwhile: libraries print progress of their own."""
        self.console.print(Text(f"Loading {title} ...", style="dim"))

    def listens(self, listening: Listening) -> None:
        """See `View`."""
        self.listening = listening
        self.live = Live(
            console=self.console, get_renderable=self._frame, transient=True, refresh_per_second=FRAMES_PER_S
        )
        self.live.start()

    def has(self, reply: Reply) -> None:
        """See `View`."""
        self._erase()
        self.listening = None
        self.replies.append(reply)
        if not self.beside:
            self.console.print(_whole(reply), width=self._width)

    def _erase(self) -> None:
        """Take what grows off the screen: what has grown is written in its place."""
        if self.live:
            self.live.stop()
        self.live = None

    def _break_off(self) -> None:
        """Leave what there is: it was interrupted, or an engine failed."""
        shown = [_whole(reply) for reply in self.replies] if self.beside else []
        if self.listening:
            said = f"broken off after {len(self.listening.ids):,} tokens"
            shown.append(_block(self.titles[len(self.replies)], self.listening.parts(), said))
        if shown:
            self.console.print(_columns(shown), width=self._width)

    @property
    def _width(self) -> int:
        """Return the width of all columns."""
        return min(self.console.width, WIDEST * (len(self.titles) if self.beside else 1))

    def _end(self) -> None:
        width = min(self.console.width, WIDEST)
        if self.beside:
            self.console.print(_columns([_whole(reply) for reply in self.replies]), width=self._width)
        if len(self.replies) > 1 or any(reply.redundant for reply in self.replies):
            self.console.print(_bars(self.replies, width))
        for line, style in ((wording.comparison(self.replies), "bold"), (_advice(self.question), "dim")):
            if line:
                self.console.print(Text(line, style=style), width=width)

    def _frame(self) -> RenderableType:
        """Return what the screen shows now: the end of each text, as far as there is room."""
        if self.beside:
            shown = _columns([self._growing(i) for i in range(len(self.titles))])
            return Group(shown, Text(""))  # a full last line would move up when the terminal writes ^C behind it
        return self._growing(min(len(self.replies), len(self.titles) - 1))

    def _growing(self, i: int) -> RenderableType:
        room = max(4, self.console.height - AROUND)
        if i < len(self.replies):
            reply = self.replies[i]
            return _block(self.titles[i], reply.parts, *_summary(reply), gold=reply.is_graded, room=room)
        if i > len(self.replies) or self.listening is None:
            return _block(self.titles[i], (), "waits")
        parts = self.listening.parts(last=room * self.console.width)  # a token is a character at least
        return _block(self.titles[i], parts, f"{len(self.listening.ids):,} tokens", room=room)


@dataclass(frozen=True)
class Tail:
    """The last lines of a text of several parts.

    Attributes:
        parts, gold: see `_body`.
        room: how many lines.
    """

    parts: Sequence[Part]
    gold: bool
    room: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[SegmentLines]:
        """Lay out only as much as may be seen: a text may be long, and is laid out anew with each frame."""
        left, kept = self.room * options.max_width, []
        for part in reversed(self.parts):
            if left > 0:
                kept.insert(0, Part(part.kind, part.text[-left:], part.tokens))
            left -= len(part.text)
        lines = console.render_lines(Group(*_body(kept, self.gold)), options.update(height=None), pad=False)
        yield SegmentLines(lines[-self.room :], new_lines=True)


def _heading(question: Question) -> RenderableType:
    asked = [Text(question.origin, style="dim"), Text(question.text)]
    return Group(*asked, *([Text(f"right answer: {question.gold}")] if question.gold else []), Text(""))


def _whole(reply: Reply) -> RenderableType:
    return _block(reply.model, reply.parts, *_summary(reply), gold=reply.is_graded)


def _block(
    title: str, parts: Sequence[Part], *lines: str, gold: bool = True, room: int | None = None
) -> RenderableType:
    """Lay out a title, a text, and what there is to say of it. With `room`, no more than the last lines of the text."""
    text = _body(parts, gold) if room is None else [Tail(parts, gold, room)]
    head = Rule(Text(_short(title), style="bold"), align="left", characters="\u2501", style="")
    told = [Text(line, style=_style(line) if i == 0 else "") for i, line in enumerate(lines)]
    return Group(head, *text, Text(""), *told, Text(""))


def _short(title: str) -> str:
    """Return the end of a name that would not fit over a column."""
    return title if len(title) <= LONGEST else f"\u2026{title[1 - LONGEST :]}"


def _body(parts: Sequence[Part], gold: bool) -> list[RenderableType]:
    """Return the text of a reply, with a rule where its thinking first states the answer, and one in front of its own.

    Args:
        parts: of the reply.
        gold: whether the right answer is known.
    """
    shown: list[RenderableType] = []
    for i, part in enumerate(parts):
        if label := _label(part, i, gold):
            style = "" if part.kind == "answer" else "yellow"
            shown.append(Rule(Text(label, style=style), align="left", style=style))
        if text := part.text.strip("\n"):
            shown.append(Text(text, style=STYLES[part.kind]))
    return shown


def _label(part: Part, i: int, gold: bool) -> str:
    """Return what is said in front of a part; nothing of most."""
    if part.kind == "redundant":
        return "answer stated, rest redundant" if gold else "own answer stated"
    if part.kind == "thinking" and i:  # a second part of it: the reply is wrong
        return "right answer stated"
    return "answer" if part.kind == "answer" else ""


def _summary(reply: Reply) -> list[str]:
    lines = (wording.verdict(reply), wording.cost(reply), wording.split(reply), wording.statement(reply))
    return [line for line in lines if line]


def _style(verdict: str) -> str:
    """Return the style of the first line about a reply."""
    return {"right": "bold green", "wrong": "bold red", "no": "bold red"}.get(verdict.split(":")[0].split()[0], "")


def _columns(shown: Sequence[RenderableType]) -> Table:
    table = Table.grid(expand=True, padding=(0, GAP, 0, 0), pad_edge=False)
    for _ in shown:
        table.add_column(ratio=1)
    table.add_row(*shown)
    return table


def _bars(replies: Sequence[Reply], width: int) -> RenderableType:
    """Draw the tokens of each reply, to scale."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    longest = max(reply.trace.length for reply in replies)
    name = max(len(_short(reply.model)) for reply in replies)
    for reply in replies:
        drawn = wording.bar(reply, longest, max(8, width - name - 10))
        table.add_row(Text(_short(reply.model)), Text(drawn), Text(f"{reply.trace.length:,}"))
    key = f", of them redundant: {wording.SPENT}" if any(reply.redundant for reply in replies) else ""
    return Group(Text(f"tokens{key}"), table)


def _advice(question: Question) -> str:
    if question.origin == "your question":
        return ""
    return f"Another question: --index {question.index + 1}. Many of them: concise-rl eval."


class Plain:
    """A view that is no terminal: a pipe, a file, a log."""

    def __init__(self, file: IO[str] | None = None) -> None:
        """
        Args:
            file: where it is written; standard output unless given.
        """
        self.file = file or sys.stdout
        self.replies: list[Reply] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and (line := wording.comparison(self.replies)):
            self._write(line)

    def loads(self, title: str) -> None:
        """See `View`."""

    def listens(self, listening: Listening) -> None:
        """See `View`."""

    def has(self, reply: Reply) -> None:
        """See `View`."""
        if not self.replies:
            question = reply.question
            gold = [f"right answer: {question.gold}"] if question.gold else []
            self._write("\n".join([f"{question.origin}: {question.text}", *gold, ""]))
        self.replies.append(reply)
        self._write("\n".join([f"== {reply.model} ==", marked(reply.parts, reply.is_graded), "", *_summary(reply), ""]))

    def _write(self, text: str) -> None:
        print(text, file=self.file, flush=True)


def marked(parts: Sequence[Part], gold: bool) -> str:
    """Return the text of a reply, with what comes behind the first statement of the answer between marks.

    Args:
        parts, gold: see `_body`.
    """
    return "".join(_mark(part, i, gold) for i, part in enumerate(parts))


def _mark(part: Part, i: int, gold: bool) -> str:
    if part.kind == "redundant":
        return f"[{'redundant' if gold else 'behind its own answer'}: {part.text}]"
    return f"[right answer stated] {part.text}" if part.kind == "thinking" and i else part.text
