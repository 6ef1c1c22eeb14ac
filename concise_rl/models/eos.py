"""Find the tokens that end a completion, and complete tokenizers that lack an EOS or padding token."""

from typing import Any

from transformers import AutoConfig, AutoTokenizer, GenerationConfig, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase


def eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every id that ends a completion: the generation config may name several (Qwen3, Llama 3), the tokenizer one."""
    return named_eos_ids(model.generation_config.eos_token_id, tokenizer)


def named_eos_ids(config: int | list[int] | None, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The generation config's EOS ids and the tokenizer's.

    Raises:
        ValueError: when neither names any.
    """
    named = config if isinstance(config, list) else [config]
    ids = dict.fromkeys(i for i in (*named, tokenizer.eos_token_id) if i is not None)
    if not ids:
        raise ValueError(
            "Neither the model's generation config nor its tokenizer names an EOS token: no completion could end "
            "by itself. Set `eos_token_id` in generation_config.json."
        )
    return list(ids)


def eos_ids_of(
    path: str, tokenizer: PreTrainedTokenizerBase, revision: str | None = None, trust_remote_code: bool = False
) -> list[int]:
    """The same of a model that is not loaded: its generation config's, or its configuration's where it has none.

    Args:
        path: folder or hub id.
        tokenizer: its tokenizer.
        revision: of the hub repository.
        trust_remote_code: whether code that comes with the model may run.
    """
    try:
        config = GenerationConfig.from_pretrained(path, revision=revision or "main")
    except OSError:
        config = GenerationConfig.from_model_config(
            AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=trust_remote_code)
        )
    return named_eos_ids(config.eos_token_id, tokenizer)


def load_tokenizer(
    path: str, revision: str | None = None, trust_remote_code: bool = False
) -> tuple[PreTrainedTokenizerBase, list[int]]:
    """The tokenizer of a model, complete, and the ids that end its completions.

    Args:
        path: folder or hub id.
        revision: of the hub repository.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        ValueError: when nothing names an EOS token.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(path, revision=revision, trust_remote_code=trust_remote_code)
    ids = eos_ids_of(path, tokenizer, revision, trust_remote_code)
    complete(tokenizer, ids)
    return tokenizer, ids


def complete(tokenizer: PreTrainedTokenizerBase, eos_token_ids: list[int]) -> None:
    """Give a tokenizer that has no EOS token the model's first, and one that has no padding token its EOS token."""
    if tokenizer.eos_token_id is None:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(eos_token_ids[0])
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
