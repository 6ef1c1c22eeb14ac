"""The embedded engine: what it samples is what transformers' own generate would."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from concise_rl.rollout.engine import Sampling
from concise_rl.rollout.transformers_engine import TransformersEngine, eos_ids, load_engine
from concise_rl.tiny import load_problems, resolve_model
from concise_rl.trace import StopReason

GREEDY = Sampling(max_tokens=120, temperature=0.0)


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    return load_engine("tiny:base", batch_size=8)


@pytest.fixture(scope="module")
def prompts(engine: TransformersEngine) -> list[list[int]]:
    rows = load_problems("test", 6)
    chats = [[{"role": "user", "content": row["prompt"]}] for row in rows]
    return [engine.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]


def segmented(engine: TransformersEngine, segment: int) -> TransformersEngine:
    return TransformersEngine(engine.model, engine.tokenizer, engine.eos_token_ids, batch_size=8, segment=segment)


def test_a_greedy_completion_is_the_one_of_a_single_call_of_generate(engine, prompts) -> None:
    completion = engine.generate(prompts[:1], GREEDY)[0]
    ids = torch.tensor([prompts[0]])
    whole = engine.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=120, do_sample=False)
    assert completion.ids == whole[0, len(prompts[0]) :].tolist()


@pytest.mark.parametrize("segment", [1, 7, 200])
def test_the_length_of_a_segment_does_not_change_greedy_completions(engine, prompts, segment: int) -> None:
    expected = [c.ids for c in engine.generate(prompts, GREEDY)]
    assert [c.ids for c in segmented(engine, segment).generate(prompts, GREEDY)] == expected


def test_the_batch_size_does_not_change_greedy_completions(engine, prompts) -> None:
    alone = TransformersEngine(engine.model, engine.tokenizer, engine.eos_token_ids, batch_size=1)
    assert [c.ids for c in alone.generate(prompts, GREEDY)] == [c.ids for c in engine.generate(prompts, GREEDY)]


def test_completions_end_at_their_first_eos_or_at_the_cap(engine, prompts) -> None:
    for completion in engine.generate(prompts * 4, Sampling(max_tokens=90, seed=0)):
        if completion.stop_reason is StopReason.EOS:
            assert completion.ids.index(engine.eos_token_ids[0]) == len(completion.ids) - 1
        else:
            assert completion.stop_reason is StopReason.LENGTH and len(completion.ids) == 90


def test_the_same_seed_samples_the_same_and_another_does_not(engine, prompts) -> None:
    first, again, other = (engine.generate(prompts, Sampling(max_tokens=60, seed=s)) for s in (1, 1, 2))
    assert first == again != other


def test_sampling_settings_of_the_models_own_config_do_not_seep_in(engine, prompts) -> None:
    expected = engine.generate(prompts, Sampling(max_tokens=60, seed=1))
    path = resolve_model("tiny:base")
    model = AutoModelForCausalLM.from_pretrained(path).eval()
    model.generation_config.update(temperature=0.3, top_p=0.5, top_k=1, repetition_penalty=1.5)
    opinionated = TransformersEngine(model, engine.tokenizer, engine.eos_token_ids, batch_size=8)
    assert opinionated.generate(prompts, Sampling(max_tokens=60, seed=1)) == expected


def test_progress_counts_every_completion_once(engine, prompts) -> None:
    ended: list[int] = []
    engine.generate(prompts, Sampling(max_tokens=40, seed=0), progress=ended.append)
    assert sum(ended) == len(prompts)


def test_any_eos_of_the_generation_config_stops(prompts) -> None:
    path = resolve_model("tiny:base")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    newline = tokenizer.convert_tokens_to_ids("\n")
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, newline]
    engine = TransformersEngine(model, tokenizer, eos_ids(model, tokenizer))
    completion = engine.generate(prompts[:1], GREEDY)[0]
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
