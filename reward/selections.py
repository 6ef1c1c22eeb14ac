"""What is made of the stored samples of an evaluation: methods that train offline, and data for others. A recipe names
one in its `dataset`."""

import itertools
import random
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from concise_rl.methods import Selection, StoredSample, by_prompt, demonstration, is_right, preference


class ShortestRight(Selection):
    """Self-Training Elicits Concise Reasoning (Munkhbat et al.): fine-tune on the shortest right sample of each prompt.

    Right means that the answer is right and the sample ended by itself. Among equally short ones the first is taken. A
    prompt without a right sample gives no row. The paper samples 16 of each training problem, and more for harder data.
    Not here: samples drawn behind concise examples in the prompt (few-shot conditioning).
    """

    paper: ClassVar[str] = "https://hf.co/papers/2502.20122"

    def select(self, samples: Sequence[StoredSample]) -> list[dict[str, Any]]:
        """One row for each prompt that has a right sample."""
        right = [list(filter(is_right, group)) for group in by_prompt(samples)]
        return [demonstration(min(group, key=lambda sample: sample["length"])) for group in right if group]


class AdaR1(Selection):
    """Ada-R1 (Luo et al.): preferences between a long and a short style of reasoning, and within the better one.

    The two styles are the samples of two models: `samples=LONG.jsonl&samples=SHORT.jsonl`. Samples of one model are
    divided into their longer and their shorter half; an odd one in the middle is left out. Prompts that lack one of the
    styles, or on which both are wrong throughout, give no row.

    - Group: the long style is preferred where its accuracy exceeds that of the short one by more than `1 / (2 K)`, with
      `K` long samples of the prompt. Right samples of the preferred style are paired with wrong ones of the other, or
      with all of the other if none is wrong. Of these pairs `group_pairs` are drawn.
    - Instance: the shortest right sample of the preferred style is paired with its `inner_pairs` longest right ones.

    Published: 12 samples of each model, DPO with a beta of 0.1 (7B; 0.05 for 1.5B) and a learning rate of 5e-7 over 3
    epochs. Not here: the model that is trained is there a merge of 0.8 of the long model and 0.2 of the short one. The
    released script divides the gain of the long style by its extra length, which turns the choice round where the long
    style is the shorter one; here the choice is the paper's.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2504.21659"

    group_pairs: int = Field(4, ge=0)
    """Pairs of the two styles for each prompt. The paper's M1 is 4."""
    inner_pairs: int = Field(2, ge=0)
    """Pairs within the preferred style for each prompt. The paper's M2 is 2."""

    def select(self, samples: Sequence[StoredSample]) -> list[dict[str, Any]]:
        """The pairs of all prompts.

        Raises:
            ValueError: for samples of more than two models.
        """
        if any(sample["file"] > 1 for sample in samples):
            raise ValueError("adar1 compares two styles: give the samples of the long model, then of the short one.")
        two_models = any(sample["file"] == 1 for sample in samples)
        styles = [by_model(group) if two_models else halves(group) for group in by_prompt(samples)]
        return [row for long, short in styles if long and short for row in self._pairs(long, short)]

    def _pairs(self, long: list[StoredSample], short: list[StoredSample]) -> list[dict[str, Any]]:
        prefers_long = accuracy(long) - accuracy(short) > 1 / (2 * len(long))
        preferred, other = (long, short) if prefers_long else (short, long)
        chosen = sorted(filter(is_right, preferred), key=lambda sample: sample["length"])
        if not chosen:
            return []
        rejected = [sample for sample in other if not is_right(sample)] or other
        across = list(itertools.product(chosen, rejected))
        drawn = random.Random(chosen[0]["prompt_hash"]).sample(across, min(self.group_pairs, len(across)))
        longest = chosen[max(len(chosen) - self.inner_pairs, 0) :]
        within = [(chosen[0], sample) for sample in longest if sample["length"] > chosen[0]["length"]]
        return [preference(*pair) for pair in [*drawn, *within]]


class SolveRate(Selection):
    """Not a method by itself: the problems, and how often a model solves each, for methods that learn against that.

    One row for each prompt, for `stage: rl`: the problem, its answer, and the share of right samples as the column
    `ref_accuracy`. Samples that did not end by themselves count as wrong; those without a verdict do not count. Columns
    that a verifier reads beside the answer are not there: take one that needs none, `math` say.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2505.13417"

    def select(self, samples: Sequence[StoredSample]) -> list[dict[str, Any]]:
        """One row for each prompt."""
        return [
            {"prompt": group[0]["prompt"], "answer": group[0]["gold"], "ref_accuracy": accuracy(group)}
            for group in by_prompt(samples)
        ]


def accuracy(samples: Sequence[StoredSample]) -> float:
    """The share of samples that are right."""
    return sum(map(is_right, samples)) / len(samples)


def by_model(samples: Sequence[StoredSample]) -> tuple[list[StoredSample], list[StoredSample]]:
    """The samples of the first model, and of the second."""
    return [one for one in samples if one["file"] == 0], [one for one in samples if one["file"] == 1]


def halves(samples: Sequence[StoredSample]) -> tuple[list[StoredSample], list[StoredSample]]:
    """The longer half of some samples, and the shorter one."""
    ordered, half = sorted(samples, key=lambda sample: sample["length"]), len(samples) // 2
    return ordered[len(ordered) - half :], ordered[:half]


SELECTIONS: dict[str, type[Selection]] = {"adar1": AdaR1, "shortest_right": ShortestRight, "solve_rate": SolveRate}
