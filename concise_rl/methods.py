"""The table of methods that `concise-rl methods` prints: read from the classes themselves."""

import inspect
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table

from concise_rl.objective import Objective, objective_class


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


def summary(cls: type[Objective]) -> str:
    """First line of a method's docstring."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def methods_table(objectives: dict[str, type[Objective]]) -> Table:
    """All methods, a row each."""
    table = Table(title="Methods", show_lines=True)
    table.add_column("name", no_wrap=True)
    table.add_column("what it is", ratio=3)
    table.add_column("credit depends on")
    table.add_column("needs")
    table.add_column("options (default)", ratio=2)
    for name, cls in objectives.items():
        options = "\n".join(f"{option} ({field.default})" for option, field in cls.model_fields.items())
        table.add_row(name, f"{summary(cls)}\n{cls.paper}", cls.scope, cls.needs, options)
    return table


def options_table(name: str, cls: type[Objective]) -> Table:
    """One method's options."""
    table = Table(title=f"Options of {name}", show_lines=True)
    table.add_column("option", no_wrap=True)
    for column in ("type", "default", "bounds"):
        table.add_column(column)
    table.add_column("what it does", ratio=1)
    for option, field in cls.model_fields.items():
        text = " ".join((field.description or "").split())
        table.add_row(option, type_name(field.annotation), str(field.default), bounds(field), text)
    return table


def print_methods(name: str | None = None) -> None:
    """Print the table of all methods, or one method in full.

    Raises:
        ValueError: for an unknown name, naming the nearest.
    """
    from reward import OBJECTIVES

    console = Console()
    if name is None:
        console.print(methods_table(OBJECTIVES))
        console.print("One in full: concise-rl methods NAME. Your own: objective: my_package.my_module.MyObjective")
        return
    cls = objective_class(name)
    paragraphs = [" ".join(p.split()) for p in (inspect.getdoc(cls) or "").split("\n\n")]
    console.print("\n\n".join(paragraphs), markup=False, highlight=False)
    console.print(f"\nPaper: {cls.paper}")
    console.print(options_table(name, cls))
