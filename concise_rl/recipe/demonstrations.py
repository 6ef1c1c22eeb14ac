"""Rows of whole completions as the tokens that a supervised stage trains on.

A row that holds the tokens that a model sampled (see `concise_rl.methods.selection`) is trained on as they are. TRL
would write such a completion anew by the chat template, and those of reasoning models leave earlier thinking out.
"""

from collections.abc import Callable, Sequence
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from concise_rl.data.rows import to_messages
from concise_rl.reading.trace import hash_prompt
from concise_rl.recipe.parse import Recipe
from concise_rl.recipe.preflight import load_tokenizer

TOKENS = ("answer_ids", "prompt_hash")
"""Columns of a row whose completion was sampled."""
PREFERENCES = (*TOKENS, "rejected", "rejected_ids")
"""Columns that `stage: dpo` reads beside `prompt` and `answer`."""


def load_demonstrations(recipe: Recipe) -> Dataset:
    """Load the rows of `stage: sft`: prompt-completion conversations, or tokens with labels where they were sampled.

    Raises:
        ValueError: as `load_rows` and `sampled_prompts` do.
    """
    rows = recipe.data.load(recipe.training.seed, columns=TOKENS)
    if not set(TOKENS) <= set(rows.column_names):
        return Dataset.from_dict({"prompt": _conversations(rows, recipe), "completion": _turns(rows["answer"])})
    prompts, answers = sampled_prompts(rows, recipe), rows["answer_ids"]
    masked = recipe.training.completion_only_loss is not False
    labels = [([-100] * len(p) if masked else p) + ids for p, ids in zip(prompts, answers, strict=True)]
    return Dataset.from_dict(
        {"input_ids": [p + ids for p, ids in zip(prompts, answers, strict=True)], "labels": labels}
    )


def load_preferences(recipe: Recipe) -> Dataset:
    """Load the rows of `stage: dpo`: their `answer` is preferred to their `rejected`.

    Raises:
        ValueError: as `load_rows` and `sampled_prompts` do, and for rows without a text that is rejected.
    """
    rows = recipe.data.load(recipe.training.seed, columns=PREFERENCES)
    _check_rejected(rows, recipe.data.dataset)
    if not set(PREFERENCES) <= set(rows.column_names):
        return Dataset.from_dict(
            {
                "prompt": _conversations(rows, recipe),
                "chosen": _turns(rows["answer"]),
                "rejected": _turns(rows["rejected"]),
            }
        )
    prompts = sampled_prompts(rows, recipe)
    return Dataset.from_dict(
        {"prompt_ids": prompts, "chosen_ids": rows["answer_ids"], "rejected_ids": rows["rejected_ids"]}
    )


def _check_rejected(rows: Dataset, source: str) -> None:
    if "rejected" not in rows.column_names:
        raise ValueError(
            f"{source} has no column 'rejected', and stage: dpo prefers the answer of a row to it. "
            "selected:adar1?samples=FILE makes such rows."
        )
    bad = [i for i, text in enumerate(rows["rejected"]) if not isinstance(text, str)]
    if bad:
        raise ValueError(f"{source}: 'rejected' is no text in {len(bad)} rows (the first is row {bad[0]}).")


def _conversations(rows: Dataset, recipe: Recipe) -> list[Any]:
    return list(to_messages(rows, recipe.data.prompt_template, recipe.data.system_prompt)["prompt"])


def _turns(answers: Sequence[str]) -> list[Any]:
    return [[{"role": "assistant", "content": answer}] for answer in answers]


def sampled_prompts(rows: Dataset, recipe: Recipe) -> list[list[int]]:
    """Write the prompts of sampled completions as tokens.

    Raises:
        ValueError: when the samples were drawn behind other tokens, and when a setting would write the rows anew.
    """
    if getattr(recipe.training, "chat_template_path", None):
        raise ValueError("chat_template_path: the rows are tokens that a model sampled. Leave it out.")
    tokenizer = load_tokenizer(recipe)
    prompts = [_encode(tokenizer, chat) for chat in _conversations(rows, recipe)]
    hashes = zip(prompts, rows["prompt_hash"], strict=True)
    others = sum(hash_prompt(prompt) != wanted for prompt, wanted in hashes)
    if others:
        raise ValueError(
            f"{recipe.data.dataset}: {others} of {len(rows)} prompts are written in other tokens than in the "
            "evaluation that sampled them. Give prompt_template, system_prompt and the model as they were there."
        )
    return prompts


def _encode(tokenizer: PreTrainedTokenizerBase, chat: list[dict[str, str]]) -> list[int]:
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert isinstance(text, str), "one conversation is one text"
    return tokenizer.encode(text, add_special_tokens=False)


LOADERS: dict[str, Callable[[Recipe], Dataset]] = {"sft": load_demonstrations, "dpo": load_preferences}
"""What loads the rows of a stage that samples none."""
