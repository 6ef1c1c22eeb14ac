"""The parts of docs/ that are read from the code: tables of methods and of their parts, and the drawing of the rooms.

    python -m tests.docs            # say which parts differ from the code
    python -m tests.docs --write    # write them anew

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`. `PARTS` says what makes each.
"""

import argparse
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from concise_rl.cli.tasks import origin
from concise_rl.curriculum import CURRICULA, Curriculum
from concise_rl.evaluate.samples import Sample
from concise_rl.labels.judges import JUDGES, Passage, judge_class
from concise_rl.methods import (
    Asked,
    BeforeWords,
    Column,
    Credit,
    Crop,
    Engine,
    Fact,
    ForcedFirst,
    Judged,
    Label,
    LossInputs,
    Objective,
    Parts,
    Plan,
    Probed,
    ProblemKey,
    Rollout,
    RolloutBatch,
    RunContext,
    StopReason,
    Tools,
)
from concise_rl.models.eos import load_tokenizer
from concise_rl.models.resolve import resolve_model
from concise_rl.named import import_dotted
from concise_rl.reading.trace import Delimiters, Trace
from concise_rl.recipe.stages import STAGES
from concise_rl.rollout.engine import Completion, Request
from concise_rl.rollout.exits import EXITS, ExitPolicy, ExitTools
from concise_rl.tasks.benchmarks import BENCHMARKS
from concise_rl.train.credit import KEPT_CORRECT
from concise_rl.verify.verifiers import VERIFIERS
from reward import OBJECTIVES, PROMPTS, SELECTIONS
from tests.reward import test_objectives
from tests.test_layout import ARROWS, ORDER, room

DOCS = Path(__file__).parents[1] / "docs"
PART = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", flags=re.DOTALL)
SKETCH = RunContext.sketch(24)
TOLD_OF_STAGES = (Label("chunk"), Crop(), ProblemKey(), Column("NAME"))
HANDED = (
    *(RunContext, Parts, Fact, Plan, Asked, Request, Engine, Completion, Rollout, Judged, Trace, Tools, LossInputs),
    Passage,
)


def paragraph(thing: Any) -> str:
    """Take the first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def summary(thing: Any) -> str:
    """Take the first sentence of a docstring, in one line."""
    return re.split(r"(?<=[a-z0-9`)])\. (?=[A-Z])", paragraph(thing))[0].rstrip(".")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def paper(cls: Any) -> str:
    """Link a class's paper by its number."""
    return f"[{cls.paper.rpartition('/')[2]}]({cls.paper})"


def described(thing: Any, section: str = "Attributes") -> list[tuple[str, str]]:
    """List the names that a section of a docstring describes, and what it says of each."""
    section = (inspect.getdoc(thing) or "").partition(f"\n{section}:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w[\w, ]*): (.*(?:\n        .*)*)", section, flags=re.MULTILINE)
    return [(names, " ".join(text.split())) for names, text in found]


def credit_words(method: Objective) -> str:
    """Say what a method's credit depends on, and what beside right answers it pays."""
    credit = method.credit
    said = {"by_token": "by token", "wrong": "wrong ones too", "unfinished": "unfinished ones too", "form": "form"}
    return ", ".join([credit.scope, *(words for name, words in said.items() if getattr(credit, name))])


def brought_along(method: Objective) -> str:
    """Name the parts of a method that are not those of plain GRPO."""
    parts, cls = method.parts(SKETCH), type(method)
    plan, loss = type(parts.plan).__name__, parts.loss
    told = {
        f"plan `{plan}`": plan != "Parallel",
        f"prompts `{type(parts.prompts).__name__}`": parts.prompts is not None,
        f"stages {', '.join(f'`{type(stage).__name__}`' for stage in parts.stages)}": bool(parts.stages),
        "drops tokens": cls.kept_length is not Objective.kept_length,
        "judged again": parts.rejudge,
        "its own cap": cls.cap is not Objective.cap,
        "gives up the longest": cls.keep_shortest is not Objective.keep_shortest,
        f"loss `{type(loss).__name__}`": loss is not None,
        "memory": cls.initial is not Objective.initial,
    }
    return "; ".join(words for words, holds in told.items() if holds)


def methods() -> str:
    """Write a row for each method."""
    rows = [
        (f"`{name}`", summary(cls), paper(cls), credit_words(cls()), brought_along(cls()), cls.needs)
        for name, cls in sorted(OBJECTIVES.items())
    ]
    return table(("name", "what it is", "paper", "credit", "brings along", "needs"), rows)


def with_paper(known: dict[str, Any]) -> str:
    """Write a row for each class of a dict: its name, what it is, and its paper."""
    return table(
        ("name", "what it is", "paper"), [(f"`{n}`", summary(cls), paper(cls)) for n, cls in sorted(known.items())]
    )


def plainly(known: Iterable[tuple[str, str]], head: Sequence[str] = ("name", "what it is")) -> str:
    """Write a row for each name and what is said of it."""
    return table(head, [(f"`{name}`", text) for name, text in known])


