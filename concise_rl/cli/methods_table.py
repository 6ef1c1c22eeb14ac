"""What `concise-rl methods` prints, of all methods or of one: read from the classes themselves."""

import inspect
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from concise_rl.methods import Objective
from concise_rl.methods.describe import summary
from reward import objective_class

HINTS = """What one needs, and its options: concise-rl methods NAME
Papers: https://hf.co/papers/NUMBER
Your own: objective: my_package.my_module.MyObjective"""


def bounds(field: FieldInfo) -> str:
    """The bounds of an option as people write them: `0 <= x <= 1`."""
    limits = {name: value for m in field.metadata for name, value in vars_of(m).items()}
    low = f"{limits['ge']} <= " if "ge" in limits else f"{limits['gt']} < " if "gt" in limits else ""
    high = f" <= {limits['le']}" if "le" in limits else f" < {limits['lt']}" if "lt" in limits else ""
    return f"{low}x{high}" if low or high else ""


def vars_of(bound: object) -> dict[str, Any]:
    """What a bound of the annotated-types package says: {"ge": 0} and so on."""
    return {name: getattr(bound, name) for name in ("ge", "gt", "le", "lt") if hasattr(bound, name)}


def type_name(annotation: Any) -> str:
    """A short name of an option's type; the choices of a literal."""
    if get_origin(annotation) is tuple:
        return f"list of {type_name(get_args(annotation)[0])}"
    choices = get_args(annotation)
    return " | ".join(map(str, choices)) if choices else getattr(annotation, "__name__", str(annotation))


def methods_table(objectives: dict[str, type[Objective]]) -> Table:
    """All methods, a row each. Nothing is cut, however narrow the terminal."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("name", "what it is", "paper"):
        table.add_column(column, overflow="fold", ratio=1 if column == "what it is" else None)
    for name, cls in objectives.items():
        table.add_row(*map(Text, (name, summary(cls), cls.paper.rpartition("/")[2])))
    return table


def options_table(cls: type[Objective]) -> Table:
    """One method's options: the type, bounds and default of each above what it does."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("option", overflow="fold")
    table.add_column("what it does", overflow="fold", ratio=1)
    for option, field in cls.model_fields.items():
        facts = [type_name(field.annotation), bounds(field), f"default {field.default!r}"]
        text = " ".join((field.description or "").split())
        table.add_row(Text(option), Text.assemble((", ".join(filter(None, facts)), "bold"), "\n", text))
    return table


def print_methods(name: str | None = None) -> None:
    """Print a line about each method, or one method in full.

    Raises:
        ValueError: for an unknown name, naming the nearest.
    """
    from reward import OBJECTIVES

    console = Console()
    if name is None:
        console.print(methods_table(OBJECTIVES))
        console.print(HINTS, highlight=False)
        return
    cls = objective_class(name)
    paragraphs = [" ".join(p.split()) for p in (inspect.getdoc(cls) or "").split("\n\n")]
    facts = [f"Paper: {cls.paper}", f"Credit depends on: the {cls().credit.scope}", f"Needs: {cls.needs}"]
    console.print("\n\n".join([*paragraphs, "\n".join(facts)]), markup=False, highlight=False)
    if cls.model_fields:
        console.print(options_table(cls))


def describe_methods(name: str | None = None) -> list[dict[str, Any]]:
    """Describe every method, or one, as JSON can hold it. Options are the properties of a JSON schema.

    Raises:
        ValueError: for an unknown name, naming the nearest.
    """
    from reward import OBJECTIVES

    chosen = OBJECTIVES if name is None else {name: objective_class(name)}
    return [
        {
            "name": name,
            "summary": summary(cls),
            "paper": cls.paper,
            "scope": cls().credit.scope,
            "needs": cls.needs,
            "options": cls.model_json_schema()["properties"],
        }
        for name, cls in chosen.items()
    ]
