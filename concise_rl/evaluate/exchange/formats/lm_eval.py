"""Logged samples of lm-evaluation-harness (https://github.com/EleutherAI/lm-evaluation-harness, 0.4.13): one line for
each document and filter. They have no token counts."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from concise_rl.data.sources import jsonl_rows
from concise_rl.errors import in_a_line
from concise_rl.evaluate.exchange.log import (
    ACCEPTED,
    OWN,
    Log,
    Logged,
    Wanted,
    as_verdict,
    choose_score,
    common,
    first_line_has,
)
from concise_rl.reading.trace import StopReason

Row = Mapping[str, Any]
LABELS = {reason.label: reason for reason in StopReason}
NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.:-]+)")


class Own(BaseModel):
    """What an exported line holds of each of its samples, because lm-eval has no place for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: list[int]
    think_tokens: list[int | None]
    stop_reasons: list[str]
    verdicts: list[int | None]


def find(path: Path) -> list[Path]:
    """List the logged samples at a path."""
    if path.is_dir():
        return sorted(path.rglob("samples_*.jsonl"))
    return [path] if first_line_has(path, "doc_id", "resps") else []


def read(files: Sequence[Path], wanted: Wanted) -> Log:
    """Read the samples of one model, of one task or of the tasks of a group.

    Raises:
        ValueError: for two runs of one task, a file that is damaged, likelihoods in place of texts, several scores of
            which none is named, and samples that have no verdict of their own.
    """
    tasks = [_task(path) for path in files]
    twice = [task for i, task in enumerate(tasks) if task in tasks[:i]]
    if twice:
        raise ValueError(f"There are several runs of {twice[0]}: give the folder, or the file, of one of them.")
    rows = [
        (f"{path}, {place}", "" if len(files) == 1 else f"{task}:", row)
        for path, task in zip(files, tasks, strict=True)
        for place, row in jsonl_rows(path)
    ]
    for place, _, row in rows:
        if missing := [name for name in ("doc_id", "resps", "arguments") if name not in row]:
            raise ValueError(f"{place}: no sample of lm-eval, which has {missing[0]!r}.")
    scorer = None if wanted.regrade else _scorer(rows, wanted)
    kept = _of_filter(rows, scorer)
    settings = [_settings(row) for _, _, row in kept]
    return Log(
        format="lm-eval",
        files=tuple(files),
        task="+".join(tasks),
        model=_model(files[0]),
        logged=[one for place, prefix, row in kept for one in _logged(row, prefix, scorer, place)],
        scorer=scorer,
        max_tokens=common([found.get("max_gen_toks") for found in settings]),
        **{name: common([found.get(name) for found in settings]) for name in ("temperature", "top_p", "top_k")},
    )


def _task(path: Path) -> str:
    found = NAME.fullmatch(path.stem)
    return found["task"] if found else path.stem


def _model(path: Path) -> str:
    """Name the model as the results beside the samples do; else by the folder, in which `__` stands for `/`."""
    folder = path.resolve().parent
    for results in sorted(folder.glob("results_*.json"))[::-1]:
        try:
            said = json.loads(results.read_bytes())
        except ValueError as error:
            raise ValueError(f"{results}: not valid JSON ({error}).") from error
        if said.get("model_name"):
            return said["model_name"]
    return folder.name.replace("__", "/", 1)


def _scorer(rows: Sequence[tuple[str, str, Row]], wanted: Wanted) -> str | None:
    """Name the score that counts, as lm-eval's tables do: `METRIC,FILTER`."""
    scores = {f"{metric},{row.get('filter')}": None for _, _, row in rows for metric in row.get("metrics") or []}
    return choose_score(scores, wanted, rows[0][0]) if rows else None


def _of_filter(rows: Sequence[tuple[str, str, Row]], scorer: str | None) -> list[tuple[str, str, Row]]:
    """Return the lines of the filter that the score is of. They all hold the same responses."""
    names = [row.get("filter") for _, _, row in rows]
    chosen = scorer.rpartition(",")[2] if scorer else str(names[0]) if names else ""
    return [one for one, name in zip(rows, names, strict=True) if str(name) == chosen]


def _settings(row: Row) -> Mapping[str, Any]:
    """Return how a line was sampled; greedily where lm-eval was not told to draw."""
    found = _arguments(row).get("arg_1")
    if not isinstance(found, dict):
        return {}
    return found | ({"temperature": 0.0} if found.get("do_sample") is False else {})


def _arguments(row: Row) -> Mapping[str, Any]:
    return next(iter((row["arguments"] or {}).values()), {}) if isinstance(row["arguments"], dict) else {}


def _logged(row: Row, prefix: str, scorer: str | None, place: str) -> list[Logged]:
    responses = row["resps"][0] if row["resps"] and isinstance(row["resps"][0], list) else []
    if len(row["resps"]) != 1 or not responses or not all(isinstance(text, str) for text in responses):
        raise ValueError(f"{place}: no generated text. Tasks that compare likelihoods have no thinking to count.")
    own = _own(row, len(responses), place)
    prompt, target = _arguments(row).get("arg_0"), row.get("target")
    return [
        Logged(
            problem=f"{prefix}{row['doc_id']}",
            number=i,
            prompt=str(prompt[0] if isinstance(prompt, list) else prompt),
            golds=() if target in (None, "") else (str(target),),
            text=text,
            tokens=own.tokens[i] if own else None,
            think_tokens=own.think_tokens[i] if own else None,
            stop=LABELS[own.stop_reasons[i]] if own else None,
            verdict=_verdict(row, own, scorer, i, place) if scorer else None,
        )
        for i, text in enumerate(responses)
    ]


def _own(row: Row, count: int, place: str) -> Own | None:
    """Return what `concise-rl export` wrote of the samples of a line; None in other logs.

    Raises:
        ValueError: when it is not there for each of them.
    """
    if OWN not in row:
        return None
    try:
        own = Own.model_validate(row[OWN])
    except ValidationError as error:
        raise ValueError(f"{place}: {OWN}: {in_a_line(error)}") from error
    if {len(values) for _, values in own} != {count} or not LABELS.keys() >= set(own.stop_reasons):
        raise ValueError(f"{place}: {OWN} does not fit the {count} responses. Export the evaluation again.")
    return own


def _verdict(row: Row, own: Own | None, scorer: str, number: int, place: str) -> float | None:
    """Read the verdict on a sample: of several, lm-eval logs one score together.

    Raises:
        ValueError: when nobody knows which of several samples are right.
    """
    if own:
        return own.verdicts[number]
    if len(row["resps"][0]) > 1:
        raise ValueError(
            f"{place}: {len(row['resps'][0])} samples have one score together, {scorer!r}, so that nobody knows which "
            f"are right. `concise-rl import` {ACCEPTED}."
        )
    metric = scorer.rpartition(",")[0]
    if metric not in row:
        raise ValueError(f"{place} has no score {metric!r}. `concise-rl import` {ACCEPTED}.")
    return as_verdict(row[metric], scorer, place)
