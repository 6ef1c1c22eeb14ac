"""Rows to train on and to evaluate on."""

from concise_rl.data.rows import load_rows, to_messages
from concise_rl.errors import said_elsewhere

__all__ = ["load_rows", "to_messages"]
__getattr__ = said_elsewhere(__name__)
