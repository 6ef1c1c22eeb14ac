"""The words of the command."""

import pytest

from concise_rl.cli import main
from concise_rl.cli.parser import build_parser
from concise_rl.cli.recipes import arrange


def parsed(*words: str):
    return build_parser().parse_args(arrange(["sweep", *words]))


def test_settings_of_recipes_may_stand_anywhere() -> None:
    args = parsed("a.yaml", "--max_steps", "20", "--seeds", "3", "b.yaml", "--beta=0", "--set", "bf16=false", "--flag")
    assert [str(path) for path in args.recipes] == ["a.yaml", "b.yaml"] and args.seeds == 3
    assert args.set == ["max_steps=20", "beta=0", "bf16=false", "flag"]


def test_options_of_the_cluster_end_where_the_next_option_begins() -> None:
    args = parsed("a.yaml", "--slurm", "timeout_min=60", "slurm_partition=gpu", "--dry-run")
    assert args.slurm == ["timeout_min=60", "slurm_partition=gpu"] and args.dry_run


def test_a_seed_is_not_taken_for_the_number_of_seeds() -> None:
    assert parsed("a.yaml", "--seed", "5").set == ["seed=5"]


@pytest.mark.parametrize("words", [["sweep"], ["sweep", "--seeds", "2"]])
def test_a_sweep_without_recipes_says_so(words: list[str], capsys) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert "RECIPE" in capsys.readouterr().err
