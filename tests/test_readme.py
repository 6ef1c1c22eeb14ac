"""The README and the pages of docs/ speak of what is there."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from concise_rl.cli.parser import build_parser
from concise_rl.rollout.engines.serve import ENVIRONMENT_ON_CPU as ON_CPU
from concise_rl.tasks.tiny import WEIGHTS
from reward import OBJECTIVES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


def test_every_promise_cites_a_test_that_exists() -> None:
    cited = re.findall(r"`(test_\w+)`", TEXT)
    assert cited and all(f"def {name}(" in TESTS for name in cited)


def test_every_path_that_is_named_exists() -> None:
    named = re.findall(r"(?:recipes|launch|concise_rl|reward|tests)/[\w./-]*[\w/]", TEXT)
    missing = [path for path in named if not (ROOT / path).exists()]
    assert named and not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    linked = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in linked if not (page.parent / link).exists()] == []


def test_every_command_that_is_shown_is_understood() -> None:
    shown = re.findall(r"^concise-rl (.+?)(?: +#.*)?$", TEXT.replace("\\\n", ""), flags=re.MULTILINE)
    assert len(shown) >= 5
    for line in shown:
        build_parser().parse_args(shlex.split(line))


def test_the_example_in_python_trains(tmp_path: Path, monkeypatch) -> None:
    example = re.search(r"```python\n(from concise_rl import.*?)```", TEXT, flags=re.DOTALL)
    assert example
    small = example[1].replace("max_steps=20", "max_steps=1").replace("train_batch_size=128", "train_batch_size=8")
    monkeypatch.chdir(tmp_path)
    exec(small, {})
    assert (tmp_path / "runs/mine/metrics.jsonl").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("library", ["transformers", "vllm"])
def test_the_programs_for_strangers_print_the_right_answer(library: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"needs {library}")
    page = (ROOT / "docs/training.md").read_text()
    program = re.search(rf"```python\n(from {library} import .*?)```", page, flags=re.DOTALL)
    printed = re.search(r"Both print\n\n```\n(.*?)```", page, flags=re.DOTALL)
    assert program and printed and len([line for line in program[1].splitlines() if line]) <= 5
    (tmp_path / "runs/release").mkdir(parents=True)
    (tmp_path / "runs/release/grpo_lambda").symlink_to(WEIGHTS / "grpo_lambda")  # a release
    (tmp_path / "program.py").write_text(f"{program[1]}\nimport sys\nassert 'concise_rl' not in sys.modules\n")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | ON_CPU
    command = [sys.executable, "program.py"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=500, check=True)
    assert done.stdout.endswith(printed[1])


def test_the_number_of_methods_is_the_one_that_there_is() -> None:
    assert f"the {len(OBJECTIVES)} methods" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("placeholder", ["TBD", "RESULTS_TABLE", "BENCH_TABLE", "to be measured"])
def test_no_number_is_left_to_be_filled_in(placeholder: str) -> None:
    recipes = "".join(path.read_text() for path in (ROOT / "recipes").rglob("*.yaml"))
    assert placeholder not in TEXT + recipes
