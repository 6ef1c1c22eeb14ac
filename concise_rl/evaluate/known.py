"""Say how far a judge can be believed on thinking whose redundant part is known."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from concise_rl.data.sources import jsonl_rows
from concise_rl.evaluate.agreement import json_numbers
from concise_rl.evaluate.intervals import Interval
from concise_rl.evaluate.measures import Measure, estimates, mean_over_problems, ratio
from concise_rl.evaluate.text import between, percent
from concise_rl.labels.judges.prose import KnownTrace, known_traces
from concise_rl.labels.labeller import Labels, PassageKind, build_labeller
from concise_rl.models.eos import load_tokenizer
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.passages import NEWLINES, SPLIT_WORDS
from concise_rl.reading.trace import Delimiters, Trace
from concise_rl.verify.pool import VerifierPool

PROSE = "prose"
"""The generated traces, where the command is given no file."""


@dataclass(frozen=True)
class KnownAgreement:
    """Hold what a judge says about thinking whose necessary part is known. NaN where there was nothing to be right
    about.

    Attributes:
        passage: what the thinking was cut into.
        judge: its name.
        precision, recall, f1: of the redundant tokens of all traces together.
        lost: share of the necessary tokens that are called redundant.
        first: share of the traces in which the first passage that states the answer is found.
        early, late, never: shares of those in which another one, or none, is.
        token_efficiency: share of the thinking up to and with the first passage that is said to state the answer, 0
            where none is, averaged over the traces.
        true_token_efficiency: the same by the truth.
        traces, passages: how many were read.
        failed: passages about which the judge could not tell.
        seconds: that the judge took.
        ci95: of each share above, its 95 % percentile bootstrap interval over traces; None where there is none.
    """

    passage: str
    judge: str
    precision: float
    recall: float
    f1: float
    lost: float
    first: float
    early: float
    late: float
    never: float
    token_efficiency: float
    true_token_efficiency: float
    traces: int
    passages: int
    failed: int
    seconds: float
    ci95: Mapping[str, Interval | None]

    def to_json(self) -> dict[str, Any]:
        """Return its fields, None where they are NaN."""
        return json_numbers(self)


@dataclass(frozen=True)
class _Reading:
    rows: list[dict[str, str]]
    completions: list[list[int]]
    ends: list[int]
    """Tokens of the necessary part of each."""
    tokenizer: Any
    delimiters: Delimiters


def is_known(path: str | Path) -> bool:
    """Say whether these are traces with a known necessary part: `prose`, or a file whose rows say so."""
    if str(path) == PROSE:
        return True
    if not Path(path).is_file():
        return False
    _, first = next(iter(jsonl_rows(Path(path))), ("", {}))
    return not {"necessary", "lines"}.isdisjoint(first)


def load_known(path: str | Path) -> list[KnownTrace]:
    """Read such traces.

    Args:
        path: `prose`, or a .jsonl file with `problem` and `answer` and either `necessary` and `redundant`, the two
            parts of the thinking, or `lines`, of which the last is the first to state the answer.

    Raises:
        ValueError: for a row that lacks one of these.
    """
    if str(path) == PROSE:
        return known_traces()
    return list(_rows(Path(path)))


def _rows(path: Path) -> Iterator[KnownTrace]:
    fields = ("problem", "answer", "necessary", "redundant")
    for place, row in jsonl_rows(path):
        if "lines" in row:
            row = {**row, "necessary": "\n".join(row["lines"]) + "\n", "redundant": row.get("redundant", "")}
        if missing := [field for field in fields if not isinstance(row.get(field), str)]:
            raise ValueError(f"{path}, {place}: no text in {', '.join(missing)}; a known trace needs {fields}.")
        yield KnownTrace(*(row[field] for field in fields))


def word_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Make every word, number and mark of some texts a token: for texts of no one model."""
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    needed = ["a?", *(space + word for word in SPLIT_WORDS for space in ("", " "))]
    words = dict.fromkeys(word for text in (*texts, *needed, *NEWLINES) for word, _ in cut.pre_tokenize_str(text))
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="?"))
    tokenizer.pre_tokenizer, tokenizer.decoder = cut, decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)


def compare_known(
    traces: Sequence[KnownTrace],
    judge: str,
    options: Mapping[str, Any] | None = None,
    passages: Sequence[PassageKind] = ("chunk",),
    verifier: str = "math",
    model: str | None = None,
) -> list[KnownAgreement]:
    """Have a judge read known traces.

    Args:
        traces: see `load_known`.
        judge, options: see `build_judge`.
        passages: what to cut the thinking into; one entry of the result for each.
        verifier: used by the judge.
        model: whose tokens to count; None for words, numbers and marks.

    Raises:
        ValueError: when the judge is unknown or does not know such problems.
        EngineError: when the engine behind it fails.
    """
    reading = _read(traces, model)
    with VerifierPool(verifier) as pool:
        return [_compare(reading, judge, options, passage, pool) for passage in passages]


