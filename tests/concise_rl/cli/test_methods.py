"""What is printed about the methods, at the width of a plain terminal and of a pipe."""

import json

import pytest

from concise_rl.cli.methods_table import describe_methods, print_methods
from reward import OBJECTIVES


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_the_overview_names_every_method_and_its_paper_whole(capsys: pytest.CaptureFixture[str]) -> None:
    print_methods()
    lines = capsys.readouterr().out.splitlines()
    for name, cls in OBJECTIVES.items():
        (line,) = [line for line in lines if line.startswith(f" {name} ")]
        assert line.split()[-1] == cls.paper.rpartition("/")[2]


def test_the_overview_says_in_a_few_lines_what_each_method_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_methods()
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) < 4 * len(OBJECTIVES) and max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown and "a sigmoid length penalty." in shown


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_method_is_shown_with_all_its_options_and_its_link_uncut(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_methods(name)
    shown, cls = capsys.readouterr().out, OBJECTIVES[name]
    assert "…" not in shown and cls.paper in shown
    assert all(f" {option} " in shown for option in cls.model_fields)
    assert cls.needs in " ".join(shown.split())


def test_an_option_is_shown_with_its_choices_bounds_default_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    print_methods("grpo_lambda")
    shown = capsys.readouterr().out
    assert "top_fraction | threshold, default 'top_fraction'" in shown
    assert "float, 0 <= x <= 1, default 0.6" in shown and "The paper's lambda" in shown


def test_line_breaks_in_a_default_are_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    print_methods("s_grpo")
    assert r"answering.\n</think>\n\n'" in "".join(capsys.readouterr().out.split(" "))


def test_methods_are_described_for_scripts_with_the_schema_of_their_options() -> None:
    described = {method["name"]: method for method in json.loads(json.dumps(describe_methods()))}
    assert described.keys() == OBJECTIVES.keys()
    alpha = described["grpo_lambda"]["options"]["alpha"]
    assert (alpha["default"], alpha["minimum"], alpha["maximum"]) == (0.6, 0, 1)
    assert describe_methods("grpo_lambda") == [described["grpo_lambda"]]
