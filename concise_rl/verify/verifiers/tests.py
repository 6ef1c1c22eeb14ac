"""The tests of a programming problem, as LiveCodeBench packs them."""

import base64
import binascii
import io
import json
import pickle
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

MAX_BYTES = 1 << 29
"""Unpacked tests are at most this large."""


class Case(NamedTuple):
    """An input and what a right program makes of it."""

    given: str
    expected: str


class Tests(NamedTuple):
    """All cases of a problem."""

    cases: Sequence[Case]
    function: str | None
    """Which is called with the values of an input; None for programs that read stdin."""


class _PlainUnpickler(pickle.Unpickler):
    """Reads texts, numbers, lists and the like. Pickles can otherwise run any code."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise pickle.UnpicklingError(f"{module_name}.{global_name} is no plain value")


@lru_cache(maxsize=4)
def read_tests(text: str) -> Tests:
    """Read the column `tests`: JSON of `public`, `private` (both JSON, or packed) and `function`.

    Raises:
        ValueError: for tests that cannot be read, and where there are none.
    """
    packed = json.loads(text)
    if not isinstance(packed, Mapping) or not {"public", "private"} <= packed.keys():
        raise ValueError("'tests' is no object with the fields public, private and function")
    cases = [
        Case(case["input"], case["output"]) for name in ("public", "private") for case in _unpacked(packed[name], name)
    ]
    if not cases:
        raise ValueError("there are no tests")
    return Tests(cases, packed.get("function"))


def _unpacked(text: str, name: str) -> list[dict[str, str]]:
    """Read a list of cases from JSON, or from a pickled text of JSON, compressed, in base64.

    Raises:
        ValueError: when it is neither.
    """
    try:
        found = json.loads(text if text.lstrip().startswith("[") else _unpickled(text))
    except (ValueError, binascii.Error, zlib.error, pickle.UnpicklingError, EOFError, IndexError, KeyError) as error:
        raise ValueError(f"the {name} tests cannot be read ({type(error).__name__}: {error})") from error
    for case in found if isinstance(found, list) else [found]:
        if not isinstance(case, dict) or not all(isinstance(case.get(key), str) for key in ("input", "output")):
            raise ValueError(f"the {name} tests are no list of objects with input and output")
    return found


def _unpickled(text: str) -> str:
    unpack = zlib.decompressobj()
    data = unpack.decompress(base64.b64decode(text, validate=True), MAX_BYTES)
    if not unpack.eof:
        raise ValueError(f"they are cut short, or larger than {MAX_BYTES >> 20} MiB")
    value = _PlainUnpickler(io.BytesIO(data)).load()
    return value if isinstance(value, str) else json.dumps(value)
