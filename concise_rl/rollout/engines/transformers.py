"""The embedded engine: transformers' own `generate`, in segments, between which finished rows leave the batch.

A static batch runs as long as its longest row, and lengths of reasoning are heavy-tailed. Generating a few dozen
tokens at a time and going on with the unfinished rows (the cache is kept) costs each row about what it needs.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
)
from transformers.cache_utils import DynamicLayer
from transformers.generation.streamers import BaseStreamer
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from concise_rl.models.eos import complete, eos_ids
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import (
    Asked,
    Completion,
    Heard,
    Peek,
    Peeked,
    Progress,
    Request,
    Sampling,
    Watched,
    stop_reason,
)
from concise_rl.rollout.engines.looking import Watcher, read_peeks
from concise_rl.rollout.engines.noise import OwnNoise, processors
from concise_rl.rollout.engines.sampler import check_context, check_layers, sampler
from concise_rl.shared_prefix.attention import OVER_TREE
from concise_rl.shared_prefix.tree import prefill


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
            model: generates, in evaluation mode and by none of its own generation settings.
            tokenizer: pads.
            eos_token_ids: all ids that end a completion.
            batch_size: rows generated together.
            segment: tokens between two removals of finished rows.
        """
        self.model, self.tokenizer, self.eos_token_ids = model, tokenizer, eos_token_ids
        self.batch_size, self.segment = batch_size, segment

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`. A request's draws depend on its own seed alone, up to rounding: its logits differ in
        their last bits with the rows beside it. What can be given up leaves at the end of a segment.

        Raises:
            ValueError: when a prompt and its completion might not fit in the model's context.
        """
        check_context(asked.requests, self.model.config)
        check_logprobs(asked.sampling)
        completions: list[Completion] = []
        with sampler(self.model):
            for start in range(0, len(asked.requests), self.batch_size):
                batch = _Batch(range(start, min(start + self.batch_size, len(asked.requests))), asked)
                completions += self._generate_batch(batch, asked.progress)
        return completions

    def stream(self, request: Request, sampling: Sampling, heard: Heard) -> Completion:
        """See `StreamingEngine.stream`.

        Raises:
            ValueError: when the prompt and its completion might not fit in the model's context.
        """
        check_context([request], self.model.config)
        check_logprobs(sampling)
        with sampler(self.model):
            batch = _Batch(range(1), Asked([request], sampling))
            (completion,) = self._generate_batch(batch, None, _Listener(heard))
        return completion

    def peek(self, peeks: Sequence[Peek]) -> list[Peeked]:
        """See `PeekingEngine.peek`.

        Raises:
            ValueError: when a prompt and a token behind it do not fit in the model's context.
        """
        check_context([Request(peek.prompt_ids, 1) for peek in peeks], self.model.config)
        found: list[Peeked] = []
        with sampler(self.model):
            for start in range(0, len(peeks), self.batch_size):
                batch = peeks[start : start + self.batch_size]
                step = self._step([peek.prompt_ids for peek in batch], output_logits=True)
                found += read_peeks(step.logits[0], batch)
        return found

    def hidden_states(self, prompts: Sequence[Sequence[int]], layers: Sequence[int]) -> Tensor:
        """See `HiddenEngine.hidden_states`.

        Raises:
            ValueError: for a layer that the model does not have, or a prompt that does not fit in its context.
        """
        check_context([Request(prompt, 1) for prompt in prompts], self.model.config)
        check_layers(layers, self.model.config)
        width = len(layers) * self.model.config.get_text_config().hidden_size
        found = [torch.empty(0, width)]
        with sampler(self.model):
            for start in range(0, len(prompts), self.batch_size):
                batch = prompts[start : start + self.batch_size]
                states = self._step(batch, output_hidden_states=True).hidden_states[0]
                found.append(torch.cat([states[layer][:, -1].float() for layer in layers], dim=-1).cpu())
        return torch.cat(found)

    @torch.no_grad()
    def _step(self, prompts: Sequence[Sequence[int]], **outputs: bool) -> Any:
        """What `generate` returns for one token behind each prompt. All tokens before the last are in the cache by
        then: outputs are those of the last alone."""
        ids_BT, mask_BT, cache = self._begin([list(prompt) for prompt in prompts])
        if ids_BT.size(1) - 1 > cache.get_seq_length():
            self._fill(ids_BT[:, :-1], mask_BT[:, :-1], cache)
        config = GenerationConfig(
            max_new_tokens=1,
            do_sample=False,
            use_cache=True,
            return_dict_in_generate=True,
            pad_token_id=self.tokenizer.pad_token_id,
            disable_compile=True,
            **outputs,
        )
        model: Any = self.model  # its stubs take `generate` for a tensor
        return model.generate(ids_BT, attention_mask=mask_BT, past_key_values=cache, generation_config=config)

    def _fill(self, ids_BT: Tensor, mask_BT: Tensor, cache: DynamicCache) -> None:
        """Put tokens, padded on the left, into an empty cache."""
        places_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
        self.model(ids_BT, attention_mask=mask_BT, position_ids=places_BT, past_key_values=cache, logits_to_keep=1)

    def _begin(self, prompts: list[list[int]]) -> tuple[Tensor, Tensor, DynamicCache]:
        """(B, T) prompts padded on the left, (B, T) 1 where there is a token, and the cache to generate with. It holds
        the prompts already where the model can share what they have in common."""
        inputs = self.tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(
            self.model.device
        )
        cache = DynamicCache(config=self.model.config)
        if self._takes_trees(cache) and min(map(len, prompts)) > 1:
            prefill(self.model, prompts, cache)  # a serial group's exits share their path
        return inputs["input_ids"], inputs["attention_mask"], cache

    def _takes_trees(self, cache: DynamicCache) -> bool:
        """Whether the model does, and the cache only keeps what it is given. One with a window, even a window that no
        row reaches, counts and drops tokens besides."""
        attends = self.model.config._attn_implementation in OVER_TREE.values()
        return attends and all(type(layer) is DynamicLayer for layer in cache.layers)

    @torch.no_grad()
    def _generate_batch(
        self, batch: "_Batch", progress: Progress | None, streamer: BaseStreamer | None = None
    ) -> list[Completion]:
        """Generate in segments until every row has ended, reached its cap, or been given up."""
        ids_BT, mask_BT, cache = self._begin([list(batch.requests[row].prompt_ids) for row in batch.going])
        model: Any = self.model  # its stubs take `generate` for a tensor
        sampling = batch.sampling
        watcher = Watcher(sampling.watch) if sampling.watch else None
        noise = OwnNoise([_seed(batch.requests[row]) for row in batch.going], self.model.device)
        while batch.going:
            width, before = ids_BT.size(1), len(batch.going)
            out = model.generate(
                ids_BT,
                attention_mask=mask_BT,
                past_key_values=cache,
                generation_config=self._generation_config(batch, min(self.segment, batch.most_left)),
                logits_processor=LogitsProcessorList([*([watcher] if watcher else []), *processors(sampling, noise)]),
                streamer=streamer,
            )
            ids_BT = out.sequences
            logprobs_BT = _logprobs(out.logits, ids_BT[:, width:], sampling) if sampling.logprobs else None
            watched = watcher.take() if watcher else None
            stay = batch.extend(ids_BT[:, width:].tolist(), logprobs_BT, watched, self.eos_token_ids)
            if progress:
                progress(before - len(stay))
            index = torch.tensor(stay, dtype=torch.long, device=ids_BT.device)
            ids_BT, mask_BT = ids_BT[index], mask_BT[index]
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(stay), ids_BT.size(1) - width)], dim=1)
            cache.batch_select_indices(index)
            noise.select(stay)
        return batch.completions(self.eos_token_ids)

    def _generation_config(self, batch: "_Batch", max_new_tokens: int) -> GenerationConfig:
        """Every setting that shapes the distribution, spelt out. See `sampler` for those that are not here."""
        return GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=False,  # see `OwnNoise`; what only sampling reads stays at the defaults, or there is a warning
            temperature=1.0,
            top_p=1.0,
            top_k=50,
            repetition_penalty=1.0,
            use_cache=True,  # training turns it off
            eos_token_id=[*self.eos_token_ids, *batch.sampling.stop_ids],
            return_dict_in_generate=True,
            output_logits=batch.sampling.logprobs,
            pad_token_id=self.tokenizer.pad_token_id,
            disable_compile=True,
        )


class _Listener(BaseStreamer):
    """Hands on the tokens of one row, which is all that transformers streams."""

    def __init__(self, heard: Heard) -> None:
        self.heard = heard

    def put(self, value: Tensor) -> None:
        """(1, T) tokens that a segment starts from, which were told before; or (1,) one that is new."""
        if value.dim() == 1:
            self.heard(value.tolist())

    def end(self) -> None:
        """A segment is over: the completion may go on."""


class _Batch:
    """The rows of one batch while they are generated."""

    def __init__(self, rows: Sequence[int], asked: Asked) -> None:
        self.rows, self.requests, self.sampling, self.give_up = rows, asked.requests, asked.sampling, asked.give_up
        self.going = list(rows)
        self.ids: dict[int, list[int]] = {row: [] for row in rows}
        self.logprobs: dict[int, list[float | None]] = {row: [] for row in rows}
        self.watched: dict[int, list[Watched]] = {row: [] for row in rows}
        self.aborted: set[int] = set()

    @property
    def most_left(self) -> int:
        """The most tokens that any row may still get."""
        return max(self.requests[row].max_tokens - len(self.ids[row]) for row in self.going)

    def extend(
        self,
        new_ids: list[list[int]],
        logprobs_BT: Tensor | None,
        watched: list[list[Watched]] | None,
        eos_token_ids: Sequence[int],
    ) -> list[int]:
        """Add a segment to the rows that are going. Returns the positions, among them, of those that go on."""
        ends = {*eos_token_ids, *self.sampling.stop_ids}
        for i, row in enumerate(self.going):
            taken = self._taken(row, new_ids[i], ends)
            self.ids[row] += new_ids[i][:taken]
            if logprobs_BT is not None:
                self.logprobs[row] += logprobs_BT[i, :taken].tolist()
            if watched is not None:
                self.watched[row] += watched[i][:taken]
        ended = {row for row in self.going if self._has_ended(row, ends)}
        if self.give_up:
            for row in ended:
                self.give_up.end(row, len(self.ids[row]))
            others = [row for row in self.going if row not in ended]
            self.aborted |= {row for row in others if len(self.ids[row]) >= self.give_up.cap(row)}
        stay = [i for i, row in enumerate(self.going) if row not in ended | self.aborted]
        self.going = [self.going[i] for i in stay]
        return stay

    def _taken(self, row: int, ids: list[int], ends: set[int]) -> int:
        """How many of the new tokens are the row's: through the first that ends it, and no more than its cap allows."""
        left = self.requests[row].max_tokens - len(self.ids[row])
        first = next((i + 1 for i, token in enumerate(ids) if token in ends), len(ids))
        return min(first, left)

    def _has_ended(self, row: int, ends: set[int]) -> bool:
        return self.ids[row][-1] in ends or len(self.ids[row]) >= self.requests[row].max_tokens

    def completions(self, eos_token_ids: Sequence[int]) -> list[Completion]:
        """What became of the rows, in order."""
        return [
            Completion(
                self.ids[row],
                StopReason.ABORTED
                if row in self.aborted
                else stop_reason(self.ids[row], eos_token_ids, self.sampling.stop_ids),
                self.logprobs[row] if self.sampling.logprobs else None,
                self.watched[row] if self.sampling.watch else None,
            )
            for row in self.rows
        ]


def check_logprobs(sampling: Sampling) -> None:
    """
    Raises:
        ValueError: for log-probabilities of a truncated distribution, which would need another normalisation.
    """
    if sampling.logprobs and sampling.is_truncated:
        raise ValueError("Log-probabilities are those of the full distribution: leave top_p, top_k and min_p off.")


def _logprobs(logits: Sequence[Tensor], ids_BT: Tensor, sampling: Sampling) -> Tensor:
    """(B, T) log-probabilities of sampled tokens from a segment's T logits of (B, V), bans and temperature applied."""
    heat, banned = sampling.temperature or 1.0, list(sampling.banned_ids)
    columns = []
    for t, step_BV in enumerate(logits):
        scores_BV = step_BV.float().div(heat)
        scores_BV[:, banned] = -torch.inf
        columns.append(scores_BV.log_softmax(-1).gather(1, ids_BT[:, [t]]))
    return torch.cat(columns, dim=1).cpu()


def _seed(request: Request) -> int:
    """The request's own, or one that the global generator draws."""
    return int(torch.randint(2**62, ())) if request.seed is None else request.seed


def load_engine(
    model: str,
    *,
    batch_size: int = 64,
    dtype: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> TransformersEngine:
    """Load a model for evaluation on the best device there is.

    Args:
        model: `tiny:base`, a folder or a hub id.
        batch_size: rows generated together.
        dtype: of weights and activations; None for the checkpoint's own.
        revision: of the hub repository.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        ValueError: when `model` looks like a folder and is none, or names no embedded reasoner, or nothing names an
            EOS token.
    """
    path = resolve_model(model, adapters=True)
    settings = {"revision": revision, "trust_remote_code": trust_remote_code}
    tokenizer: Any = AutoTokenizer.from_pretrained(path, **settings)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = AutoModelForCausalLM.from_pretrained(path, dtype=dtype or "auto", **settings).to(device).eval()
    ids = eos_ids(loaded, tokenizer)  # of the loaded model: a folder of adapters has no generation config
    complete(tokenizer, ids)
    return TransformersEngine(loaded, tokenizer, ids, batch_size)
