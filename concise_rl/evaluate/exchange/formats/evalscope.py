"""Predictions and reviews of EvalScope (https://github.com/modelscope/evalscope, 1.14.1), joined by their index. They
have counts, and no token ids. The lines are its classes `ModelResult` and `ReviewResult`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from concise_rl.data.sources import jsonl_rows
from concise_rl.evaluate.exchange.formats.inspect import STOPS
from concise_rl.evaluate.exchange.log import (
    ACCEPTED,
    Log,
    Logged,
    Wanted,
    as_verdict,
    asked,
    choose_score,
    first_line_has,
    text_of,
    thinking_of,
)

Row = Mapping[str, Any]
PREDICTIONS, REVIEWS = "predictions", "reviews"


def find(path: Path) -> list[Path]:
    """List the predictions at a path: a working folder, its `predictions/MODEL`, or files in that."""
    if path.is_dir():
        inside = [*path.rglob(f"{PREDICTIONS}/*/*.jsonl"), *path.glob("*.jsonl")]
        return sorted(one for one in set(inside) if find(one))
    return [path] if first_line_has(path, "index", "model_output") else []


def read(files: Sequence[Path], wanted: Wanted) -> Log:
    """Read the predictions of one model, of one data set or of its subsets.

    Raises:
        ValueError: for predictions of several models, a file that is damaged, and where verdicts are missing.
    """
    folders = sorted({path.resolve().parent for path in files})
    if len(folders) > 1:
        raise ValueError(f"There are several models, {', '.join(one.name for one in folders)}: give the folder of one.")
    reviewed = {path: _reviews(path) for path in files}
    scorer = None if wanted.regrade else wanted.scorer or _scorer(reviewed)
    logged, models = [], []
    for path, reviews in reviewed.items():
        first: dict[str, int] = {}
        for place, row in jsonl_rows(path):
            at = f"{path}, {place}"
            review = reviews.get(row.get("index"))
            one = _logged(row, review, scorer, at)
            problem = str(_group(review, first.setdefault(one.prompt, row["index"])))
            logged.append(replace(one, problem=problem if len(files) == 1 else f"{path.stem}:{problem}"))
            models.append(row.get("model"))
    return Log(
        format="evalscope",
        files=tuple(files),
        task=_task([path.stem for path in files]),
        model=str(models[0] if models and models[0] else folders[0].name),
        logged=logged,
        scorer=scorer,
    )


def _group(review: Row | None, first: int) -> int:
    """Return the number of a sample's problem. Where no review says it, samples that were asked the same are of one:
    the first of them."""
    found = ((review or {}).get("sample_score") or {}).get("group_id")
    return first if found is None else found


def _task(stems: Sequence[str]) -> str:
    """Name the data set of `NAME_SUBSET.jsonl`: what all files begin with."""
    if len(stems) == 1:
        return stems[0].removesuffix("_default")
    shared = next((i for i, letters in enumerate(zip(*stems, strict=False)) if len(set(letters)) > 1), len(stems[0]))
    return stems[0][:shared].rstrip("_ ") or "+".join(stems)


def _reviews(path: Path) -> dict[int, Row]:
    """Read what was said about the predictions in a file, by index; nothing where there are no reviews."""
    folder = path.resolve().parent
    beside = folder.parent.parent / REVIEWS / folder.name / path.name
    found: dict[int, Row] = {}
    for place, row in jsonl_rows(beside) if beside.is_file() else ():
        if row.get("index") in found:
            raise ValueError(f"{beside}, {place}: index {row.get('index')} is there twice.")
        found[row["index"]] = row
    return found


def _score(review: Row | None, place: str) -> Row:
    if review is None:
        raise ValueError(f"{place} has no review beside it, and so no verdict. `concise-rl import` {ACCEPTED}.")
    return (review.get("sample_score") or {}).get("score") or {}


def _scorer(reviewed: Mapping[Path, Mapping[int, Row]]) -> str:
    """Name the score that counts, by the first review that has any: the log's own main one, or the only one."""
    reviews = [(f"{path}, index {index}", row) for path, rows in reviewed.items() for index, row in rows.items()]
    scores = [(place, _score(row, place)) for place, row in reviews]
    place, score = next(((at, one) for at, one in scores if one.get("value")), (str(next(iter(reviewed))), {}))
    if not score:
        raise ValueError(f"{place} has no review beside it with a score. `concise-rl import` {ACCEPTED}.")
    return choose_score(score["value"], Wanted(score.get("main_score_name")), place)


def _logged(row: Row, review: Row | None, scorer: str | None, place: str) -> Logged:
    """Read a prediction and its review. Its problem is still to be named."""
    if missing := [name for name in ("index", "model_output") if name not in row]:
        raise ValueError(f"{place}: no prediction of EvalScope, which has {missing[0]!r}.")
    output, sample = row["model_output"] or {}, (review or {}).get("sample_score") or {}
    choices, usage = output.get("choices") or [], output.get("usage") or {}
    if len(choices) > 1 or sum(message["role"] == "assistant" for message in row.get("messages") or []) > 1:
        raise ValueError(f"{place} holds several answers of the model. Only runs of single answers can be compared.")
    message = choices[0]["message"] if choices else {}
    drawn, fault = sample.get("generation_index"), None if choices else output.get("error") or "no output"
    content, target = message.get("content"), (review or {}).get("target")
    return Logged(
        problem="",
        number=row["index"] if drawn is None else drawn,
        prompt=asked(row.get("messages") or []),
        golds=tuple([target] if isinstance(target, str) else target or []),
        text=text_of(content),
        thinking=message.get("reasoning_content") or thinking_of(content),
        tokens=usage.get("output_tokens") or None,
        think_tokens=usage.get("reasoning_tokens"),
        stop=_stop(choices),
        verdict=_verdict(_score(review, place), scorer, place) if scorer and not fault else None,
        fault=fault,
    )


def _stop(choices: Sequence[Row]) -> Any:
    reason = choices[0].get("stop_reason") if choices else None
    return STOPS.get("max_tokens" if reason == "length" else str(reason))


def _verdict(score: Row, scorer: str, place: str) -> float | None:
    """Read a verdict. A score that failed has no value, and says so in its status."""
    if score and str(score.get("status") or "success").lower() != "success":
        return None
    found = choose_score(score.get("value") or {}, Wanted(scorer), place)
    return as_verdict(score["value"][found], scorer, place)
