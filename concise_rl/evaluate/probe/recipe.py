"""Writing the recipe that follows from a probe: YAML whose keys say why they have their values."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from concise_rl.evaluate.probe.advice import Advice
from concise_rl.evaluate.probe.findings import Measured
from concise_rl.evaluate.probe.outline import DEFAULT_GPUS, SMALL, Outline
from concise_rl.evaluate.probe.render import render
from concise_rl.evaluate.probe.settings import SETTINGS
from concise_rl.files import beside, write_atomically
from concise_rl.recipe.check import findings_of
from concise_rl.recipe.fit.facts import find_facts
from concise_rl.recipe.fit.hardware import Gpus, find_launch
from concise_rl.recipe.fit.report import unknown_model
from concise_rl.recipe.fit.setup import Setup
from concise_rl.recipe.parse import parse_recipe
from reward import objective_class


def outline_recipe(measured: Measured, advice: Advice, method: str, path: Path, gpus: str | None) -> Outline:
    """Decide what kind of recipe it will be.

    Args:
        measured, advice: of the probe.
        method: the objective.
        path: where the recipe will lie.
        gpus: as `8x80`; None for a CPU where the model is small, else `DEFAULT_GPUS`.

    Raises:
        ValueError: for a method that there is not, or that no recipe can be written for, and for bad `gpus`.
    """
    check_method(method)
    parameters = measured.tokens.parameters
    small = gpus is None and parameters is not None and parameters <= SMALL
    return Outline(measured, advice, method, path, None if small else Gpus.parse(gpus) if gpus else DEFAULT_GPUS)


def check_method(method: str) -> None:
    """Refuse a method that no recipe can be written for.

    Raises:
        ValueError: for a method that there is not, or that no recipe can be written for.
    """
    if method in SETTINGS:
        return
    objective_class(method)
    raise ValueError(
        f"No recipe can be written for {method} from a probe: take one of {', '.join(SETTINGS)}, or begin with one of "
        f"{method} under recipes/."
    )


def write_recipe(outline: Outline) -> str:
    """Write the recipe, once `concise-rl check` passes it.

    Returns:
        The command that checks it.

    Raises:
        ValueError: with what the check finds, or where the model's sizes are not known; nothing is written then.
    """
    outline.path.parent.mkdir(parents=True, exist_ok=True)
    if outline.gpus:
        outline = replace(outline, share=share_of_vllm(outline, outline.gpus))
    gpus = f"{outline.gpus.count}x{outline.gpus.gigabytes:g}" if outline.gpus else None
    with draft(outline) as path:
        findings_of(str(path), [], gpus).refuse()
    write_atomically(outline.path, render(outline))
    return f"concise-rl check {outline.path}" + (f" --gpus {gpus}" if gpus else "")


@contextmanager
def draft(outline: Outline) -> Generator[Path]:
    """Write the recipe beside the one that is wanted, for a check; it is gone afterwards."""
    path = beside(outline.path)
    write_atomically(path, render(outline))
    try:
        yield path
    finally:
        path.unlink()


def share_of_vllm(outline: Outline, gpus: Gpus) -> float:
    """Find the largest share of each GPU for a vLLM that sleeps while the model is trained, see
    `concise_rl.recipe.fit`. Where there is none it is the outline's, so that the check says why.

    Raises:
        ValueError: when the model's sizes are not known.
    """
    facts = find_facts(outline.measured.model, outline.measured.measurement.revision)
    if facts is None:
        raise unknown_model(outline.measured.model)
    with draft(outline) as path:
        recipe = parse_recipe(path, ["--use_cpu", "true"], gpus.count)
        setup = Setup(recipe, facts, gpus, find_launch(gpus, path))
    return round(setup.share(sleep=True), 2) or outline.share
