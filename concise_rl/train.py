"""Train by a recipe: `concise-rl train RECIPE`, or `accelerate launch -m concise_rl.train --config RECIPE`."""

import json
import logging
import shlex
import shutil
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerState, TrainingArguments, set_seed
from trl import get_peft_config

import concise_rl
import reward
from concise_rl.callbacks import close_progress_bar
from concise_rl.checkpoint import demand_steps, last_complete
from concise_rl.config import ConciseConfig
from concise_rl.errors import EngineError
from concise_rl.files import write_atomically
from concise_rl.finite import demand_finite_weights
from concise_rl.output import console_for, print_next
from concise_rl.precision import check_dtype
from concise_rl.preflight import check_rows, preflight
from concise_rl.problems import load_problems
from concise_rl.recipe import Recipe, parse_recipe
from concise_rl.rollout.links import WEIGHTS_FOLDER
from concise_rl.run_files import EVENTS_FILE, MARKER, PAGE_FILE, ROLLOUTS_FILE, SETTINGS_FILE
from concise_rl.tiny import resolve_model
from concise_rl.verify import VerifierPool
from concise_rl.watch.events import listening

# What may differ between two starts of the same run: what is learnt does not depend on it, only where and how it is
# computed, how much memory that takes, and what is told of it. Not so the importance weights, which are in the loss.
NOT_IDENTITY = {
    "output_dir",
    "overwrite",
    "report_to",
    "run_name",
    "project",
    "disable_tqdm",
    "push_to_hub",
    "num_completions_to_print",
    "verifier_workers",
    "dataloader_num_workers",
    "dataloader_persistent_workers",
    "dataloader_pin_memory",
    "dataloader_prefetch_factor",
    "dataset_num_proc",
    "gradient_checkpointing",
    "gradient_checkpointing_kwargs",
    "activation_offloading",
    "torch_empty_cache_steps",
    "ds3_gather_for_generation",
    "attn_implementation",
    "vllm_mode",
    "vllm_max_model_length",
    "vllm_gpu_memory_utilization",
    "vllm_enable_sleep_mode",
    "vllm_tensor_parallel_size",
    "vllm_model_impl",
    "vllm_group_port",
    "rollout_timeout",
    "truncation_warning",
    "no_signal_patience",
    "sync_warning",
    "sync_error",
}
NOT_IDENTITY_PREFIXES = ("hub_", "log_", "logging_", "save_", "ddp_", "trackio_", "vllm_server_", "page_", "record_")
# What a run leaves in its folder before its first step.
OF_A_START = {SETTINGS_FILE, WEIGHTS_FOLDER, EVENTS_FILE, ROLLOUTS_FILE, PAGE_FILE, "completions", "runs"}
# What an evaluation takes from a recipe, and the defaults of `concise-rl eval`.
EVALUATED = {"prompt_column": "prompt", "answer_column": "answer", "prompt_template": None, "system_prompt": None}
# Learning rates that do not depend on how many steps there will be.
STEADY_SCHEDULES = ("constant", "constant_with_warmup")
OURS = tuple(Path(module.__file__ or "").parent for module in (concise_rl, reward))


def is_bookkeeping(key: str) -> bool:
    """Whether a setting may differ between two starts of the same run."""
    return key in NOT_IDENTITY or key.startswith(NOT_IDENTITY_PREFIXES)


def identity(recipe: Recipe) -> dict[str, Any]:
    """The settings that make a run what it is."""
    return {key: value for key, value in recipe.settings.items() if not is_bookkeeping(key)}


def check_folder(recipe: Recipe) -> None:
    """See whether the output folder is free, or this run's own. Changes nothing.

    Raises:
        ValueError: when it holds files of another run (naming the settings that differ) or of no run at all. A larger
            `max_steps` is no other run, see `why_not_longer`.
    """
    folder = Path(recipe.folder)
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give another output_dir.")
    if is_free(folder):
        return
    if not (folder / SETTINGS_FILE).is_file():
        raise ValueError(f"{folder} is not empty and not a run's folder: give another output_dir.")
    before, now = json.loads((folder / SETTINGS_FILE).read_text()), identity(recipe)
    before = {key: value for key, value in before.items() if not is_bookkeeping(key)}  # of older versions
    differing = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if not differing or recipe.data.overwrite:
        return
    longer = differing == ["max_steps"] and is_longer(before.get("max_steps"), now.get("max_steps"))
    obstacle = why_not_longer(recipe) if longer else ""
    if not longer or obstacle:
        listed = "; ".join(f"{key}: {before.get(key)!r} there, {now.get(key)!r} now" for key in differing)
        raise ValueError(
            f"{folder} holds another run ({listed}). {obstacle}"
            "Give another output_dir, or --overwrite true to delete it."
        )


