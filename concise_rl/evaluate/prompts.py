"""Write into the prompts of an evaluation what a method writes into those of a training."""

from typing import Any

from pydantic import BaseModel

from concise_rl.evaluate.spec import Measurement
from concise_rl.methods import PromptWriter
from concise_rl.methods.parts import prompt_rng
from concise_rl.named import find_class, with_options
from concise_rl.rollout.collect import Row
from reward import PROMPTS


def writer_of(measurement: Measurement) -> PromptWriter | None:
    """Build the prompt writer that a measurement names; None where it names none.

    Raises:
        ValueError: for an unknown name or option, or a class that writes no prompts or facts of several numbers.
    """
    name, options = measurement.prompts, measurement.prompts_options
    if name is None:
        return None
    writer: Any = with_options("prompt writer", name, find_class("prompt writer", name, PROMPTS, BaseModel), options)
    if not callable(getattr(writer, "write", None)) or not hasattr(writer, "facts"):
        raise ValueError(f"{name} is no prompt writer: it needs `facts` and `write(row, rng)`, see PromptWriter.")
    wide = [fact.name for fact in writer.facts if fact.width > 1]
    if wide:
        raise ValueError(f"{name} knows {', '.join(wide)} as several numbers. An evaluation keeps one for each fact.")
    return writer


def write_prompt(writer: PromptWriter | None, row: Row, seed: int, problem: int) -> tuple[Row, dict[str, float]]:
    """Let a writer rewrite a problem's prompt, and return the row and the facts.

    Args:
        writer: None leaves the row as it is.
        row: its `prompt` is a conversation, as in training.
        seed: of the measurement.
        problem: number of the problem. It and the seed decide what is drawn, for all models and all samples alike.
    """
    if writer is None:
        return row, {}
    written, known = writer.write(row, prompt_rng(seed, problem))
    return written, {fact.name: float(known[fact.name]) for fact in writer.facts}