def verifiers() -> str:
    """Write a row for each verifier."""
    return plainly((name, summary(import_dotted(verifier.path, "verifier"))) for name, verifier in VERIFIERS.items())


def benchmarks() -> str:
    """Write a row for each benchmark."""
    rows = [
        (
            f"`{name}`",
            f"{one.rows:,}",
            origin(one),
            one.split,
            f"`{one.verifier}`",
            str(one.samples),
            one.licence,
            one.note,
        )
        for name, one in BENCHMARKS.items()
    ]
    return table(("name", "problems", "source", "split", "verifier", "samples", "licence", "what to know"), rows)


def batch_fields() -> str:
    """Write a row for each field and property of a batch."""
    fields = [pair for pair in described(RolloutBatch) if pair[0] not in ("facts", "memory")]
    properties = [(n, summary(p)) for n, p in vars(RolloutBatch).items() if isinstance(p, property)]
    memory = [pair for pair in described(RolloutBatch) if pair[0] == "memory"]
    return plainly([*fields, *properties, *memory], ("of the batch", "what it is"))


def members(cls: Any) -> str:
    """Write a row for each attribute, property and function of a class."""
    rows = [*described(cls, "Class attributes"), *described(cls)]
    rows = [("`, `".join(names.split(", ")), text) for names, text in rows]
    rows += [(name, one.description or "") for name, one in getattr(cls, "model_fields", {}).items()]
    for name, member in vars(cls).items():
        if isinstance(member, property | cached_property):
            rows.append((name, paragraph(member)))
        elif inspect.isfunction(member) and not name.startswith("_"):
            _, *taken = inspect.signature(member).parameters.values()
            told = [paragraph(member), *(f"`{names}`: {text}" for names, text in described(member, "Args"))]
            rows.append((f"{name}({', '.join(str(one).partition(':')[0] for one in taken)})", "<br>".join(told)))
    return plainly(rows)


def handed() -> str:
    """Write a table for each class that the parts of a method are handed, or return."""
    return "\n\n".join(f"### {cls.__name__}\n\n{summary(cls)}.\n\n{members(cls)}" for cls in HANDED)


def stored() -> str:
    """Write a row for each key of a stored sample."""
    rows = [("`, `".join(names.split(", ")), text) for names, text in described(Sample)]
    return plainly([*rows, ("file", "number of its file, from 0, in the order of `samples=`.")], ("key", "what it is"))


def facts() -> str:
    """Write a row for each fact that a part of this project adds."""
    forced = ForcedFirst((1,), (2,), 24)
    probed = Probed(SKETCH.delimiters, SKETCH.encode("</think>"), 8, BeforeWords(str))
    parts: Any = [*((type(part), part.facts) for part in (*TOLD_OF_STAGES, forced, probed))]
    parts += [(writer, writer.facts) for writer in PROMPTS.values()]
    rows = [(cls.__name__, fact) for cls, its in parts for fact in its] + [("Parts(rejudge=True)", KEPT_CORRECT)]
    adders = {fact: [f"`{by}`" for by, other in rows if other == fact] for _, fact in rows}
    meaning = {name: text for cls, _ in parts for name, text in described(cls, "Facts")}
    meaning[KEPT_CORRECT.name] = summary(RolloutBatch.kept_correct).removeprefix("(B,) ")
    told = [
        (f"`{fact.name}`", shape(fact), str(fact.dtype).removeprefix("torch."), ", ".join(by), meaning[fact.name])
        for fact, by in adders.items()
    ]
    return table(("fact", "shape", "of", "added by", "what it is"), told)


def shape(fact: Fact) -> str:
    """Write the shape that a batch has a fact in. A plan's places are as many as its options say."""
    return "(B,)" if fact.width == 1 else "(B, 2)" if fact.width == 2 else "(B, W)"


def credit() -> str:
    """Write a row for each field of `Credit`, with its default."""
    defaults = {field.name: field.default for field in fields(Credit)}
    rows = [(f"`{name}`", f"`{defaults[name]!r}`", text) for name, text in described(Credit)]
    return table(("credit", "default", "what it says"), rows)


def properties() -> str:
    """List the properties that are tested of every method, in words."""
    names = [name for name in vars(test_objectives) if name.startswith("test_")]
    return "\n".join(f"- {name.removeprefix('test_').replace('_', ' ')}" for name in names)


def logged_by_methods() -> str:
    """Write a row for each method that logs something of its own."""
    batch = test_objectives.batch_of([[1, 1, 0, 1] * 6], [[20, 30, 40, 64] * 6])
    batch = replace(batch, stop_reason=batch.stop_reason.masked_fill(batch.length == 20, StopReason.FORCED_EXIT))
    rows = []
    for name, cls in sorted(OBJECTIVES.items()):
        if cls.metrics is not Objective.metrics:
            found = cls().metrics(test_objectives.read_by(cls(), batch))
            rows.append((f"`{name}`", ", ".join(f"`{key}`" for key in found), summary(cls.metrics)))
    return table(("method", "`objective/...`", "what they are"), rows)


