"""Rows of an evaluation whose thinking an exit stops: which there are, what they are called, what they cannot be."""

import re
from collections.abc import Sequence

from concise_rl.evaluate.spec import LABEL, EvalSpec, ModelRun, as_label

NO_EXIT = "none"
"""What `--exit` calls the model as it is."""
_LABELLED = re.compile(rf"(?P<label>{LABEL})=(?P<exit>.+)")


def with_exits(runs: Sequence[ModelRun], exits: Sequence[str]) -> tuple[ModelRun, ...]:
    """Return each run under each exit; the runs themselves where there are none.

    Args:
        runs: one for each model.
        exits: `[LABEL=]EXIT`. A row is called MODEL+LABEL, without a label MODEL+EXIT, and MODEL under `none`.

    Raises:
        ValueError: when two rows would have one name, or the row without an exit would have another than its model.
    """
    if not exits:
        return tuple(runs)
    named = [_split(text) for text in exits]
    suffixes = [suffix for suffix, _ in named]
    twice = next((suffix for suffix in suffixes if suffixes.count(suffix) > 1), None)
    if twice is not None:
        raise ValueError(
            f"Two exits would be called {twice.lstrip('+') or NO_EXIT!r}. Give them labels: --exit NAME=EXIT."
        )
    return tuple(
        run.model_copy(update={"label": run.label + suffix, "exit": name}) for run in runs for suffix, name in named
    )


def _split(text: str) -> tuple[str, str | None]:
    """Return what a row's label gets, and its exit. A label has no colon, so that options do not look like one."""
    match = _LABELLED.fullmatch(text)
    label, name = (match["label"], match["exit"]) if match else (None, text)
    if name == NO_EXIT and label:
        raise ValueError(f"--exit {text}: the row without an exit is called as its model is. Give --exit {NO_EXIT}.")
    if name == NO_EXIT:
        return "", None
    return f"+{label or as_label(name)}", name


def exit_arguments(runs: Sequence[ModelRun]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the models, with their labels, and the values of `--exit`, of which `runs` are the rows.

    Where they are not all models under all exits, more rows come of these arguments than there are.
    """
    models: dict[tuple[str, int], str] = {}
    exits: dict[str, None] = {}
    for run in runs:
        label = run.label
        if run.exit is not None:
            plain = f"+{as_label(run.exit)}"
            suffix = plain if label.endswith(plain) else f"+{label.rpartition('+')[2]}"
            label = label.removesuffix(suffix)
            exits[run.exit if suffix == plain else f"{suffix[1:]}={run.exit}"] = None
        else:
            exits[NO_EXIT] = None
        models[label, run.run] = run.model
    return [(label, model) for (label, _), model in models.items()], [] if list(exits) == [NO_EXIT] else list(exits)


def check_exits(spec: EvalSpec) -> None:
    """Make sure that the exits of an evaluation are there, and that nothing else stops or counts its samples.

    Raises:
        ValueError: for an unknown exit, a wrong option, or a measurement that exits do not go with.
    """
    from concise_rl.rollout.exits import exit_of  # which imports torch

    names = list(dict.fromkeys(run.exit for run in spec.runs if run.exit is not None))
    for name in names:
        exit_of(name)
    measurement = spec.measurement
    if not names:
        return
    if measurement.think_end is None:
        raise ValueError(
            f"The exit {names[0]!r} stops thinking: give --think-end, the text that closes it, or no exit."
        )
    if measurement.think_budget is not None:
        raise ValueError(
            "A --think-budget stops thinking too: leave it out, and give --exit budget:N beside the others."
        )
    if measurement.keep_shortest is not None:
        raise ValueError(
            "--keep-shortest counts questions, not samples, and goes with no --exit: leave one of them out."
        )
