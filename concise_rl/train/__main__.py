"""Train by a recipe in several processes: `accelerate launch -m concise_rl.train --config RECIPE`."""

import logging
import os
import sys

from concise_rl.errors import AGAIN, EngineError, Interrupted, PeerError, without_room
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
    except PeerError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(1)  # what closes connections in order may wait for the one that is gone
    except (ValueError, EngineError) as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        if (said := without_room(error)) is None:
            raise
        sys.exit(f"error: {said}")


if __name__ == "__main__":
    main()
