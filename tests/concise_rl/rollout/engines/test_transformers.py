"""The embedded engine: what it samples is what transformers' own generate would."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from scipy.stats import chisquare
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, MambaConfig

from concise_rl.models.context import context_length
from concise_rl.models.eos import eos_ids
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import Asked, Completion, Peek, Request, Sampling
from concise_rl.rollout.engines.transformers import TransformersEngine, load_engine
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.tasks.tiny import load_problems
from tests.concise_rl.rollout.altered import NEWLINE, OPINIONS, altered

GREEDY, SAMPLED = Sampling(temperature=0.0), Sampling()
Prompts = list[list[int]]


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    return load_engine("tiny:base", batch_size=8)


@pytest.fixture(scope="module")
def prompts(engine: TransformersEngine) -> Prompts:
    rows = load_problems("test", 6)
    chats = [[{"role": "user", "content": row["prompt"]}] for row in rows]
    return [engine.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]


def asking(prompts: Prompts, max_tokens: int = 120, seed: int | None = None) -> list[Request]:
    """A request for each prompt; seeds from `seed` on."""
    return [Request(p, max_tokens, None if seed is None else seed + i) for i, p in enumerate(prompts)]


def segmented(engine: TransformersEngine, segment: int) -> TransformersEngine:
    return TransformersEngine(engine.model, engine.tokenizer, engine.eos_token_ids, batch_size=8, segment=segment)


def ids_of(completions: list[Completion]) -> list[list[int]]:
    return [completion.ids for completion in completions]


def test_streamed_tokens_are_those_of_a_completion_of_the_same_seed(engine, prompts) -> None:
    (request,), told = asking(prompts[:1], 120, seed=3), []
    streamed = segmented(engine, 7).stream(request, SAMPLED, told.append)
    assert streamed == segmented(engine, 7).generate(Asked([request], SAMPLED))[0]
    assert told == [[token] for token in streamed.ids]


def test_a_stream_ends_at_the_cap(engine, prompts) -> None:
    told: list[int] = []
    streamed = engine.stream(Request(prompts[0], 5, 1), SAMPLED, told.extend)
    assert (len(told), streamed.stop_reason) == (5, StopReason.LENGTH)


def test_a_greedy_completion_is_the_one_of_a_single_call_of_generate(engine, prompts) -> None:
    completion = engine.generate(Asked(asking(prompts[:1]), GREEDY))[0]
    ids = torch.tensor([prompts[0]])
    whole = engine.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=120, do_sample=False)
    assert completion.ids == whole[0, len(prompts[0]) :].tolist()


@pytest.mark.parametrize("segment", [1, 7, 200])
def test_the_length_of_a_segment_does_not_change_greedy_completions(engine, prompts, segment: int) -> None:
    expected = engine.generate(Asked(asking(prompts), GREEDY))
    assert segmented(engine, segment).generate(Asked(asking(prompts), GREEDY)) == expected


def test_the_batch_size_does_not_change_greedy_completions(engine, prompts) -> None:
    alone = TransformersEngine(engine.model, engine.tokenizer, engine.eos_token_ids, batch_size=1)
    assert alone.generate(Asked(asking(prompts), GREEDY)) == engine.generate(Asked(asking(prompts), GREEDY))


def test_completions_end_at_their_first_eos_or_at_the_cap(engine, prompts) -> None:
    for completion in engine.generate(Asked(asking(prompts * 4, 90, seed=0), SAMPLED)):
        if completion.stop_reason is StopReason.EOS:
            assert completion.ids.index(engine.eos_token_ids[0]) == len(completion.ids) - 1
        else:
            assert completion.stop_reason is StopReason.LENGTH and len(completion.ids) == 90


@pytest.mark.parametrize("segment", [5, 48])
def test_each_request_has_a_cap_of_its_own(engine, prompts, segment: int) -> None:
    caps = [1, 5, 12, 30, 31, 47]
    requests = [Request(prompt, cap) for prompt, cap in zip(prompts, caps, strict=True)]
    whole = ids_of(engine.generate(Asked(asking(prompts, 47), GREEDY)))
    completions = segmented(engine, segment).generate(Asked(requests, GREEDY))
    assert ids_of(completions) == [ids[:cap] for ids, cap in zip(whole, caps, strict=True)]
    assert all(c.stop_reason is StopReason.LENGTH for c in completions)


def test_a_stop_token_ends_a_completion_and_is_its_last(engine, prompts) -> None:
    (close,) = engine.tokenizer.encode("</think>", add_special_tokens=False)
    whole = ids_of(engine.generate(Asked(asking(prompts, 320), GREEDY)))
    completions = engine.generate(Asked(asking(prompts, 320), Sampling(temperature=0.0, stop_ids=(close,))))
    assert ids_of(completions) == [ids[: ids.index(close) + 1] for ids in whole]
    assert {c.stop_reason for c in completions} == {StopReason.STOP_TOKEN}


def test_a_stop_token_that_is_an_eos_counts_as_the_eos(engine, prompts) -> None:
    stopping = Sampling(temperature=0.0, stop_ids=tuple(engine.eos_token_ids))
    assert {c.stop_reason for c in engine.generate(Asked(asking(prompts, 320), stopping))} == {StopReason.EOS}


@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_log_probabilities_are_those_of_a_forward_pass(engine, prompts, temperature: float) -> None:
    wanted = Sampling(temperature=temperature, logprobs=True)
    for prompt, completion in zip(prompts, engine.generate(Asked(asking(prompts, seed=3), wanted)), strict=True):
        with torch.no_grad():
            logits = engine.model(torch.tensor([[*prompt, *completion.ids]])).logits[0, len(prompt) - 1 : -1]
        expected = (logits / temperature).log_softmax(-1).gather(1, torch.tensor(completion.ids)[:, None])[:, 0]
        assert completion.logprobs == pytest.approx(expected.tolist(), abs=1e-4)


def test_there_are_no_log_probabilities_unless_they_are_wanted(engine, prompts) -> None:
    assert engine.generate(Asked(asking(prompts[:1]), GREEDY))[0].logprobs is None


def test_log_probabilities_of_a_truncated_distribution_are_refused(engine, prompts) -> None:
    with pytest.raises(ValueError, match="leave top_p, top_k and min_p off"):
        engine.generate(Asked(asking(prompts[:1]), Sampling(top_p=0.9, logprobs=True)))


def test_the_same_seeds_sample_the_same_and_others_do_not(engine, prompts) -> None:
    first, again, other = (engine.generate(Asked(asking(prompts, 60, seed), SAMPLED)) for seed in (1, 1, 2))
    assert first == again != other


def test_a_row_is_sampled_alike_whatever_is_generated_beside_it(engine, prompts) -> None:
    requests = asking(prompts, 120, seed=1)
    together = engine.generate(Asked(requests, SAMPLED))
    alone = TransformersEngine(engine.model, engine.tokenizer, engine.eos_token_ids, batch_size=1)
    assert ids_of(alone.generate(Asked(requests, SAMPLED))) == ids_of(together)
    assert ids_of(engine.generate(Asked(requests[::-1], SAMPLED)))[::-1] == ids_of(together)
    assert ids_of(segmented(engine, 7).generate(Asked(requests, SAMPLED))) == ids_of(together)


def test_two_samples_of_one_prompt_differ(engine, prompts) -> None:
    one, two = engine.generate(Asked([Request(prompts[0], 60, seed) for seed in (1, 2)], SAMPLED))
    assert one != two


@pytest.mark.parametrize("settings", [{}, {"top_k": 3}, {"top_p": 0.8}])
def test_tokens_are_sampled_as_often_as_the_model_says(engine, prompts, settings: dict[str, Any]) -> None:
    hot = Sampling(temperature=3.0, **settings)
    many = TransformersEngine(engine.model, engine.tokenizer, engine.eos_token_ids, batch_size=500)
    completions = many.generate(Asked([Request(prompts[0], 1, seed) for seed in range(2000)], hot))
    with torch.no_grad():
        probs = (engine.model(torch.tensor([prompts[0]])).logits[0, -1] / 3.0).softmax(-1)
    if settings:
        ranked = probs.sort(descending=True)
        kept = 3 if "top_k" in settings else int((ranked.values.cumsum(0) < 0.8).sum()) + 1
        probs = torch.zeros_like(probs).scatter(0, ranked.indices[:kept], ranked.values[:kept])
    counts = torch.bincount(torch.tensor([c.ids[0] for c in completions]), minlength=len(probs)).double()
    expected = 2000 * probs.double() / probs.double().sum()
    assert not counts[expected == 0].any()
    rare = expected < 5
    groups = [torch.cat([x[~rare], x[rare].sum()[None]]) for x in (counts, expected)]
    filled = groups[1] > 0
    assert chisquare(groups[0][filled].numpy(), groups[1][filled].numpy()).pvalue > 0.001


def test_calls_with_seeds_leave_the_global_generator_alone(engine, prompts) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    engine.generate(Asked(asking(prompts, 20, seed=1), SAMPLED))
    assert torch.equal(torch.get_rng_state(), before)


def test_calls_without_seeds_draw_from_the_global_generator(engine, prompts) -> None:
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(engine.generate(Asked(asking(prompts, 40), SAMPLED)))
    assert drawn[0] == drawn[1] != drawn[2]


def longer_than_the_shortest(whole: list[Completion], keep: int, segment: int) -> list[bool]:
    """Which of a group's completions were still growing at the end of the segment in which the `keep`th ended."""
    ended_in = sorted(-(-len(c.ids) // segment) for c in whole)[keep - 1]
    return [len(c.ids) > ended_in * segment for c in whole]


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED])
@pytest.mark.parametrize("keep", [1, 3])
def test_what_cannot_count_is_given_up_at_the_end_of_a_segment_and_nothing_else_changes(
    engine, prompts, sampling: Sampling, keep: int
) -> None:
    ours = segmented(engine, 8)
    whole = ours.generate(Asked(asking(prompts, 320, seed=4), sampling))
    completions = ours.generate(Asked(asking(prompts, 320, seed=4), sampling, give_up=ShortestOnly(keep, lambda _: 0)))
    aborted = [c.stop_reason is StopReason.ABORTED for c in completions]
    assert aborted == longer_than_the_shortest(whole, keep, 8)
    assert any(aborted)
    for before, after, gave_up in zip(whole, completions, aborted, strict=True):
        assert after.ids == before.ids[: len(after.ids)]
        assert len(after.ids) % 8 == 0 if gave_up else after == before


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED])
def test_a_group_is_given_up_for_its_own_members_only(engine, prompts, sampling: Sampling) -> None:
    ours, groups, requests = segmented(engine, 8), [0, 0, 0, 1, 1, 1], asking(prompts, 320, seed=4)
    whole = ours.generate(Asked(requests, sampling))
    completions = ours.generate(Asked(requests, sampling, give_up=ShortestOnly(1, groups.__getitem__)))
    expected = longer_than_the_shortest(whole[:3], 1, 8) + longer_than_the_shortest(whole[3:], 1, 8)
    assert [c.stop_reason is StopReason.ABORTED for c in completions] == expected
    assert all(after == before for before, after, up in zip(whole, completions, expected, strict=True) if not up)


