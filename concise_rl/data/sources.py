"""Where data rows come from: files, the hub, reasoning-gym, this project's own tasks. Nothing is checked here."""

import dataclasses
import difflib
import json
import logging
import random
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints
from urllib.parse import parse_qsl

import datasets
import pyarrow as pa
import pyarrow.parquet
from pydantic import TypeAdapter, ValidationError

from concise_rl.data.benchmarks import problems_of
from concise_rl.errors import unknown
from concise_rl.named import find_class, with_options
from concise_rl.tasks.benchmarks import BENCHMARKS, Benchmark, find_benchmark
from concise_rl.verify.verifiers.metadata import dump_metadata

logger = logging.getLogger(__name__)

FILE_ENDINGS = (".jsonl", ".json", ".parquet")
_FILE_HINT = f"If it is meant to be a file, its name must end in {', '.join(FILE_ENDINGS)}."
GENERATED = ("reasoning_gym:", "reasoning:", "tiny:")
"""What the sources begin with whose rows are made on the spot, with what reasoning-gym's scorers need."""

SELECTED = "selected:"
"""What a source begins with whose rows are chosen from stored samples."""
SAMPLE_FIELDS = ("prompt", "prompt_hash", "text", "completion_ids", "length", "finished", "correct")
"""What a selection reads of a stored sample."""

Row = Mapping[str, Any]


class Columns(NamedTuple):
    """Rows as columns."""

    values: Mapping[str, Sequence[Any] | pa.ChunkedArray]
    """The columns that were read."""
    places: Sequence[str]
    """What a message calls each row: `line 1` and on in a .jsonl file, `row 0` and on in all others."""
    names: Sequence[str]
    """All columns that the source has, read or not."""

    def rows(self) -> Iterable[Row]:
        """One row after the other, of the columns that were read."""
        lists = [
            values.to_pylist() if isinstance(values, pa.ChunkedArray) else values for values in self.values.values()
        ]
        return (dict(zip(self.values, row, strict=True)) for row in zip(*lists, strict=True))


Wanted = Collection[str] | None
"""Names of the columns to read; None for all of them."""


