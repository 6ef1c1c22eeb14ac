import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from concise_rl.evaluate.compare.join import Joined, join
from tests.concise_rl.evaluate.compare.folders import PROBLEMS, drawn, evaluated, set_up, trained


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path()


def joined(*folders: str, **options: Any) -> Joined:
    return join([Path(folder) for folder in folders], Path("out"), **options)


def runs(found: Joined) -> dict[str, int]:
    return {label.name: len(label.runs) for label in found.evaluation.labels}


def tokens(found: Joined) -> dict[str, Sequence[float]]:
    """The mean tokens of each run, less what all problems have in common."""
    return {x.name: [t.length_PK.mean() - (PROBLEMS - 1) / 2 for t in x.tables] for x in found.evaluation.labels}


def test_labels_of_several_folders_stand_beside_each_other(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)), baseline=drawn(40))
    evaluated(here / "b", ("decs", drawn(10)), baseline=drawn(40))
    found = joined("a", "b")
    assert tokens(found) == {"grpo": [20], "decs": [10]}
    assert found.evaluation.baseline and found.evaluation.baseline.table.length_PK.shape == (PROBLEMS, 2)
    assert found.notes == found.warnings == ()


def test_a_sample_is_found_in_the_folder_that_it_is_from(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)))
    evaluated(here / "b", ("decs", drawn(10)))
    evaluation = joined("a", "b").evaluation
    assert [evaluation.find(label.runs[0], 3, 1).length for label in evaluation.labels] == [23, 13]


def test_one_label_for_different_models_is_told_apart_by_the_folders(here: Path) -> None:
    evaluated(here / "x/eval", ("grpo", drawn(20)))
    evaluated(here / "y/eval", ("grpo", drawn(10)))
    found = joined("x/eval", "y/eval")
    assert tokens(found) == {"grpo-x": [20], "grpo-y": [10]}
    assert "--label x/eval/grpo=grpo --label y/eval/grpo=grpo" in found.notes[0]


def test_a_name_given_to_several_models_pools_them_as_training_seeds(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)))
    evaluated(here / "b", ("grpo", drawn(10)), ("decs", drawn(5)))
    found = joined("a", "b", labels=[("a", "grpo"), ("b/grpo", "grpo")])
    assert tokens(found) == {"grpo": [20, 10], "decs": [5]}
    assert [run.run for run in found.evaluation.labels[0].runs] == [0, 1]


def test_recipes_that_differ_in_the_seed_alone_are_pooled_and_it_is_said(here: Path) -> None:
    for folder, seed in (("a", 0), ("b", 1)):
        evaluated(here / folder, ("grpo", drawn(20 - seed)))
        trained(here / folder, "grpo", objective="grpo", seed=seed)
    found = joined("a", "b")
    assert tokens(found) == {"grpo": [20, 19]}
    assert found.notes == ("grpo in a and b is one method: the recipes differ in the seed alone.",)


@pytest.mark.parametrize("other", [{"objective": "decs", "seed": 1}, {"objective": "grpo", "seed": 0, "beta": 1}])
def test_recipes_that_differ_in_more_are_not_pooled(here: Path, other: dict[str, Any]) -> None:
    for folder, recipe in (("a", {"objective": "grpo", "seed": 0}), ("b", other)):
        evaluated(here / folder, ("grpo", drawn(20)))
        trained(here / folder, "grpo", **recipe)
    assert runs(joined("a", "b")) == {"grpo-a": 1, "grpo-b": 1}


def test_a_model_trained_anew_since_its_evaluation_is_not_pooled(here: Path) -> None:
    for folder, seed in (("a", 0), ("b", 1)):
        evaluated(here / folder, ("grpo", drawn(20)))
        trained(here / folder, "grpo", objective="grpo", seed=seed)
    (here / "b/grpo-0/config.json").write_text("{}")
    assert runs(joined("a", "b")) == {"grpo-a": 1, "grpo-b": 1}


def test_a_model_measured_twice_is_used_once(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)))
    shutil.copytree(here / "a", here / "b")
    found = joined("a", "b")
    assert tokens(found) == {"grpo": [20]}
    assert found.notes == ("grpo in b was measured in another folder, too: it is used once.",)


def test_a_label_renames_a_method(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)), ("decs", drawn(10)))
    assert runs(joined("a", labels=[("a/decs", "mine")])) == {"grpo": 1, "mine": 1}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([("a", "mine")], r"Unknown place of --label 'a'\. Valid: a/decs, a/grpo"),
        ([("a/dec", "mine")], "Did you mean 'a/decs'"),
        ([("a/decs", "my method")], "'my method' cannot be a label: use letters"),
    ],
)
def test_a_label_that_cannot_be_given_is_refused(here: Path, labels: list[tuple[str, str]], message: str) -> None:
    evaluated(here / "a", ("grpo", drawn(20)), ("decs", drawn(10)))
    with pytest.raises(ValueError, match=message):
        joined("a", labels=labels)