def test_a_rule_that_keeps_all_gives_up_nothing(engine, prompts) -> None:
    requests = asking(prompts, 100, seed=2)
    kept = engine.generate(Asked(requests, SAMPLED, give_up=ShortestOnly(len(prompts), lambda _: 0)))
    assert kept == engine.generate(Asked(requests, SAMPLED))


@pytest.mark.parametrize("name", OPINIONS)
def test_a_setting_of_the_models_own_generation_config_does_not_seep_in(engine, prompts, monkeypatch, name) -> None:
    requests = asking(prompts[:2], 24, seed=1)
    expected, opinion = (
        engine.generate(Asked(requests, SAMPLED)),
        GenerationConfig.from_dict({"do_sample": True, name: OPINIONS[name]}),
    )
    monkeypatch.setattr(engine.model, "generation_config", opinion)
    assert engine.generate(Asked(requests, SAMPLED)) == expected
    assert engine.model.generation_config is opinion, "the model is saved as it was loaded"


def test_a_model_that_is_saved_with_them_all_samples_what_it_does_without(engine, prompts, tmp_path: Path) -> None:
    opinionated = load_engine(altered(tmp_path, "generation_config.json", **OPINIONS), batch_size=8)
    requests = asking(prompts, 60, seed=1)
    assert opinionated.generate(Asked(requests, SAMPLED)) == engine.generate(Asked(requests, SAMPLED))


