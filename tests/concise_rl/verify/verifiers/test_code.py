"""Programs of a model, run on tests of their problem in a sandbox."""

import base64
import json
import os
import pickle
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from concise_rl.data.rows import keep_verifiable, load_rows
from concise_rl.verify import sandbox
from concise_rl.verify.pool import VerifierPool
from concise_rl.verify.verifiers import code
from concise_rl.verify.verifiers.code import program_of, trial, verify
from concise_rl.verify.verifiers.tests import read_tests

SUM = [("1 2\n", "3\n"), ("5 6", "11")]
READ = "a, b = map(int, input().split())\n"
RIGHT = READ + "print(a + b)"


def cases(pairs: Sequence[tuple[str, str]]) -> str:
    return json.dumps([{"input": given, "output": expected, "testtype": "stdin"} for given, expected in pairs])


def packed(value: Any) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def row(pairs: Sequence[tuple[str, str]] = SUM, function: str | None = None) -> dict[str, str]:
    return {
        "tests": json.dumps({"public": cases(pairs[:1]), "private": packed(cases(pairs[1:])), "function": function})
    }


def block(program: str) -> str:
    return f"This adds them:\n```python\n{program}\n```\nIt does."


def in_one_function(body: str) -> str:
    return "class Solution:\n    def add(self, xs: List[int], k: int) -> List[int]:\n        " + body


@pytest.mark.parametrize(
    "program",
    [
        RIGHT,
        "import sys\na, b = map(int, sys.stdin.buffer.read().split())\nsys.stdout.write(f'{a + b}.0 ')\nsys.exit()",
        "a, b = map(int, open(0).read().split())\nprint(sum(Counter([a, b]).elements()))",
        f"import threading\ndef main():\n    {READ.strip()}\n    print(a + b)\nthreading.Thread(target=main).start()",
        f"def deep(n): return n and deep(n - 1)\ndeep(20000)\n{RIGHT}",
        f"import numpy as np\n{READ}print(np.array([a, b]).sum())",
    ],
)
def test_a_right_program_is_right_however_it_reads_and_writes(program: str) -> None:
    assert verify(block(program), row()) is True


@pytest.mark.parametrize(
    "program",
    [
        "print(3)",
        READ + "print(a + b, 1)",
        READ + "print(a + b)\nraise ValueError",
        "print(",
        "import os\nprint(3)\nos._exit(0)",
        "x = [0] * 10**10\n" + RIGHT,
        "import os\nos.fork()\n" + RIGHT,
        "import os\nos.kill(os.getppid(), 9)\n" + RIGHT,
        "import ctypes\nctypes.CDLL(None).fork()\n" + RIGHT,
        "import subprocess\nsubprocess.run('ls')\n" + RIGHT,
        "import socket\nsocket.socket()\n" + RIGHT,
        "open('/etc/passwd').read()\n" + RIGHT,
        "open('left', 'w').write('1')\n" + RIGHT,
        RIGHT + "\nwhile True: print('x' * 100000)",
        "import os\nos.closerange(0, 64)\n" + RIGHT,
    ],
)
def test_a_wrong_or_forbidden_program_is_wrong(program: str) -> None:
    assert verify(block(program), row()) is False


@pytest.mark.parametrize("program", ["while True: pass", "import time\ntime.sleep(60)"])
def test_a_program_that_does_not_end_is_wrong(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "TEST_S", 0.5)
    assert verify(block(program), row()) is False


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("return [x + k for x in xs]", True),
        ("return tuple(x + k for x in xs)", True),
        ("print('still adding'); return [x + k for x in xs]", True),
        ("return xs", False),
        ("return {x + k for x in xs}", False),
        ("import os; os.write(3, b'{'); return [x + k for x in xs]", False),
    ],
)
def test_a_function_is_called_with_the_values_on_the_lines_of_an_input(body: str, verdict: bool) -> None:
    pairs = [("[1, 2, 3]\n2", "[3, 4, 5]"), ("[]\n0", "[]")]
    assert verify(block(in_one_function(body)), row(pairs, "add")) is verdict


