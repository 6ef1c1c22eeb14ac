"""Values of a recipe against the types of their fields: a mistyped one would count as true, or fail hours later."""

import json
import re
from collections.abc import Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "a mapping",
    list: "a list",
    NoneType: "null",
}

FILES = ("accelerator_config", "deepspeed", "fsdp_config")
"""Keys whose mapping may stand in a file of its own."""


ALSO_BOOLEAN = ("scale_rewards", "fsdp")
"""Declared as text, where TRL and transformers take true and false, too."""


def typed(values: Mapping[str, Any], classes: tuple[type, ...]) -> dict[str, Any]:
    """Values as the fields of dataclasses take them. Text that YAML leaves as such becomes a number (1e-6).

    Args:
        values: by name of a field.
        classes: dataclasses that have the fields.

    Raises:
        ValueError: naming the key, the value, and what it is not.
    """
    types = {name: annotation for cls in classes for name, annotation in get_type_hints(cls).items()}
    return {key: _typed(key, value, types[key]) for key, value in values.items()}


def _typed(key: str, value: Any, annotation: Any) -> Any:
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    kinds = [get_origin(member) or member for member in members]
    if key in ALSO_BOOLEAN and isinstance(value, bool):
        return value
    if isinstance(value, str) and list in kinds and value.lstrip().startswith("["):
        value = _listed(value)
    if isinstance(value, str) and list in kinds and str not in kinds:  # lora_target_modules: all-linear
        value = names if isinstance(names := names_or_pattern(value), list) else [value]
    if isinstance(value, str) and dict in kinds:
        return value if key in FILES and not value.startswith("{") else _mapping(key, value)
    if dict in kinds and not isinstance(value, dict | None):
        raise _mismatch(key, value, [dict])
    if isinstance(value, bool) and bool not in kinds and {int, float} & set(kinds):  # Python takes it for 0 or 1
        raise _mismatch(key, value, kinds)
    if type(value) is int and float in kinds:
        return value
    return _converted(key, value, members, kinds)


def _converted(key: str, value: Any, members: tuple[Any, ...], kinds: list[Any]) -> Any:
    choices = [kind for kind in kinds if _is_enum(kind)]
    wanted: Any = choices[0] if choices else Union[members]  # noqa: UP007 (of a tuple)
    lenient = ConfigDict(coerce_numbers_to_str=True, arbitrary_types_allowed=True)
    try:
        found = TypeAdapter(wanted, config=lenient).validate_python(value)
    except ValidationError:
        raise _mismatch(key, value, choices or kinds) from None
    return found.value if choices else found


def names_or_pattern(text: Any) -> Any:
    """Names with commas between them as a list, also one alone, which PEFT would take for a pattern of a whole path.

    Anything else is left as it is: a list, a regular expression, `all-linear`.
    """
    if isinstance(text, str) and re.fullmatch(r"[\w.]+(\s*,\s*[\w.]+)*", text):
        return [name.strip() for name in text.split(",")]
    return text


def _listed(text: str) -> Any:
    """A list in brackets, or the text itself where it is none, as a pattern is."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return found if isinstance(found, list) else text


def _mapping(key: str, text: str) -> Any:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{key}: {text!r} is not a mapping, nor the JSON of one.")
    return found


def _mismatch(key: str, value: Any, kinds: list[Any]) -> ValueError:
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    is_word = isinstance(value, bool) and any(kind is str or _is_enum(kind) for kind in kinds)
    quotes = " (yes, no, on and off are text only in quotes)" if is_word else ""
    return ValueError(f"{key}: {shown} is not {' or '.join(map(_name, kinds))}{quotes}.")


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _name(kind: Any) -> str:
    if _is_enum(kind):
        return f"one of {', '.join(str(choice.value) for choice in kind)}"
    return NAMES.get(kind, "false" if kind is Literal else str(kind))