@pytest.mark.parametrize("setting", ["use_cache", "output_attentions"])
def test_settings_of_the_models_own_config_do_not_seep_in(engine, prompts, tmp_path: Path, setting: str) -> None:
    path = altered(tmp_path, "config.json", **{setting: setting != "use_cache"})
    for batch in (asking(prompts[:3], 60, seed=1), asking(prompts[:1], 20, seed=1)):
        assert load_engine(path, batch_size=8).generate(Asked(batch, SAMPLED)) == engine.generate(Asked(batch, SAMPLED))


def dropping(attribute: str) -> torch.nn.Module:
    """The reasoner with dropout, of its own or of an adapter that does nothing else yet."""
    path = resolve_model("tiny:base")
    if attribute == "attention_dropout":
        return AutoModelForCausalLM.from_pretrained(path, attention_dropout=0.5)
    lora = LoraConfig(r=4, lora_dropout=0.5, target_modules="all-linear", init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return get_peft_model(AutoModelForCausalLM.from_pretrained(path), lora)


@pytest.mark.parametrize("kind", ["attention_dropout", "lora_dropout"])
def test_nothing_is_dropped_while_it_generates_and_the_mode_is_put_back(engine, prompts, kind: str) -> None:
    model: Any = dropping(kind)
    dropped = TransformersEngine(model, engine.tokenizer, engine.eos_token_ids, batch_size=8)
    expected = TransformersEngine(model.eval(), engine.tokenizer, engine.eos_token_ids, batch_size=8).generate(
        Asked(asking(prompts, 40, seed=1), SAMPLED)
    )
    model.train()
    frozen = next(module for module in model.modules() if isinstance(module, torch.nn.Linear)).eval()
    assert dropped.generate(Asked(asking(prompts, 40, seed=1), SAMPLED)) == expected
    assert model.training and not frozen.training, "each part is in the mode that it was in"


def test_an_interruption_puts_mode_and_generation_config_back(engine, prompts) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    model: Any = AutoModelForCausalLM.from_pretrained(resolve_model("tiny:base")).train()
    before = model.generation_config
    with pytest.raises(KeyboardInterrupt):
        segmented(TransformersEngine(model, engine.tokenizer, engine.eos_token_ids), 4).generate(
            Asked(asking(prompts, 4, seed=1), SAMPLED, interrupt)
        )
    assert model.generation_config is before


def test_what_does_not_fit_in_the_models_context_is_refused(engine, prompts) -> None:
    room = 1024 - len(prompts[0])
    with pytest.raises(ValueError, match=r"may take 1025 tokens, and the model has a context of 1024: lower .* by 1,"):
        engine.generate(Asked([Request(prompts[0], 4), Request(prompts[0], room + 1)], SAMPLED))
    with pytest.raises(ValueError, match="may take 1025 tokens"):
        engine.generate(Asked([Request(prompts[0], 4, reserve=room - 3)], SAMPLED))
    assert len(engine.generate(Asked([Request(prompts[0], room, seed=1)], SAMPLED))) == 1


@pytest.mark.parametrize(
    ("config", "most"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}, 4096),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}, 2048),
    ],
)
def test_the_context_is_that_of_the_configuration(config: dict[str, Any], most: int) -> None:
    found = AutoConfig.for_model("llama", **({"max_position_embeddings": 1024} | config))
    assert context_length(found) == most


