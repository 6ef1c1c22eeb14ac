"""Methods with all their options, from what their fields say, and what each says of itself by its parts and credit."""

from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from concise_rl.methods import Crop, Objective, Parts, RunContext
from reward import OBJECTIVES

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
    """The method with default options, and with each option by itself at its lowest, middle and highest value."""
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


PLAIN = [OBJECTIVES[name]() for name in sorted(OBJECTIVES)]
EVERY = [method for name in sorted(OBJECTIVES) for method in variants(OBJECTIVES[name])]
Holds = Callable[[Objective], bool]
Drawn = st.SearchStrategy[Objective]


def name_of(objective: object) -> str | None:
    """For the ids of cases: the method, and what it was given where its options are not the defaults."""
    if not isinstance(objective, Objective):
        return None
    name = type(objective).__name__
    return "-".join([name, *(f"{key}={getattr(objective, key)}" for key in sorted(objective.model_fields_set))])


def over(objectives: list[Objective], holds: Holds = lambda method: True) -> pytest.MarkDecorator:
    """Run a test over the methods among `objectives` that say that it applies."""
    return pytest.mark.parametrize("objective", [method for method in objectives if holds(method)], ids=name_of)


def over_options(holds: Holds = lambda method: True) -> pytest.MarkDecorator:
    """Run a test over all methods, with any options under which they say that it applies. It draws from `methods`."""
    applying = [name for name in sorted(OBJECTIVES) if any(map(holds, variants(OBJECTIVES[name])))]
    return pytest.mark.parametrize("methods", [any_of(OBJECTIVES[name], holds) for name in applying], ids=applying)


def parts_of(method: Objective) -> Parts:
    """What a method brings along to groups of 24."""
    return method.parts(RunContext.sketch(24))


def ordered(method: Objective) -> bool:
    """Whether the place of a rollout in its group means something."""
    return parts_of(method).plan.whole_groups


def stands_alone(method: Objective) -> bool:
    """Whether the method compares a rollout with no other one."""
    return method.credit.scope == "rollout"


def pays_steps(method: Objective) -> bool:
    """Whether parts of a rollout earn something beside its outcome: a signal in groups that have none otherwise."""
    return any(fact.name == "probe_correct" for fact in parts_of(method).facts)


def of_its_group(method: Objective) -> bool:
    """Whether groups do not matter to each other, which the recipe's `scale_rewards: batch` makes them do."""
    return method.credit.scope in ("rollout", "group") and getattr(method, "scale_rewards", "group") != "batch"


def drops(method: Objective) -> bool:
    """Whether tokens may leave the loss."""
    return type(method).kept_length is not Objective.kept_length


def crops(method: Objective) -> bool:
    """Whether it trains on less than was sampled."""
    return any(isinstance(stage, Crop) for stage in parts_of(method).stages)
