"""Programs, run on the tests of their problem as LiveCodeBench runs them: all must pass, in 6 seconds each.

The program is the last Python code block of a response. It runs in a process apart (`concise_rl.verify.sandbox`), which
gets inputs alone; what they should give stays here. Outputs are compared line by line, without blanks around lines, and
numbers in them by value; what a function returns is compared as JSON (lcb_runner/evaluation/testing_util.py).
"""

import json
import re
import time
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from concise_rl.verify.sandbox import Sandbox
from concise_rl.verify.verifiers.tests import read_tests

TEST_S = 6.0
"""Wall clock of one test, in seconds."""
TOTAL_S = 240.0
"""Of all tests of a problem at most."""
_BLOCK = re.compile(r"^[ \t]*```[ \t]*(\w*)[^\n]*\n(.*?)^[ \t]*```[ \t]*$", re.MULTILINE | re.DOTALL)
_PYTHON = {"python", "python3", "py"}


def program_of(response: str) -> str | None:
    """Take the last code block that says it is Python, else the last of all; None where there is none."""
    blocks = _BLOCK.findall(response)
    named = [code for language, code in blocks if language.lower() in _PYTHON]
    return (named or [code for _, code in blocks] or [None])[-1]


def verify(response: str, row: Mapping[str, Any]) -> bool:
    """Run the last code block on all tests of the problem; each must pass. Read what its sandbox protects from.

    Raises:
        ValueError: when the row's `tests` cannot be read.
        RuntimeError: when the sandbox does not start.
    """
    tests, code = read_tests(row["tests"]), program_of(response)
    if code is None:
        return False
    end = time.monotonic() + min(TOTAL_S, (TEST_S + 1) * len(tests.cases) + 5)  # LiveCodeBench's own sum
    same = _same_value if tests.function else _same_text
    with Sandbox(code, tests.function, TEST_S) as sandbox:
        for case in tests.cases:
            status, output = sandbox.run(case.given)
            if status != 0 or not same(output, case.expected) or time.monotonic() > end:
                return False
    return True


def _same_value(output: str, expected: str) -> bool:
    try:
        reached = json.loads(output)
    except (ValueError, RecursionError):  # a program may write anything
        return False
    return reached == json.loads(expected)


def _same_text(output: str, expected: str) -> bool:
    lines, wanted = ([line.strip() for line in text.strip().split("\n")] for text in (output, expected))
    return len(lines) == len(wanted) and all(map(_same_line, lines, wanted))


def _same_line(line: str, wanted: str) -> bool:
    if line == wanted:
        return True
    try:
        one, other = ([Decimal(word) for word in text.split()] for text in (line, wanted))
        return one == other
    except InvalidOperation:
        return False


with Sandbox("print(1)", None, TEST_S) as trial:  # that it works belongs to the start
    if trial.run("").output != "1\n":
        raise RuntimeError("the sandbox for programs does not work on this system")
    if not trial.isolated:
        print("code: this system permits no namespaces; programs of the model can reach the network.")