def is_free(folder: Path) -> bool:
    """Whether nothing lies in a folder, or only what a start that failed has left: no metrics, checkpoint or model."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    torn = {name for name in names if name.startswith((f".{SETTINGS_FILE}.", f".{PAGE_FILE}."))}
    started = SETTINGS_FILE in names or torn
    return not names or bool(started and names <= OF_A_START | torn)


def is_longer(before: Any, now: Any) -> bool:
    """Whether `max_steps` has become larger."""
    return isinstance(before, int) and isinstance(now, int) and 0 < before < now


def why_not_longer(recipe: Recipe) -> str:
    """Why the run in the output folder cannot go on to a larger `max_steps`, as a sentence; empty if it can."""
    training, folder = recipe.training, Path(recipe.folder)
    if training.lr_scheduler_type not in STEADY_SCHEDULES or 0 < training.warmup_steps < 1:
        return (
            "It could only go on for more steps if its learning rate did not depend on their number (lr_scheduler_type "
            f"{' or '.join(STEADY_SCHEDULES)}, warmup_steps not a share). "
        )
    if (folder / MARKER).is_file() and not last_complete(folder):
        return "It is complete and has left no checkpoint to go on from. "
    return ""


def is_trained(recipe: Recipe) -> bool:
    """Whether the output folder, which is this run's, holds all the steps asked for."""
    folder = Path(recipe.folder)
    if recipe.data.overwrite or not (folder / MARKER).is_file():
        return False
    return json.loads((folder / SETTINGS_FILE).read_text()).get("max_steps") == recipe.settings.get("max_steps")


def claim_folder(recipe: Recipe) -> None:
    """Make the output folder this run's own; with `overwrite`, delete the run that it holds.

    Raises:
        ValueError: as `check_folder` does.
    """
    state, folder = PartialState(), Path(recipe.folder)
    if state.is_main_process:
        check_folder(recipe)
        if recipe.data.overwrite and folder.is_dir():
            empty(folder)
        if is_free(folder):
            (folder / EVENTS_FILE).unlink(missing_ok=True)  # of a start that has made no step
        (folder / MARKER).unlink(missing_ok=True)  # of a run that goes on for more steps
        write_atomically(folder / SETTINGS_FILE, json.dumps(identity(recipe), indent=2) + "\n")
    state.wait_for_everyone()


def empty(folder: Path) -> None:
    """Delete what is in a folder, which itself may be a link or a mount point. What links in it lead to stays."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def train_rl(recipe: Recipe) -> None:
    """Reinforcement learning with the recipe's objective."""
    from concise_rl.check import check_objective
    from concise_rl.trainer import ConciseTrainer

    config: ConciseConfig = recipe.training
    set_seed(config.seed)
    check_objective(config)
    check_dtype(config, adapters=recipe.model.use_peft)
    model = resolve_model(recipe.model_name)
    with VerifierPool(
        config.verifier,
        config.verifier_workers,
        config.verifier_timeout,
        config.verifier_memory_mb,
        config.refuse_copied,
    ) as pool:
        problems = load_problems(recipe, pool)
        check_rows(len(problems), recipe)
        claim_folder(recipe)
        trainer = ConciseTrainer(
            model=model, args=config, train_dataset=problems, peft_config=get_peft_config(recipe.model), verifier=pool
        )
        trainer.dataset_name = recipe.data.dataset
        finish_training(trainer, recipe.folder)


class OwnIntervals(TrainerCallback):
    """A resumed run logs and saves as often as it is told now. transformers goes on as the checkpoint was told."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Called when the checkpoint is loaded."""
        state.compute_steps(args, state.max_steps)


def finish_training(trainer: Any, output_dir: str) -> None:
    """Train from the last complete checkpoint, if any, and write the model; the marker comes last.

    Raises:
        ValueError: when the training ended before its last step. There is no marker then.
    """
    checkpoint = last_complete(output_dir)
    if checkpoint:
        print(f"Resuming from {checkpoint}")
    trainer.add_callback(OwnIntervals())
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except ValueError as error:
        # One from this project speaks for itself. Another's may be a bug.
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if not any(raised_in.is_relative_to(folder) for folder in OURS):
            traceback.print_exc()
        raise
    finally:
        close_progress_bar(trainer)
    demand_steps(trainer, trainer.state.max_steps)
    demand_finite_weights(trainer)
    trainer.model.config.use_cache = True  # training turned it off, and the released model would generate slowly
    trainer.save_model(output_dir)
    trainer.save_state()
    if trainer.accelerator.is_main_process:
        write_atomically(Path(output_dir) / MARKER, "the model in this folder is the trained one\n")
        print(f"The trained model is in {output_dir}")


def run(recipe: Recipe) -> None:
    """Train by a parsed recipe. A run that is complete already is left as it is."""
    from concise_rl.sft import train_sft

    state = PartialState()
    if state.is_main_process:
        check_folder(recipe)
    state.wait_for_everyone()
    trained = is_trained(recipe)
    state.wait_for_everyone()  # the first rank goes on to write there
    if trained:
        print(f"{recipe.folder} is trained already.")
        return
    with listening() if state.is_main_process else nullcontext():  # also what is said before the training
        preflight(recipe)
        {"rl": train_rl, "sft": train_sft}[recipe.stage](recipe)
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


def main(argv: list[str] | None = None) -> None:
    """Entry point: `--config RECIPE` and overrides. What is wrong with the input is said in a line, not a traceback."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        if "--config" not in args[:-1]:
            raise ValueError("Say which recipe to run: --config RECIPE.")
        at = args.index("--config")
        recipe = parse_recipe(args[at + 1], args[:at] + args[at + 2 :])
        run(recipe)
        state = PartialState()
        state.wait_for_everyone()  # a rank that leaves early may abort one that still closes its connections
        state.destroy_process_group()
    except (ValueError, EngineError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
