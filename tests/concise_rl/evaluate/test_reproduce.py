import argparse
import shlex
from pathlib import Path
from typing import Any

import pytest

from concise_rl.evaluate.cli import add_eval_arguments, spec_of
from concise_rl.evaluate.defaults import of_benchmark
from concise_rl.evaluate.reproduce import eval_command, hash_problems, shell_lines
from concise_rl.evaluate.spec import Manifest
from tests.concise_rl.evaluate.fabric import sample, write_evaluation


def manifest_of(folder: Path, baseline: bool = True, **measurement: Any) -> Manifest:
    settings: dict[str, Any] = {"samples": 2, **measurement, "problems": 1}
    models = (("grpo", []), ("grpo", []))
    found = write_evaluation(folder, [sample(0, 0)] if baseline else None, *models, **settings)
    models = tuple(run.model_copy(update={"model": "tiny:base"}) for run in found.models)
    return found.model_copy(update={"models": models})


@pytest.mark.parametrize(
    "measurement",
    [
        {},
        {"think_end": None, "verifier": "exact", "trust_remote_code": True, "revision": "v1"},
        {"judge": "rule", "judge_options": {"max_words": 3}, "prompt_template": "It's {prompt}\nGo."},
        {"batch_size": 6, "keep_shortest": 1, "chat_template_kwargs": {"enable_thinking": False}},
        {"think_budget": 100, "answer_budget": 20, "engine": "vllm", "temperature": 0.6, "top_p": 0.95, "seed": 3},
        {"temperature": 0.6, "top_p": 0.95, "top_k": 20},
        {**of_benchmark("aime25"), "task": "aime25", "top_p": 1.0},
        {**of_benchmark("aime25"), "task": "aime25", "prompt_template": "Now: {prompt}", "split": "train"},
    ],
)
def test_the_command_measures_the_same(tmp_path: Path, measurement: dict[str, Any]) -> None:
    manifest = manifest_of(tmp_path / "there", **measurement)
    words = shlex.split(shell_lines(eval_command(manifest)).replace("\\\n", " "))
    parser = argparse.ArgumentParser()
    add_eval_arguments(parser)
    spec = spec_of(parser.parse_args([*words[2:-1], str(tmp_path / "here")]))
    assert words[:2] == ["concise-rl", "eval"]
    assert spec.measurement == manifest.measurement
    assert [(run.label, run.run, run.model) for run in spec.runs] == [
        ("baseline", 0, "tiny:base"), ("grpo", 0, "tiny:base"), ("grpo", 1, "tiny:base")
    ]  # fmt: skip


def test_without_a_baseline_none_is_named(tmp_path: Path) -> None:
    assert "--baseline" not in eval_command(manifest_of(tmp_path, baseline=False))


def test_a_long_command_is_broken_before_its_flags(tmp_path: Path) -> None:
    lines = shell_lines(eval_command(manifest_of(tmp_path))).splitlines()
    assert len(lines) > 1 and all(len(line) <= 100 for line in lines)
    assert all(line.startswith("  --") for line in lines[1:]) and all(line.endswith(" \\") for line in lines[:-1])


def test_the_hash_tells_problems_apart_and_not_samples() -> None:
    one = hash_problems([sample(0, 0), sample(0, 1), sample(1, 0)])
    assert one == hash_problems([sample(1, 0), sample(0, 0, length=30)])
    assert one != hash_problems([sample(0, 0), sample(1, 0, gold="8")])
    assert one != hash_problems([sample(0, 0)])
