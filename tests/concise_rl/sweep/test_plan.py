"""What a sweep refuses before anything is trained, and what its runs are."""

from pathlib import Path

import pytest

from concise_rl.sweep.plan import check_folders, plan_runs, state_of
from tests.concise_rl.sweep.small import TINY, make_trained, planned, recipes, variant


def test_every_recipe_is_trained_with_a_seed_before_the_next_seed_begins(tmp_path: Path) -> None:
    runs = planned(tmp_path, "grpo", "s_grpo", seeds=2)
    assert [run.name for run in runs] == ["grpo-0", "s_grpo-0", "grpo-1", "s_grpo-1"]
    assert [run.folder for run in runs[:2]] == [tmp_path / "runs/grpo-0", tmp_path / "runs/s_grpo-0"]


def test_a_run_is_trained_by_the_command_that_a_person_would_type(tmp_path: Path) -> None:
    run = planned(tmp_path, "grpo", words=["--max_steps=2"])[0]
    behind = run.command[run.command.index("--config") :]
    settings = ["--max_steps=2", "--seed", "0", "--output_dir", str(tmp_path / "runs/grpo-0")]
    assert behind == ["--config", str(TINY / "grpo.yaml"), *settings]


def test_the_seed_is_no_part_of_what_a_method_is(tmp_path: Path) -> None:
    first, second = planned(tmp_path, "grpo", seeds=2)
    assert first.settings == second.settings and first.recipe.training.seed != second.recipe.training.seed


@pytest.mark.parametrize(
    ("names", "seeds", "said"),
    [
        ([], 1, "Give the recipes to train"),
        (["grpo", "grpo"], 1, "is given twice"),
        (["grpo"], 0, "--seeds is 0: train each recipe at least once"),
        (["grpo", "sft"], 1, "is of stage: sft, and a sweep compares methods of RL"),
        (["grpo", "nothing"], 1, "No recipe at"),
    ],
)
def test_what_makes_no_sweep_is_refused_in_a_line(names: list[str], seeds: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        plan_runs(recipes(*names), seeds, tmp_path)
    assert "\n" not in str(refused.value)


def test_two_recipes_of_one_name_are_refused(tmp_path: Path) -> None:
    other = variant(tmp_path, "grpo", "objective: grpo", "objective: grpo")
    with pytest.raises(ValueError, match="would have one name in the comparison"):
        plan_runs([TINY / "grpo.yaml", other], 1, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("model_name_or_path: tiny:base", "model_name_or_path: tiny:untrained", "model_name_or_path"),
        ("dataset: tiny:sums", "dataset: reasoning:problems", "dataset"),
        ("verifier: reasoning_gym", "verifier: math", "verifier"),
        ('think_end: "</think>"', 'think_end: "</done>"', "think_end"),
    ],
)
def test_recipes_that_cannot_be_compared_are_refused_with_what_differs(
    old: str, new: str, key: str, tmp_path: Path
) -> None:
    other = variant(tmp_path, "other", old, new)
    with pytest.raises(ValueError, match=rf"differ in {key} \(") as refused:
        plan_runs([TINY / "grpo_lambda.yaml", other], 1, tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("word", ["--seed=3", "--output_dir=elsewhere", "--overwrite"])
def test_settings_that_a_sweep_makes_itself_are_refused(word: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no setting for all runs of a sweep"):
        planned(tmp_path, "grpo", words=[word])


def test_a_folder_that_another_training_has_filled_is_refused(tmp_path: Path) -> None:
    make_trained(planned(tmp_path, "grpo", words=["--max_steps=3"])[0])
    with pytest.raises(ValueError, match=r"holds another run \(max_steps: 3 there, 4 now\)|max_steps"):
        check_folders(planned(tmp_path, "grpo", words=["--max_steps=4", "--lr_scheduler_type=linear"]))


def test_a_run_that_is_trained_already_is_known_by_its_folder(tmp_path: Path) -> None:
    first, second = planned(tmp_path, "grpo", seeds=2)
    make_trained(first)
    assert (first.is_trained, second.is_trained) == (True, False)
    assert [state_of(run) for run in (first, second)] == ["trained", "to train"]


def test_a_run_that_was_cut_goes_on_from_its_last_whole_checkpoint(tmp_path: Path) -> None:
    run = planned(tmp_path, "grpo")[0]
    for step, whole in ((1, True), (2, False)):
        (run.folder / f"checkpoint-{step}").mkdir(parents=True)
        if whole:
            (run.folder / f"checkpoint-{step}" / "COMPLETE").touch()
    assert state_of(run) == "goes on from step 1"
