"""From the text of `--exit` to what it names: `deer`, `budget:512`, `deer:threshold=0.9,mean=avg2`."""

import json
import re
from typing import Any

from concise_rl.named import find_class, with_options
from concise_rl.rollout.exits.live import LivePlan
from concise_rl.rollout.exits.policy import Exit, ExitPolicy, LiveExit
from concise_rl.rollout.exits.tools import ExitTools
from concise_rl.rollout.plans.plan import Plan

_NEXT_OPTION = re.compile(r",(?=\s*\w+=)")


def parse_exit(text: str, known: dict[str, type[Exit]]) -> Exit:
    """Build the exit that a text names.

    Args:
        text: `NAME`, `NAME:VALUE` (of its main option), `NAME:key=value,key=value`, or `NAME:{...}` as JSON. A value is
            JSON where it reads as that, else the text itself. A dotted path names a class of the user's own.
        known: classes by name.

    Raises:
        ValueError: for an unknown name or option, or a value that is out of bounds.
    """
    name, colon, rest = text.partition(":")
    found = find_class("exit", name, known, Exit)
    if colon and not rest.strip():
        raise ValueError(f"Exit {text!r}: give options behind the colon, or leave it out.")
    return with_options("exit", name, found, _options(text, rest, found) if colon else {})


def _options(text: str, rest: str, found: type[Exit]) -> dict[str, Any]:
    """Read what stands behind the colon."""
    if rest.startswith("{"):
        return _json_object(text, rest)
    if not re.match(r"\s*\w+=", rest):
        if not found.dial:
            names = ", ".join(found.model_fields) or "none"
            raise ValueError(f"Exit {text!r} has no main option: give key=value. It has {names}.")
        return {found.dial: _value(rest)}
    pairs = [part.strip().partition("=") for part in _NEXT_OPTION.split(rest)]
    twice = [key for key, _, _ in pairs if [other for other, _, _ in pairs].count(key) > 1]
    if twice:
        raise ValueError(f"Exit {text!r} gives {twice[0]} twice: leave one out.")
    return {key: _value(value) for key, _, value in pairs}


def _json_object(text: str, rest: str) -> dict[str, Any]:
    try:
        return json.loads(rest)
    except ValueError as error:
        raise ValueError(f"Exit {text!r}: what stands behind the colon is no JSON ({error}).") from None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def plan_exit(exit_: Exit, tools: ExitTools) -> Plan:
    """Return how samples come about under an exit.

    Raises:
        ValueError: when the tokenizer cannot write its texts, or it is neither kind of exit.
    """
    if isinstance(exit_, LiveExit):
        return exit_.plan(tools)
    if not isinstance(exit_, ExitPolicy):
        raise ValueError(f"{type(exit_).__name__} is no exit: derive the class from ExitPolicy or LiveExit.")
    return LivePlan(exit_, tools)
