"""concise_rl: reinforcement learning that teaches reasoning models to stop when they have enough."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concise_rl.config import ConciseConfig
    from concise_rl.data import load_rows, to_messages
    from concise_rl.objective import Objective, RolloutBatch, SequenceReward
    from concise_rl.trainer import ConciseTrainer

__all__ = ["ConciseConfig", "ConciseTrainer", "Objective", "RolloutBatch", "SequenceReward", "load_rows", "to_messages"]

_HOME = {
    "ConciseConfig": "concise_rl.config",
    "ConciseTrainer": "concise_rl.trainer",
    "Objective": "concise_rl.objective",
    "RolloutBatch": "concise_rl.objective",
    "SequenceReward": "concise_rl.objective",
    "load_rows": "concise_rl.data",
    "to_messages": "concise_rl.data",
}


def __getattr__(name: str) -> Any:
    """Import on first use: verifier workers and `concise-rl --help` must not wait for torch."""
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