def test_positions_scaled_by_yarn_reach_as_far_as_either_reading_of_the_configuration() -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024, "rope_theta": 1e4}
    for written in (1024, 4096):  # before the scaling, as Qwen2.5 has it, and after
        found = AutoConfig.for_model("llama", max_position_embeddings=written, rope_parameters=yarn)
        assert context_length(found) == 4096


def test_a_model_without_positions_has_no_end_of_its_context() -> None:
    assert context_length(MambaConfig()) is None


def test_a_model_whose_tokenizer_has_no_eos_is_sampled_as_with_one(engine, prompts, tmp_path: Path) -> None:
    path = altered(tmp_path, "tokenizer_config.json", drop=("eos_token", "pad_token"))
    bare = load_engine(path, batch_size=8)
    assert bare.eos_token_ids == engine.eos_token_ids and bare.tokenizer.pad_token_id is not None
    assert bare.generate(Asked(asking(prompts, 60, seed=1), SAMPLED)) == engine.generate(
        Asked(asking(prompts, 60, seed=1), SAMPLED)
    )


@pytest.mark.parametrize("give_up", [None, ShortestOnly(2, lambda _: 0)])
def test_progress_counts_every_completion_once(engine, prompts, give_up: ShortestOnly | None) -> None:
    ended: list[int] = []
    engine.generate(Asked(asking(prompts, 320, seed=0), SAMPLED, ended.append, give_up))
    assert sum(ended) == len(prompts)


def test_any_eos_of_the_generation_config_stops(prompts) -> None:
    path = resolve_model("tiny:base")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    newline = tokenizer.convert_tokens_to_ids("\n")
    assert newline == NEWLINE
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, newline]
    engine = TransformersEngine(model, tokenizer, eos_ids(model, tokenizer))
    completion = engine.generate(Asked(asking(prompts[:1]), GREEDY))[0]
    assert completion.ids[-1] == newline and completion.stop_reason is StopReason.EOS


def test_a_model_without_any_eos_is_refused() -> None:
    path = resolve_model("tiny:base")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    model.generation_config.eos_token_id, tokenizer.eos_token = None, None
    with pytest.raises(ValueError, match="no completion could end by itself"):
        eos_ids(model, tokenizer)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "nowhere", "tiny:bass"])
