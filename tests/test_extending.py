"""The examples of docs/extending.md run, each as the file that it is."""

import importlib
import inspect
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel

from concise_rl import ConciseConfig, ConciseTrainer, load_rows, to_messages
from concise_rl.curriculum import Curriculum, build_curriculum
from concise_rl.labels.judges import Passage, build_judge
from concise_rl.methods import LossInputs, Objective, RolloutBatch, RunContext, Selection, SequenceReward
from concise_rl.models.eos import load_tokenizer
from concise_rl.models.resolve import resolve_model
from concise_rl.named import find_class, with_options
from concise_rl.reading.trace import Delimiters
from concise_rl.recipe.stages import Stage
from concise_rl.rollout.engine import Asked, Request, Sampling
from concise_rl.rollout.exits import ExitPolicy, ExitTools, Reading, exit_at, exit_of
from concise_rl.verify.verifiers import load_verifier
from reward import build_objective
from tests.concise_rl.rollout.plans.test_forced import Recorder
from tests.reward.test_objectives import batch_of

PAGE = (Path(__file__).parents[1] / "docs/extending.md").read_text()
EXAMPLES: dict[str, str] = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE, flags=re.DOTALL))
CLASSES = {name: re.search(r"class (\w+)\((?:SequenceReward|Objective)\)", code) for name, code in EXAMPLES.items()}
METHODS = {name: found[1] for name, found in CLASSES.items() if found}
GROUP = 4


@pytest.fixture(autouse=True)
def on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in EXAMPLES.items():
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)


def example(name: str) -> ModuleType:
    return importlib.import_module(name)


def method(name: str) -> Objective:
    return build_objective(f"{name}.{METHODS[name]}")


def batch_for(method: Objective, evaluated: bool = False) -> RolloutBatch:
    """Two groups, with a 20 in every fact that the method's parts declare."""
    batch = batch_of([[1, 0, 1, 1], [1, 1, 1, 0]], [[9, 12, 30, 64], [5, 6, 7, 8]])
    parts = method.parts(RunContext.sketch(GROUP))
    known = [*(() if evaluated else parts.plan.facts), *(fact for stage in parts.stages for fact in stage.facts)]
    known += parts.prompts.facts if parts.prompts else ()
    shapes = {fact: (8,) if fact.width == 1 else (8, fact.width) for fact in known}
    facts = {fact.name: torch.full(shape, 20, dtype=fact.dtype) for fact, shape in shapes.items()}
    return batch_with(batch, facts, method)


def batch_with(batch: RolloutBatch, facts: dict[str, torch.Tensor], method: Objective) -> RolloutBatch:
    return replace(batch, facts=facts, memory=method.initial())


def test_there_is_an_example_of_each_kind_and_none_is_longer_than_20_lines_of_code() -> None:
    assert len(EXAMPLES) == 15 and len(METHODS) == 9
    for name, code in EXAMPLES.items():
        lines = [line for line in code.splitlines() if line.strip() and not line.startswith(("from ", "import "))]
        assert len(lines) <= 20, name


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_the_page_says_what_rollouts_are_worth(name: str) -> None:
    found = method(name)
    batch = batch_for(found)
    advantages = found.advantages(batch)
    assert advantages.shape == ((8, 64) if found.credit.by_token else (8,))
    assert torch.isfinite(advantages).all() and advantages.any()
    assert found.learn(batch).keys() == found.initial().keys()


@pytest.mark.parametrize("name", ["or_not", "already_known"])
def test_a_method_whose_plan_is_for_training_alone_does_without_its_facts_in_an_evaluation(name: str) -> None:
    found = method(name)
    assert torch.isfinite(found.advantages(batch_for(found, evaluated=True))).all()


def test_the_reward_falls_with_the_length_of_right_rollouts() -> None:
    found = method("short_first")
    assert isinstance(found, SequenceReward)
    assert found.rewards(batch_for(found))[:4].tolist() == pytest.approx([1 - 0.9 / 64, 0, 1 - 3 / 64, 0])


def test_the_credit_by_token_charges_the_redundant_tokens_alone() -> None:
    found = method("stop_early")
    batch = batch_for(found)
    redundant_B2 = torch.tensor([[3, 5], *[[0, 0]] * 7])
    advantages = found.advantages(batch_with(batch, {"redundant": redundant_B2}, found))
    assert (advantages[0] - advantages[0, 0]).nonzero().flatten().tolist() == [3, 4]


