"""Log-probabilities of rows that begin alike, from one forward over the tokens that differ.

The rows of a batch are laid into a tree of their common prefixes. Its nodes, in one sequence of batch size 1, go
through the model once; each attends to its ancestors and itself, at the position that it has in its row. A group that
shares its prompt pays for the prompt once; a path that is cut at several exits pays for the path once. In training,
and where the trainer's own model generates, before the first token of each row.

A node here is a token *and the token after it*: TRL's fused head (`trl.trainer.utils.add_fused_lm_head`, read at 1.16)
scores one label for each hidden state, and a token that several branches follow has several. So each branch begins with
a node of its own for the token that it parts from, which costs one token a branch.

The attention that goes with the tree is in `prefix_attention.py`. Axis letters: B rows, C completion columns, N nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Cache

from concise_rl.shared_prefix.attention import Branches, key_nodes

IGNORED = -100
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class PrefixTree:
    """The tree of a batch.

    Attributes:
        input_ids, position_ids, labels: (1, N); a label is the token that follows where some row wants its
            log-probability, else -100.
        branches: what attention needs.
        source: (B, C) the node that predicts each completion token; 0 for padding.
        scored: (B, C) bool; False for padding.
        tokens: tokens of all rows, without padding: what N is to be compared with.
    """

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor
    branches: Branches
    source: Tensor
    scored: Tensor
    tokens: int

    def scatter(self, values_1N: Tensor) -> Tensor:
        """A value of each node as (B, C), 0 for padding."""
        return values_1N[0, self.source].masked_fill(~self.scored, 0.0)


def build_tree(input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int) -> PrefixTree:
    """The tree of rows in any order; on their device.

    Args:
        input_ids: (B, P + C) prompts padded on the left, completions on the right.
        attention_mask: (B, P + C) 1 for tokens, 0 for padding.
        logits_to_keep: C.
    """
    device = input_ids.device
    mask = attention_mask.bool().cpu().numpy()
    ids = input_ids.cpu().numpy()
    assert (np.diff(mask.astype(np.int8), axis=1) != 0).sum(axis=1).max() <= 2, "a row is in one piece"
    rows = [row[kept] for row, kept in zip(ids, mask, strict=True)]
    prompts = mask[:, : ids.shape[1] - logits_to_keep].sum(axis=1).tolist()
    assert min(prompts) > 0, "a prompt has at least one token"

    paths, inputs, branches = _nodes_of(rows, device)
    label_N = np.full(inputs["input_ids"].numel(), IGNORED)
    source_BC = np.zeros((len(rows), logits_to_keep), dtype=np.int64)
    for source_C, row, path, prompt in zip(source_BC, rows, paths, prompts, strict=True):
        label_N[path[prompt - 1 : -1]] = row[prompt:]
        source_C[: len(row) - prompt] = path[prompt - 1 : -1]
    return PrefixTree(
        **inputs,
        labels=torch.from_numpy(label_N[None]).to(device),
        branches=branches,
        source=torch.from_numpy(source_BC).to(device),
        scored=attention_mask[:, -logits_to_keep:].bool(),
        tokens=sum(map(len, rows)),
    )


def _nodes_of(rows: list[Ints], device: torch.device) -> tuple[list[Ints], dict[str, Tensor], Branches]:
    """The nodes of each row; (1, N) `input_ids` and `position_ids`; what attention needs."""
    paths, spans, ends = _lay_out(rows)
    input_N, position_N = np.zeros((2, len(ends)), dtype=np.int64)
    for row, path in zip(rows, paths, strict=True):
        input_N[path], position_N[path] = row, np.arange(len(row))
    keys = np.concatenate([key_nodes(paths[row]) for row, _, _ in spans])
    tensors = [torch.from_numpy(values).to(device) for values in (input_N[None], position_N[None], keys, ends)]
    branches = Branches([(shared, new) for _, shared, new in spans], *tensors[2:])
    return paths, {"input_ids": tensors[0], "position_ids": tensors[1]}, branches


def _lay_out(rows: list[Ints]) -> tuple[list[Ints], list[tuple[int, int, int]], Ints]:
    """Give each token of each row its node. Nodes are numbered depth first.

    Returns:
        The nodes of each row; for each branch its row, how many nodes it shares and how many it adds; and for each
        node the number that its subtree ends before.
    """
    paths: list[Ints] = [np.empty(0, dtype=np.int64)] * len(rows)
    spans: list[tuple[int, int, int]] = []
    ends = np.empty(sum(map(len, rows)), dtype=np.int64)
    nodes, last, path = 0, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    for row in sorted(range(len(rows)), key=lambda row: rows[row].tolist()):
        shared = _shared_nodes(last, rows[row])
        new = len(rows[row]) - shared
        ends[path[shared:]] = nodes
        last, path = rows[row], np.concatenate([path[:shared], np.arange(nodes, nodes + new)])
        paths[row] = path
        nodes += new
        if new:
            spans.append((row, shared, new))
    ends[path] = nodes
    return paths, spans, ends[:nodes]


def _shared_nodes(last: Ints, row: Ints) -> int:
    """How many nodes a row has in common with the one before it, in sorted order."""
    shortest = min(len(last), len(row))
    differs = np.flatnonzero(last[:shortest] != row[:shortest])
    if len(differs) == 0:
        return shortest  # the last token of the shorter row has no successor there that could disagree
    return max(int(differs[0]) - 1, 0)


def shared_forward(model: nn.Module, tree: PrefixTree) -> tuple[Tensor, Tensor | None]:
    """What the forward with `labels` that TRL makes gives, from one forward over the tree.

    Args:
        model: a model with TRL's fused head that `use_tree_attention` has set up, in whatever wrappers.
        tree: of `build_tree`.

    Returns:
        (B, C) log-probabilities of the completion tokens, and (B, C) entropies of the distributions that they are from
        unless the head leaves them out, as a reference model's does; at the head's temperature, 0 for padding.
    """
    outputs: Any = model(
        input_ids=tree.input_ids,
        position_ids=tree.position_ids,
        shift_labels=tree.labels,
        fused_lm_head=True,
        **tree.branches.arguments(),
    )
    entropy = None if outputs.entropy is None else tree.scatter(outputs.entropy)
    return tree.scatter(outputs.log_probs), entropy


@torch.no_grad()
def prefill(model: Any, prompts: Sequence[Sequence[int]], cache: Cache) -> None:
    """Fill an empty cache with what it has to hold before a token is generated: all but the last token of each prompt,
    padded on the left, from one forward over the tree of the prompts.

    Args:
        model: one that `use_tree_attention` has set up.
        prompts: of at least two tokens each.
        cache: of a layer of keys and values for each layer of the model; changed.
    """
    rows = [np.array(prompt[:-1]) for prompt in prompts]
    paths, inputs, branches = _nodes_of(rows, model.device)
    model(**inputs, **branches.arguments(), past_key_values=cache, use_cache=True, logits_to_keep=1)
    width = max(map(len, paths))
    node_BT = torch.from_numpy(np.stack([np.pad(path, (width - len(path), 0)) for path in paths])).to(model.device)
    layers: list[Any] = cache.layers
    for layer in layers:
        layer.keys, layer.values = (kept[0][:, node_BT].transpose(0, 1) for kept in (layer.keys, layer.values))


def fold_groups(batch: dict[str, Any], group_size: int) -> dict[str, Any]:
    """Values with a row for each rollout (tensors, lists) as values with a row for each group; others as they are."""

    def fold(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim:
            return value.unflatten(0, (-1, group_size))
        if isinstance(value, list):
            return [value[i : i + group_size] for i in range(0, len(value), group_size)]
        return value

    return {key: fold(value) for key, value in batch.items()}


def unfold_groups(batch: dict[str, Any]) -> dict[str, Any]:
    """Undo `fold_groups`."""

    def unfold(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim:
            return value.flatten(0, 1)
        return list(chain.from_iterable(value)) if isinstance(value, list) else value

    return {key: unfold(value) for key, value in batch.items()}
