r"""Rows of benchmarks whose columns hold no prompt and answer as they are: what each becomes.

A row function takes a row in the columns of the hub and returns `prompt`, `answer` and what the verifier reads. It is a
pure function of the row: neither a resumed evaluation nor a part of the problems can change what is asked.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_RESULT = re.compile(r"####\s*(.*?)\s*$", re.DOTALL)
_NUMBER = re.compile(r"[-+$]*[\d,.]+")


def gsm8k_row(row: Row) -> Row:
    """Take the number behind `####`, without commas.

    Raises:
        ValueError: for a rationale without it.
    """
    text = str(row["answer"]).strip()
    found = _RESULT.search(text.rpartition("####")[1] + text.rpartition("####")[2])
    result = found[1] if found else text
    if not _NUMBER.fullmatch(result):
        raise ValueError(f"'answer' has no number behind ####: it ends {text[-60:]!r}")
    return {"prompt": row["question" if "question" in row else "problem"], "answer": result.replace(",", "")}


def boxed_row(row: Row) -> Row:
    r"""Take the one `\boxed{}` of a worked solution.

    Raises:
        ValueError: where there are several different ones, or none.
    """
    from concise_rl.verify.verifiers.text import boxed

    boxes = set(boxed(row["solution"]))
    if len(boxes) != 1:
        raise ValueError(f"'solution' has {len(boxes)} different \\boxed{{}}, not one")
    return {"prompt": row["problem"], "answer": boxes.pop()}


def olympiad_row(row: Row) -> Row:
    """Join the final answers, of which a row has one nearly always, and take over how far a number may be off.

    Raises:
        ValueError: for an `error` that is no number, or no final answer.
    """
    answers = row["final_answer"]
    texts = [answers] if isinstance(answers, str) else [str(answer) for answer in answers or ()]
    if not texts:
        raise ValueError("'final_answer' is empty")
    context = (row.get("context") or "").strip()
    made = {"prompt": f"{context}\n{row['question']}" if context else row["question"], "answer": ", ".join(texts)}
    error = row.get("error")
    return {**made, "answer_tolerance": str(float(error)) if error else None}


def lettered(question: str, options: Sequence[str]) -> str:
    """Write a question with its options below it, a letter before each."""
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([question.strip(), "", *lines])


def gpqa_row(row: Row) -> Row:
    """Order the options by their hashes with the question, and take the letter of the right one.

    Raises:
        ValueError: where a wrong option is the right one's text.
    """
    question = row["Question"].strip()
    right, *wrong = (row[f"{kind} Answer{n}"].strip() for kind, n in (("Correct", ""), *_INCORRECT))
    if right in wrong:
        raise ValueError(f"'Correct Answer' is an incorrect one, too: {right[:60]!r}")
    options = sorted((right, *wrong), key=lambda option: hashlib.sha256(f"{question}\n{option}".encode()).digest())
    return {"prompt": lettered(question, options), "answer": LETTERS[options.index(right)]}


_INCORRECT = tuple(("Incorrect", f" {n}") for n in (1, 2, 3))


def mmlu_pro_row(row: Row) -> Row:
    """Put the options, 3 to 10 of them, into the prompt.

    Raises:
        ValueError: for an answer that is none of their letters, or another than `answer_index` says.
    """
    options, answer = list(row["options"]), str(row["answer"]).strip().upper()
    if answer not in LETTERS[: len(options)] or len(answer) != 1:
        raise ValueError(f"'answer' is {row['answer']!r}, which is no letter of {len(options)} options")
    index = row.get("answer_index")
    if index is not None and LETTERS[int(index)] != answer:
        raise ValueError(f"'answer' is {answer!r}, but 'answer_index' {index}, which is {LETTERS[int(index)]}")
    return {"prompt": lettered(row["question"], options), "answer": answer}


def livecodebench_row(row: Row) -> Row:
    """Ask for a program in a code block, and hand its tests to the verifier, packed as they came.

    Raises:
        ValueError: for metadata that are no JSON object.
    """
    metadata = json.loads(row["metadata"] or "{}")
    if not isinstance(metadata, Mapping):
        raise ValueError(f"'metadata' holds a {type(metadata).__name__}, not an object")
    tests = {
        "public": row["public_test_cases"],
        "private": row["private_test_cases"],
        "function": metadata.get("func_name"),
    }
    prompt = _asked_program(row["question_content"], row["starter_code"] or "")
    return {"prompt": prompt, "answer": "all tests pass", "tests": json.dumps(tests)}


def _asked_program(question: str, starter: str) -> str:
    """State a problem, and the form of the program: one that reads stdin, or starter code to be completed."""
    how = (
        "Complete this code, and give all of it in one Python code block:"
        if starter.strip()
        else "Write a Python program that reads the input from stdin and prints the output. Give all of it in one "
        "Python code block:"
    )
    code = starter.rstrip() if starter.strip() else "# your program"
    return f"### Question\n{question.strip()}\n\n### Answer\n{how}\n```python\n{code}\n```"
