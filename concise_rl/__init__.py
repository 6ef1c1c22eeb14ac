"""concise_rl: reinforcement learning that teaches reasoning models to stop when they have enough."""

import importlib
import importlib.abc
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concise_rl.data.rows import load_rows, to_messages
    from concise_rl.methods import Objective, RolloutBatch, SequenceReward
    from concise_rl.recipe.config import ConciseConfig
    from concise_rl.train.trainer import ConciseTrainer

__all__ = ["ConciseConfig", "ConciseTrainer", "Objective", "RolloutBatch", "SequenceReward", "load_rows", "to_messages"]

_HOME = {
    "ConciseConfig": "concise_rl.recipe.config",
    "ConciseTrainer": "concise_rl.train.trainer",
    "Objective": "concise_rl.methods",
    "RolloutBatch": "concise_rl.methods",
    "SequenceReward": "concise_rl.methods",
    "load_rows": "concise_rl.data.rows",
    "to_messages": "concise_rl.data.rows",
}


def __getattr__(name: str) -> Any:
    """Import on first use: verifier workers and `concise-rl --help` must not wait for torch."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_MOVED = {
    "batch": "train.gather",
    "config": "recipe.config",
    "judges": "labels.judges",
    "objective": "methods",
    "rollout.serial": "rollout.plans.serial",
    "schedule": "curriculum",
    "trace": "reading.trace",
    "trainer": "train.trainer",
}
"""Where the modules are now that methods, curricula and judges of users import, and their recipes name."""


class _Moved(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Find a module under the name that it had, and say where those of its names are that went elsewhere."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Take a name that is in the table, or below one that is."""
        return importlib.util.spec_from_loader(fullname, self) if _new_name(fullname) else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of the new name in the place of this one."""
        new = _new_name(module.__name__)
        assert new, "found by this table"
        warnings.warn(f"{module.__name__} is {new} now.", DeprecationWarning, stacklevel=2)
        from concise_rl.errors import said_elsewhere  # not for who only wants `concise_rl`

        found = sys.modules[module.__name__] = importlib.import_module(new)
        vars(found).setdefault("__getattr__", said_elsewhere(new))


def _new_name(name: str) -> str | None:
    for old, new in _MOVED.items():
        if f"{name}.".startswith(f"concise_rl.{old}."):
            return f"concise_rl.{new}{name.removeprefix(f'concise_rl.{old}')}"
    return None


# Before the others, which would import `concise_rl.judges.rule` a second time from where `judges` is now.
sys.meta_path.insert(0, _Moved())
