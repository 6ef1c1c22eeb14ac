"""reasoning-gym tasks, judged by the scorer of the task itself.

Some scorers evaluate the model's text as Python. It is read as literals, or as arithmetic with names of mathematics,
instead: no text reaches the gold answer in the scorer's frames, or anything else of the process.
"""

import ast
import functools
import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import reasoning_gym
import sympy
from sympy.parsing import sympy_parser

from concise_rl.verify.verifiers.metadata import load_metadata

_EVALUATE = ("algorithmic.string_insertion", "algorithmic.spiral_matrix", "algorithmic.binary_matrix", "games.n_queens")
_PARSE = ("games.puzzle24", "games.countdown")
_ARITHMETIC = re.compile(r"(?:[\s\d+\-*/^(),=]|\.(?![a-zA-Z_])|[a-zA-Z]+)*")
_FUNCTIONS = "sin cos tan cot sec csc asin acos atan sinh cosh tanh exp log ln sqrt pi Abs factorial Integral"
_NAMES = frozenset(_FUNCTIONS.split())
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
MAX_NAME = 2
"""Names of variables are at most this long."""


def parse_arithmetic(text: str, *args: Any, **options: Any) -> Any:
    """As sympy's `parse_expr`, which evaluates Python, but for arithmetic alone.

    Raises:
        ValueError: for anything else, such as attributes, brackets, quotes and the names of other functions.
    """
    names = re.findall(r"[a-zA-Z]+", text)
    if not _ARITHMETIC.fullmatch(text) or any(len(name) > MAX_NAME and name not in _NAMES for name in names):
        raise ValueError("no arithmetic")
    return sympy_parser.parse_expr(text, *args, **options)


def _guard() -> None:
    """Have the scorers read text in place of evaluating it. This is a worker's own process."""
    for name in _EVALUATE:
        vars(importlib.import_module(f"reasoning_gym.{name}"))["eval"] = ast.literal_eval
    for name in _PARSE:
        vars(importlib.import_module(f"reasoning_gym.{name}"))["parse_expr"] = parse_arithmetic
    vars(sympy)["parse_expr"] = parse_arithmetic


# Building a scorer builds its data set, for some tasks with word lists.
_scorer: Callable[[str], Callable[..., float]] = functools.cache(reasoning_gym.get_score_answer_fn)


def verify(response: str, row: Mapping[str, Any]) -> bool:
    """Full score only: the scorers pay part of it for a wrong answer in the right form.

    The answer is what stands in the last `<answer>` and `</answer>`, as reasoning-gym asks for it
    (utils.extract_answer), or all of the response.

    A scorer that raises on a text says wrong, if it accepts the row's own answer.

    Raises:
        KeyError: when the row lacks `metadata`, the JSON that `load_rows` writes, with its `source_dataset`.
        Exception: as the scorer, when it raises on the row's own answer, too.
    """
    if "Integral" in response and "Integral" not in row["answer"]:
        return False  # the problem handed back; some tasks have such answers
    tagged = _TAGGED.findall(response)
    answer = (tagged[-1] if tagged else response).strip()
    metadata = load_metadata(row["metadata"])
    prompt = row.get("prompt")  # in training, this is the conversation and `problem` its text
    question = prompt if isinstance(prompt, str) else row.get("problem", prompt)
    entry = {"question": question, "answer": row["answer"], "metadata": metadata}
    score = _scorer(metadata["source_dataset"])
    try:
        return score(answer, entry) >= 1.0
    except MemoryError:
        raise
    except Exception:
        if answer == row["answer"].strip() or not score(row["answer"].strip(), entry) >= 1.0:
            raise
        return False


_guard()
