"""One forward over a tree of prefixes against one over padded rows: numbers, gradients, memory, and what is refused."""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BloomConfig,
    DeepseekV3Config,
    DynamicCache,
    FalconConfig,
    Gemma2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    Phi3Config,
    Qwen3Config,
    Starcoder2Config,
)
from trl.trainer.utils import add_fused_lm_head

from concise_rl.methods import Objective
from concise_rl.models.resolve import resolve_model
from concise_rl.rollout.engine import Asked, Request, Sampling
from concise_rl.rollout.engines.transformers import TransformersEngine
from concise_rl.shared_prefix import attention as prefix_attention
from concise_rl.shared_prefix.attention import FLEX_BLOCK, _block_mask, sdpa_over_tree, use_tree_attention
from concise_rl.shared_prefix.tree import build_tree, fold_groups, prefill, shared_forward, unfold_groups
from concise_rl.train.trainer import ConciseTrainer
from reward import Grpo, SGrpo
from tests.concise_rl.rollout.sync.test_links import GRADIENT, gradients_of
from tests.concise_rl.train.test_trainer import metrics_of, trainer_of
from tests.concise_rl.train.test_world_size import ROOT, launch
from tests.device import DEVICE, ON_CPU

VOCABULARY = 97
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
CONFIGS = {"llama": LlamaConfig, "qwen3": Qwen3Config}
TOLERANCE = 128 * torch.finfo(torch.float32).eps
"""Of numbers that three layers of sums give in another order, on whatever processor; relative."""
WIDE = {"hidden_size": 64, "head_dim": 16}
"""Flex attention on a GPU takes heads of 16 and more."""
Rows = list[tuple[list[int], list[int]]]
Batch = tuple[Tensor, Tensor, int]


def model_of(config: Any = LlamaConfig, attention: str = "sdpa", **settings: Any) -> Any:
    """A model with random weights, in training, with TRL's head at temperature 0.7."""
    torch.manual_seed(0)
    small = SIZES if config is not Qwen3Config else SIZES | {"head_dim": 12}
    settings = {"initializer_range": 0.2} | small | settings
    model = AutoModelForCausalLM.from_config(config(**settings), attn_implementation=attention)
    add_fused_lm_head(model, 0.7, outputs=("log_probs", "entropy"))
    return model.train().to(DEVICE)


def words(draw: random.Random, length: int) -> list[int]:
    return [draw.randrange(VOCABULARY) for _ in range(length)]


def serial(draw: random.Random, prompt: int = 7, path: int = 60, exits: int = 6) -> Rows:
    """A path cut at several exits, each with its own answer, and the path to its end."""
    asked, thought, close = words(draw, prompt), words(draw, path), words(draw, 2)
    cuts = sorted(draw.sample(range(1, path), exits))
    answers = [words(draw, draw.randint(1, 9)) for _ in range(exits + 1)]
    return [(asked, thought[:cut] + close + answer) for cut, answer in zip([*cuts, path], answers, strict=True)]


def parallel(draw: random.Random, prompt: int = 20, members: int = 5, least: int = 1, most: int = 30) -> Rows:
    """Completions of different lengths to one prompt."""
    asked = words(draw, prompt)
    return [(asked, words(draw, draw.randint(least, most))) for _ in range(members)]


def shuffled(draw: random.Random, rows: Rows) -> Rows:
    return draw.sample(rows, len(rows))


def cut_short(draw: random.Random) -> Rows:
    """Rows of which one begins another, rows that are equal, and a branch of one token."""
    (asked, whole), *_ = parallel(draw, least=20)
    return [(asked, whole), (asked, whole[:9]), (asked, whole[:9]), (asked, whole[:1]), (asked, [*whole[:4], 0])]


CASES: dict[str, Callable[[random.Random], Rows]] = {
    "a serial group": serial,
    "a parallel group of ragged rows": parallel,
    "a group of one": lambda draw: parallel(draw, members=1),
    "groups with prompts of different lengths": lambda draw: shuffled(
        draw, [row for prompt in (3, 11, 30) for row in serial(draw, prompt, 20, 3) + parallel(draw, prompt, 3)]
    ),
    "rows that begin others": cut_short,
    "rows with nothing in common": lambda draw: [row for _ in range(3) for row in parallel(draw, members=1)],
    "prompts of one token": lambda draw: parallel(draw, prompt=1),
    "truncated completions masked": lambda draw: [
        (prompt, completion[: i % 2 * 30]) for i, (prompt, completion) in enumerate(parallel(draw, least=9))
    ],
}


