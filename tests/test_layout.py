"""How the code is laid out: which way imports point, how many rooms there are, how long files and functions are."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
ORDER = (
    *("errors", "named", "files", "output", "reading", "verify", "tasks", "models", "shared_prefix", "rollout"),
    *("labels", "methods", "reward", "data", "curriculum", "recipe", "train", "evaluate", "sweep", "cli"),
)
"""The rooms, bottom to top. An import points downwards."""


def modules() -> dict[str, ast.Module]:
    """Every module of this project by its dotted name, parsed."""
    paths = [path for top in ("concise_rl", "reward") for path in (ROOT / top).rglob("*.py")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return {name: ast.parse(path.read_text()) for name, path in zip(names, paths, strict=True)}


MODULES = modules()


def imported(name: str) -> Iterator[str]:
    """Yield the modules of this project that a module imports, wherever in it the import stands."""
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield from {whole if whole in MODULES else str(node.module)} & (MODULES.keys() - {name})
        elif isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & (MODULES.keys() - {name, "concise_rl", "reward"})


ARROWS = {name: set(imported(name)) for name in MODULES}


def room(name: str) -> str:
    """Name the room that a module is in: what lies directly below `concise_rl`, or `reward`."""
    return "reward" if name.startswith("reward") else name.split(".")[1]


def test_imports_between_modules_make_no_circle() -> None:
    TopologicalSorter(ARROWS).prepare()


def test_imports_between_rooms_point_downwards() -> None:
    arrows = {(room(a), room(b)) for a, targets in ARROWS.items() for b in targets if a != "concise_rl"}
    assert not [f"{a} -> {b}" for a, b in sorted(arrows) if a != b and ORDER.index(a) <= ORDER.index(b)]


def test_the_package_has_at_most_20_entries() -> None:
    entries = {path.name for path in (ROOT / "concise_rl").iterdir() if path.name != "__pycache__"}
    assert len(entries) <= 20
    assert {name.removesuffix(".py") for name in entries} == {*ORDER, "__init__"} - {"reward"}


def test_methods_import_what_a_method_may_read_and_nothing_else() -> None:
    found = {target for name in MODULES if name.startswith("reward") for target in ARROWS[name]}
    assert {target for target in found if room(target) != "reward"} == {"concise_rl.methods"}


def test_no_file_is_longer_than_400_lines_and_the_trainer_than_200() -> None:
    paths = [path for top in ("concise_rl", "reward") for path in (ROOT / top).rglob("*.py")]
    length = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths}
    assert not {name for name, lines in length.items() if lines > 400}
    assert length["concise_rl/train/trainer.py"] <= 200


def test_no_function_is_longer_than_40_lines() -> None:
    functions = [
        (f"{name}.{node.name}", lines_of(node))
        for name, module in MODULES.items()
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert not [name for name, lines in functions if lines > 40]


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0
