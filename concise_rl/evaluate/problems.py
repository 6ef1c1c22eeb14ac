"""Problems as they are put to a model: from rows to prompt tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from concise_rl.data.rows import listing, to_messages
from concise_rl.evaluate.prompts import write_prompt, writer_of
from concise_rl.evaluate.spec import Measurement
from concise_rl.reading.trace import hash_prompt
from concise_rl.rollout.collect import Row


@dataclass(frozen=True, eq=False)
class Problem:
    """A row, ready to be sampled. Itself and no other, so that it can be a key.

    Attributes:
        index: its number in the task.
        row: of the data set.
        prompt_ids, prompt_hash: the tokens of its prompt, and their hash.
        oracle_length: tokens of the shortest sufficient completion, where it is known.
        facts: numbers that were written into its prompt, by name.
    """

    index: int
    row: Row
    prompt_ids: list[int]
    prompt_hash: str
    oracle_length: int | None
    facts: Mapping[str, float] = field(default_factory=dict)


def encode_problems(rows: Dataset, tokenizer: PreTrainedTokenizerBase, measurement: Measurement) -> list[Problem]:
    """Write each row as prompt tokens, as training does: by the model's own chat template.

    Raises:
        ValueError: when the tokenizer has no chat template, or the measurement's prompt writer is not there.
    """
    if not tokenizer.chat_template:
        raise ValueError(
            f"The tokenizer of {tokenizer.name_or_path!r} has no chat template, so its prompts cannot be written. Add "
            "a chat_template.jinja to the model's folder."
        )
    asked = to_messages(rows, measurement.prompt_template, measurement.system_prompt)
    writer, more = writer_of(measurement), measurement.chat_template_kwargs or {}
    problems = []
    for i, (row, put) in enumerate(zip(rows, asked, strict=True)):
        put, facts = write_prompt(writer, put, measurement.seed, i)
        ids = _encode(put["prompt"], tokenizer, more)
        problems.append(Problem(i, row, ids, hash_prompt(ids), _oracle_length(row, tokenizer), facts))
    return problems


def _encode(messages: list[dict[str, str]], tokenizer: PreTrainedTokenizerBase, more: Mapping[str, Any]) -> list[int]:
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **more)
    assert isinstance(text, str), "one conversation is one text"
    return tokenizer.encode(text, add_special_tokens=False)


def _oracle_length(row: Row, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Count the tokens of the oracle's completion. The EOS that ends a completion is one of them."""
    oracle = row.get("oracle_completion")
    return len(tokenizer.encode(oracle, add_special_tokens=False)) + 1 if oracle else None


def check_same_prompts(problems: Sequence[Problem], prompt_hashes: Mapping[tuple[int, int], str], path: Path) -> None:
    """Make sure that samples on disk were drawn from the prompts that the problems have now.

    Args:
        problems: of the evaluation.
        prompt_hashes: of the samples, by problem and sample.
        path: of their file.

    Raises:
        ValueError: when they were not.
    """
    for (problem, sample), prompt_hash in prompt_hashes.items():
        if problem >= len(problems) or problems[problem].prompt_hash != prompt_hash:
            raise ValueError(
                f"{path}: problem {problem}, sample {sample} was drawn from another prompt than the task has now. "
                "The data or the chat template has changed: use another --out, or --overwrite."
            )


def check_room(problems: Sequence[Problem], context: int | None, max_tokens: int) -> None:
    """Make sure that each prompt fits into the context beside a completion.

    Raises:
        ValueError: when the engine cannot take a prompt and a completion of `max_tokens`. None is left out: a benchmark
            without its longest problems is another one.
    """
    longest = max(len(problem.prompt_ids) for problem in problems)
    if context is None or longest + max_tokens <= context:
        return
    long = [problem for problem in problems if len(problem.prompt_ids) + max_tokens > context]
    examples = [f"row {one.index}: {len(one.prompt_ids)} tokens: {one.row['prompt'][:100]!r}" for one in long]
    what = f"{len(long)} of {len(problems)} prompts do not fit beside a cap of {max_tokens} tokens in {context}"
    advice = f"Lower --max-tokens to {context - longest}" if longest < context else "Leave these rows out"
    raise ValueError(listing(what, examples) + f"\n{advice}, or sample with a longer context.")
