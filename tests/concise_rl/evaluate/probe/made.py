"""Probes made by hand: a model that overthinks, and what is changed about it."""

from dataclasses import replace
from typing import Any

from concise_rl.evaluate.intervals import Estimate
from concise_rl.evaluate.probe.advice import Advice, advise
from concise_rl.evaluate.probe.findings import Measured, find
from concise_rl.evaluate.probe.rollouts import Budget, Groups, Rollouts
from concise_rl.evaluate.probe.tokens import Tokens
from concise_rl.evaluate.spec import Measurement


def about(value: float, width: float = 0.02) -> Estimate:
    """A number with an interval of this half width."""
    return Estimate(value, (value - width, value + width))


def groups(size: int, all_right: float = 0.5, mixed: float = 0.45) -> Groups:
    """Groups of one size."""
    return Groups(size, about(all_right), about(mixed), about(1 - all_right - mixed), about(0.9))


ROLLOUTS = Rollouts(
    problems=32, samples=512, cap=8192, accuracy=about(0.8), unjudged=0, tokens=about(3000, 100),
    quantiles={10: 900, 50: 2500, 90: 5400, 99: 7300}, counts=[256, 256], edges=[0, 4000, 8000], cut=about(0.01, 0.005),
    unclosed=about(0.0, 0.005), closed=about(0.99, 0.005), stated=about(0.95), redundant=about(0.6), saved=about(0.5),
    path_over_answer=about(20, 1), answer_tokens=300, budgets=[Budget(4000, 0.6, 0.7), Budget(8000, 0.8, 0.8)],
    groups=[groups(8), groups(16, 0.4, 0.55)],
)  # fmt: skip
"""A model that is worth training."""
TOKENS = Tokens(
    parameters=8_190_000_000, context=40960, prompts={50: 90, 90: 200, 100: 640}, opening="<|im_start|>assistant\n",
    opens=False, closes=False, switch=True, ends={"<|im_end|>": 507, "<|endoftext|>": 0}, tokenizer_end="<|im_end|>",
    others={},
)  # fmt: skip


def measured(model: str = "Qwen/Qwen3-8B", task: str = "org/problems", **changes: Any) -> Measured:
    """A probe's numbers; `changes` replace fields of the rollouts, or of what the tokenizer says."""
    of_tokens = {
        name: changes.pop(name) for name in list(changes) if name in Tokens.__dataclass_fields__ and name != "tokens"
    }
    measurement = Measurement(task=task, split="train", problems=32, samples=16, max_tokens=8192, judge="rule")
    return Measured(model, task, measurement, replace(ROLLOUTS, **changes), replace(TOKENS, **of_tokens))


def advice(**changes: Any) -> Advice:
    """What a probe of such a model advises."""
    found = measured(**changes)
    return advise(found, find(found))
