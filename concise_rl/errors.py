"""Names that users give: what to say about one that nobody knows, and how to find what a dotted path names."""

import difflib
import errno
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

NO_ROOM = ("No space left on device", "Disk quota exceeded", "File too large", "iostream error", "PytorchStreamWriter")
"""What the system, safetensors and torch say of a write that found no room."""

NO_ACCESS = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""What the system says of a path that is not for this user, or can be none."""


class EngineError(RuntimeError):
    """An engine that cannot go on: a server that is gone, silent, or answers what was not asked."""


class PeerError(RuntimeError):
    """A rank that cannot go on because another one has ended, or is out of reach."""


class Interrupted(RuntimeError):
    """A training that was told to end before its last step, and has saved a checkpoint."""


AGAIN = 75
"""Exit code of a training that was interrupted and goes on when it is started again: EX_TEMPFAIL of sysexits.h."""


def without_room(error: BaseException) -> str | None:
    """Say in a line that an error comes from a write that found no room.

    Returns:
        The line; None for any other error.
    """
    cause = next((one for one in _chain(error) if any(words in str(one) for words in NO_ROOM)), None)
    if cause is None:
        return None
    return (
        f"The disk is full, or a limit is reached ({str(cause).splitlines()[0]}). Make room and give the same command "
        "again: it goes on from what is complete."
    )


def without_access(error: BaseException) -> str | None:
    """Say in a line that an error comes from a path that cannot be written, or read.

    Returns:
        The line; None for any other error.
    """
    if not isinstance(error, OSError) or error.errno not in NO_ACCESS or not error.filename:
        return None
    return f"{error.filename} cannot be used ({error.strerror}): give another place, or the right to write there."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those during which it was raised: torch raises another one while it closes the file."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def in_a_line(error: ValidationError) -> str:
    """What pydantic found wrong with a model's fields: each field, what is wrong, and what it was given."""
    return "; ".join(_problem(details) for details in error.errors())


def _problem(details: Any) -> str:
    field = ".".join(map(str, details["loc"]))
    own = details["type"] == "value_error"  # by this project: it says what was given where that helps
    said = details["msg"].removeprefix("Value error, ") if own else f"{details['msg']}, got {details['input']!r}"
    return f"{field}: {said}" if field else said


def unknown(kind: str, name: str, valid: Iterable[str], first: Iterable[str] = ()) -> ValueError:
    """The error for a misspelt name: it gives the nearest valid one where there is one, and else the valid ones.

    Args:
        kind: what was named, as the message begins: `verifier`, `option of chain_sum`.
        name: as it was given.
        valid: every name that would have been right.
        first: those of them to list before the others, all of them.
    """
    first = list(first)
    valid = [*first, *sorted(set(valid) - set(first))]
    near = difflib.get_close_matches(name, valid, n=1)
    shown = max(20, len(first))
    listed = ", ".join(valid[:shown]) + (f" and {len(valid) - shown} more" if len(valid) > shown else "")
    hint = f"Did you mean {near[0]!r}?" if near else f"Valid: {listed or 'none'}."
    return ValueError(f"Unknown {kind} {name!r}. {hint}")


def defined_in(name: str) -> list[str]:
    """List the modules of this project that define a function, a class or a constant of this name."""
    root = Path(__file__).parents[1]
    paths = [path for package in ("concise_rl", "reward") for path in sorted((root / package).rglob("*.py"))]
    definition = re.compile(rf"^(?:(?:def|class) {name}\b|{name}(?:: .*)? = )", flags=re.MULTILINE)
    found = [path.relative_to(root).with_suffix("") for path in paths if definition.search(path.read_text())]
    return [".".join(path.parts).removesuffix(".__init__") for path in found]


def said_elsewhere(module: str) -> Callable[[str], Any]:
    """Make the `__getattr__` of a module from which names have moved: it says where a name is now.

    Args:
        module: whose names are asked for.
    """

    def missing(name: str) -> Any:
        found = [] if name.startswith("_") else defined_in(name)
        if found:
            raise ImportError(f"{name} is not in {module} any more. Import it from {' or '.join(found)}.")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return missing
