"""The page of a run, `run.html`: one self-contained file, made from the files in the run's folder."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from concise_rl.files import PAGE_FILE, ROLLOUTS_FILE, read_lines
from concise_rl.output.lines import in_words
from concise_rl.output.pages import write_page
from concise_rl.output.pages.curves import panel_data
from concise_rl.train.watch.browse import rollouts_data
from concise_rl.train.watch.panels import draw
from concise_rl.train.watch.run import ENDS, GOING, STARTS, Run, read_run, status
from concise_rl.train.watch.sections import COUNTERS
from concise_rl.train.watch.summary import NUMBERS, changes, clock, progress, title, warning_text

SHOWN_WARNINGS = 20
STALE = 5.0
"""The page of a run that goes on says that it is old after so many times the seconds that the run may be silent."""


def write_run_page(folder: Path) -> Path:
    """Write the page of a run into its folder.

    Raises:
        ValueError: see `read_run`.
        OSError: when writing fails; the page that was there is then left.
    """
    write_page(
        folder / PAGE_FILE, "run.html.j2", "concise_rl.train.watch", **page_values(read_run(folder), time.time())
    )
    return folder / PAGE_FILE


def page_values(run: Run, now: float) -> dict[str, Any]:
    """Return what the page of one run shows."""
    state = status(run, now)
    groups = read_lines(run.folder / ROLLOUTS_FILE)
    return {
        "name": run.folder.resolve().name,
        "title": title(run),
        "status": state,
        "progress": progress(run, state.word),
        "share": run.step / run.max_steps if run.max_steps else None,
        "written": clock(now),
        "stale_at": now + STALE * run.patience if state.word in GOING else None,
        "changes": changes(run),
        "warnings": run.warnings[-SHOWN_WARNINGS:],
        "more_warnings": max(0, len(run.warnings) - SHOWN_WARNINGS),
        "sections": [(section, panel_data(section.panels)) for section in draw([run], [""])],
        "rollouts": rollouts_data(groups) if groups else None,
        "recorded": len({group["step"] for group in groups}),
        "counters": counters(run),
        "history": history(run),
        "settings": run.settings,
        "versions": run.start.get("versions", {}),
        "totals": totals(run),
        "clock": clock,
        "warning_text": warning_text,
    }


def write_overlay(folders: Sequence[Path], path: Path) -> None:
    """Write a page on which the curves of several runs lie over each other.

    Raises:
        ValueError: see `read_run`.
        OSError: when writing fails.
    """
    runs = [read_run(folder) for folder in folders]
    names = unique_names(folders)
    now = time.time()
    numbers = [{change.label: change for change in changes(run)} for run in runs]
    words = [status(run, now).word for run in runs]
    rows = [
        (name, title(run), word, progress(run, word), of_run)
        for name, run, word, of_run in zip(names, runs, words, numbers, strict=True)
    ]
    values = {
        "rows": rows,
        "labels": [label for label, _, _ in NUMBERS],
        "sections": [(section, panel_data(section.panels)) for section in draw(runs, names)],
        "written": clock(now),
    }
    write_page(path, "overlay.html.j2", "concise_rl.train.watch", **values)


def unique_names(folders: Sequence[Path]) -> list[str]:
    """Return the last part of each path, or as many parts as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(of_one[-length:]) for of_one in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def counters(run: Run) -> list[tuple[str, int]]:
    """Return what the verifier and the judge have counted since the process began."""
    keys = [key for step in run.steps[-1:] for key in step if key.startswith(COUNTERS)]
    return [(key.replace("/", ": ").replace("_", " "), int(run.last(key) or 0)) for key in keys]


def totals(run: Run) -> list[tuple[str, str]]:
    """Return what the run took and left in all, as far as it is logged."""
    seconds = [step for step in run.values("step_time") if step is not None]
    tokens = run.last("num_tokens")
    saved = [event["step"] for event in run.events if event["event"] == "saved"]
    return [
        *([("training steps", in_words(sum(seconds)))] if seconds else []),
        *([("tokens trained on", f"{tokens:,.0f}")] if tokens else []),
        *([("last checkpoint", f"at step {saved[-1]}")] if saved else []),
    ]


def history(run: Run) -> list[tuple[dict[str, Any], str]]:
    """Return the starts and ends, with what there is to say of each."""
    events = [event for event in run.events if event["event"] in (*STARTS, *ENDS)]
    return [(event, told(event, before)) for event, before in zip(events, [None, *events], strict=False)]


def told(event: dict[str, Any], before: dict[str, Any] | None) -> str:
    """Return what happened, in words.

    Args:
        event: a start or an end.
        before: the one before it.
    """
    if event["event"] not in STARTS:
        return event.get("error", "")
    processes = event["processes"]
    killed = "; the process before had ended without a word" if before and before["event"] in STARTS else ""
    return f"to make {event['max_steps']} steps, {processes} process{'' if processes == 1 else 'es'}{killed}"
