"""What a recipe asks for reaches the training: a weight that it gives changes what rollouts are worth."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from concise_rl.methods import Objective
from concise_rl.recipe.parse import read_recipe
from reward import build_objective
from tests.reward.test_objectives import WEIGHT_ZERO, advantages_of, batch_of, kept_of

ROOT = Path(__file__).parents[2]
OFF = WEIGHT_ZERO | {"s_grpo": {"decay": 1.0, "only_shortest": False}}
LONGEST = 32_768
"""Above the caps of all recipes."""
LATE = 10**6
"""A step in the last stage of methods that have several."""
OUTLIER = [[1] * 32, [1, 0] * 16], [[11] * 31 + [60], list(range(5, 37))]
"""Verdicts and lengths: a group that is all right, one of them long, and a mixed one."""


def methods_of(path: Path) -> list[Objective] | None:
    """A recipe's method, and the same without its weights; None where it has none, or gives them as 0."""
    content = read_recipe(path)
    name, options = content.get("objective"), content.get("objective_options") or {}
    if name is None:
        return None
    given, without = (build_objective(name, one) for one in (options, options | OFF.get(name, {})))
    return None if given == without else [given, without]


WEIGHED = {
    str(path.relative_to(ROOT / "recipes")): methods
    for path in sorted((ROOT / "recipes").rglob("*.yaml"))
    if (methods := methods_of(path))
}


def effects(method: Objective) -> list[Any]:
    """All by which a method can favour short rollouts: what they are worth, what is kept of them, and the cap."""
    batch = batch_of(*OUTLIER)
    length_B = torch.where(batch.length == 60, 300, batch.length)  # enough of an outlier for 3 deviations
    batch = replace(batch, length=length_B, max_length=512, step=LATE)
    caps = [method.cap(step, LONGEST) for step in (0, LATE)]
    return [advantages_of(method, batch).tolist(), kept_of(method, batch).tolist(), caps, method.keep_shortest(16)]


@pytest.mark.parametrize("recipe", WEIGHED)
def test_the_weights_of_a_recipe_change_what_rollouts_are_worth(recipe: str) -> None:
    given, without = WEIGHED[recipe]
    assert effects(given) != effects(without)


def test_most_recipes_of_the_methods_have_weights() -> None:
    assert len(WEIGHED) > 40
