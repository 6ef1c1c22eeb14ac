"""Train by a recipe in several processes: `accelerate launch -m concise_rl.train --config RECIPE`."""

import logging
import os
import sys
import traceback
from typing import NoReturn

import torch.distributed as dist

from concise_rl.errors import AGAIN, EngineError, Interrupted, PeerError, without_access, without_room
from concise_rl.recipe.parse import parse_recipe
from concise_rl.rollout.sync.main_rank import leave_process_group
from concise_rl.train.run import run


def main(argv: list[str] | None = None) -> None:
    """Entry point: `--config RECIPE` and overrides. Wrong input and a full disk end with one line, and no
    traceback."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        if "--config" not in args[:-1]:
            raise ValueError("Say which recipe to run: --config RECIPE.")
        at = args.index("--config")
        recipe = parse_recipe(args[at + 1], args[:at] + args[at + 2 :])
        run(recipe)
        leave_process_group()
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        leave_process_group()
        sys.exit(AGAIN)
    except (ValueError, EngineError, PeerError) as error:
        fail(f"error: {error}")
    except Exception as error:
        said = without_room(error) or without_access(error)
        if said is None and not is_joined():
            raise
        fail(f"error: {said}" if said else "".join(traceback.format_exception(error)))


def is_joined() -> bool:
    """Whether this process is one of several ranks."""
    return dist.is_available() and dist.is_initialized()


def fail(said: str) -> NoReturn:
    """End with an error. One of several ranks ends at once: what closes its connections in order may wait for one that
    is gone."""
    if not is_joined():
        sys.exit(said)
    print(said, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(1)


if __name__ == "__main__":
    main()