def _read(traces: Sequence[KnownTrace], model: str | None) -> _Reading:
    texts = [trace.necessary + trace.redundant for trace in traces]
    tokenizer: Any = load_tokenizer(resolve_model(model))[0] if model else word_tokenizer(texts)
    encoded = [tokenizer(text, add_special_tokens=False, return_offsets_mapping=True) for text in texts]
    ends = [
        _tokens_in(len(trace.necessary.rstrip()), text, one["offset_mapping"])
        for one, text, trace in zip(encoded, texts, traces, strict=True)
    ]
    rows = [{"prompt": trace.problem, "answer": trace.answer} for trace in traces]
    return _Reading(rows, [one["input_ids"] for one in encoded], ends, tokenizer, Delimiters((), frozenset()))


def _tokens_in(length: int, text: str, offsets: Sequence[tuple[int, int]]) -> int:
    """Count the tokens that begin within the first characters of a text. White space behind them counts with them."""
    for i, (start, end) in enumerate(offsets):
        piece = text[start:end]
        if piece.strip() and end - len(piece.lstrip()) >= length:
            return i
    return len(offsets)


def _compare(
    reading: _Reading, judge: str, options: Mapping[str, Any] | None, passage: PassageKind, pool: VerifierPool
) -> KnownAgreement:
    labeller = build_labeller(passage, judge, options, reading.delimiters, reading.tokenizer, pool)
    sizes = [len(ids) for ids in reading.completions]
    with closing(labeller):
        began = time.perf_counter()
        thinking = [Trace(size, size, None, False) for size in sizes]
        labels = labeller.label(reading.rows, reading.completions, thinking, [1.0] * len(sizes))
        seconds = time.perf_counter() - began
    shares = _shares(labels, reading.ends, sizes)
    found = dict(zip(shares, estimates(list(shares.values())), strict=True))
    return KnownAgreement(
        passage=passage,
        judge=judge,
        **{name: math.nan if one.value is None else one.value for name, one in found.items()},
        traces=len(labels),
        passages=labeller.counters["passages"],
        failed=labeller.counters["unsure"],
        seconds=seconds,
        ci95={name: one.ci95 for name, one in found.items()},
    )


def _shares(labels: Sequence[Labels], ends: Sequence[int], sizes: Sequence[int]) -> dict[str, Measure]:
    """Return the shares of `KnownAgreement` by name, each as a function of means over traces."""
    end_T, size_T = np.array(ends, dtype=float), np.array(sizes, dtype=float)
    start_T, stop_T = np.array([label.redundant for label in labels], dtype=float).reshape(-1, 2).T
    found_T, redundant_T = stop_T - start_T, size_T - end_T
    both_T = np.clip(stop_T - np.maximum(start_T, end_T), 0, None)
    places = np.array([_place(label, end) for label, end in zip(labels, ends, strict=True)])
    stated_T = places != "never"
    return {
        "precision": Measure(ratio, (both_T, found_T)),
        "recall": Measure(ratio, (both_T, redundant_T)),
        "f1": Measure(ratio, (2 * both_T, found_T + redundant_T)),
        "lost": Measure(ratio, (np.clip(end_T - start_T, 0, None), end_T)),
        **{place: mean_over_problems((places == place).astype(float)) for place in ("first", "early", "late", "never")},
        "token_efficiency": mean_over_problems(stated_T * start_T / size_T),
        "true_token_efficiency": mean_over_problems(end_T / size_T),
    }


def _place(label: Labels, end: int) -> str:
    """Say where the first passage that is said to state the answer lies, the one that holds the end of the necessary
    part being right."""
    if label.first is None:
        return "never"
    start, stop = label.spans[label.first]
    return "early" if stop < end else "late" if start >= end else "first"


def known_table(results: Sequence[KnownAgreement]) -> Table:
    """Return the results as a table: one line for each judge and kind of passage."""
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=0,  # all columns fit 80 characters
        title=f"Redundant tokens of {results[0].traces:,} traces whose necessary part is known",
        caption=(
            "Lost: necessary tokens that are called redundant. Early, late, never: traces in which the first passage "
            "that states the answer is found too early, too late, or not at all. Efficiency: token efficiency by the "
            "judge and, last, by the truth. Brackets: 95 % intervals, bootstrap over traces."
        ),
        title_style="bold",
        caption_justify="left",
    )
    for name in ("judge", "passage"):
        table.add_column(name, no_wrap=name == "passage")
    for name in ("precision", "recall", "F1", "lost", "early", "late", "never", "efficiency"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        cells = [_cell(result, name) for name in SHOWN]
        table.add_row(result.judge, result.passage, *cells)
    return table


SHOWN = ("precision", "recall", "f1", "lost", "early", "late", "never", "token_efficiency")


def _cell(result: KnownAgreement, name: str) -> Text:
    """Write a share with its interval below; of the token efficiency the true one, too."""
    value = getattr(result, name)
    interval = between(result.ci95[name]).replace(" ", "\n")
    cell = Text(percent(None if math.isnan(value) else value)).append(f"\n{interval}" if interval else "", style="dim")
    return cell.append(f"\n{percent(result.true_token_efficiency)}") if name == "token_efficiency" else cell
