"""Describe a method in words, read from its class."""

import inspect

from concise_rl.methods.objective import Objective


def summary(cls: type[Objective]) -> str:
    """First line of a method's docstring."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]