def test_the_last_block_that_says_it_is_python_is_the_program() -> None:
    response = "```python\nfirst\n```\nor\n```py\nlast\n```\nwith the input\n```\n1 2\n```"
    assert program_of(response) == "last\n"
    assert program_of("```\nonly\n```") == "only\n"
    assert program_of("print(3)") is program_of("```python\nprint(3)") is None
    assert verify("print(3)", row()) is False


@pytest.mark.skipif(not trial.isolated, reason="this system permits no namespaces")
def test_without_the_hook_there_is_still_no_network_and_nothing_outlives_a_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unguarded = sandbox.PROGRAM.read_text().replace("sys.addaudithook(_forbid)", "pass")
    (tmp_path / "program.py").write_text(unguarded)
    monkeypatch.setattr(sandbox, "PROGRAM", tmp_path / "program.py")
    leave = f"""
import os, socket, time
try:
    socket.create_connection(("127.0.0.1", 1), 1)
except OSError as error:
    print(error.errno)
if os.fork() == 0:
    os.setsid()
    time.sleep(1)
    open({str(tmp_path / "outlived")!r}, "w").write("1")
"""
    with sandbox.Sandbox(leave, None, 5.0) as box:
        status, printed = box.run("")
        again = box.run("")
    assert status == again.status == 0 and int(printed) == 101  # the network is unreachable, even this machine
    assert not (tmp_path / "outlived").exists()


def test_a_sandbox_leaves_no_folder_and_no_process() -> None:
    with sandbox.Sandbox(RIGHT, None, 5.0) as box:
        folder, process = Path(box._folder.name), box._process
        assert folder.is_dir() and box.run("1 2").output == "3\n"
    assert not folder.exists() and process.returncode is not None


@pytest.mark.parametrize("private", [cases(SUM), packed(cases(SUM)), packed(json.loads(cases(SUM)))])
def test_tests_are_read_as_json_or_packed(private: str) -> None:
    tests = read_tests(json.dumps({"public": "[]", "private": private, "function": None}))
    assert [tuple(case) for case in tests.cases] == SUM


class Attack:
    """What a pickle could do."""

    def __reduce__(self) -> Any:
        return os.system, ("touch attacked",)


@pytest.mark.parametrize(
    ("private", "message"),
    [
        (packed(Attack()), "no plain value"),
        ("not base64!", "cannot be read"),
        (base64.b64encode(zlib.compress(b"x" * 100)[:-8]).decode(), "cut short"),
        ('[{"input": 1, "output": "2"}]', "no list of objects"),
        ("[]", "no tests"),
    ],
)
def test_tests_that_cannot_be_read_are_refused(private: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_tests(json.dumps({"public": "[]", "private": private, "function": None}))


def test_a_copy_of_the_benchmark_is_loaded_checked_and_judged(tmp_path: Path) -> None:
    problem = {
        "question_content": "Print the sum of two numbers.",
        "starter_code": "",
        "public_test_cases": cases(SUM[:1]),
        "private_test_cases": packed(cases(SUM[1:])),
        "metadata": "{}",
        "difficulty": "easy",
    }
    broken = {**problem, "private_test_cases": "eJx="}
    (tmp_path / "lcb.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (problem, broken)))
    rows = load_rows(f"lcb_v6={tmp_path / 'lcb.jsonl'}", columns=["tests", "difficulty"])
    with VerifierPool("code", workers=1) as pool:
        kept, dropped = keep_verifiable(rows, pool, tolerated=0.5)
        verdicts = pool.judge([(block(RIGHT), kept[0]), (block("print(3)"), kept[0])])
    assert (len(kept), dropped, verdicts) == (1, 1, [1.0, 0.0])
    assert kept[0]["difficulty"] == "easy"