def padded(rows: Rows) -> Batch:
    """Prompts padded on the left, completions on the right, as TRL does; mask; width of the completions."""
    left, right = (max(map(len, part)) for part in zip(*rows, strict=True))
    ids, mask = torch.full((2, len(rows), left + right), 5)
    mask.zero_()
    for i, (prompt, completion) in enumerate(rows):
        span = slice(left - len(prompt), left + len(completion))
        ids[i, span], mask[i, span] = torch.tensor(prompt + completion), 1
    return ids.to(DEVICE), mask.to(DEVICE), right


def batch_of(case: str) -> Batch:
    return padded(CASES[case](random.Random(case)))


def plain(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """As TRL runs the model: `GRPOTrainer._get_per_token_logps_and_entropies`, 1.16."""
    ids, mask, width = batch
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :-width] = -100
    outputs = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    return outputs.log_probs[:, -width:], outputs.entropy[:, -width:]


def shared(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    return shared_forward(model, build_tree(*batch))


def weights_like(log_probs: Tensor) -> Tensor:
    """A weight for each token."""
    return torch.randn(log_probs.shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)


def gradients(model: nn.Module, log_probs: Tensor) -> dict[str, Tensor]:
    """Of a loss in which each token has a weight of its own."""
    model.zero_grad()
    (log_probs * weights_like(log_probs)).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


def assert_close(found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    """Alike, relative to the largest entry: sums in another order differ by what that one rounds to."""
    largest = expected.abs().max().item()
    assert largest > 0
    torch.testing.assert_close(found, expected, atol=tolerance * largest, rtol=0)


def assert_all_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = TOLERANCE) -> None:
    """The same of gradients by name, relative to the largest entry of all."""
    largest = max(gradient.abs().max() for gradient in expected.values())
    assert largest > 0
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name] / largest, gradient / largest, atol=tolerance, rtol=0, msg=name)


def assert_alike(model: Any, batch: Batch, tolerance: float = TOLERANCE) -> None:
    """Log-probabilities, entropies and gradients."""
    use_tree_attention(model)
    (of_plain, entropy_of_plain), (of_shared, entropy_of_shared) = plain(model, batch), shared(model, batch)
    assert_close(of_shared, of_plain, tolerance)
    assert_close(entropy_of_shared, entropy_of_plain, tolerance)
    assert_all_close(gradients(model, of_shared), gradients(model, of_plain), tolerance)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("case", CASES)
def test_log_probs_entropies_and_gradients_are_those_of_the_padded_rows(kind: str, case: str) -> None:
    assert_alike(model_of(CONFIGS[kind]), batch_of(case))


ARCHITECTURES: dict[str, tuple[Any, dict[str, Any]]] = {
    "queries, keys and values in one matrix": (Phi3Config, {"pad_token_id": 0}),
    "values of another size than keys": (
        DeepseekV3Config,
        {"num_key_value_heads": 4, "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 32}
        | {"kv_lora_rank": 16, "q_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 12},
    ),
    "experts": (MixtralConfig, {"num_local_experts": 4}),
    "scores on a scale of their own, logits capped": (
        Gemma2Config,
        {"head_dim": 12, "layer_types": ["full_attention"] * 3, "attn_logit_softcapping": None},
    ),
    "positions on a part of each head": (GPTNeoXConfig, {"rotary_pct": 0.5}),
}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_other_architectures_are_as_exact(kind: str) -> None:
    config, settings = ARCHITECTURES[kind]
    assert_alike(model_of(config, **settings), batch_of("groups with prompts of different lengths"), 2 * TOLERANCE)


def test_a_branch_longer_than_one_rectangle_is_cut_into_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_attention, "ROWS", 8)
    tree = build_tree(*batch_of("a parallel group of ragged rows"))
    assert max(new for shared, new in tree.branches.spans if shared) > 16
    for case in CASES:
        assert_alike(model_of(), batch_of(case))


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_repeats_the_layers_over_the_tree(reentrant: bool) -> None:
    model = model_of(Qwen3Config)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    assert_alike(model, batch_of("a serial group"))


def test_lora_adapters_get_the_same_gradients() -> None:
    model = get_peft_model(model_of(), LoraConfig(r=4, target_modules="all-linear"))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.3)
    assert_alike(model, batch_of("a serial group"))


