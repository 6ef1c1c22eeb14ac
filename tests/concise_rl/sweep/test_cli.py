"""The words of the command."""

import shlex

import pytest

from concise_rl.cli import main
from concise_rl.cli.parser import build_parser
from concise_rl.cli.recipes import arrange
from concise_rl.sweep.cli import command_of


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


def test_a_pair_is_two_names_and_recipes_may_follow_it() -> None:
    args = parsed("--pair", "a", "b", "a.yaml", "--pair", "b", "c", "b.yaml", "c.yaml")
    assert args.pair == [["a", "b"], ["b", "c"]] and [path.stem for path in args.recipes] == ["a", "b", "c"]


def test_the_recorded_command_has_what_was_given_and_gives_the_same_again() -> None:
    words = ["a b.yaml", "c.yaml", "--seeds", "3", "--max_steps", "20", "--beta=0", "--problems", "9", "--json"]
    args = parsed(*words, "--pair", "a", "c", "--slurm", "timeout_min=60", "cluster=local")
    again = parsed(*shlex.split(command_of(args))[2:])
    assert vars(again) == vars(args) | {"json": False, "parser": again.parser}
    assert command_of(args).startswith("concise-rl sweep 'a b.yaml' c.yaml --seeds 3 ")


@pytest.mark.parametrize("words", [["sweep"], ["sweep", "--seeds", "2"]])
def test_a_sweep_without_recipes_says_so(words: list[str], capsys) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert "RECIPE" in capsys.readouterr().err