def test_the_plan_halves_every_other_cap_and_says_so() -> None:
    requests, engine = [Request([1], 50, seed) for seed in range(4)], Recorder()
    rollouts = example("hurried").HalfTheCap().rollouts(engine, Asked(requests, Sampling()))
    assert [request.max_tokens for request in engine.asked] == [50, 25, 50, 25]
    assert [rollout.facts["hurried"] for rollout in rollouts] == [0, 1, 0, 1]


def test_the_prompt_writer_writes_what_it_knows_and_can_be_named_in_an_evaluation() -> None:
    writer: Any = with_options("prompts", "x", find_class("prompts", "within_budget.Budget", {}, BaseModel), {})
    row, known = writer.write({"prompt": "1 + 1?"}, np.random.default_rng(0))
    assert row["prompt"] == f"1 + 1? Use at most {known['budget']} tokens."


def test_the_memory_follows_the_accuracy() -> None:
    found = method("easing")
    assert found.learn(batch_for(found)) == {"accuracy": pytest.approx(0.1 * 5 / 8)}


def test_the_loss_has_a_gradient_where_the_clipped_one_has_none() -> None:
    log_probs = torch.tensor([[0.5]], requires_grad=True)
    mask = torch.ones(1, 1)
    example("unclipped").Ratio()(LossInputs(log_probs, torch.zeros(1, 1), mask, mask, 0.2, 0.2)).sum().backward()
    assert log_probs.grad is not None and log_probs.grad.item() == pytest.approx(-(0.5**0 * np.exp(0.5)))


def test_the_selection_takes_the_right_sample_of_middle_length() -> None:
    selection = with_options("selection", "x", find_class("selection", "middle.Middle", {}, Selection), {"least": 2})
    sample = {"prompt": "p", "prompt_hash": "h", "finished": True, "correct": 1.0}
    samples = [sample | {"text": str(n), "completion_ids": [n], "length": n} for n in (30, 10, 20)]
    assert [row["answer"] for row in selection.select([*samples, samples[0] | {"correct": 0.0}])] == ["20"]


def test_the_curriculum_adds_a_share_of_easy_groups() -> None:
    curriculum = build_curriculum("some_easy.SomeEasy", {"share": 0.5})
    assert isinstance(curriculum, Curriculum) and curriculum.easy_quota([(3, 9), (4, 0)], {}, 0) == 3


def test_the_judge_finds_the_answer_in_a_passage() -> None:
    judge = build_judge("mentions.Mentions", {}, None)  # ty: ignore[invalid-argument-type] (it asks no verifier)
    assert judge.states([Passage({"answer": 7}, "So 7. Or 8.", *span) for span in ((0, 5), (6, 11))]) == [True, False]


def test_the_verifier_compares_to_the_cent() -> None:
    verify = load_verifier("to_the_cent.verify")
    cases = [("It is $2.50.", "2.5"), ("It is 2.51", "2.5"), ("", "2.5"), ("2", "two")]
    assert [verify(response, {"answer": answer}) for response, answer in cases] == [True, False, False, None]


def test_the_exit_stops_after_so_many_lines_and_can_be_named_in_an_evaluation() -> None:
    policy = exit_of("after_lines.AfterLines:2")
    assert isinstance(policy, ExitPolicy)
    tokenizer, eos = load_tokenizer(resolve_model("tiny:base"))
    tools = ExitTools(Delimiters.of(tokenizer, eos, "</think>"), tokenizer)
    ids = tokenizer.encode("<think>\n7 + 1 = 8\nSo 8.\n")
    places = policy.places(ids, tools)
    assert [tools.text_of(ids[at - 1]) for at in places] == ["\n"] * 3
    assert exit_at(policy, [Reading(at) for at in places], len(ids), tools) == places[1]


def test_the_training_stage_is_one() -> None:
    found = example("last_layer")
    assert isinstance(found.LAST_LAYER, Stage)
    assert list(inspect.signature(found.train_last_layer).parameters) == ["recipe"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["within_budget", "in_digits"])
def test_a_method_of_the_page_trains(name: str, tmp_path: Path) -> None:
    config = ConciseConfig(
        output_dir=str(tmp_path / "run"),
        objective=f"{name}.{METHODS[name]}",
        verifier="reasoning_gym",
        per_device_train_batch_size=8,
        num_generations=GROUP,
        max_completion_length=64,
        max_steps=2,
        bf16=False,
        use_cpu=True,
        report_to=[],
    )
    ConciseTrainer("tiny:base", config, to_messages(load_rows("tiny:sums", num_rows=16))).train()
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) >= 1
