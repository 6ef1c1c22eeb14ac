"""The embedded engine: transformers' own `generate`, in segments, between which finished rows leave the batch.

A static batch runs as long as its longest row, and lengths of reasoning are heavy-tailed. Generating a few dozen
tokens at a time and going on with the unfinished rows (the cache is kept) costs each row about what it needs.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, GenerationConfig, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from concise_rl.rollout.engine import Completion, Sampling
from concise_rl.tiny import resolve_model
from concise_rl.trace import StopReason


def eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every id that ends a completion: the generation config may name several (Qwen3, Llama 3), the tokenizer one."""
    config = model.generation_config.eos_token_id
    named = config if isinstance(config, list) else [config]
    ids = dict.fromkeys(i for i in (*named, tokenizer.eos_token_id) if i is not None)
    if not ids:
        raise ValueError(
            "Neither the model's generation config nor its tokenizer names an EOS token: no completion could end "
            "by itself. Set `eos_token_id` in generation_config.json."
        )
    return list(ids)


class TransformersEngine:
    """An `Engine` over a transformers model. The model's device and dtype are taken as they are."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        eos_token_ids: list[int],
        batch_size: int = 64,
        segment: int = 48,
    ) -> None:
        """
        Args:
            model: generates; put in evaluation mode by the caller where dropout matters.
            tokenizer: pads.
            eos_token_ids: all ids that end a completion.
            batch_size: rows generated together.
            segment: tokens between two removals of finished rows.
        """
        self.model, self.tokenizer, self.eos_token_ids = model, tokenizer, eos_token_ids
        self.batch_size, self.segment = batch_size, segment

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, progress: Callable[[int], None] | None = None
    ) -> list[Completion]:
        """See `Engine.generate`. One seed for the call: the draws of a row depend on the rows beside it."""
        if sampling.seed is not None:
            torch.manual_seed(sampling.seed)
        completions: list[Completion] = []
        for start in range(0, len(prompts), self.batch_size):
            completions += self._generate_batch(prompts[start : start + self.batch_size], sampling, progress)
        return completions

    @torch.no_grad()
    def _generate_batch(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, progress: Callable[[int], None] | None
    ) -> list[Completion]:
        sampled: list[list[int]] = [[] for _ in prompts]
        going = len(prompts)
        for rows, new_ids_BT in self._segments(prompts, sampling):
            for row, new_ids in zip(rows.tolist(), new_ids_BT.tolist(), strict=True):
                sampled[row] += self._until_eos(new_ids)
            ended, going = going, sum(sampled[row][-1] not in self.eos_token_ids for row in rows.tolist())
            if progress:
                progress(ended - going)
        if progress and going:
            progress(going)  # these ended at the cap
        return [Completion(ids, self._stop_reason(ids)) for ids in sampled]

    def _segments(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield (row numbers (B,), new token ids (B, T)) until every row has ended or reached the cap."""
        inputs = self.tokenizer.pad(
            {"input_ids": [list(p) for p in prompts]}, padding_side="left", return_tensors="pt"
        ).to(self.model.device)
        ids_BT, mask_BT = inputs["input_ids"], inputs["attention_mask"]
        model: Any = self.model  # its stubs take `generate` for a tensor
        cache, left = DynamicCache(config=self.model.config), sampling.max_tokens
        rows_B, eos = torch.arange(len(prompts)), torch.tensor(self.eos_token_ids, device=self.model.device)
        while left > 0 and len(rows_B):
            width = ids_BT.size(1)
            ids_BT = model.generate(
                ids_BT,
                attention_mask=mask_BT,
                past_key_values=cache,
                generation_config=self._generation_config(sampling, min(self.segment, left)),
            )
            left -= ids_BT.size(1) - width
            yield rows_B, ids_BT[:, width:].cpu()
            going_B = ~torch.isin(ids_BT[:, width:], eos).any(dim=1)
            rows_B, ids_BT = rows_B[going_B.cpu()], ids_BT[going_B]
            mask_BT = torch.cat([mask_BT[going_B], mask_BT.new_ones(len(ids_BT), ids_BT.size(1) - width)], dim=1)
            cache.batch_select_indices(going_B.nonzero()[:, 0])

    def _generation_config(self, sampling: Sampling, max_new_tokens: int) -> GenerationConfig:
        """Every setting that shapes the distribution, spelt out: `generate` fills gaps from the model's own config."""
        greedy = sampling.temperature == 0
        return GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=not greedy,
            temperature=1.0 if greedy else sampling.temperature,
            top_p=1.0 if greedy else sampling.top_p,
            top_k=0 if greedy else sampling.top_k,
            min_p=0.0 if greedy else sampling.min_p,
            repetition_penalty=1.0,
            eos_token_id=self.eos_token_ids,
            pad_token_id=self.tokenizer.pad_token_id,
            disable_compile=True,
        )

    def _until_eos(self, ids: list[int]) -> list[int]:
        """The tokens through the first EOS: what follows is padding."""
        ends = [i for i, token in enumerate(ids) if token in self.eos_token_ids]
        return ids[: ends[0] + 1] if ends else ids

    def _stop_reason(self, ids: list[int]) -> StopReason:
        return StopReason.EOS if ids[-1] in self.eos_token_ids else StopReason.LENGTH


def load_engine(model: str, *, batch_size: int = 64, revision: str | None = None) -> TransformersEngine:
    """Load a model for evaluation on the best device there is.

    Args:
        model: `tiny:base`, a folder or a hub id.
        batch_size: rows generated together.
        revision: of the hub repository.

    Raises:
        ValueError: when `model` looks like a folder and is none, or names no embedded reasoner.
    """
    path = resolve_model(model)
    tokenizer: Any = AutoTokenizer.from_pretrained(path, revision=revision)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = AutoModelForCausalLM.from_pretrained(path, revision=revision).to(device).eval()
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return TransformersEngine(loaded, tokenizer, eos_ids(loaded, tokenizer), batch_size)
