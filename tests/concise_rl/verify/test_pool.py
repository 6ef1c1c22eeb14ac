"""The verifiers, and the pool of worker processes around them."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from concise_rl.verify.pool import VerifierPool
from concise_rl.verify.verifiers.text import boxed, choice, exact

TIMEOUT_S = 2.0
BOMBS = {
    "tower of powers": r"\boxed{5^{5^{5^{5^5}}}}",
    "powers in Python": "9**9**9**9",
    "binomial": r"\boxed{\binom{10^9}{5\cdot10^8}}",
    "nested braces": r"\boxed{" + "{" * 10**5 + "5" + "}" * 10**5 + "}",
    "a megabyte of fractions": r"\boxed{" + r"\frac" * 200_000 + "}",
    "factorial": r"\boxed{(10^7)!}",
    "factorial in Python": "factorial(10**7)",
}
CUSTOM = '''
import os, sys, time
from multiprocessing import parent_process

def no_heavy_imports(response, row):
    return not {"torch", "transformers", "trl", "datasets"} & set(sys.modules)

def obey(response, row):
    """Does what the response says."""
    if response == "die":
        os._exit(3)
    if response == "sleep":
        time.sleep(60)
    if response == "spin":
        9**9**9
    if response == "raise":
        raise KeyError("no such thing")
    if response == "eat":
        bytearray(1 << 40)
    if response == "pid":
        with open(row["file"], "w") as file:
            file.write(str(os.getpid()))
    return {"right": True, "wrong": 0.0, "half": 0.5, "nan": float("nan"), "inf": float("inf"), "pid": 1}.get(response)

def response_only(response):
    return True

not_a_function = 3
'''


@pytest.fixture(scope="module")
def math() -> Iterator[VerifierPool]:
    with VerifierPool("math", timeout_s=TIMEOUT_S, memory_mb=1024) as pool:
        yield pool


@pytest.fixture(scope="module")
def reasoning_gym() -> Iterator[VerifierPool]:
    with VerifierPool("reasoning_gym", workers=1, timeout_s=10.0, memory_mb=1024) as pool:
        yield pool


@pytest.fixture
def custom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module of verifiers."""
    (tmp_path / "custom_verifiers.py").write_text(CUSTOM)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "custom_verifiers"


@pytest.fixture
def obey(custom: str) -> Iterator[VerifierPool]:
    with VerifierPool(f"{custom}.obey", timeout_s=1.0) as pool:
        yield pool