def error(model: Any, forward: Callable, batch: Batch, exact: Tensor) -> float:
    return (forward(model, batch)[0].float() - exact).abs().mean().item()


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("case", ["a serial group", "a parallel group of ragged rows"])
def test_in_bf16_it_is_as_far_from_fp32_as_the_padded_rows_are(case: str, autocast: bool) -> None:
    model, batch = model_of(Qwen3Config), batch_of(case)
    exact = plain(model, batch)[0].detach()
    use_tree_attention(model)
    model = model if autocast else model.to(torch.bfloat16)
    with torch.autocast(DEVICE, torch.bfloat16, enabled=autocast):
        of_plain, of_shared = error(model, plain, batch, exact), error(model, shared, batch, exact)
        found = gradients(model, shared(model, batch)[0])
    assert 0 < of_shared < 1.5 * of_plain
    assert all(gradient.isfinite().all() for gradient in found.values())


words_of_two = st.lists(st.integers(0, 1), min_size=1, max_size=6)


@given(rows=st.lists(st.tuples(words_of_two, words_of_two), min_size=1, max_size=8))
def test_a_node_is_a_prefix_and_the_token_after_it(rows: Rows) -> None:
    whole = [tuple(prompt + completion) for prompt, completion in rows]
    followed = {row[:end] for row in whole for end in range(2, len(row) + 1)}
    unfollowed = {row for row in whole if not any(other[: len(row)] == row != other for other in whole)}
    tree = build_tree(*padded(rows))
    assert tree.input_ids.numel() == len(followed) + len(unfollowed)
    assert tree.tokens == sum(map(len, whole))
    for (prompt, completion), source, scored in zip(rows, tree.source, tree.scored, strict=True):
        assert scored.tolist() == [True] * len(completion) + [False] * (len(scored) - len(completion))
        for place, node in enumerate(source[: len(completion)].tolist()):
            seen = [n for n in range(node + 1) if node < tree.branches.ends[n]]
            assert tree.input_ids[0, seen].tolist() == prompt + completion[:place]
            assert tree.position_ids[0, seen].tolist() == list(range(len(seen)))
            assert tree.labels[0, node] == completion[place]


def test_the_order_of_the_rows_makes_no_difference() -> None:
    rows = CASES["groups with prompts of different lengths"](random.Random(0))
    order = random.Random(1).sample(range(len(rows)), len(rows))
    one, other = build_tree(*padded(rows)), build_tree(*padded([rows[i] for i in order]))
    assert torch.equal(one.input_ids, other.input_ids) and one.branches.spans == other.branches.spans
    assert torch.equal(one.source[order], other.source)


