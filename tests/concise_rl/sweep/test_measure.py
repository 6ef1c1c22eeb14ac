"""How the runs of a sweep are measured: as the recipes say, unless told otherwise."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from concise_rl.sweep.measure import check_measurement, measurement_of, spec_of
from concise_rl.sweep.plan import plan_runs
from concise_rl.tasks.benchmarks import BENCHMARKS
from tests.concise_rl.sweep.small import ROOT, make_trained, planned, variant
from tests.concise_rl.sweep.test_record import NOTHING_GIVEN


def given(**options: Any) -> Namespace:
    return Namespace(**{**NOTHING_GIVEN, **options})


def test_recipes_say_how_their_runs_are_measured(tmp_path: Path) -> None:
    found = measurement_of(planned(tmp_path, "grpo"), given())
    assert (found.task, found.split, found.verifier, found.think_end) == (
        "tiny:sums",
        "test",
        "reasoning_gym",
        "</think>",
    )
    assert (found.max_tokens, found.engine, found.judge) == (512, "transformers", "rule")


def test_a_recipe_for_gpus_is_measured_with_vllm_and_its_own_prompt(tmp_path: Path) -> None:
    runs = plan_runs([ROOT / "recipes/r1-distill-qwen-1.5b/dot.yaml"], 1, tmp_path, elsewhere=True)
    found = measurement_of(runs, given(task="HuggingFaceH4/MATH-500", prompt_column="problem", problems=9))
    assert (found.engine, found.max_tokens, found.problems) == ("vllm", 8192, 9)
    assert found.prompt_template == runs[0].recipe.data.prompt_template
    assert (found.prompt_column, found.answer_column) == ("problem", "answer")


def test_a_benchmark_is_measured_as_it_says_but_for_the_prompt_that_the_recipe_trains_with(tmp_path: Path) -> None:
    runs = plan_runs([ROOT / "recipes/r1-distill-qwen-1.5b/dot.yaml"], 1, tmp_path, elsewhere=True)
    found = measurement_of(runs, given(task="aime24", samples=3))
    said = BENCHMARKS["aime24"]
    assert (found.split, found.temperature, found.top_p) == (said.split, said.temperature, said.top_p)
    assert (found.max_tokens, found.data_revision, found.samples) == (said.max_tokens, said.revision, 3)
    assert found.prompt_template == runs[0].recipe.data.prompt_template != said.prompt_template


@pytest.mark.parametrize("option", ["problems", "samples", "max_tokens", "batch_size"])
def test_nothing_to_measure_is_refused_rather_than_taken_for_the_default(tmp_path: Path, option: str) -> None:
    with pytest.raises(ValueError, match=option):
        measurement_of(planned(tmp_path, "grpo"), given(**{option: 0}))


def test_recipes_that_train_on_a_file_need_a_task(tmp_path: Path) -> None:
    path = variant(tmp_path, "mine", "dataset: tiny:sums", "dataset: mine.jsonl")
    with pytest.raises(
        ValueError, match=r"train on mine\.jsonl, a file without a test split: name other problems, --task"
    ):
        measurement_of(plan_runs([path], 1, tmp_path), given())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "http://localhost:8000"}, "a server holds one model"),
        ({"max_tokens": 4096}, "--max-tokens 4096 does not fit beside the longest problem"),
        ({"task": "nowhere.jsonl"}, r"There is no file nowhere\.jsonl"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_the_training(
    options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    runs = planned(tmp_path, "grpo")
    with pytest.raises(ValueError, match=said):
        check_measurement(measurement_of(runs, given(problems=4, **options)), runs[0].recipe)


def test_a_run_is_numbered_by_its_seed_so_that_one_that_failed_can_be_added(tmp_path: Path) -> None:
    runs = planned(tmp_path, "grpo", seeds=2)
    make_trained(runs[1])
    spec = spec_of(runs[1:], measurement_of(runs, given()))
    assert [(model.label, model.run) for model in spec.models] == [("grpo", 1)]