def judge(pool: VerifierPool, answer: str, *responses: str) -> list[float | None]:
    return pool.judge([(response, {"answer": answer}) for response in responses])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until_dead(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_alive(pid)


def worker_pids(pool: VerifierPool) -> list[int]:
    return [worker.process.pid for worker in pool._workers]


# Verifiers


@pytest.mark.parametrize(
    "response",
    [r"\boxed{\frac12}", r"So \boxed{0.5}.", r"\boxed{1/2}", "the answer is $1/2$", r"\boxed{x = \dfrac{1}{2}}"],
)
def test_equal_values_are_correct_however_they_are_written(math: VerifierPool, response: str) -> None:
    assert judge(math, r"\frac{1}{2}", response) == [1.0]


@pytest.mark.parametrize(
    "response",
    [
        "",
        " ",
        "\x00",
        r"\boxed{}",
        r"\boxed{ }",
        r"\boxed{\text{cm}}",
        r"\boxed{5",
        "no idea",
        "<|im_end|>",
        r"\input{/etc/passwd}",
    ],
)
def test_what_holds_no_answer_is_wrong(math: VerifierPool, response: str) -> None:
    assert judge(math, "5", response) == [0.0]


def test_two_boxes_with_different_values_are_wrong(math: VerifierPool) -> None:
    assert judge(math, "5", r"\boxed{4} or \boxed{5}", r"\boxed{5} or \boxed{4}") == [0.0, 0.0]


def test_boxes_with_the_same_value_are_correct(math: VerifierPool) -> None:
    assert judge(math, "5", r"\boxed{5}, that is \boxed{5.0}, so \boxed{5}") == [1.0]


def test_one_box_for_each_of_several_gold_values_is_correct(math: VerifierPool) -> None:
    assert judge(math, "1, 2", r"\boxed{1} and \boxed{2}", r"\boxed{1} and \boxed{2} and \boxed{3}") == [1.0, 0.0]


def test_a_thousand_boxed_guesses_are_wrong(math: VerifierPool) -> None:
    assert judge(math, "500", "".join(rf"\boxed{{{i}}}" for i in range(1000))) == [0.0]


def test_many_guesses_in_one_box_are_wrong(math: VerifierPool) -> None:
    assert judge(math, "5", r"\boxed{4, 5}", r"\boxed{4 \text{ or } 5}") == [0.0, 0.0]


def test_units_and_surrogates_do_not_hide_the_value(math: VerifierPool) -> None:
    assert judge(math, "5", r"\boxed{5\text{ cm}}", "\ud800\u202e \\boxed{5}") == [1.0, 1.0]


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_never_correct_and_ends_in_time(math: VerifierPool, bomb: str) -> None:
    judge(math, "5", r"\boxed{5}")  # a worker is ready
    start = time.monotonic()
    assert judge(math, "5", bomb)[0] in (0.0, None)
    assert time.monotonic() - start < TIMEOUT_S + 5  # at best a fraction more, but a busy machine stalls for seconds


def test_boxed_finds_the_outermost_boxes_with_their_nested_braces() -> None:
    assert boxed(r"\boxed{\frac{1}{2}} x \boxed {\{1\}} \boxed{\boxed{3}}") == [r"\frac{1}{2}", r"\{1\}", r"\boxed{3}"]


@pytest.mark.parametrize(
    "response",
    [
        "B",
        "(B)",
        "B.",
        " B) Paris",
        "**B**",
        "(b)",
        r"\boxed{B}",
        r"\boxed{\text{(B)}}",
        r"$\boxed{\text{B. Paris}}$",
        "Answer: B",
        "The answer is B.",
        "The correct answer is (B), not the others.",
        "answer is **B** because A is too small",
        "B: Paris",
    ],
)
def test_a_choice_is_found_in_each_usual_form(response: str) -> None:
    assert choice(response, {"answer": "B"}) is True


@pytest.mark.parametrize(
    "response",
    [
        "",
        "A",
        "A or B",
        "(A) or (B)",
        "The answer is A or B",
        "The answer is (A), (B)",
        r"\boxed{A}\boxed{B}",
        r"\boxed{A, B}",
        "I think",
        "A. Rome\nB. Paris",
        "Because",
        r"\boxed{}",
        "The answer is B. No, the answer is A.",
    ],
)
def test_a_wrong_missing_or_ambiguous_choice_is_wrong(response: str) -> None:
    assert choice(response, {"answer": "(B)"}) is False


def test_a_gold_answer_that_is_no_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="Paris"):
        choice("B", {"answer": "Paris is it"})


def test_exact_ignores_only_the_amount_of_white_space() -> None:
    row = {"answer": "a  b\n"}
    assert [exact(text, row) for text in (" a b", "ab", "A b", "")] == [True, False, False, False]


def test_reasoning_gym_pays_no_partial_credit(reasoning_gym: VerifierPool) -> None:
    row = {"prompt": "2 + 3 =", "answer": "5", "metadata": json.dumps({"source_dataset": "chain_sum"})}
    assert reasoning_gym.judge([(text, row) for text in (" 5\n", "5 or so", "")]) == [1.0, 0.0, 0.0]