def test_a_model_that_is_not_there_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        load_engine(name)


# Looks, watching, bans, hidden states.


def next_logprobs(engine: TransformersEngine, ids: list[int]) -> torch.Tensor:
    """(V,) of the token behind the ids, from a forward by itself."""
    with torch.no_grad():
        return engine.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)


def test_a_look_shows_the_distribution_of_the_next_token(engine, prompts) -> None:
    ids = [[*prompts[0], 5], prompts[1][:1], *prompts, *prompts]  # more than a batch of the engine
    for row, peeked in zip(ids, engine.peek([Peek(row, (7, 3)) for row in ids]), strict=True):
        expected = next_logprobs(engine, row)
        assert peeked.entropy == pytest.approx(-(expected.exp() * expected).sum().item(), abs=1e-4)
        assert (peeked.top_id, peeked.top_logprob) == (
            int(expected.argmax()),
            pytest.approx(expected.max().item(), abs=1e-4),
        )
        assert peeked.logprobs == pytest.approx(expected[[7, 3]].tolist(), abs=1e-4)


def test_no_looks_show_nothing(engine) -> None:
    assert engine.peek([]) == []


def test_banned_tokens_are_never_drawn_and_the_others_share_their_chances(engine, prompts) -> None:
    free = engine.generate(Asked(asking(prompts), GREEDY))
    banned = (free[0].ids[3], free[1].ids[5])
    for sampling in (GREEDY, SAMPLED):
        wanted = replace(sampling, banned_ids=banned, logprobs=True)
        completions = engine.generate(Asked(asking(prompts, seed=0), wanted))
        assert not {token for completion in completions for token in completion.ids} & {*banned}
        logits = next_logprobs(engine, [*prompts[0], *completions[0].ids[:3]])
        logits[list(banned)] = -torch.inf
        expected = logits.log_softmax(-1)[completions[0].ids[3]].item()
        assert completions[0].logprobs[3] == pytest.approx(expected, abs=1e-4)


def test_what_is_watched_is_untouched_by_temperature_truncation_and_bans(engine, prompts) -> None:
    sampling = Sampling(temperature=0.6, top_p=0.9, top_k=4, banned_ids=(9,), watch=20)
    for prompt, completion in zip(prompts, engine.generate(Asked(asking(prompts, seed=3), sampling)), strict=True):
        with torch.no_grad():
            logits = engine.model(torch.tensor([[*prompt, *completion.ids]])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1)
        entropies = -(expected.exp() * expected).sum(-1)
        assert [at.entropy for at in completion.watched] == pytest.approx(entropies.tolist(), abs=1e-4)
        confidences = -expected.topk(20).values.mean(-1)
        assert [at.confidence for at in completion.watched] == pytest.approx(confidences.tolist(), abs=1e-3)


def test_watching_changes_no_draw(engine, prompts) -> None:
    plain, watched = (engine.generate(Asked(asking(prompts, seed=1), Sampling(watch=k))) for k in (0, 5))
    assert ids_of(plain) == ids_of(watched) and plain[0].watched is None


def test_log_probabilities_of_a_greedy_choice_are_those_of_temperature_1_whatever_would_be_cut_off(
    engine, prompts
) -> None:
    wanted = Sampling(temperature=0.0, top_p=0.9, logprobs=True)
    (completion,) = engine.generate(Asked(asking(prompts[:1], 4), wanted))
    expected = next_logprobs(engine, [*prompts[0], *completion.ids[:3]])[completion.ids[3]].item()
    assert completion.logprobs[3] == pytest.approx(expected, abs=1e-4)


def test_hidden_states_are_those_of_the_last_token_layer_after_layer(engine, prompts) -> None:
    rows = [*prompts, prompts[0][:1], [*prompts[1], 4, 5]]
    states = engine.hidden_states(rows, (0, 2, -1))
    assert states.shape == (len(rows), 3 * engine.model.config.hidden_size)
    for row, found in zip(rows, states, strict=True):
        with torch.no_grad():
            layers = engine.model(torch.tensor([row]), output_hidden_states=True).hidden_states
        expected = torch.cat([layers[layer][0, -1] for layer in (0, 2, -1)])
        assert torch.allclose(found, expected, atol=1e-4)


def test_a_layer_that_the_model_does_not_have_is_refused(engine, prompts) -> None:
    with pytest.raises(ValueError, match=r"layers 0 .* to 4, and no layer 5"):
        engine.hidden_states(prompts, (2, 5))
