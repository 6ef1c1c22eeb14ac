"""Names that modules had go on working for what users have written."""

import subprocess
import sys
from pathlib import Path

import pytest

from concise_rl.curriculum import Kappa, build_curriculum
from reward import build_objective, objective_class

NAMES = {
    "concise_rl.objective": ("Objective", "RolloutBatch", "SequenceReward", "group_advantages", "has_signal"),
    "concise_rl.batch": ("to_batch",),
    "concise_rl.rollout.plans": ("Parallel", "Plan", "ThinkingBudget"),
    "concise_rl.rollout.serial": ("SerialExits", "Uniform", "AtFractions"),
    "concise_rl.trace": ("StopReason", "Delimiters"),
    "concise_rl.schedule": ("Curriculum", "Kappa", "TwoStage", "GroupKind"),
    "concise_rl.judges": ("Judge", "Passage"),
    "concise_rl.judges.rule": ("RuleJudge",),
    "concise_rl.trainer": ("ConciseTrainer",),
    "concise_rl.config": ("ConciseConfig",),
    "concise_rl.data": ("load_rows", "to_messages"),
}
METHOD = """
from concise_rl.objective import RolloutBatch, SequenceReward


class Mine(SequenceReward):
    paper = "none"

    def rewards(self, batch: RolloutBatch):
        return batch.earned
"""


@pytest.mark.filterwarnings("ignore:concise_rl:DeprecationWarning")
def test_what_users_import_is_there_under_its_old_name() -> None:
    for module, names in NAMES.items():
        found = __import__(module, fromlist=names)
        assert not [name for name in names if not hasattr(found, name)], module


def test_an_old_name_is_the_same_module_and_warns_once_in_a_line() -> None:
    program = (
        "import concise_rl.judges.rule, concise_rl.objective, concise_rl.objective as old\n"
        "import concise_rl.methods as new, concise_rl.labels.judges.rule as rule\n"
        "assert old is new and concise_rl.judges.rule is rule and new.__spec__.name == 'concise_rl.methods'"
    )
    words = [sys.executable, "-W", "always::DeprecationWarning", "-c", program]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stderr.splitlines()
    mine = [line for line in told if "DeprecationWarning: concise_rl" in line]
    assert [line.partition("Warning: ")[2] for line in mine] == [
        "concise_rl.judges is concise_rl.labels.judges now.",
        "concise_rl.judges.rule is concise_rl.labels.judges.rule now.",
        "concise_rl.objective is concise_rl.methods now.",
    ]


@pytest.mark.filterwarnings("ignore:concise_rl:DeprecationWarning")
def test_a_recipe_may_name_a_class_by_its_old_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "written_before.py").write_text(METHOD)
    monkeypatch.syspath_prepend(tmp_path)
    assert build_objective("written_before.Mine").paper == "none"
    assert isinstance(build_curriculum("concise_rl.schedule.Kappa", {}), Kappa)
    assert objective_class("reward.grpo.Grpo").__name__ == "Grpo"


@pytest.mark.filterwarnings("ignore:concise_rl:DeprecationWarning")
@pytest.mark.parametrize(
    ("module", "name", "home"),
    [
        ("concise_rl.objective", "build_objective", "reward"),
        ("concise_rl.trace", "chunk_spans", "concise_rl.reading.passages"),
        ("concise_rl.data", "keep_verifiable", "concise_rl.data.rows"),
    ],
)
def test_a_name_that_left_its_module_is_an_error_of_one_line_that_says_where_it_is(
    module: str, name: str, home: str
) -> None:
    with pytest.raises(ImportError, match=rf"^{name} is not in [\w.]+ any more. Import it from {home}\.$"):
        exec(f"from {module} import {name}")


@pytest.mark.filterwarnings("ignore:concise_rl:DeprecationWarning")
def test_a_name_that_nobody_defines_is_missing_as_in_any_module() -> None:
    for module in ("concise_rl.objective", "concise_rl.data"):
        assert not hasattr(__import__(module, fromlist=["_"]), "no_such_name_anywhere")


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ('scope = "rollout"', "Mine.scope is not read any more. Say it in the property `credit`."),
        ("token_level: ClassVar[bool] = True", "Mine.token_level is not read any more. Say it in the property `cre"),
        ('labels = "chunk"', "Mine.labels is not read any more. Say it in parts(): Parts(stages=(Label(...), Crop()))"),
        ("def plan(self, delimiters): ...", "Mine.plan is not read any more. Say it in parts(): Parts(plan=...)."),
    ],
)
def test_a_method_of_an_older_version_is_refused_in_one_line(
    declared: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = "from typing import ClassVar\n" + METHOD.replace('paper = "none"', f'paper = "none"\n    {declared}')
    (tmp_path / "older.py").write_text(older.replace("concise_rl.objective", "concise_rl.methods"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "older", raising=False)
    with pytest.raises(ValueError) as caught:
        build_objective("older.Mine")
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)
