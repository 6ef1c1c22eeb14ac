"""Logs of other tools, as they write them.

Files of `lighteval_details` were loaded with lighteval 0.13.0 (each row as its `Doc` and `ModelResponse`), those of
`evalscope_run` with EvalScope 1.14.1 (`ModelResult`, `ReviewResult`), by hand: their pins and this project's exclude
each other.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from tests.concise_rl.evaluate.fabric import TOKENIZER

DATE = "2026-01-01T00-00-00.000000"


def question(number: int) -> str:
    return f"{number} + 1"


def completion(thinking: int, answer: object, closed: bool = True) -> str:
    """Thinking of so many words, and an answer behind it."""
    return "wait" + " wait" * (thinking - 1) + (f"</think>{answer}" if closed else "")


def ids_of(text: str, ended: bool = True) -> list[int]:
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    return [*ids, TOKENIZER.eos_token_id] if ended else ids


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def inspect_sample(number: int, epoch: int = 1, tokens: int = 12, **fields: Any) -> dict[str, Any]:
    """A sample that thinks in a part of its own, and is right; `fields` replace what it holds."""
    content: list[dict[str, Any]] = [
        {"type": "reasoning", "reasoning": completion(5, "", closed=False)},
        {"type": "text", "text": str(number + 1)},
    ]
    message = {"role": "assistant", "content": fields.pop("content", content)}
    usage = {"input_tokens": 5, "output_tokens": tokens, "total_tokens": tokens + 5, "reasoning_tokens": 5}
    output = {
        "model": "org/m",
        "choices": [{"message": message, "stop_reason": fields.pop("stop_reason", "stop")}],
        "usage": fields.pop("usage", usage),
    }
    values = {
        "id": number,
        "epoch": epoch,
        "input": question(number),
        "target": str(number + 1),
        "messages": [{"role": "user", "content": question(number)}, message],
        "output": output,
        "scores": {"match": {"value": "C", "answer": str(number + 1)}},
    }
    return values | fields


def inspect_log(path: Path, samples: Sequence[dict[str, Any]], **fields: Any) -> Path:
    """A log in Inspect's JSON; `fields` replace what its head holds."""
    config = {"max_tokens": 64, "temperature": 0.6}
    head = {
        "created": "2026-01-01T00:00:00+00:00",
        "task": "sums",
        "dataset": {"name": "sums"},
        "model": "org/m",
        "config": {"epochs": 1},
        "model_generate_config": config,
        "packages": {"inspect_ai": "0.3.285"},
    }
    log = {"version": 2, "status": "success", "eval": head | fields.pop("eval", {}), "samples": samples}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(log | fields))
    return path


def lighteval_row(number: int, texts: Sequence[str], metric: dict[str, float], ended: bool = True) -> dict[str, Any]:
    return {
        "doc": {
            "query": question(number),
            "choices": [str(number + 1)],
            "gold_index": 0,
            "id": str(number),
            "task_name": "sums|0",
            "generation_size": 64,
        },
        "model_response": {
            "input": f"<user>{question(number)}",
            "input_tokens": [1, 2, 3],
            "text": list(texts),
            "output_tokens": [ids_of(text, ended) for text in texts],
            "reasonings": [None] * len(texts),
            "truncated_tokens_count": 0,
        },
        "metric": metric,
    }


def lighteval_details(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path = folder / "details" / "org" / "m" / DATE / f"details_sums|0_{DATE}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_list(list(rows)).to_parquet(path)
    return path


def evalscope_run(folder: Path, samples: Sequence[tuple[int, int, str, int, float]], subset: str = "default") -> Path:
    """A working folder; a sample is (problem, number, answer, tokens, score)."""
    predictions, reviews = [], []
    for index, (problem, number, answer, tokens, score) in enumerate(samples):
        asked = [{"role": "user", "content": question(problem)}]
        parts = [{"type": "reasoning", "reasoning": completion(3, "", closed=False)}, {"type": "text", "text": answer}]
        message = {"role": "assistant", "content": parts}
        usage = {"input_tokens": 5, "output_tokens": tokens, "total_tokens": tokens + 5, "reasoning_tokens": 3}
        output = {"model": "m", "choices": [{"message": message, "stop_reason": "stop"}], "usage": usage}
        predictions.append({"index": index, "model": "m", "model_output": output, "messages": [*asked, message]})
        value = {"value": {"acc": score}, "extracted_prediction": answer, "prediction": answer}
        place = {"sample_id": index, "group_id": problem, "generation_index": number}
        review = {"index": index, "target": [str(problem + 1)], "messages": asked}
        reviews.append(review | {"sample_score": {"score": value} | place})
    write_lines(folder / "predictions" / "m" / f"sums_{subset}.jsonl", predictions)
    write_lines(folder / "reviews" / "m" / f"sums_{subset}.jsonl", reviews)
    return folder


def lm_eval_row(number: int, texts: Sequence[str], filter: str = "none", **fields: Any) -> dict[str, Any]:
    settings = {"until": [], "max_gen_toks": 64, "do_sample": True, "temperature": 0.6}
    values = {
        "doc_id": number,
        "doc": {"problem": question(number), "answer": str(number + 1)},
        "target": str(number + 1),
        "arguments": {"gen_args_0": {"arg_0": question(number), "arg_1": settings}},
        "resps": [list(texts)],
        "filtered_resps": [texts[0]],
        "filter": filter,
        "metrics": ["exact_match"],
        "exact_match": 1.0,
    }
    return values | fields


def lm_eval_samples(folder: Path, rows: Sequence[dict[str, Any]], task: str = "sums") -> Path:
    return write_lines(folder / "org__m" / f"samples_{task}_{DATE}.jsonl", rows)
