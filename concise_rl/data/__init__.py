"""Rows to train on and to evaluate on."""

from concise_rl.data.rows import load_rows, to_messages

__all__ = ["load_rows", "to_messages"]
