"""Attention over a tree of prefixes, without a mask that grows with the square of its nodes.

The nodes that a row adds to the tree stand side by side and attend to the row's path: a rectangle of scores that is
causal at its lower right. Under SDPA each branch is one such rectangle, so hardly a score is computed that is masked,
and what is kept for the backward grows with the tokens, at any length. Under flex attention, whose backward needs a
GPU, the tree is a `BlockMask`.

Both are registered with transformers as attention implementations: set on the model, they are found again when gradient
checkpointing repeats a layer, and without a tree they are what they replace. The tree comes down to them as a keyword
argument of the model. Written against transformers 5.17.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import flex_attention_mask, sdpa_mask

OVER_TREE = {"sdpa": "sdpa_over_tree", "flex_attention": "flex_over_tree"}
"""Attention implementations, and what stands in for them."""
ROPE_TYPES = {"default", "linear", "llama3", "yarn"}
"""Rotary embeddings that depend on the distance of two tokens alone, not on the length of the batch."""
ALIGN = 16
"""CUDA's kernels take a mask as it is where its rows and columns begin at multiples of this, and else copy it."""
ROWS = 256
"""Queries in one rectangle. A longer branch is cut, which spares the upper right and bounds the mask."""
FLEX_BLOCK = 128
RANDOM = ("attention_dropout", "residual_dropout", "embedding_dropout", "router_jitter_noise", "input_jitter_noise")
"""Settings of models that draw without a module of their own; `nn.Dropout` is looked for among the modules."""


