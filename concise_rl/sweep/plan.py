"""Plan a sweep: a run for each recipe and seed. What cannot be trained or compared is refused here."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from concise_rl.evaluate.spec import BASELINE, LABEL
from concise_rl.files import SETTINGS_FILE
from concise_rl.recipe.parse import Recipe, parse_overrides, parse_recipe, read_recipe
from concise_rl.sweep.launch import Launcher, find_launcher
from concise_rl.train.checkpoint import last_complete
from concise_rl.train.folder import check_folder, identity, is_free, is_trained

OWN = {
    "seed": "give --seeds N, which trains each recipe with the seeds 0 to N-1",
    "output_dir": "each run has its own folder under --out DIR",
    "overwrite": "delete the folders of the runs that are to start afresh",
    "stage": "a sweep trains by reinforcement learning",
}
"""Settings that a sweep makes itself, and what to do instead."""


@dataclass(frozen=True)
class Run:
    """A recipe trained with a seed.

    Attributes:
        label: name of the recipe's file without its ending: the method's name in the comparison.
        seed: of the training.
        path: the recipe's file.
        words: settings of the command line, as `--key value`.
        recipe: parsed, with the seed and the run's folder.
        launcher: how it is started.
    """

    label: str
    seed: int
    path: Path
    words: tuple[str, ...]
    recipe: Recipe
    launcher: Launcher

    @property
    def name(self) -> str:
        """Name its folder: the label and the seed."""
        return f"{self.label}-{self.seed}"

    @property
    def folder(self) -> Path:
        """Say where the model goes."""
        return Path(self.recipe.folder)

    @property
    def log(self) -> Path:
        """Say where the training's output goes."""
        return self.folder.with_name(f"{self.name}.log")

    @property
    def steps(self) -> int | None:
        """Count its steps; None where the recipe counts in epochs."""
        return self.recipe.training.max_steps if self.recipe.training.max_steps > 0 else None

    @property
    def command(self) -> list[str]:
        """Write the command that trains it."""
        own = ["--seed", str(self.seed), "--output_dir", str(self.folder)]
        return [*self.launcher.words, "-m", "concise_rl.train", "--config", str(self.path), *self.words, *own]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Select what makes the method what it is, whatever the seed."""
        return {key: value for key, value in identity(self.recipe).items() if key != "seed"}

    @property
    def is_trained(self) -> bool:
        """Tell whether the folder holds the trained model."""
        return self.folder.is_dir() and is_trained(self.recipe)

    @property
    def resumes_at(self) -> int | None:
        """Find the step of the checkpoint that it goes on from; None where it begins."""
        found = last_complete(self.folder)
        return int(found.name.rpartition("-")[2]) if found else None


def plan_runs(
    paths: Sequence[Path],
    seeds: int,
    out: Path,
    words: Sequence[str] = (),
    accelerate: str | None = None,
    elsewhere: bool = False,
) -> list[Run]:
    """List the runs of a sweep: every recipe with seed 0, then every recipe with seed 1, and so on.

    Args:
        paths: the recipes.
        seeds: how many of each; they are 0, 1, 2 and so on.
        out: the sweep's folder.
        words: settings for all recipes, as `--key value`.
        accelerate: an accelerate configuration for all; else each recipe's own command says how it is started.
        elsewhere: whether other machines train.

    Raises:
        ValueError: for no recipe, one given twice, one that cannot be parsed or is not of reinforcement learning,
            recipes that cannot be compared, and no seed.
    """
    if seeds < 1:
        raise ValueError(f"--seeds is {seeds}: train each recipe at least once.")
    _check_names(paths)
    _check_words(words)
    runs = [_plan(path, seed, out, tuple(words), accelerate, elsewhere) for seed in range(seeds) for path in paths]
    check_comparable(runs)
    return runs


def _check_names(paths: Sequence[Path]) -> None:
    if not paths:
        raise ValueError("Give the recipes to train, as recipes/tiny/grpo.yaml recipes/tiny/grpo_lambda.yaml.")
    first: dict[str, Path] = {}
    for path in paths:
        other = first.setdefault(path.stem, path)
        if other is not path:
            same = other.resolve() == path.resolve()
            why = "is given twice" if same else f"and {other} would have one name in the comparison: rename one"
            raise ValueError(f"{path} {why}.")
        if not re.fullmatch(LABEL, path.stem) or path.stem == BASELINE:
            raise ValueError(f"{path}: its name cannot name a method. Rename it: letters, digits and ._+- alone.")


def _check_words(words: Sequence[str]) -> None:
    for key in parse_overrides(list(words)):
        if key in OWN:
            raise ValueError(f"--{key} is no setting for all runs of a sweep: {OWN[key]}.")


def _plan(path: Path, seed: int, out: Path, words: tuple[str, ...], accelerate: str | None, elsewhere: bool) -> Run:
    given = {**read_recipe(path), **parse_overrides(list(words))}
    if (stage := given.get("stage", "rl")) != "rl":
        raise ValueError(f"{path} is of stage: {stage}, and a sweep compares methods of RL. Leave it out.")
    launcher = find_launcher(path, given, accelerate, elsewhere)
    own = ["--seed", str(seed), "--output_dir", str(out / "runs" / f"{path.stem}-{seed}")]
    return Run(path.stem, seed, path, words, parse_here(path, [*words, *own], launcher.processes), launcher)


def parse_here(path: Path, words: list[str], processes: int) -> Recipe:
    """Parse a recipe without touching a GPU: this process trains nothing, and the trainings need all of its memory.

    Raises:
        ValueError: as `parse_recipe` does.
    """
    given = {**read_recipe(path), **parse_overrides(words)}
    if given.get("use_cpu"):
        return parse_recipe(path, words, processes)
    recipe = parse_recipe(path, [*words, "--use_cpu", "true"], processes)
    settings = {key: value for key, value in recipe.settings.items() if key != "use_cpu"}
    if "use_cpu" in given:
        settings["use_cpu"] = given["use_cpu"]
    return dataclasses.replace(recipe, settings=settings)


def shared_settings(recipe: Recipe) -> dict[str, Any]:
    """Select the settings that the runs of a sweep have in common."""
    data, training = recipe.data, recipe.training
    return {
        "model_name_or_path": recipe.model_name,
        "model_revision": recipe.model.model_revision,
        "dataset": data.dataset,
        "dataset_split": data.dataset_split,
        "prompt_column": data.prompt_column,
        "answer_column": data.answer_column,
        "prompt_template": data.prompt_template,
        "system_prompt": data.system_prompt,
        "chat_template_kwargs": getattr(training, "chat_template_kwargs", None),
        "verifier": training.verifier,
        "think_end": training.think_end,
    }


def check_comparable(runs: Sequence[Run]) -> None:
    """
    Raises:
        ValueError: when recipes differ in the base model, the data or how an answer is graded, naming what differs.
    """
    first, wanted = runs[0], shared_settings(runs[0].recipe)
    for run in runs[1:]:
        found = shared_settings(run.recipe)
        differing = [f"{key} ({wanted[key]!r}, {found[key]!r})" for key in wanted if wanted[key] != found[key]]
        if differing:
            raise ValueError(
                f"{first.path} and {run.path} cannot be compared, they differ in {', '.join(differing)}: all runs of a "
                "sweep start from one model, on the same data."
            )


def check_folders(runs: Sequence[Run]) -> None:
    """See whether each run's folder is free, or holds this run.

    Raises:
        ValueError: as `check_folder` does.
    """
    for run in runs:
        check_folder(run.recipe)


def state_of(run: Run) -> str:
    """Say what is to be done for a run."""
    if run.is_trained:
        return "trained"
    step = run.resumes_at
    if step is not None:
        return f"goes on from step {step}"
    begun = not is_free(run.folder) and (run.folder / SETTINGS_FILE).is_file()
    return "begins again: it left no checkpoint" if begun else "to train"