def read_source(source: str, split: str, num_rows: int | None, seed: int, wanted: Wanted = None) -> Columns:
    """Read a source as `concise_rl.data.load_rows` describes it. Only generated ones look at `num_rows` and `seed`.

    Columns that are not wanted are never held: .parquet files and hub data sets are read by columns, .jsonl files line
    by line.

    Raises:
        ValueError: for a source that is not there, cannot be read or is not understood.
    """
    benchmark = find_benchmark(source)
    if benchmark is not None:
        return _read_benchmark(*benchmark, split, num_rows, seed, wanted)
    kind, _, name = source.partition(":")
    path = Path(source)
    if kind == "reasoning_gym":
        return _from_rows(_numbered(_reasoning_gym_rows(name, split, num_rows, seed)), wanted)
    if kind == "reasoning":
        return _from_rows(_numbered(_reasoning_rows(name, split, num_rows, seed)), wanted)
    if kind == "tiny":
        return _from_rows(_numbered(_tiny_rows(name, split, num_rows, seed)), wanted)
    if kind == "selected":
        return _from_rows(_numbered(_selected_rows(name)), wanted)
    if path.suffix in FILE_ENDINGS and not path.is_dir():
        return _read_file(path, wanted)
    if not path.is_file() and (path.is_dir() or re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", source)):
        return _read_hub(source, split, wanted)
    near = difflib.get_close_matches(source.partition("=")[0], BENCHMARKS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"Cannot load {source!r}.{hint} Give a file ending in {', '.join(FILE_ENDINGS)}, a folder or hub id "
        "(org/name, org/name:config), a benchmark (`concise-rl tasks` lists them) or NAME=FILE for a copy of one, "
        "reasoning_gym:TASK?option=value, reasoning:NAME, tiny:sums, tiny:bench or selected:NAME?samples=FILE."
    )


def _read_benchmark(
    name: str, benchmark: Benchmark, copy: str | None, split: str, num_rows: int | None, seed: int, wanted: Wanted
) -> Columns:
    """Read the problems of a benchmark as `prompt` and `answer`, from its source or from a copy of it."""
    made = benchmark.source.startswith(GENERATED)
    if copy is None and not made:
        hint = f"Its terms may have to be accepted there first. A local copy is read as {name}=FILE."
        read = _read_hub(benchmark.source, split, None, benchmark.revision, hint)
    else:
        read = read_source(copy or benchmark.source, split, num_rows or benchmark.rows, seed)
    rows = problems_of(benchmark, copy or name, read.names, zip(read.places, read.rows(), strict=True))
    if len(rows) != benchmark.rows and (copy or split == benchmark.split) and not made:
        logger.warning("%s has %d problems; %s has %d.", name, benchmark.rows, copy or benchmark.source, len(rows))
    return _from_rows(rows, None if wanted is None else {*wanted, "prompt", "answer"})


def _numbered(rows: Iterable[Row]) -> Iterable[tuple[str, Row]]:
    return ((f"row {i}", row) for i, row in enumerate(rows))


def _from_rows(rows: Iterable[tuple[str, Row]], wanted: Wanted) -> Columns:
    """From rows and their places, one after the other. A field that a row lacks is None there."""
    kept, places, names = [], [], {}
    for place, row in rows:
        places.append(place)
        names |= dict.fromkeys(row)
        kept.append({name: row[name] for name in _chosen(row, wanted)})
    return Columns({name: [row.get(name) for row in kept] for name in _chosen(names, wanted)}, places, list(names))


def _chosen(names: Iterable[str], wanted: Wanted) -> list[str]:
    return [name for name in names if wanted is None or name in wanted]


def _read_file(path: Path, wanted: Wanted) -> Columns:
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    if path.suffix == ".parquet":
        return _read_parquet(path, wanted)
    return _from_rows(jsonl_rows(path) if path.suffix == ".jsonl" else _json_rows(path), wanted)


def _parse(text: bytes, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        hint = " One object a line is a .jsonl file." if "Extra data" in str(error) else ""
        raise ValueError(f"{place}: not valid JSON ({error}).{hint}") from error


def _of_type(kind: type, value: Any, place: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{place}: expected a {kind.__name__}, found a {type(value).__name__}.")
    return value


def jsonl_rows(path: Path) -> Iterable[tuple[str, Row]]:
    """One object a line, and what messages call it; blank lines are passed over.

    Raises:
        ValueError: for a line that is no JSON object, naming file and line.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                place = f"{path}, line {number}"
                yield f"line {number}", _of_type(dict, _parse(line, place), place)


def _json_rows(path: Path) -> Iterable[tuple[str, Row]]:
    """A list of objects."""
    rows = _of_type(list, _parse(path.read_bytes(), str(path)), str(path))
    return _numbered(_of_type(dict, row, f"{path}, row {i}") for i, row in enumerate(rows))


def _read_parquet(path: Path, wanted: Wanted) -> Columns:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names, rows = file.schema_arrow.names, file.metadata.num_rows
            table = file.read(columns=_chosen(names, wanted))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a readable parquet file ({error}).") from error
    # A name before a dot selects the columns whose own names begin so, too.
    values = {name: table[name] for name in _chosen(table.column_names, wanted)}
    return Columns(values, [f"row {i}" for i in range(rows)], names)


def _read_hub(source: str, split: str, wanted: Wanted, revision: str | None = None, hint: str = _FILE_HINT) -> Columns:
    name, _, config = source.partition(":")
    try:
        rows = datasets.load_dataset(name, config or None, split=split, revision=revision)
    except Exception as error:  # not found, no network, no such split or config: each has an exception of its own
        raise ValueError(
            f"The data set {source!r}, split {split!r}, could not be loaded ({type(error).__name__}: {error}). {hint}"
        ) from error
    # Mapped into memory, where only what is looked at is read.
    table, features = rows.data.table, rows.features
    values = {
        # Of mixed types, and stored as JSON text.
        name: rows[name][:] if isinstance(features[name], datasets.Json) else table[name]
        for name in _chosen(rows.column_names, wanted)
    }
    return Columns(values, [f"row {i}" for i in range(len(rows))], rows.column_names)


def _tiny_rows(name: str, split: str, num_rows: int | None, seed: int) -> list[dict[str, Any]]:
    from concise_rl.tasks.tiny import load_careless_traces, load_problems, load_traces
    from concise_rl.tasks.tiny.bench import load_bench_problems, load_bench_traces

    demonstrations = {"traces": load_traces, "careless_traces": load_careless_traces, "bench_traces": load_bench_traces}
    problems = {"sums": load_problems, "bench": load_bench_problems}
    if name in demonstrations:
        return demonstrations[name](num_rows, seed)
    if name not in problems:
        raise unknown("tiny task", name, [*problems, *demonstrations])
    return problems[name](split, num_rows, seed)


def _reasoning_rows(source: str, split: str, num_rows: int | None, seed: int) -> list[dict[str, Any]]:
    from concise_rl.tasks.reasoning import HABITS, NAMES, load_problems, load_traces

    name, _, query = source.partition("?")
    if name not in NAMES:
        raise unknown("data set", f"reasoning:{name}", [f"reasoning:{known}" for known in NAMES])
    habits = HABITS.get(name)
    hints = {"tasks": str, **({"direct": float, **get_type_hints(type(habits))} if habits else {})}
    options = _options(f"reasoning:{name}", hints, query)
    tasks = options.pop("tasks", "")
    if habits:
        direct = options.pop("direct", 0.0)
        return load_traces(num_rows, seed, dataclasses.replace(habits, **options), tasks, name, direct)
    return load_problems(name, split, num_rows, seed, tasks)


def _reasoning_gym_rows(task: str, split: str, num_rows: int | None, seed: int) -> list[dict[str, Any]]:
    """Rows of a reasoning-gym task; `metadata` is JSON text, which the `reasoning_gym` verifier reads."""
    from reasoning_gym.factory import DATASETS

    name, _, query = task.partition("?")
    if name not in DATASETS:
        raise unknown("reasoning-gym task", name, DATASETS)
    if split not in ("train", "test"):
        raise ValueError(f"reasoning-gym tasks have the splits train and test, not {split!r}.")
    make, config = DATASETS[name]
    hints = {key: hint for key, hint in get_type_hints(config).items() if key not in ("seed", "size")}
    options = _options(f"reasoning_gym:{name}", hints, query) | ({} if num_rows is None else {"size": num_rows})
    # Row i is drawn from seed + i: neighbouring seeds would share most rows, and the splits must share no seed.
    start = random.Random(seed).getrandbits(30) + (2**31 if split == "test" else 0)
    try:
        entries = make(config(**options, seed=start))
    except (AssertionError, ValueError) as error:
        raise ValueError(f"reasoning_gym:{task}: the task refuses these options ({error}).") from error
    return [
        {"prompt": entry["question"], "answer": entry["answer"], "metadata": dump_metadata(entry["metadata"])}
        for entry in (entries[i] for i in range(len(entries)))
    ]


def _selected_rows(query: str) -> list[dict[str, Any]]:
    """Rows that a selection makes of stored samples, from `NAME?samples=FILE&option=value`.

    Raises:
        ValueError: for an unknown selection or option, no file of samples, and samples of which nothing is selected.
    """
    from concise_rl.methods import Selection
    from reward import SELECTIONS

    name, _, options = query.partition("?")
    pairs = parse_qsl(options, keep_blank_values=True)
    files = [value for key, value in pairs if key == "samples"]
    if not files:
        raise ValueError(
            f"selected:{name} does not say from what: add ?samples=FILE, a file that concise-rl eval made."
        )
    cls = find_class("selection", name, SELECTIONS, Selection)
    selection = with_options("selection", name, cls, {key: value for key, value in pairs if key != "samples"})
    samples = [sample for number, file in enumerate(files) for sample in _stored_samples(Path(file), number)]
    rows = selection.select(samples)
    if not rows:
        raise ValueError(f"{name} selects nothing from the {len(samples)} samples in {', '.join(files)}.")
    return rows


def _stored_samples(path: Path, number: int) -> list[Row]:
    """The samples in a file, with its number."""
    if not path.is_file():
        raise ValueError(f"There is no file {path}. concise-rl eval writes one of samples for each model.")
    rows = list(jsonl_rows(path))
    for place, row in rows:
        if missing := [field for field in SAMPLE_FIELDS if field not in row]:
            raise ValueError(f"{path}, {place}: no sample of an evaluation, which has {missing[0]!r}.")
        if row["completion_ids"] is None:
            raise ValueError(
                f"{path}, {place}: imported without its tokens, of which only the number is known. Sample the model "
                "with concise-rl eval to train on what it writes."
            )
    return [{**row, "file": number} for _, row in rows]


def _options(source: str, hints: Mapping[str, Any], query: str) -> dict[str, Any]:
    """The options behind the question mark, each read as its type; `hints` are the valid ones."""
    options = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key in ("seed", "size"):
            raise ValueError(f"{source}: {key} is no option of a source; set `seed` and `num_rows` instead.")
        if key not in hints:
            raise unknown(f"option of {source}", key, hints)
        options[key] = _typed(text, hints[key], f"{source}: {key}={text!r}")
    return options


def _typed(text: str, hint: Any, what: str) -> Any:
    """Read an option as its type: `3`, `true`, `word`; lists and objects as JSON."""
    adapter = TypeAdapter(hint)
    try:
        return adapter.validate_json(text) if text.startswith(("[", "{")) else adapter.validate_python(text)
    except ValidationError as error:
        raise ValueError(f"{what} is not valid: {error.errors()[0]['msg']}.") from error
