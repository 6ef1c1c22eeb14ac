"""What a run trains on: the rows whose own answers the verifier accepts and whose prompts the model's context holds."""

import hashlib
import json
import logging
from typing import Any, NamedTuple

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from rich.console import Console
from rich.progress import track
from transformers import AutoConfig, AutoTokenizer

from concise_rl.data.rows import CHUNK, columns_read, find_unverifiable, listing, to_messages
from concise_rl.labels.judges import DEFAULT_JUDGE
from concise_rl.models.context import context_length
from concise_rl.models.policy import hub_settings
from concise_rl.models.resolve import resolve_model
from concise_rl.named import mapping
from concise_rl.recipe.compatibility import parts_of
from concise_rl.recipe.parse import Recipe
from concise_rl.recipe.preflight import check_rows
from concise_rl.verify.pool import VerifierPool
from reward import build_objective

logger = logging.getLogger(__name__)

MAX_TOO_LONG = 0.05
"""Share of rows that may be dropped because of their prompts' length. Published sets hold far fewer (DeepScaleR 6 of
40,315 at 1,024 tokens): more would train on another data set than the one that is named."""


def load_problems(recipe: Recipe, pool: VerifierPool) -> Dataset:
    """The training rows that can be learnt from, as messages: the same on all ranks.

    Each rank reads the columns that are used. The first finds the rows to keep, and tells the others their numbers.

    Raises:
        ValueError: for data that cannot be used, see `read_rows`, `find_unverifiable` and `find_too_long`; and when
            ranks read different rows.
    """
    state, data = PartialState(), recipe.data
    with state.main_process_first():
        rows = read_rows(recipe)
    check_rows(len(rows), recipe)  # before they are judged
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


def read_rows(recipe: Recipe) -> Dataset:
    """Read the rows with the columns that reinforcement learning uses.

    Raises:
        ValueError: as `load_rows` and `columns_read` do, and where a column is not there that the method reads.
    """
    config = recipe.training
    method = build_objective(config.objective, config.options, config.scale_rewards)
    wanted = {column for stage in parts_of(method, config).stages for column in stage.columns}
    graded = columns_read(config.verifier, config.judge or DEFAULT_JUDGE)
    rows = recipe.data.load(config.seed, None if graded is None else graded | wanted)
    if missing := sorted(wanted - set(rows.column_names)):
        raise ValueError(
            f"{type(method).__name__} reads the column {missing[0]!r}, which {recipe.data.dataset} has not. Needed for "
            f"this method: {method.needs}."
        )
    return rows


def _usable(rows: Dataset, recipe: Recipe, pool: VerifierPool) -> list[int]:
    """The numbers of the rows to train on."""
    too_long, refused = find_too_long(rows, recipe), find_unverifiable(rows, pool)
    kept = sorted(set(range(len(rows))) - {*too_long, *refused})
    dropped = [f"{len(found)} {why}" for found, why in ((too_long, "too long"), (refused, "not verifiable")) if found]
    print(f"{len(kept)} problems from {recipe.data.dataset}" + (f" (dropped: {', '.join(dropped)})" if dropped else ""))
    return kept


def _digest(rows: Dataset) -> str:
    return hashlib.sha256(json.dumps([rows["prompt"][:], rows["answer"][:]]).encode()).hexdigest()


class Room(NamedTuple):
    """Tokens that are left for a prompt."""

    tokens: int
    settings: str
    """What leaves it."""
    remedy: str
    """How to have more."""


def room_for_prompts(recipe: Recipe) -> Room | None:
    """What the context leaves for a prompt beside `max_completion_length`; None where the context is not known.

    The context is `vllm_max_model_length`, where vLLM samples and it is given; otherwise the model's own.
    """
    config = recipe.training
    path, cap = resolve_model(recipe.model_name), config.max_completion_length
    if config.use_vllm and config.vllm_max_model_length:
        context, what, more = config.vllm_max_model_length, "vllm_max_model_length", "Raise vllm_max_model_length"
    else:
        context = context_length(AutoConfig.from_pretrained(path, **hub_settings(recipe.training)))
        what, more = "the model's context", "Take a model with a longer context"
    if context is None:
        return None
    settings = f"{what} is {context}, max_completion_length {cap}"
    return Room(context - cap, settings, f"{more}, or lower max_completion_length.")


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
    room = room_for_prompts(recipe)
    if room is None:
        return []
    if room.tokens < 1:
        raise ValueError(f"No prompt fits: {room.settings}. {room.remedy}")
    lengths = prompt_lengths(rows, recipe)
    long = [i for i, length in enumerate(lengths) if length > room.tokens]
    if not long:
        return []
    said = (
        f"{len(long)} of {len(rows)} prompts are longer than the {room.tokens} tokens left for them ({room.settings})"
    )
    examples = [f"row {i}: {lengths[i]} tokens: {rows[i]['prompt'][:100]!r}" for i in long]
    if len(long) > MAX_TOO_LONG * len(rows):
        raise ValueError(listing(said, examples) + f"\nThe longest has {max(lengths)} tokens. {room.remedy}")
    logger.warning(listing(f"{said}, and are dropped", examples))
    return long


def prompt_lengths(rows: Dataset, recipe: Recipe) -> list[int]:
    """How many tokens each prompt has, written as TRL's `_tokenize_prompts` does."""
    data, config = recipe.data, recipe.training
    tokenizer: Any = AutoTokenizer.from_pretrained(resolve_model(recipe.model_name), **hub_settings(recipe.training))
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
