"""What a method brings along beside its advantages: how rollouts come about, what is done to them, and its loss."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

from concise_rl.methods.loss import TokenLoss
from concise_rl.methods.stages import Stage
from concise_rl.reading.passages import token_texts
from concise_rl.reading.trace import Delimiters, encode_words
from concise_rl.rollout.engine import derive_seed
from concise_rl.rollout.facts import Fact
from concise_rl.rollout.plans.plan import Parallel, Plan

CHARACTERS_A_TOKEN = 3
"""Characters of text that make a token, about, where there is no tokenizer to ask."""
PROMPTS = 0x9E3779B9
"""Part of the seed of what is drawn for a prompt, which no rollout of a batch has."""
Row = dict[str, Any]
Memory = Mapping[str, Any]
"""What a method knows of the run: plain numbers, texts, lists, mappings and tensors, which a checkpoint holds."""


@dataclass(frozen=True)
class RunContext:
    """What a method may need to know of the run to say what it brings along.

    Attributes:
        delimiters: `think_end`, the tokens that close the thinking (none where it is not set), and `eos`.
        num_generations: G.
        encode: from a text to its token ids. Raises ValueError where the tokenizer cannot write it.
        text_of: from a token id to its text, as it stands inside a text.
    """

    delimiters: Delimiters
    num_generations: int
    encode: Callable[[str], tuple[int, ...]]
    text_of: Callable[[int], str] = str

    @classmethod
    def of(cls, delimiters: Delimiters, num_generations: int, tokenizer: PreTrainedTokenizerBase) -> "RunContext":
        """Return the context of a run whose model has this tokenizer."""
        return cls(delimiters, num_generations, functools.partial(encode_words, tokenizer), token_texts(tokenizer))

    @classmethod
    def sketch(cls, num_generations: int = 8, think_end: str | None = None) -> "RunContext":
        """Stand in for a run whose tokenizer is not there yet: three characters are a token, and `think_end` is one."""
        closing = -1

        def encode(text: str) -> tuple[int, ...]:
            first, *later = [range(len(part) // CHARACTERS_A_TOKEN) for part in text.split(think_end or "</think>")]
            return (*first, *(token for part in later for token in (closing, *part)))

        return cls(Delimiters((closing,), frozenset()), num_generations, encode, lambda token: "abc")


class PromptWriter(Protocol):
    """Writes something into a prompt, a length target say, and knows as facts what it wrote."""

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Facts that it knows of the rollouts of a row."""
        ...

    def write(self, row: Row, rng: np.random.Generator) -> tuple[Row, dict[str, Any]]:
        """Return the row with its prompt rewritten, and the facts. Called once for the members of a group.

        Args:
            row: of the data set; `prompt` is text or messages.
            rng: seeded by the seed of the run, the step and the group, so that a resumed run draws the same.
        """
        ...


def prompt_rng(*parts: int) -> np.random.Generator:
    """Return what draws for a prompt: a function of `parts` alone, the run's seed, the step and the group, say."""
    return np.random.default_rng(derive_seed(*parts, PROMPTS))


def add_to_prompt(row: Row, text: str) -> Row:
    """Return the row with `text` behind its prompt, or behind the last turn of its conversation."""
    prompt = row["prompt"]
    if isinstance(prompt, str):
        return row | {"prompt": prompt + text}
    *before, last = prompt
    return row | {"prompt": [*before, last | {"content": last["content"] + text}]}


@dataclass(frozen=True)
class Credit:
    """What the credit of a rollout may depend on, and what is paid beside right answers.

    Attributes:
        scope: what it may depend on: the rollout, its group, the batch, or the run so far. The recipe's
            `scale_rewards: batch` makes a batch of a group; that is not said here.
        wrong: whether the credit of a wrong rollout depends on its length.
        unfinished: whether right rollouts that did not end by themselves earn something.
        form: whether a rollout earns something for having closed its thinking and ended, right or wrong.
        by_token: whether advantages are (B, T).
    """

    scope: Literal["rollout", "group", "batch", "run"] = "group"
    wrong: bool = False
    unfinished: bool = False
    form: bool = False
    by_token: bool = False


@dataclass(frozen=True)
class Parts:
    """What a method brings along. The defaults are plain GRPO.

    Attributes:
        plan: a `Plan`: how its rollouts come about.
        prompts: a `PromptWriter`. None: prompts stay as they are.
        stages: what is done to each rank's rollouts before they are gathered, in order.
        rejudge: whether verdicts are taken again on what `Objective.kept_length` leaves: fact `kept_correct`, (B,).
        loss: a `TokenLoss`. None: TRL's, by the recipe's `loss_type`.
    """

    plan: Plan = field(default_factory=Parallel)
    prompts: PromptWriter | None = None
    stages: tuple[Stage, ...] = ()
    rejudge: bool = False
    loss: TokenLoss | None = None

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Facts that its batches have, beside those that every batch has."""
        written = self.prompts.facts if self.prompts else ()
        return (*self.plan.facts, *written, *(fact for stage in self.stages for fact in stage.facts))
