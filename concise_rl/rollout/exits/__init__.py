"""Exits: ways to stop the thinking of a model that was not trained to stop. Each is named, and most have a file.

`EXITS` holds those that `--exit` names. A policy of the user's own derives from `ExitPolicy`.
"""

from concise_rl.rollout.exits.budget import Budget, NoThink
from concise_rl.rollout.exits.build import parse_exit, plan_exit
from concise_rl.rollout.exits.converge import Converge, RunJump
from concise_rl.rollout.exits.deepconf import DeepConf
from concise_rl.rollout.exits.deer import Deer
from concise_rl.rollout.exits.dynasor import Dynasor
from concise_rl.rollout.exits.eat import Eat
from concise_rl.rollout.exits.events import every, literal, places_of
from concise_rl.rollout.exits.extend import Extend
from concise_rl.rollout.exits.lynx import Lynx
from concise_rl.rollout.exits.nowait import NoWait
from concise_rl.rollout.exits.policy import (
    Ending,
    Exit,
    ExitPolicy,
    LiveExit,
    Look,
    Reading,
    ending_of,
    exit_at,
    looked_at,
)
from concise_rl.rollout.exits.rpdi import Rpdi
from concise_rl.rollout.exits.think_brake import ThinkBrake
from concise_rl.rollout.exits.tools import ExitTools, value_of

EXITS: dict[str, type[Exit]] = {
    "no-think": NoThink,
    "budget": Budget,
    "extend": Extend,
    "deer": Deer,
    "dynasor": Dynasor,
    "converge": Converge,
    "run_jump": RunJump,
    "eat": Eat,
    "think_brake": ThinkBrake,
    "nowait": NoWait,
    "rpdi": Rpdi,
    "deepconf": DeepConf,
    "lynx": Lynx,
}
"""Every exit by its name."""


def exit_of(text: str) -> Exit:
    """Build the exit that the text of `--exit` names; see `parse_exit`."""
    return parse_exit(text, EXITS)


__all__ = [
    "EXITS",
    "Ending",
    "Exit",
    "ExitPolicy",
    "ExitTools",
    "LiveExit",
    "Look",
    "Reading",
    "ending_of",
    "every",
    "exit_at",
    "exit_of",
    "literal",
    "looked_at",
    "places_of",
    "plan_exit",
    "value_of",
]
