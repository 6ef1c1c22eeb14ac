"""What a run trains on: the rows whose own answers the verifier accepts and whose prompts the model's context holds."""

import hashlib
import json
import logging
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from rich.console import Console
from rich.progress import track
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from concise_rl.config import ConciseConfig, mapping
from concise_rl.context import context_length
from concise_rl.data import CHUNK, columns_read, find_unverifiable, listing, to_messages
from concise_rl.judges import DEFAULT_JUDGE
from concise_rl.recipe import Recipe
from concise_rl.tiny import resolve_model
from concise_rl.verify import VerifierPool

logger = logging.getLogger(__name__)

MAX_TOO_LONG = 0.05
"""Share of rows that may be dropped because of their prompts' length. Published sets hold far fewer (DeepScaleR 6 of
40,315 at 1,024 tokens): more would train on another data set than the one that is named."""


def load_problems(recipe: Recipe, pool: VerifierPool) -> Dataset:
    """The training rows that can be learnt from, as messages: the same on all ranks.

    Each rank reads the columns that are used. The first finds the rows to keep, and tells the others their numbers.

    Raises:
        ValueError: for data that cannot be used, see `load_rows`, `find_unverifiable` and `find_too_long`; and when
            ranks read different rows.
    """
    state, data = PartialState(), recipe.data
    with state.main_process_first():
        rows = data.load(recipe.training.seed, rl_columns(recipe.training))
    found: list[Any] = [None]
    if state.is_main_process:
        found = [(_digest(rows), _usable(rows, recipe, pool))]
    digest, kept = broadcast_object_list(found)[0]
    if _digest(rows) != digest:
        raise ValueError(
            f"Process {state.process_index} reads other rows from {data.dataset} than the first: the data must be the "
            "same on all machines. Rows that are made on the spot may need the same PYTHONHASHSEED in all processes."
        )
    rows = rows if len(kept) == len(rows) else rows.select(kept)
    return to_messages(rows, data.prompt_template, data.system_prompt)


def rl_columns(config: ConciseConfig) -> set[str] | None:
    """Columns that reinforcement learning reads beside `prompt` and `answer`; None for all.

    Raises:
        ValueError: as `columns_read` does.
    """
    return columns_read(config.verifier, config.judge or DEFAULT_JUDGE)


def _usable(rows: Dataset, recipe: Recipe, pool: VerifierPool) -> list[int]:
    """The numbers of the rows to train on."""
    too_long, refused = find_too_long(rows, recipe), find_unverifiable(rows, pool)
    kept = sorted(set(range(len(rows))) - {*too_long, *refused})
    dropped = [f"{len(found)} {why}" for found, why in ((too_long, "too long"), (refused, "not verifiable")) if found]
    print(f"{len(kept)} problems from {recipe.data.dataset}" + (f" (dropped: {', '.join(dropped)})" if dropped else ""))
    return kept


def _digest(rows: Dataset) -> str:
    return hashlib.sha256(json.dumps([rows["prompt"][:], rows["answer"][:]]).encode()).hexdigest()


def find_too_long(rows: Dataset, recipe: Recipe) -> list[int]:
    """Find the rows whose prompts do not fit into the context beside `max_completion_length`.

    Args:
        rows: with text prompts.
        recipe: says the context, the cap, and how prompts are written.

    Returns:
        Their numbers; a warning lists some. None where the context is not known.

    Raises:
        ValueError: when no prompt fits, or more than `MAX_TOO_LONG` of them do not.
    """
    config, options = recipe.training, loading_options(recipe)
    path, cap = resolve_model(recipe.model_name), config.max_completion_length
    limit = config.vllm_max_model_length if config.use_vllm else None
    context = limit or context_length(AutoConfig.from_pretrained(path, **options))
    if context is None:
        return []
    what, remedy = (
        ("vllm_max_model_length", "Raise vllm_max_model_length")
        if limit
        else ("the model's context", "Take a model with a longer context")
    )
    settings = f"{what} is {context}, max_completion_length {cap}"
    if cap >= context:
        raise ValueError(f"No prompt fits: {settings}. {remedy}, or lower max_completion_length.")
    tokenizer: Any = AutoTokenizer.from_pretrained(path, **options)
    lengths = prompt_lengths(rows, recipe, tokenizer)
    long = [i for i, length in enumerate(lengths) if length > context - cap]
    if not long:
        return []
    said = f"{len(long)} of {len(rows)} prompts are longer than the {context - cap} tokens left for them ({settings})"
    examples = [f"row {i}: {lengths[i]} tokens: {rows[i]['prompt'][:100]!r}" for i in long]
    if len(long) > MAX_TOO_LONG * len(rows):
        needed = f"The longest has {max(lengths)} tokens. {remedy}, or lower max_completion_length."
        raise ValueError(listing(said, examples) + f"\n{needed}")
    logger.warning(listing(f"{said}, and are dropped", examples))
    return long


def loading_options(recipe: Recipe) -> dict[str, Any]:
    """How configuration and tokenizer of the recipe's model are loaded."""
    return {"revision": recipe.model.model_revision, "trust_remote_code": recipe.training.trust_remote_code}


def prompt_lengths(rows: Dataset, recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """How many tokens each prompt has, written as TRL's `_tokenize_prompts` does."""
    data, config = recipe.data, recipe.training
    starts = range(0, len(rows), CHUNK)
    bar = track(starts, "Measuring the prompts", console=Console(stderr=True), transient=True, disable=len(starts) < 4)
    lengths = []
    for start in bar:
        chunk = rows.select(range(start, min(start + CHUNK, len(rows))))
        chats: Any = to_messages(chunk, data.prompt_template, data.system_prompt)["prompt"][:]
        written: Any = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, tokenize=True, return_dict=True, **mapping(config.chat_template_kwargs)
        )
        lengths += [len(ids) for ids in written["input_ids"]]
    return lengths
