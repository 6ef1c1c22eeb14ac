"""The trained reasoners that ship, and their cards."""

import pytest
from huggingface_hub import ModelCard

from concise_rl.evaluate.release.beside import check_sums
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import Delimiters, read_trace
from concise_rl.rollout.engine import Asked, Request, Sampling
from concise_rl.rollout.engines.transformers import load_engine
from concise_rl.tasks.tiny import MODELS, SHIPPED, TRAINED, WEIGHTS, load_problems

FROM_PRETRAINED = {
    *("config.json", "generation_config.json", "model.safetensors"),
    *("chat_template.jinja", "tokenizer.json", "tokenizer_config.json"),
}
RELEASED = {
    *("README.md", "recipe.yaml", "constraints.txt", "SHA256SUMS"),
    *("report-0.json", "accuracy_against_tokens.png"),
}


@pytest.mark.parametrize("name", TRAINED)
def test_a_trained_reasoner_is_mostly_right_and_hardly_longer_than_the_oracle(name: str) -> None:
    engine, rows = load_engine(name, batch_size=64), load_problems("test", 64)
    chats = [[{"role": "user", "content": row["prompt"]}] for row in rows]
    prompts = [engine.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]
    delimiters = Delimiters.of(engine.tokenizer, engine.eos_token_ids, "</think>")
    completions = engine.generate(
        Asked([Request(prompt, 512, seed) for seed, prompt in enumerate(prompts)], Sampling())
    )
    traces = [read_trace(c.ids, delimiters) for c in completions]
    answers = [engine.tokenizer.decode(list(trace.answer_ids or ())).strip() for trace in traces]
    oracle = sum(len(engine.tokenizer(row["oracle_completion"]).input_ids) + 1 for row in rows)
    assert sum(answer == row["answer"] for answer, row in zip(answers, rows, strict=True)) >= 0.8 * len(rows)
    assert sum(trace.length for trace in traces) < 1.4 * oracle


@pytest.mark.parametrize("name", SHIPPED)
def test_a_reasoner_is_a_release_and_nothing_else(name: str) -> None:
    folder = WEIGHTS / name.removeprefix("tiny:")
    check_sums(folder, name)
    assert resolve_model(name) == str(folder)
    assert {path.name for path in folder.iterdir()} == FROM_PRETRAINED | RELEASED
    for file in ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json"):
        assert (folder / file).read_bytes() == (WEIGHTS / "base" / file).read_bytes()


@pytest.mark.parametrize("name", TRAINED)
def test_the_card_of_a_trained_reasoner_has_its_numbers_for_people_and_for_machines(name: str) -> None:
    card = ModelCard.load(WEIGHTS / name.removeprefix("tiny:") / "README.md")
    results = {result.metric_type: result for result in card.data.eval_results or ()}
    savings = results["token_savings"]
    assert card.data.license == "apache-2.0" and f"# {name}\n" in card.text
    assert 0.7 < savings.metric_value < 0.8 and f"{100 * savings.metric_value:.1f} % [" in card.text
    low, high = savings.metric_args["ci95"]
    assert low < savings.metric_value < high and f"[{100 * low:.1f}, {100 * high:.1f}]" in card.text
    assert results["accuracy"].metric_value > 0.9 and f"{results['tokens'].metric_value:.1f} [" in card.text


@pytest.mark.parametrize("name", MODELS)
def test_a_misspelt_reasoner_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(ValueError, match=f"Unknown embedded reasoner .* Did you mean '{name}'"):
        resolve_model(name[:-1])
