"""The pages of docs/ that are read from the code say what the code says."""

import importlib
import re
from pathlib import Path

import pytest

from concise_rl.curriculum import Kappa
from concise_rl.train.metrics import LOGGED_REASONS
from tests.docs import DOCS, PART, PARTS, renewed, room_arrows
from tests.test_layout import MODULES, ORDER, room

ROOT = DOCS.parent
ARCHITECTURE = (DOCS / "architecture.md").read_text()
DRAWINGS = re.findall(r"```mermaid\n(.*?)```", ARCHITECTURE, flags=re.DOTALL)
STEP = next(drawing for drawing in DRAWINGS if drawing.startswith("sequenceDiagram"))
PARTICIPANTS = {alias: (cls, where) for alias, cls, where in re.findall(r"participant (\w+) as (\w+)<br/>(\S+)", STEP)}
CALLS = re.findall(r"^ +(\w+)->>(\w+): (\w+)\(\)", STEP, flags=re.MULTILINE)
FAMILIES = "correct|groups|length|rollout|redundant|reflections|ratio|curriculum|sync|padding|prefix"
METRIC = re.compile(rf'"((?:{FAMILIES})/\w+)"')


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_what_is_made_from_the_code_agrees_with_it(page: Path) -> None:
    told = "run `python -m tests.docs --write`, and read what has changed"
    assert renewed(page.read_text()) == page.read_text(), told


def test_every_part_that_can_be_made_stands_on_a_page() -> None:
    written = {found[1] for page in DOCS.glob("*.md") for found in PART.findall(page.read_text())}
    assert written == PARTS.keys()


def test_what_calls_what_in_the_drawing_of_a_step_exists() -> None:
    assert len(CALLS) > 8
    for caller, called, name in CALLS:
        cls, where = PARTICIPANTS[called]
        module = where if where == "trl" else f"concise_rl.{where.removesuffix('.py').replace('/', '.')}"
        assert hasattr(getattr(importlib.import_module(module), cls), name), f"{caller} calls {cls}.{name}"


def test_who_calls_another_room_in_the_drawing_of_a_step_imports_it() -> None:
    rooms = {alias: where.split("/")[0] for alias, (_, where) in PARTICIPANTS.items()}
    crossing = {(rooms[a], rooms[b]) for a, b, _ in CALLS} - {("train", "trl")}
    assert {(a, b) for a, b in crossing if a != b} <= room_arrows()


def test_a_step_comes_back_to_the_trainer_at_most_twice() -> None:
    assert len(re.findall(r"->+>Trainer:", STEP)) <= 2


def test_every_room_is_in_the_drawing_and_in_the_table_in_order() -> None:
    drawing = ARCHITECTURE.partition("flowchart")[2].partition("```")[0]
    assert set(re.findall(r"\w+", drawing)) - {"TB"} == set(ORDER)
    names = [found for row in re.findall(r"^\| (`[^|]*) \|", ARCHITECTURE, flags=re.MULTILINE) for found in named(row)]
    assert [name for name in names if name in ORDER] == list(ORDER)
    assert {room(name) for name in MODULES if name not in ("concise_rl", "reward")} <= set(ORDER)


def named(row: str) -> list[str]:
    return [name.removesuffix("/") for name in re.findall(r"`([\w/]+)`", row)]


def test_every_metric_that_is_logged_is_on_the_page() -> None:
    page = (DOCS / "metrics.md").read_text()
    sources = sources_of("train", "curriculum")
    logged = {name for source in sources for name in METRIC.findall(source)}
    logged |= {f"stop/{reason.label}" for reason in LOGGED_REASONS}
    logged |= {f"time/{part}" for source in sources for part in re.findall(r'timed\("(\w+)"\)', source)}
    logged |= {f"curriculum/{name}" for name in Kappa().initial()}
    assert len(logged) > 30 and [name for name in sorted(logged) if f"`{name}`" not in page] == []


def test_every_metric_on_the_page_is_logged() -> None:
    page = (DOCS / "metrics.md").read_text().partition("## What methods")[0]
    source = "".join(sources_of("train", "curriculum", "verify", "reading"))
    for family, name in re.findall(r"`(\w+)/(\w+)`", page):
        assert f"{family}/{name}" in source or re.search(rf"\b{name}\b", source), f"{family}/{name}"


def sources_of(*rooms: str) -> list[str]:
    return [path.read_text() for name in rooms for path in sorted((ROOT / "concise_rl" / name).rglob("*.py"))]


def test_every_fault_of_the_list_names_tests_that_exist() -> None:
    listed = (ROOT / "CONTRIBUTING.md").read_text().partition("## Faults")[2].partition("\n## ")[0]
    faults = re.findall(r"^\| (\d+) \| [^|]+ \| (.+) \|$", listed, flags=re.MULTILINE)
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [int(number) for number, _ in faults] == list(range(1, 33))
    for number, named in faults:
        names = re.findall(r"`(test_\w+)`", named)
        assert names and all(f"def {name}(" in tests for name in names), f"fault {number}: {names}"