def _aligned(length: int) -> int:
    return -(-length // ALIGN) * ALIGN


def key_nodes(path: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nodes that a branch attends to, filled up to a multiple of ALIGN with node 0, which the mask takes out."""
    return np.pad(path, (0, _aligned(len(path)) - len(path)))


@dataclass  # not frozen: FSDP rebuilds the dataclasses that it finds among a model's arguments
class Branches:
    """The tree as attention sees it.

    Attributes:
        spans: for each branch how many nodes of its path it shares and how many it adds; the latter follow one another
            in the sequence, branch after branch.
        keys: `key_nodes` of all branches, concatenated.
        ends: (N,) for each node the one that its subtree ends before; nodes are numbered depth first.
        mask: the first layer makes it, for all.
    """

    spans: list[tuple[int, int]]
    keys: Tensor
    ends: Tensor
    mask: Any = None

    def arguments(self) -> dict[str, Any]:
        """What tells a model's attention of the tree. transformers hands a mask of four dimensions on as it is; this
        one is empty, so that a layer which does not know the tree fails."""
        return {"tree": self, "attention_mask": self.keys.new_empty((1, 1, 0, 0), dtype=torch.bool)}

    def rectangle(self, query: Tensor, first: int, rows: int, columns: int) -> Tensor:
        """(rows, columns) additive mask under which row i sees the columns up to `first + i`: a view of one strip that
        is causal at its right end, so that all branches and layers keep the same memory for the backward."""
        if self.mask is None:
            self.mask = self._strip(query)
        offset = first % ALIGN
        begin = self.mask.size(1) - self.mask.size(0) - ALIGN + offset - first
        return self.mask[offset : offset + rows, begin : begin + columns]

    def _strip(self, query: Tensor) -> Tensor:
        """Row i sees the columns up to `longest + i`."""
        device = query.device.type
        # Under autocast a mask of another type would be copied in every call.
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else query.dtype
        longest = _aligned(max(shared + new for shared, new in self.spans))
        rows = _aligned(min(ROWS, max(new for _, new in self.spans))) + ALIGN
        strip = torch.full((rows, longest + rows + ALIGN), -torch.inf, dtype=dtype, device=query.device)
        return strip.triu_(longest + 1)

    def block_mask(self) -> BlockMask:
        """The same for flex attention: a node sees those whose subtree it is in."""
        if self.mask is None:
            self.mask = _block_mask(self.ends)
        return self.mask


def _block_mask(ends: Tensor) -> BlockMask:
    """From the bounds of subtrees; torch's own `create_block_mask` goes over all pairs of nodes."""
    nodes = len(ends)
    ends = nn.functional.pad(ends, (0, -nodes % FLEX_BLOCK))
    of_block = ends.view(-1, FLEX_BLOCK)
    block = torch.arange(len(of_block), device=ends.device)
    query, key = block[:, None], block[None, :]
    some = (query >= key) & (query * FLEX_BLOCK < of_block.amax(dim=1))
    every = (query > key) & ((query + 1) * FLEX_BLOCK <= of_block.amin(dim=1))

    def indices(holds: Tensor) -> tuple[Tensor, Tensor]:
        order = holds.int().argsort(dim=1, descending=True, stable=True)
        return holds.sum(dim=1).int()[None, None], order.int()[None, None]

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query < ends[key])

    return BlockMask.from_kv_blocks(
        *indices(some & ~every), *indices(every), BLOCK_SIZE=FLEX_BLOCK, mask_mod=sees, seq_lengths=(nodes, nodes)
    )


def sdpa_over_tree(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    tree: Branches | None = None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' `sdpa`, over a tree where one is given.

    Args:
        module: the attention layer.
        query, key, value: (1, heads, N, D); the latter two have fewer heads under grouped queries.
        attention_mask: not read where there is a tree.
        tree: the tree.
        scaling, kwargs: as for `sdpa`.

    Returns:
        (1, N, heads, D), and None.
    """
    if tree is None:
        _check_told(module, attention_mask)
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    heads = query.size(1) // key.size(1)
    # One gather for all branches: in the backward it is one sum, where one for each would be as many of full size.
    lengths = [_aligned(shared + new) for shared, new in tree.spans]
    keys = repeat_kv(key.index_select(2, tree.keys), heads).split(lengths, dim=2)
    values = repeat_kv(value.index_select(2, tree.keys), heads).split(lengths, dim=2)
    queries = query.split([new for _, new in tree.spans], dim=2)
    parts = [
        part
        for q, k, v, (shared, _) in zip(queries, keys, values, tree.spans, strict=True)
        for part in _attend(q, k, v, shared, tree, scaling)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _attend(q: Tensor, k: Tensor, v: Tensor, shared: int, tree: Branches, scaling: float | None) -> list[Tensor]:
    """The nodes of one branch to its path, in pieces."""
    new = q.size(2)
    if shared == 0:
        return [scaled_dot_product_attention(q, k[:, :, :new], v[:, :, :new], is_causal=True, scale=scaling)]
    parts = []
    for first in range(0, new, ROWS):
        piece = q[:, :, first : first + ROWS]
        columns = _aligned(shared + first + piece.size(2))
        mask = tree.rectangle(q, shared + first, piece.size(2), columns)
        parts.append(scaled_dot_product_attention(piece, k[:, :, :columns], v[:, :, :columns], mask, scale=scaling))
    return parts


def flex_over_tree(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    tree: Branches | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """transformers' `flex_attention`, over a tree where one is given. Arguments as in `sdpa_over_tree`."""
    if tree is None:
        _check_told(module, attention_mask)
    mask = attention_mask if tree is None else tree.block_mask()
    return flex_attention_forward(module, query, key, value, mask, **kwargs)


def _check_told(module: nn.Module, attention_mask: Any) -> None:
    if attention_mask is not None and attention_mask.numel() == 0:
        raise ValueError(f"{type(module).__name__} is not handed the tree of prefixes: set shared_prefix: false.")


for name, over_tree, mask in (
    ("sdpa", sdpa_over_tree, sdpa_mask),
    ("flex_attention", flex_over_tree, flex_attention_mask),
):
    AttentionInterface.register(OVER_TREE[name], over_tree)
    AttentionMaskInterface.register(OVER_TREE[name], mask)


def use_tree_attention(model: PreTrainedModel) -> None:
    """Make a model, which may carry PEFT adapters, take trees.

    Raises:
        ValueError: for a model in which a token depends on more than its ancestors and how far they are, or whose
            attention cannot be replaced. Says why.
    """
    base: Any = getattr(model, "get_base_model", lambda: model)()
    for reason, holds in _objections(base) + _objections_to_adapters(model):
        if holds:
            raise ValueError(f"shared_prefix cannot be used here: {reason}. Set shared_prefix: false.")
    before = base.config._attn_implementation
    wanted = OVER_TREE.get(before, before)
    base.set_attn_implementation(wanted)
    if base.config._attn_implementation != wanted:
        raise ValueError(f"shared_prefix cannot be used here: {type(base).__name__} does not let its attention be set.")


def _objections(model: PreTrainedModel) -> list[tuple[str, bool]]:
    """What would be silently wrong or fail late, and whether it holds of the model."""
    config: Any = model.config.get_text_config()
    attention = model.config._attn_implementation
    other_layers = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    window = None if getattr(config, "layer_types", None) else getattr(config, "sliding_window", None)
    rope = _rope_types(config)
    noise = [(name, getattr(config, name, 0)) for name in RANDOM]
    return [
        *(
            (f"{name} is {draw}, and rows that share a token would draw alike; 0 would do", draw > 0)
            for name, draw in noise
        ),
        ("output_router_logits is set, whose loss reads the padding", getattr(config, "output_router_logits", False)),
        ("the model carries a state from token to token", model._is_stateful),
        (f"the model has layers of {', '.join(sorted(other_layers))}", bool(other_layers)),
        (
            f"the model attends to a sliding window of {window} tokens",
            bool(window) and window < (getattr(config, "max_position_embeddings", None) or float("inf")),
        ),
        ("the model's positions are not rotary (alibi, learnt positions)", not rope or getattr(config, "alibi", False)),
        (f"rotary embeddings of type {', '.join(sorted(rope))} depend on the batch's length", not rope <= ROPE_TYPES),
        (
            "the model's attention does not follow transformers' AttentionInterface",
            not model._supports_attention_backend,
        ),
        (
            f"attn_implementation is {attention}, and only sdpa and flex_attention can attend along a tree",
            attention not in (*OVER_TREE, *OVER_TREE.values()),
        ),
    ]


def _rope_types(config: Any) -> set[str]:
    """Kinds of rotary embeddings, of which a model may have one for each type of layer; empty if none."""
    rope = getattr(config, "rope_parameters", None) or {}
    return {one.get("rope_type", "default") for one in ([rope] if "rope_theta" in rope else rope.values())}


def _objections_to_adapters(model: nn.Module) -> list[tuple[str, bool]]:
    """The same for what PEFT adds, and for dropout, the model's own too."""
    adapters = getattr(model, "peft_config", {}).values()
    dropouts = [name for name, module in model.named_modules() if isinstance(module, nn.Dropout) and module.p > 0]
    return [
        (
            "PEFT puts tokens of its own before the prompt or reads where tokens stand",
            any(
                a.is_prompt_learning or a.is_adaption_prompt or getattr(a, "alora_invocation_tokens", None)
                for a in adapters
            ),
        ),
        (f"rows that share a token would drop alike in {', '.join(dropouts[:1])}; dropout 0 would do", bool(dropouts)),
    ]