def test_code_in_a_response_is_not_run(math: VerifierPool, reasoning_gym: VerifierPool, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    # The scorer of countdown hands the response to sympy's parse_expr, which evaluates it as Python.
    metadata = {"source_dataset": "countdown", "numbers": [2, 3], "target": 5}
    row = {"prompt": "make 5", "answer": "5", "metadata": json.dumps(metadata)}
    for attack in (f"__import__('os').system('touch {canary}')", f"open('{canary}', 'w')"):
        for pool in (math, reasoning_gym):
            assert pool.judge([(attack, row), (rf"\boxed{{{attack}}}", row)]) == [0.0, 0.0]
    assert not canary.exists()


# The pool


def test_verdicts_come_in_the_order_of_the_items(obey: VerifierPool) -> None:
    responses = ["right", "wrong", "half", "nan", "none"] * 5
    assert judge(obey, "", *responses) == [1.0, 0.0, 0.0, None, None] * 5
    assert obey.counters == {"judged": 15, "correct": 5, "abstained": 10, "timeouts": 0, "crashes": 0, "errors": 0}


def test_64_items_with_4_bombs_end_in_time_and_the_others_keep_their_verdicts(math: VerifierPool) -> None:
    items = [rf"\boxed{{{5 + i % 2}}}" for i in range(64)]
    expected: list[float | None] = [1.0, 0.0] * 32
    for place in (0, 1, 33, 63):
        items[place], expected[place] = BOMBS["tower of powers"], None
    judge(math, "5", *items[2:4])  # workers are ready
    start = time.monotonic()
    assert judge(math, "5", *items) == expected
    assert (
        time.monotonic() - start < TIMEOUT_S * (4 / 2) + 8
    )  # a worker's start takes about a second, more on a busy machine


def test_a_verdict_that_is_no_finite_number_is_none(obey: VerifierPool) -> None:
    assert judge(obey, "", "inf", "nan", "right") == [None, None, 1.0]


@pytest.mark.parametrize(
    ("order", "counter"), [("die", "crashes"), ("eat", "crashes"), ("sleep", "timeouts"), ("raise", "errors")]
)
def test_an_item_that_cannot_be_judged_is_none_and_costs_the_others_nothing(
    obey: VerifierPool, order: str, counter: str
) -> None:
    assert judge(obey, "", "right", order, "wrong", "right") == [1.0, None, 0.0, 1.0]
    assert obey.counters[counter] == 1


def test_the_first_of_each_kind_of_failure_is_logged_with_its_cause(
    obey: VerifierPool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        judge(obey, "", "right", "raise", "raise", "die", "eat")
    assert len(caplog.messages) == 3
    assert any(re.search("item [12].*no such thing", message) for message in caplog.messages)  # two workers
    assert any("status 3" in message for message in caplog.messages)
    assert any("out of memory" in message for message in caplog.messages)


def test_a_verifier_that_raises_on_a_whole_batch_is_an_error(obey: VerifierPool) -> None:
    assert judge(obey, "", *["raise"] * 7) == [None] * 7
    with pytest.raises(ValueError, match="no such thing"):
        judge(obey, "", *["raise"] * 8)


def test_a_verifier_that_takes_other_arguments_is_told_how_it_is_called(custom: str) -> None:
    signature = "def verify(response: str, row: dict) -> bool | float | None"
    with VerifierPool(f"{custom}.response_only") as pool, pytest.raises(ValueError, match=re.escape(signature)):
        judge(pool, "", "x")


def test_an_empty_batch_starts_nothing(obey: VerifierPool) -> None:
    assert judge(obey, "") == []
    assert worker_pids(obey) == []


def test_a_worker_imports_nothing_heavy(custom: str) -> None:
    with VerifierPool(f"{custom}.no_heavy_imports") as pool:
        assert judge(pool, "", "") == [1.0]


def test_close_leaves_no_worker_and_the_pool_starts_again(obey: VerifierPool) -> None:
    judge(obey, "", "right", "right")
    pids = worker_pids(obey)
    obey.close()
    assert len(pids) == 2
    assert not any(is_alive(pid) for pid in pids)
    assert judge(obey, "", "right") == [1.0]


def test_an_interrupted_batch_does_not_answer_the_next_one(obey: VerifierPool) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    judge(obey, "", "right", "right")
    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    with pytest.raises(KeyboardInterrupt):
        judge(obey, "", "sleep", "sleep")
    signal.signal(signal.SIGALRM, previous)
    assert judge(obey, "", "wrong", "right") == [0.0, 1.0]


@pytest.mark.parametrize("order", ["sleep", "spin"])
def test_workers_die_with_a_parent_that_is_killed_in_the_middle_of_an_item(
    custom: str, tmp_path: Path, order: str
) -> None:
    script = (
        "from concise_rl.verify.pool import VerifierPool\n"
        f"pool = VerifierPool('{custom}.obey', workers=1, timeout_s=1)\n"
        f"pool.judge([('pid', {{'answer': '', 'file': {str(tmp_path / 'pid')!r}}})])\n"
        "pool._timeout_s = 60\n"
        f"pool.judge([({order!r}, {{'answer': ''}})])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    parent = subprocess.Popen([sys.executable, "-c", script], env=environment)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    worker = int((tmp_path / "pid").read_text())
    time.sleep(0.3)
    assert is_alive(worker)
    parent.kill()
    parent.wait()
    # The spinning one by its limit of processor time, which takes a multiple of it on a busy machine.
    assert wait_until_dead(worker, 60)


def test_a_worker_that_died_while_idle_is_replaced(obey: VerifierPool) -> None:
    judge(obey, "", "right")
    (worker,) = obey._workers
    worker.process.kill()
    worker.process.wait(10)  # all its threads: until the last is gone the connection takes an item
    assert judge(obey, "", "right", "wrong") == [1.0, 0.0]
    assert obey.counters["crashes"] == 0


def test_an_unknown_verifier_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"mth.*math"):
        VerifierPool("mth")


@pytest.mark.parametrize("limits", [{"workers": 0}, {"timeout_s": 0.0}, {"timeout_s": float("nan")}, {"memory_mb": 0}])
def test_a_limit_that_is_not_positive_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        VerifierPool("exact", **limits)


@pytest.mark.parametrize("path", ["no_such_module.verify", "{custom}.obay", "{custom}.not_a_function"])
def test_a_dotted_path_that_leads_to_no_function_is_an_error(custom: str, path: str) -> None:
    name = path.format(custom=custom)
    with VerifierPool(name) as pool, pytest.raises(ValueError, match=f"{name}.*cannot be loaded"):
        judge(pool, "", "x")


def test_a_memory_limit_too_small_to_start_is_an_error() -> None:
    with VerifierPool("math", memory_mb=20) as pool, pytest.raises((RuntimeError, ValueError), match="math"):
        judge(pool, "", "x")


def start_with(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each new interpreter run some code first."""
    (tmp_path / "sitecustomize.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_system_that_refuses_the_memory_limit_is_warned_of_once_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = """
import resource
set_limit = resource.setrlimit
def refuse(kind, limits):
    if kind == resource.RLIMIT_AS:
        raise ValueError("current limit exceeds maximum limit")
    set_limit(kind, limits)
resource.setrlimit = refuse
"""
    start_with(code, tmp_path, monkeypatch)
    with VerifierPool("exact", workers=2) as pool, caplog.at_level(logging.WARNING):
        assert judge(pool, "a", "a", "b", "a", "b") == [1.0, 0.0, 1.0, 0.0]
    assert caplog.messages == ["exact: this system bounds no process's memory; its workers go on without that limit."]


def test_a_worker_that_cannot_start_says_its_status_and_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_with(
        "import os, sys\nprint('no such library', file=sys.stderr, flush=True)\nos._exit(7)", tmp_path, monkeypatch
    )
    with VerifierPool("exact") as pool, pytest.raises(RuntimeError, match=r"status 7 .*no such library"):
        judge(pool, "", "x")


def test_a_worker_that_raises_at_its_start_keeps_its_own_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import resource\ndef refuse(kind):\n    raise KeyError('no limits here')\nresource.getrlimit = refuse"
    start_with(code, tmp_path, monkeypatch)
    with VerifierPool("exact") as pool, pytest.raises(RuntimeError, match=r"(?s)status 1 .*no limits here"):
        judge(pool, "", "x")
