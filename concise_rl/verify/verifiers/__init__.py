"""Verifiers: each judges the answer part of one completion. They run in the worker processes of `concise_rl.verify`.

A verifier is a function `verify(response, row) -> bool | float | None`: `response` is the text after the thinking,
`row` the data row (at least `answer`). 1 or more is correct, None means that it cannot be judged. It may hang, crash or
eat memory: the pool bounds all of these. Those with libraries of their own have a module each, so that a worker imports
only what it needs.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from concise_rl.errors import unknown
from concise_rl.named import import_dotted
from concise_rl.verify.verifiers.words import kind_of_gold

Verify = Callable[[str, Mapping[str, Any]], bool | float | None]


class Verifier(NamedTuple):
    """Where a verifier is found and how it expects an answer to be written."""

    path: str
    """Dotted path of the function."""
    gold: str | None = "{answer}"
    """A row's own answer written as a response: what the check at load hands to the verifier. None where rows have no
    answer, but tests: then the check hands over an empty response, which must be wrong."""
    worked_out: str | None = None
    """The function that refuses an answer copied from the problem, where the verifier knows such answers."""
    kind_of_gold: Callable[[str], str] | None = None
    """What sort of gold answer a text is, as messages say it; empty for one that needs no mention."""
    trusted: bool = False
    """It may start processes, write files and use the network: so may the user's own verifiers, and `code`."""
    timeout_s: float = 0.0
    """Wall clock for each item that it needs at least, in seconds."""
    columns: Sequence[str] = ()
    """Columns of the data that it reads beside `prompt` and `answer`."""


VERIFIERS = {
    "math": Verifier(
        "concise_rl.verify.verifiers.math.verify",
        r"\boxed{{answer}}",
        worked_out="concise_rl.verify.verifiers.math.verify_worked_out",
        kind_of_gold=kind_of_gold,
        columns=("answer_tolerance",),
    ),
    "reasoning_gym": Verifier("concise_rl.verify.verifiers.reasoning_gym.verify", columns=("metadata",)),
    "choice": Verifier("concise_rl.verify.verifiers.text.choice"),
    "exact": Verifier("concise_rl.verify.verifiers.text.exact"),
    "code": Verifier(
        "concise_rl.verify.verifiers.code.verify", gold=None, trusted=True, timeout_s=300.0, columns=("tests",)
    ),
}


def find_verifier(name: str) -> Verifier:
    """Look a verifier up by its short name, or take `name` for the dotted path of the user's own. Imports nothing.

    Raises:
        ValueError: when the name is neither, giving the nearest valid one.
    """
    if name in VERIFIERS:
        return VERIFIERS[name]
    if all(part.isidentifier() for part in name.split(".")) and "." in name:
        return Verifier(name, trusted=True)
    raise unknown("verifier", name, VERIFIERS)


def columns_of(name: str) -> Sequence[str] | None:
    """Columns of the data that a verifier reads beside `prompt` and `answer`.

    A function of the user's own may say so in an attribute, `verify.columns = ("level",)`; None where it does not: it
    may read any.

    Raises:
        ValueError: when there is no such verifier.
    """
    verifier = find_verifier(name)
    return verifier.columns if name in VERIFIERS else getattr(import_dotted(name, "verifier"), "columns", None)


def load_verifier(path: str) -> Verify:
    """Import the function at a dotted path.

    Raises:
        ValueError, ModuleNotFoundError: see `import_dotted`; or when it is no function.
        TypeError: when it cannot be called with a response and a row.
    """
    verify = import_dotted(path, "verifier")
    if not callable(verify):
        raise ValueError(f"{path} is a {type(verify).__name__}, not a function of (response, row)")
    inspect.signature(verify).bind("", {})
    return verify
