"""Logs of Inspect (https://inspect.aisi.org.uk, 0.3.285), read by its own reader. They have counts, no token ids."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from concise_rl.evaluate.exchange.log import (
    OWN,
    Log,
    Logged,
    Wanted,
    as_verdict,
    asked,
    choose_score,
    text_of,
    thinking_of,
)
from concise_rl.reading.trace import StopReason

NEEDED = 'Inspect\'s logs need its own package: pip install -e ".[inspect]".'
STOPS = {
    "stop": StopReason.EOS,
    "max_tokens": StopReason.LENGTH,
    "model_length": StopReason.LENGTH,
    "content_filter": StopReason.ERROR,
}
"""What Inspect calls the ends of a completion. `unknown` is left to the number of tokens."""
LABELS = {reason.label: reason for reason in StopReason}
"""Reasons by the names that an exported log has for them."""
BY_TOKENS = ("token", "context")
"""Limits of a sample that are reached like a cap; any other leaves a completion that nobody can compare."""
_HEAD = 4096


def find(path: Path) -> list[Path]:
    """List the logs at a path: `.eval` files, and `.json` files that begin like one."""
    if path.is_dir():
        return [found for one in sorted(path.iterdir()) if one.is_file() for found in find(one)]
    if path.suffix == ".eval":
        return [path]
    if path.suffix != ".json" or not path.is_file():
        return []
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return [path] if b'"version"' in head and b'"eval"' in head and b'"status"' in head else []


def read(files: Sequence[Path], wanted: Wanted) -> Log:
    """Read a log.

    Args:
        files: one, of one model on one task.
        wanted: which score counts.

    Raises:
        ValueError: when inspect_ai is not installed, the file is no log, or its samples are no single answers.
    """
    if len(files) > 1:
        raise ValueError(f"There are {len(files)} logs, {files[0]} and others: give one, of one model on one task.")
    log = _open(files[0])
    config, samples = log["plan"].get("config") or {}, log.get("samples") or []
    config = (log["eval"].get("model_generate_config") or {}) | {k: v for k, v in config.items() if v is not None}
    results = log.get("results") or {}
    scorer = None if wanted.regrade else _scorer(samples, wanted)
    return Log(
        format="inspect",
        files=tuple(files),
        task=log["eval"]["task"],
        model=log["eval"]["model"],
        logged=[_logged(sample, scorer) for sample in samples],
        scorer=scorer,
        **{name: config.get(name) for name in ("max_tokens", "temperature", "top_p", "top_k")},
        versions=log["eval"].get("packages") or {},
        short=max(0, (results.get("total_samples") or _planned(log)) - len(samples)),
    )


def _open(path: Path) -> dict[str, Any]:
    if importlib.util.find_spec("inspect_ai") is None:
        raise ValueError(NEEDED)
    from inspect_ai.log import read_eval_log

    try:
        log = read_eval_log(str(path), resolve_attachments=True)
    except Exception as error:  # a file that is no zip, is cut off, lacks a field: each has an exception of its own
        raise ValueError(f"{path} cannot be read as a log of Inspect ({type(error).__name__}: {error}).") from error
    return log.model_dump(mode="python", exclude={"samples": {"__all__": {"events", "store", "attachments"}}})


def _planned(log: Mapping[str, Any]) -> int:
    """Return how many samples a log that was interrupted should hold; 0 where it does not say."""
    return (log["eval"]["dataset"].get("samples") or 0) * (log["eval"]["config"].get("epochs") or 1)


def _scorer(samples: Sequence[Mapping[str, Any]], wanted: Wanted) -> str | None:
    """Name the score that counts, by the first sample that has any."""
    scored = next((sample for sample in samples if sample.get("scores")), None)
    first = scored or (samples[0] if samples else None)
    return choose_score(first.get("scores") or {}, wanted, f"sample {first['id']!r}") if first else None


def _logged(sample: Mapping[str, Any], scorer: str | None) -> Logged:
    output, place = sample["output"], f"sample {sample['id']!r}, epoch {sample['epoch']}"
    choices, messages = output.get("choices") or [], sample["messages"]
    if len(choices) > 1 or sum(message["role"] == "assistant" for message in messages) > 1:
        raise ValueError(f"{place} holds several answers of the model. Only runs of single answers can be compared.")
    usage, content = output.get("usage") or {}, choices[0]["message"]["content"] if choices else ""
    stop, fault = _end(sample, choices)
    return Logged(
        problem=str(sample["id"]),
        number=sample["epoch"],
        prompt=asked(messages) if messages else _input(sample["input"]),
        golds=tuple([sample["target"]] if isinstance(sample["target"], str) else sample["target"]),
        text=text_of(content),
        thinking=thinking_of(content),
        tokens=usage.get("output_tokens") or None,
        think_tokens=usage.get("reasoning_tokens"),
        stop=stop,
        verdict=_verdict(sample, scorer, place) if scorer and not fault else None,
        fault=fault,
    )


def _input(given: Any) -> str:
    return given if isinstance(given, str) else asked(given)


def _end(sample: Mapping[str, Any], choices: Sequence[Mapping[str, Any]]) -> tuple[StopReason | None, str | None]:
    """Return why a sample ended, or why it cannot be counted."""
    if sample.get("error"):
        return None, f"an error: {sample['error']['message'].splitlines()[0][:80]}"
    if sample.get("invalidation"):
        return None, "invalidated"
    limit = (sample.get("limit") or {}).get("type")
    if limit in BY_TOKENS:
        return StopReason.LENGTH, None
    if limit or not choices:
        return None, f"stopped by a limit ({limit})" if limit else "no output"
    own = ((sample.get("metadata") or {}).get(OWN) or {}).get("stop_reason")
    if own in LABELS:
        return LABELS[own], None
    reason = choices[0]["stop_reason"]
    return (None, "ended in a call of a tool") if reason == "tool_calls" else (STOPS.get(reason), None)


def _verdict(sample: Mapping[str, Any], scorer: str, place: str) -> float | None:
    score = choose_score(sample.get("scores") or {}, Wanted(scorer), place)
    return as_verdict(sample["scores"][score]["value"], scorer, place)
