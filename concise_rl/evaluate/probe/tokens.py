"""Read what a model's tokenizer, chat template and outputs say about its delimiters, its ends and its prompts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from concise_rl.evaluate.probe.rollouts import share_that_holds
from concise_rl.evaluate.problems import Problem, encode_problems
from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.spec import Measurement
from concise_rl.models.eos import load_tokenizer
from concise_rl.models.resolve import resolve_model
from concise_rl.recipe.fit.facts import find_facts, shape_of

KNOWN_ENDS = (
    "</think>",
    "</thinking>",
    "</thought>",
    "</reasoning>",
    "</reason>",
    "<|end_of_thought|>",
    "<|/think|>",
    "[/THINK]",
    "◁/think▷",
    "</seed:think>",
    "<|channel|>final",
)
"""What closes the thinking of known models."""
OPENERS = ("<think>", "<thinking>", "<thought>", "<reasoning>", "<|begin_of_thought|>", "[THINK]", "◁think▷")
"""What opens it."""
SWITCH = "enable_thinking"
"""The argument by which Qwen3's template, and many after it, switch the thinking on and off."""


@dataclass(frozen=True)
class Tokens:
    """Hold what is known of a model beside its rollouts.

    Attributes:
        parameters: of the model; None where its sizes are not known.
        context: tokens of a prompt and its completion; None likewise.
        prompts: tokens that 50, 90 and 100 percent of the prompts do not exceed.
        opening: what the chat template writes behind the problem.
        opens: whether that opens the thinking.
        closes: whether it closes the thinking.
        switch: whether the chat template takes `enable_thinking`.
        ends: how often each EOS token ended a sample, by its text.
        tokenizer_end: the tokenizer's own EOS token, which a recipe's tokenizer says.
        others: delimiters of other models, and the share of the samples that hold each; those that none holds are left
            out.
    """

    parameters: int | None
    context: int | None
    prompts: dict[int, int]
    opening: str
    opens: bool
    closes: bool
    switch: bool
    ends: dict[str, int]
    tokenizer_end: str
    others: dict[str, float]


def read_tokens(model: str, measurement: Measurement, samples: Sequence[Sample]) -> Tokens:
    """Read a model's tokenizer, and what of it shows in the samples.

    Args:
        model: `tiny:base`, a folder or a hub id.
        measurement: by which it was sampled.
        samples: of all problems.

    Raises:
        ValueError: as `load_tokenizer` does.
    """
    path = resolve_model(model)
    tokenizer, eos = load_tokenizer(path, measurement.revision, measurement.trust_remote_code)
    prompts = encode_prompts(tokenizer, measurement, samples)
    opening = opening_of(tokenizer, prompts[0], measurement)
    facts = find_facts(model, measurement.revision)
    lengths = [len(problem.prompt_ids) for problem in prompts]
    return Tokens(
        parameters=shape_of(facts.config).parameters if facts else None,
        context=facts.context if facts else None,
        prompts={q: int(np.percentile(lengths, q, method="inverted_cdf")) for q in (50, 90, 100)},
        opening=opening,
        opens=opening.rstrip().endswith(OPENERS),
        closes=bool(measurement.think_end and measurement.think_end in opening),
        switch=SWITCH in str(tokenizer.chat_template),
        ends=ends_of(tokenizer, eos, samples),
        tokenizer_end=str(tokenizer.eos_token),
        others=other_ends(samples, measurement.think_end),
    )


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, measurement: Measurement, samples: Sequence[Sample]
) -> list[Problem]:
    """Write the prompts of the samples' problems, as they were sampled from."""
    first = {sample.problem: sample for sample in samples}
    rows = {"prompt": [s.prompt for s in first.values()], "answer": [s.gold for s in first.values()]}
    return encode_problems(Dataset.from_dict(rows), tokenizer, measurement)


def opening_of(tokenizer: PreTrainedTokenizerBase, problem: Problem, measurement: Measurement) -> str:
    """Find what stands in a prompt behind the problem's own text and the template around it."""
    text = str(tokenizer.decode(problem.prompt_ids))
    template = measurement.prompt_template or "{prompt}"
    last = template.rpartition("{prompt}")[2].strip() or str(problem.row["prompt"]).strip()
    return text.rpartition(last)[2] if last in text else text[-80:]


def ends_of(tokenizer: PreTrainedTokenizerBase, eos: Sequence[int], samples: Sequence[Sample]) -> dict[str, int]:
    """Count how often each EOS token ended a sample; those that ended none have 0."""
    counts = Counter(sample.ids[-1] for sample in samples if sample.finished)
    return {str(tokenizer.convert_ids_to_tokens(i)): counts[i] for i in eos}


def other_ends(samples: Sequence[Sample], think_end: str | None) -> dict[str, float]:
    """Find delimiters of other models, and the share of the samples that hold each, the most frequent first."""
    shares = {text: share_that_holds(samples, text) for text in KNOWN_ENDS if text != think_end}
    return dict(sorted(((t, s) for t, s in shares.items() if s), key=lambda pair: -pair[1]))
