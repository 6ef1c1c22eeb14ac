"""Train by a recipe: `concise-rl train RECIPE`, or `accelerate launch -m concise_rl.train --config RECIPE`."""

import shlex
from contextlib import nullcontext

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from concise_rl.output.lines import console_for, print_next
from concise_rl.recipe.parse import Recipe
from concise_rl.recipe.preflight import preflight
from concise_rl.train.folder import check_folder, is_trained, keeps_folder
from concise_rl.train.peers import with_peers
from concise_rl.train.stages import STAGES
from concise_rl.train.watch.events import listening

# What an evaluation takes from a recipe, and the defaults of `concise-rl eval`.
EVALUATED = {"prompt_column": "prompt", "answer_column": "answer", "prompt_template": None, "system_prompt": None}


def run(recipe: Recipe) -> None:
    """Train by a parsed recipe. A run that is complete already is left as it is."""
    with with_peers():
        train(recipe)


def train(recipe: Recipe) -> None:
    """See `run`, on every rank."""
    state = PartialState()
    if keeps_folder(recipe):
        check_folder(recipe)
    state.wait_for_everyone()
    # The first rank's word: others may have a disk of their own.
    (trained,) = broadcast_object_list([is_trained(recipe) if state.is_main_process else False])
    if trained:
        print(f"{recipe.folder} is trained already.")
        return
    with listening() if state.is_main_process else nullcontext():  # also what is said before the training
        preflight(recipe)
        STAGES[recipe.stage](recipe)
    if state.is_main_process and recipe.stage == "rl":
        print_next(console_for(False), next_commands(recipe))


def next_commands(recipe: Recipe) -> list[tuple[str, str]]:
    """What a person may want to run after a training, and why. It names what an evaluation takes from the recipe."""
    given = {name: getattr(recipe.data, name) for name in EVALUATED}
    told = [
        f"--{name.replace('_', '-')}={given[name]}" for name, default in EVALUATED.items() if given[name] != default
    ]
    words = ["--model", recipe.folder, "--baseline", recipe.model_name, "--task", recipe.data.dataset, *told]
    return [
        (shlex.join(["concise-rl", "try", recipe.folder, "--against", recipe.model_name]), "see both think"),
        (shlex.join(["concise-rl", "eval", *words]), "what it saves"),
    ]
