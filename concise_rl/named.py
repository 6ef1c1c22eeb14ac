"""What recipes name with options of its own: objectives, curricula, judges."""

import importlib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from concise_rl.errors import in_a_line, unknown

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


def find_class(kind: str, name: str, known: Mapping[str, type[T]], base: type[T]) -> type[T]:
    """The class called `name`: a key of `known`, or the dotted path of a class of the user's own.

    Args:
        kind: what is named, for messages.
        name: as the recipe has it.
        known: classes by name.
        base: what a class of the user's own is derived from.

    Raises:
        ValueError: for an unknown name, naming the nearest, or when the path is not that of such a class.
    """
    if "." not in name:
        if name not in known:
            raise unknown(kind, name, known)
        return known[name]
    found = import_dotted(name, kind)
    if not (isinstance(found, type) and issubclass(found, base)):
        room = base.__module__.rpartition(".")[0]  # which hands on what others are to derive from
        raise ValueError(f"{name} is no {kind}: derive the class from {room}.{base.__qualname__}.")
    return found


def with_options(kind: str, name: str, model: type[M], options: Mapping[str, Any] | None) -> M:
    """A pydantic model from the options that a recipe gives.

    Raises:
        ValueError: for an unknown option, naming the nearest, or a value out of bounds.
    """
    for option in options or {}:
        if option not in model.model_fields:
            raise unknown(f"option of {kind} {name!r}:", option, model.model_fields)
    try:
        return model(**(options or {}))
    except ValidationError as error:
        raise ValueError(f"Options of {kind} {name!r}: {in_a_line(error)}.") from None


def import_dotted(path: str, kind: str) -> Any:
    """The object at a dotted path `package.module.Name`.

    Raises:
        ValueError: when there is no such module, or it has no such name.
        ImportError: when the module is there and itself imports what is not.
    """
    module_name, _, attribute = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"There is no module {error.name!r} for the {kind} {path}: it is looked for in the working directory and "
            "on PYTHONPATH."
        ) from None
    if not hasattr(module, attribute):
        raise unknown(f"{kind} in module {module_name}:", attribute, (n for n in vars(module) if not n.startswith("_")))
    return getattr(module, attribute)


def mapping(options: dict[str, Any] | str | None) -> dict[str, Any]:
    """Options of a recipe, of which there may be none."""
    assert not isinstance(options, str), "TRL has parsed the JSON by now"
    return options or {}
