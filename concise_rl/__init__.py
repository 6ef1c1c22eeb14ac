"""concise_rl: reinforcement learning that teaches reasoning models to stop when they have enough."""

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
        import importlib

        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
