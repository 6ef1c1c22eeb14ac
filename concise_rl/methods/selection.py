"""Choose rows to train on from the stored samples of an evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

StoredSample = Mapping[str, Any]
"""A line of a file of samples, see `concise_rl.evaluate.samples.Sample`, and the number of its file as `file`."""


class Selection(BaseModel, ABC):
    """A method that trains offline. Options are fields: typed, bounded, documented by the string under each.

    Class attributes:
        paper: where it is published.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    paper: ClassVar[str]

    @abstractmethod
    def select(self, samples: Sequence[StoredSample]) -> list[dict[str, Any]]:
        """Choose rows as `demonstration` makes them for `stage: sft`, or `preference` for `stage: dpo`; for `stage: rl`
        rows of a prompt, an answer, and columns that a method reads.

        Raises:
            ValueError: for files that it cannot take.
        """


def demonstration(sample: StoredSample) -> dict[str, Any]:
    """Make a row of `stage: sft` from a sample. Its tokens go with it: a chat template may drop the thinking."""
    names = {"prompt": "prompt", "answer": "text", "answer_ids": "completion_ids", "prompt_hash": "prompt_hash"}
    return {name: sample[field] for name, field in names.items()}


def preference(chosen: StoredSample, rejected: StoredSample) -> dict[str, Any]:
    """Make a row of `stage: dpo` from two samples of a prompt."""
    assert chosen["prompt_hash"] == rejected["prompt_hash"], "a preference is between samples of one prompt"
    return demonstration(chosen) | {"rejected": rejected["text"], "rejected_ids": rejected["completion_ids"]}


def is_right(sample: StoredSample) -> bool:
    """Whether a sample is right and ended by itself."""
    return sample["correct"] == 1 and sample["finished"]


def by_prompt(samples: Sequence[StoredSample]) -> list[list[StoredSample]]:
    """Group samples by the tokens of their prompts. Those that were given up, or have no verdict, are left out."""
    groups: dict[str, list[StoredSample]] = {}
    for sample in samples:
        if sample["correct"] is not None:
            groups.setdefault(sample["prompt_hash"], []).append(sample)
    return list(groups.values())
