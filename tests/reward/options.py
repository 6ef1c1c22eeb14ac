"""Options of methods, from what their fields say of themselves: choices, switches, and numbers between bounds."""

from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from concise_rl.methods import Objective

STEPS = 20
"""Between the bounds of a number. Nothing is to hang on the last bits of an option."""


def numbers(field: FieldInfo, kind: type) -> list[Any]:
    """Numbers between an option's bounds, ascending; up to twice its default, at least one more than the lower bound,
    where there is no upper one."""
    names = ("ge", "gt", "le", "lt")
    bound = {name: getattr(one, name) for one in field.metadata for name in names if hasattr(one, name)}
    low = bound.get("ge", bound.get("gt", 0))
    high = bound.get("le", bound.get("lt", max(2 * (field.default or 0), low + 1)))
    found = sorted({kind(low + (high - low) * i / STEPS) for i in range(STEPS + 1)})
    return [value for value in found if value > bound.get("gt", low - 1) and value < bound.get("lt", high + 1)]


def values_of(field: FieldInfo) -> list[Any]:
    """Values of an option, of each type that it may have; its default where nothing else is known."""
    is_union = get_origin(field.annotation) in (Union, UnionType)
    kinds = get_args(field.annotation) if is_union else (field.annotation,)
    return [value for kind in kinds for value in of_kind(kind, field)] or [field.default]


def of_kind(kind: Any, field: FieldInfo) -> list[Any]:
    """Values of one type. Of numbers in a row the default and a hundredth of that, of texts none."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if kind in (bool, NoneType):
        return [False, True] if kind is bool else [None]
    if kind in (int, float):
        return numbers(field, kind)
    if get_origin(kind) is tuple and get_args(kind)[0] in (int, float):
        return [field.default, tuple(type(one)(one / 100) for one in field.default)]
    return []


def build(cls: type[Objective], options: dict[str, Any]) -> Objective | None:
    """The method, or None where these options do not go together."""
    try:
        return cls(**options)
    except ValueError:
        return None


def variants(cls: type[Objective]) -> list[Objective]:
    """The method as it comes, and with each option by itself at its lowest, middle and highest value."""
    of_fields = {name: values_of(field) for name, field in cls.model_fields.items()}
    places = {name: sorted({0, len(values) // 2, len(values) - 1}) for name, values in of_fields.items()}
    singles = [{name: of_fields[name][place]} for name, at in places.items() for place in at]
    return [method for options in [{}, *singles] if (method := build(cls, options)) is not None]


@st.composite
def any_of(draw: st.DrawFn, cls: type[Objective], holds: Callable[[Objective], bool]) -> Objective:
    """The method with any options of which `holds`; where few do, often one of `variants`."""
    options = {name: st.sampled_from(values_of(field)) for name, field in cls.model_fields.items()}
    method = build(cls, draw(st.fixed_dictionaries({}, optional=options)))
    if method is not None and holds(method):
        return method
    return draw(st.sampled_from([one for one in variants(cls) if holds(one)]))