def room_arrows() -> set[tuple[str, str]]:
    """Collect the pairs of rooms of which one imports the other."""
    found = {(room(a), room(b)) for a, targets in ARROWS.items() for b in targets if "concise_rl" not in (a, b)}
    return {(a, b) for a, b in found if a != b}


def rooms() -> str:
    """Draw the rooms: an arrow leads from a room to one that it imports, unless another way leads there, too."""
    arrows = room_arrows()
    reached = {name: {name} for name in ORDER}
    for a in ORDER:  # from the bottom up
        reached[a] |= {c for b in ORDER for c in reached[b] if (a, b) in arrows}
    needed = [
        (a, b)
        for a, b in sorted(arrows, key=lambda pair: (-ORDER.index(pair[0]), -ORDER.index(pair[1])))
        if not any(b in reached[c] for c in ORDER if (a, c) in arrows and c != b)
    ]
    return "\n".join(["```mermaid", "flowchart TB", *(f"  {a} --> {b}" for a, b in needed), "```"])


def exits() -> str:
    """Write a row for each exit."""
    rows = []
    for name, cls in EXITS.items():
        number = re.search(r"https://hf\.co/papers/([\d.]+)", inspect.getdoc(cls) or "")
        link = f"[{number[1]}]({number[0]})" if number else ""
        rule = re.sub(r" \(https://\S+\)|,? ?https://hf\.co/papers/[\d.]+", "", summary(cls)).replace("()", "").strip()
        default = cls.model_fields[cls.dial].default if cls.dial else None
        dial = "" if not cls.dial else f"`{cls.dial}`" if default is None else f"`{cls.dial}` = {default:g}"
        rows.append((f"`{name}`", rule, dial, looks(cls), "yes" if issubclass(cls, ExitPolicy) else "", link))
    return table(("exit", "what it does", "main option", "a look costs", "replayed", "source"), rows)


def looks(cls: Any) -> str:
    """Say what one look of an exit costs a model that can write the published texts."""
    if not issubclass(cls, ExitPolicy) or any(field.is_required() for field in cls.model_fields.values()):
        return ""
    tokenizer, eos = load_tokenizer(resolve_model("tiny:base"))
    look = cls().look(ExitTools(Delimiters.of(tokenizer, eos, "</think>"), tokenizer))
    if look is None:
        return "nothing"
    return f"up to {look.tokens} tokens" if look.tokens else "1 token"


def exit_options() -> str:
    """Write a row for each option of each exit; those that all policies have come first."""
    shared = set(ExitPolicy.model_fields)
    rows = [("every one that is replayed", f"`{name}`", *_option(ExitPolicy, name)) for name in ExitPolicy.model_fields]
    rows += [
        (f"`{exit_name}`", f"`{name}`", *_option(cls, name))
        for exit_name, cls in EXITS.items()
        for name in cls.model_fields
        if name not in shared or name == cls.dial
    ]
    return table(("exit", "option", "default", "what it is"), rows)


def _option(cls: Any, name: str) -> tuple[str, str]:
    """Return an option's default, and its description in one line."""
    field = cls.model_fields[name]
    given = "" if field.is_required() or field.default is None else field.default
    default = ", ".join(map(str, given)) if isinstance(given, tuple) else f"{given}"
    return default, " ".join((field.description or "").split())


PARTS: dict[str, Callable[[], str]] = {
    "methods": methods,
    "curricula": lambda: with_paper(CURRICULA),
    "selections": lambda: with_paper(SELECTIONS),
    "prompts": lambda: plainly((name, summary(cls)) for name, cls in PROMPTS.items()),
    "stages": lambda: plainly((type(stage).__name__, summary(type(stage))) for stage in TOLD_OF_STAGES),
    "judges": lambda: plainly((name, summary(judge_class(name))) for name in JUDGES),
    "verifiers": verifiers,
    "benchmarks": benchmarks,
    "trainings": lambda: plainly((name, stage.title) for name, stage in STAGES.items()),
    "fields": batch_fields,
    "facts": facts,
    "exits": exits,
    "exit_options": exit_options,
    "credit": credit,
    "curriculum": lambda: members(Curriculum),
    "forced": lambda: plainly(described(ForcedFirst), ("argument", "what it is")),
    "probed": lambda: plainly(described(Probed), ("argument", "what it is")),
    "handed": handed,
    "stored": stored,
    "properties": properties,
    "logged": logged_by_methods,
    "rooms": rooms,
}


def renewed(text: str) -> str:
    """Return a page with its generated parts made anew."""
    return PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[4]}", text)


def main() -> None:
    """Compare the pages with the code, or write them."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs", description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the parts that differ")
    write = parser.parse_args().write
    old = [page for page in sorted(DOCS.glob("*.md")) if renewed(page.read_text()) != page.read_text()]
    for page in old:
        print(f"docs/{page.name} {'is written anew' if write else 'differs from the code'}")
        if write:
            page.write_text(renewed(page.read_text()))
    raise SystemExit(bool(old) and not write)


if __name__ == "__main__":
    main()
