"""Details of lighteval (https://github.com/huggingface/lighteval, 0.13.0): parquet files with the token ids of every
sample. The columns are its classes `Doc` and `ModelResponse`."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from concise_rl.evaluate.exchange.log import ACCEPTED, Log, Logged, Wanted, as_verdict, choose_score, common

COLUMNS = ("doc", "model_response", "metric")
NAME = re.compile(r"details_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.:-]+)")


def find(path: Path) -> list[Path]:
    """List the details at a path."""
    if path.is_dir():
        return sorted(path.rglob("details_*.parquet"))
    return [path] if path.suffix == ".parquet" else []


def read(files: Sequence[Path], wanted: Wanted) -> Log:
    """Read the details of one model, of one task or of its subsets.

    Raises:
        ValueError: for a file that holds none, for two runs of one task, and where samples have no verdict of their
            own.
    """
    rows = [(path, i, row) for path in files for i, row in enumerate(_rows(path))]
    tasks = [_task(path, row) for path, _, row in rows]
    _check_one_run(files)
    scorer = None if wanted.regrade or not rows else choose_score(_scores(rows[0][2]), wanted, "the first row")
    logged = [
        one for (path, i, row), task in zip(rows, tasks, strict=True) for one in _logged(row, i, path, task, scorer)
    ]
    names = [task.partition("|")[0] for task in tasks]
    if len(bases := dict.fromkeys(name.partition(":")[0] for name in names)) > 1:
        raise ValueError(f"There are several tasks, {', '.join(bases)}: give the files of one.")
    return Log(
        format="lighteval",
        files=tuple(files),
        task="+".join(dict.fromkeys(names)),
        model=_model(files[0]),
        logged=logged,
        scorer=scorer,
        max_tokens=common([row["doc"].get("generation_size") for _, _, row in rows]),
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if missing := [name for name in COLUMNS if name not in names]:
                raise ValueError(f"{path} holds no details of lighteval: it has no column {', '.join(missing)}.")
            return file.read(columns=list(COLUMNS)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a readable parquet file ({error}).") from error


def _check_one_run(files: Sequence[Path]) -> None:
    tasks = [found["task"] for path in files if (found := NAME.fullmatch(path.stem))]
    twice = [task for i, task in enumerate(tasks) if task in tasks[:i]]
    if twice:
        raise ValueError(f"There are several runs of {twice[0]}: give the folder, or the file, of one of them.")


def _task(path: Path, row: Mapping[str, Any]) -> str:
    """Name a row's task: `math_500|0`."""
    found = NAME.fullmatch(path.stem)
    return row["doc"].get("task_name") or (found["task"] if found else path.stem)


def _model(path: Path) -> str:
    """Read the model's name from the path, `details/ORG/MODEL/DATE/details_...`; else take the file's own."""
    parts = path.resolve().parent.parts
    if "details" not in parts:
        return path.stem
    return "/".join(parts[len(parts) - parts[::-1].index("details") : -1]) or path.stem


def _scores(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of a row. Rows of one file share their columns: those that others have are None."""
    return {name: value for name, value in (row["metric"] or {}).items() if value is not None}


def _logged(row: Mapping[str, Any], number: int, path: Path, task: str, scorer: str | None) -> list[Logged]:
    doc, response = row["doc"], row["model_response"]
    place, texts = f"{path}, row {number}", response.get("text") or []
    if not texts:
        raise ValueError(f"{place}: no text was generated. Tasks that compare likelihoods have no thinking to count.")
    ids = _one_each(response, "output_tokens", texts, place)
    reasonings = _one_each(response, "reasonings", texts, place)
    verdict = None
    if scorer is not None:
        verdict = _verdict(row, scorer, len(texts), place)
    return [
        Logged(
            problem=f"{task}:{doc.get('id') if doc.get('id') not in (None, '') else number}",
            number=i,
            prompt=doc["query"],
            golds=_golds(doc),
            text=text,
            thinking=reason if reason and reason.strip() not in text else None,
            ids=tuple(own) if own else None,
            tokens=len(own) if own else None,
            verdict=verdict,
        )
        for i, (text, own, reason) in enumerate(zip(texts, ids, reasonings, strict=True))
    ]


def _one_each(response: Mapping[str, Any], name: str, texts: Sequence[str], place: str) -> Sequence[Any]:
    """Return a column of a response with an entry for each of its texts; None each where it is empty."""
    found = response.get(name) or [None] * len(texts)
    if len(found) != len(texts):
        raise ValueError(f"{place}: {len(texts)} texts, but {len(found)} {name}. The file is damaged.")
    return found


def _golds(doc: Mapping[str, Any]) -> tuple[str, ...]:
    index, choices = doc.get("gold_index"), doc.get("choices") or []
    places = index if isinstance(index, list) else [index]
    return tuple(choices[i].strip() for i in places if isinstance(i, int) and 0 <= i < len(choices))


def _verdict(row: Mapping[str, Any], scorer: str, count: int, place: str) -> float | None:
    """Read the verdict on the only sample of a row: metrics of several are one number for all of them.

    Raises:
        ValueError: when the row has several samples.
    """
    if count > 1:
        raise ValueError(
            f"{place}: {count} samples have one score together, {scorer!r}, so that nobody knows which are right. "
            f"`concise-rl import` {ACCEPTED}."
        )
    return as_verdict((row["metric"] or {}).get(scorer), scorer, place)