def test_different_baselines_want_a_choice(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)), baseline=drawn(40))
    evaluated(here / "b", ("decs", drawn(10)), baseline=drawn(50))
    set_up(here / "b", baseline={"label": "baseline", "model": "runs/other"})
    with pytest.raises(ValueError, match=r"different baselines: tiny:base in a, runs/other in b\. Choose .* DIR"):
        joined("a", "b")
    found = joined("a", "b", baseline="b")
    assert found.evaluation.baseline and found.evaluation.baseline.table.tokens_P.min() == 50
    assert runs(found) == {"tiny-base": 1, "grpo": 1, "decs": 1}


@pytest.mark.parametrize("name", ["baseline", "tiny-base", "b"])
def test_a_baseline_goes_by_its_name_its_model_and_its_folder(here: Path, name: str) -> None:
    evaluated(here / "a", ("grpo", drawn(20)))
    evaluated(here / "b", ("decs", drawn(10)), baseline=drawn(40))
    found = joined("a", "b", baseline=name).evaluation.baseline
    assert found and found.name == "baseline" and found.runs[0].model == "tiny:base"


def test_a_label_with_several_seeds_can_be_the_baseline(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)), ("grpo", drawn(22)), ("decs", drawn(10)))
    found = joined("a", baseline="grpo")
    assert runs(found) == {"decs": 1}
    assert found.evaluation.baseline and len(found.evaluation.baseline.runs) == 2


def test_the_baseline_evaluated_by_itself_is_not_shown_a_second_time(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)), baseline=drawn(40))
    evaluated(here / "b", ("untouched", drawn(40)), ("decs", drawn(10)))
    models = [{"label": "untouched", "model": "tiny:base"}, {"label": "decs", "model": "runs/decs"}]
    set_up(here / "b", models=models)
    found = joined("a", "b")
    assert runs(found) == {"grpo": 1, "decs": 1}
    assert found.notes == ("untouched in b is the baseline: it is not shown a second time.",)


def test_other_samples_of_the_same_baseline_are_a_warning(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)), baseline=drawn(40))
    evaluated(here / "b", ("decs", drawn(10)), baseline=drawn(41))
    assert joined("a", "b").warnings == (
        "a and b hold different samples of the baseline, though the model is the same. Those in a are used.",
    )


def test_an_unknown_baseline_is_refused(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)))
    with pytest.raises(ValueError, match="Unknown baseline 'grp'"):
        joined("a", baseline="grp")


def test_a_baseline_alone_is_nothing_to_compare(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)))
    with pytest.raises(ValueError, match="The baseline is all that these folders hold"):
        joined("a", baseline="grpo")


def test_what_was_not_measured_alike_is_refused_with_all_that_differs(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)))
    evaluated(here / "b", ("decs", drawn(10)), temperature=0.6, top_p=0.95)
    message = r"a and b were not measured alike: temperature \(1.0 and 0.6\), top_p \(1.0 and 0.95\)\. Evaluate one"
    with pytest.raises(ValueError, match=message):
        joined("a", "b")


def test_other_problems_are_refused(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)))
    others = [s.model_copy(update={"prompt_hash": "another"}) for s in drawn(10)]
    evaluated(here / "b", ("decs", others))
    with pytest.raises(ValueError, match=r"a and b cannot be compared\. The prompts of 12 problems differ"):
        joined("a", "b")


def test_other_versions_are_a_warning_that_names_them(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)))
    evaluated(here / "b", ("decs", drawn(10)))
    set_up(here / "b", versions={"torch": "2.14.0"})
    assert joined("a", "b").warnings == ("a and b were sampled with different versions: torch 2.13.0 and 2.14.0.",)


def test_every_folder_that_cannot_be_used_has_a_line(here: Path) -> None:
    evaluated(here / "a", ("grpo", drawn(20)[1:]))
    (here / "empty").mkdir()
    with pytest.raises(ValueError) as raised:
        joined("a", "empty", "nowhere")
    said = str(raised.value)
    assert "1 of 24 samples are missing" in said
    assert "empty" in said and "nowhere" in said


def test_a_folder_of_evaluations_says_what_to_type(here: Path) -> None:
    evaluated(here / "runs/a", ("grpo", drawn(20)))
    evaluated(here / "runs/b", ("decs", drawn(10)))
    with pytest.raises(ValueError, match=r"runs holds no eval\.json, but .*: concise-rl compare runs/a runs/b"):
        joined("runs")


@pytest.mark.parametrize(
    ("folders", "message"), [(["a", "a/"], "a is given twice"), ([], "There is nothing to compare")]
)
def test_no_folder_and_one_folder_twice_are_refused(here: Path, folders: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        joined(*folders)