def kept_for_backward(forward: Callable[[], Any]) -> int:
    """Bytes of the tensors that a forward keeps, each storage once."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        alive = forward()
    assert alive is not None
    return sum(kept.values())


@pytest.mark.parametrize("length", [500, 2000])
def test_what_is_kept_for_the_backward_grows_with_the_tokens_and_not_with_their_square(length: int) -> None:
    model = model_of()
    use_tree_attention(model)
    once, twice = (
        kept_for_backward(lambda scale=scale: shared(model, padded(serial(random.Random(0), 9, scale * length))))
        for scale in (1, 2)
    )
    assert twice < 2.2 * once


def test_less_is_kept_for_the_backward_than_by_padded_rows() -> None:
    model, batch = model_of(), padded(serial(random.Random(0), 9, 800))
    use_tree_attention(model)
    assert kept_for_backward(lambda: shared(model, batch)) < 0.4 * kept_for_backward(lambda: plain(model, batch))


@pytest.mark.parametrize("case", CASES)
def test_a_block_mask_lets_a_node_see_the_nodes_whose_subtree_it_is_in(case: str) -> None:
    rows = [(prompt * 9, completion * 9) for prompt, completion in CASES[case](random.Random(case))]
    ends = build_tree(*padded(rows)).branches.ends
    nodes, mask = torch.arange(len(ends), device=DEVICE), _block_mask(ends)
    expected = (nodes <= nodes[:, None]) & (nodes[:, None] < ends)
    blocks = -(-len(ends) // FLEX_BLOCK)
    whole, part = torch.zeros(2, blocks, blocks, dtype=torch.bool, device=DEVICE)
    for found, counts, columns in (
        (part, mask.kv_num_blocks, mask.kv_indices),
        (whole, mask.full_kv_num_blocks, mask.full_kv_indices),
    ):
        for row in range(blocks):
            found[row, columns[0, 0, row, : counts[0, 0, row]]] = True
    assert not (whole & part).any()
    whole, part = (
        m.repeat_interleave(FLEX_BLOCK, 0).repeat_interleave(FLEX_BLOCK, 1)[: len(ends), : len(ends)]
        for m in (whole, part)
    )
    zero = torch.zeros((), device=DEVICE)
    assert torch.equal(whole | (part & mask.mask_mod(zero, zero, nodes[:, None], nodes)), expected)
    assert (part & ~expected).view(-1).any(), "partial blocks are there to be tested"


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONFIGS)
def test_flex_attention_gives_the_same_log_probs(kind: str) -> None:
    """Its backward needs a GPU. How far float32 is from float64 depends on the processor's kernels: so plain attention
    says how far it may be."""
    batch = padded(serial(random.Random(0), 9, 300))
    model, over_tree = model_of(CONFIGS[kind], **WIDE), model_of(CONFIGS[kind], "flex_attention", **WIDE)
    use_tree_attention(over_tree)
    with torch.no_grad():
        found, rounded = shared(over_tree, batch)[0], plain(model, batch)[0]
        exact = plain(model.double(), batch)[0]
    assert (found - exact).abs().max() < 4 * (rounded - exact).abs().max()


@pytest.mark.slow
@pytest.mark.skipif(ON_CPU, reason="the backward of flex attention needs a GPU: TEST_DEVICE=cuda")
@pytest.mark.parametrize("kind", CONFIGS)
def test_flex_attention_gives_the_same_gradients_on_a_gpu(kind: str) -> None:
    batch = padded(serial(random.Random(0), 9, 300))
    model, over_tree = model_of(CONFIGS[kind], **WIDE), model_of(CONFIGS[kind], "flex_attention", **WIDE)
    use_tree_attention(over_tree)
    found, rounded = gradients(over_tree, shared(over_tree, batch)[0]), gradients(model, plain(model, batch)[0])
    exact = gradients(model.double(), plain(model, batch)[0])
    far, near = (max((one[name] - exact[name]).abs().max() for name in exact) for one in (found, rounded))
    assert far < 4 * near


def test_generation_and_the_saved_configuration_stay_what_they_were(tmp_path: Path) -> None:
    prompts = {"input_ids": torch.tensor([[5, 5, 1, 2], [3, 4, 5, 6]]), "attention_mask": torch.ones(2, 4).long()}
    prompts["attention_mask"][0, :2] = 0
    prompts = {name: values.to(DEVICE) for name, values in prompts.items()}
    ids = []
    for name in ("before", "after"):
        model = model_of().eval()
        if name == "after":
            use_tree_attention(model)
        ids.append(model.generate(**prompts, max_new_tokens=12, do_sample=False, pad_token_id=5))
        model.config.save_pretrained(tmp_path / name)
    assert torch.equal(*ids)
    assert (tmp_path / "before" / "config.json").read_text() == (tmp_path / "after" / "config.json").read_text()


@pytest.mark.parametrize(
    "case", ["a serial group", "groups with prompts of different lengths", "rows that begin others"]
)
def test_generation_goes_on_from_prompts_that_were_forwarded_as_a_tree(case: str) -> None:
    prompts = [prompt + completion for prompt, completion in CASES[case](random.Random(case))]
    width = max(map(len, prompts))
    ids, mask = (
        torch.tensor([[fill] * (width - len(p)) + (p if fill else [1] * len(p)) for p in prompts], device=DEVICE)
        for fill in (5, 0)
    )
    model = model_of(Qwen3Config).eval()
    use_tree_attention(model)
    settings = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 5, "attention_mask": mask}
    settings |= {"return_dict_in_generate": True, "output_logits": True}
    plainly, over_tree = DynamicCache(config=model.config), DynamicCache(config=model.config)
    prefill(model, prompts, over_tree)
    assert over_tree.get_seq_length() == width - 1
    found, expected = (model.generate(ids, past_key_values=cache, **settings) for cache in (over_tree, plainly))
    assert_close(torch.stack(found.logits), torch.stack(expected.logits))
    assert torch.equal(found.sequences, expected.sequences)


@pytest.mark.parametrize("window", [100, 4096])
def test_a_model_whose_cache_has_a_window_generates_as_without_trees(window: int) -> None:
    prompts = [prompt + completion for prompt, completion in CASES["a serial group"](random.Random(0))]
    requests, greedy = [Request(prompt, 6) for prompt in prompts], Sampling(temperature=0.0)
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("tiny:base"))
    found = []
    for over_trees in (False, True):
        model = model_of(MistralConfig, sliding_window=window, max_position_embeddings=window).eval()
        if over_trees:
            use_tree_attention(model)
        found.append(TransformersEngine(model, tokenizer, [1], len(requests)).generate(Asked(requests, greedy)))
    assert [one.ids for one in found[0]] == [one.ids for one in found[1]]


REFUSED = {
    "attn_implementation is eager": lambda: model_of(attention="eager"),
    "sliding window of 16 tokens": lambda: model_of(MistralConfig, sliding_window=16),
    "layers of sliding_attention": lambda: model_of(
        Qwen3Config, use_sliding_window=True, sliding_window=16, max_window_layers=1
    ),
    "rotary embeddings of type dynamic": lambda: model_of(
        rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    ),
    "positions are not rotary": lambda: AutoModelForCausalLM.from_config(BloomConfig(hidden_size=16, n_head=2)),
    "positions are not rotary .alibi": lambda: AutoModelForCausalLM.from_config(
        FalconConfig(vocab_size=9, hidden_size=16, num_attention_heads=2, num_hidden_layers=1, alibi=True)
    ),
    "carries a state": lambda: AutoModelForCausalLM.from_config(
        MambaConfig(vocab_size=9, hidden_size=16, num_hidden_layers=1)
    ),
    "attention_dropout is 0.1": lambda: model_of(attention_dropout=0.1),
    "residual_dropout is 0.1": lambda: model_of(Starcoder2Config, residual_dropout=0.1),
    "router_jitter_noise is 0.1": lambda: model_of(MixtralConfig, num_local_experts=2, router_jitter_noise=0.1),
    "output_router_logits is set": lambda: model_of(MixtralConfig, num_local_experts=2, output_router_logits=True),
    "rows that share a token would drop alike in .*lora_dropout": lambda: get_peft_model(
        model_of(), LoraConfig(lora_dropout=0.1, target_modules=["q_proj"])
    ),
    "PEFT puts tokens of its own": lambda: get_peft_model(
        model_of(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_model_that_would_be_silently_wrong_is_refused(reason: str) -> None:
    with pytest.raises(ValueError, match=f"shared_prefix cannot be used here: .*{reason}"):
        use_tree_attention(REFUSED[reason]())


def test_a_window_that_no_row_reaches_is_no_reason_to_refuse() -> None:
    assert_alike(model_of(MistralConfig, sliding_window=4096, max_position_embeddings=4096), batch_of("a serial group"))


def test_a_layer_that_is_not_handed_the_tree_fails() -> None:
    model = model_of()
    use_tree_attention(model)
    arguments = build_tree(*batch_of("a serial group")).branches.arguments()
    query = key = torch.zeros(1, 4, 9, 12)
    with pytest.raises(ValueError, match="LlamaAttention is not handed the tree"):
        sdpa_over_tree(model.model.layers[0].self_attn, query, key, key, arguments["attention_mask"])


def test_folding_groups_is_undone() -> None:
    batch = {"ids": torch.arange(24).view(6, 4), "scalar": torch.tensor(3.0), "images": list("abcdef"), "none": None}
    folded = fold_groups(batch, 3)
    assert folded["ids"].shape == (2, 3, 4) and folded["images"] == [["a", "b", "c"], ["d", "e", "f"]]
    undone = unfold_groups(folded)
    assert torch.equal(undone.pop("ids"), batch.pop("ids")) and undone == batch


# ------------------------------------------------------------------ through the trainer

TRAINED = {**GRADIENT, "per_device_train_batch_size": 16, "num_generations": 8, "temperature": 0.7}


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        (Grpo(), {}),
        (Grpo(), {"steps_per_generation": 2, "gradient_accumulation_steps": 2}),
        (Grpo(), {"beta": 0.1, "num_iterations": 2, "max_steps": 2, "gradient_checkpointing": True}),
        (SGrpo(exit_text="\n</think>\n", answer_max_tokens=12), {"max_completion_length": 240}),
    ],
    ids=["one micro-batch", "two micro-batches", "old and reference policy", "serial groups"],
)
def test_a_training_step_has_the_same_loss_and_gradients(
    tmp_path: Path, objective: Objective, settings: dict[str, Any]
) -> None:
    found, steps = {}, {}
    for name in ("padded", "shared"):
        # In float32 the gradients would be read off with an error of 1e-5: they are differences of weights.
        model = AutoModelForCausalLM.from_pretrained(resolve_model("tiny:base"), dtype="float64")
        own = {"model": model, "shared_prefix": name == "shared"}
        trainer = trainer_of(tmp_path / name, objective, **{**TRAINED, **settings, **own})
        found[name] = gradients_of(trainer)
        steps[name] = metrics_of(tmp_path / name)[:-1]
    assert_all_close(found["shared"], found["padded"], 1e-6)
    for of_padded, of_shared in zip(steps["padded"], steps["shared"], strict=True):
        assert of_shared["loss"] == pytest.approx(of_padded["loss"], abs=1e-6)
        if "steps_per_generation" not in settings:  # a mean of the means of micro-batches, and they are others
            assert of_shared["entropy"] == pytest.approx(of_padded["entropy"], abs=1e-5)
        assert of_shared["prefix/forwarded"] < 1 and "prefix/forwarded" not in of_padded


def test_micro_batches_are_made_of_whole_groups(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    class Spied(ConciseTrainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
            seen.append(inputs["prompt_ids"])
            return super().compute_loss(model, inputs, *args, **kwargs)

    settings = {"steps_per_generation": 4, "gradient_accumulation_steps": 4, "max_steps": 1, "shared_prefix": True}
    trainer_of(tmp_path, Grpo(), Spied, **settings).train()
    assert len(seen) == 4
    for prompts in seen:
        assert prompts.shape[0] == 8 and sorted(prompts.unique(dim=0, return_counts=True)[1].tolist()) == [4, 4]


def test_groups_split_over_micro_batches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a multiple of num_generations"):
        trainer_of(tmp_path, shared_prefix=True, per_device_train_batch_size=6, gradient_accumulation_steps=2)


def test_a_mixture_of_experts_with_a_balancing_loss_is_refused(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_config(MixtralConfig(**SIZES | {"vocab_size": 300, "num_local_experts": 2}))
    model.config._name_or_path = trainer_of(tmp_path / "tiny").model.name_or_path
    with pytest.raises(ValueError, match="Set router_aux_loss_coef: 0, or shared_prefix: false"):
        trainer_of(tmp_path, model=model, shared_prefix=True)


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", ["ddp", "fsdp", "fsdp2"])
def test_two_ranks_with_trees_of_different_sizes_have_the_gradients_of_their_padded_rows(wrapper: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    assert "2 ranks agree" in launch([*command, ROOT / "tests/concise_rl/shared_prefix/sharded_tree_run.py", wrapper])


@pytest.mark.slow
def test_two_processes_under_zero_3_train_as_with_padded_rows(tmp_path: Path) -> None:
    """Each forward gathers the weights from both: they have to make the same number."""
    command = ["-m", "accelerate.commands.launch", "--config_file", "launch/accelerate/cpu_zero3.yaml"]
    small = {"max_steps": 1, "num_rows": 64, "per_device_train_batch_size": 8, "max_completion_length": 96}
    steps = {}
    for name in ("false", "true"):
        own = {"output_dir": tmp_path / name, "shared_prefix": name, "beta": 0.1, "logging_steps": 1}
        words = [word for key, value in (small | own).items() for word in (f"--{key}", str(value))]
        launch(
            [
                sys.executable,
                *command,
                "-m",
                "concise_rl.train",
                "--config",
                ROOT / "recipes/tiny/grpo_lambda.yaml",
                *words,
            ]
        )
        steps[name] = metrics_of(tmp_path / name)
    # Of one step: rollouts differ later, as TRL's generate draws from the generator that its shuffle draws from.
    of_padded, of_shared = steps["false"][0], steps["true"][0]
    assert of_padded["grad_norm"] > 0 and of_shared["prefix/forwarded"] < 1
    for key in ("loss", "grad_norm", "entropy"):
        assert of_shared[key] == pytest.approx(of_padded[key], rel=1e-4), key
