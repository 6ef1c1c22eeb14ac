"""What this project overrides of TRL, transformers and the like, and what has changed there since it was read.

    python -m tests.seams            # compare the installed packages with the record
    python -m tests.seams --record   # after reading what has changed: make the record anew

`launch/seams.sh` runs it beside the newest TRL. The list of overrides is read from the code itself.
"""

import ast
import hashlib
import importlib
import inspect
import json
import pkgutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import concise_rl

RECORD = Path(__file__).parent / "seams.json"
UPSTREAM = ("trl", "transformers", "vllm", "torch")
"""Packages whose classes this project derives from."""
OPTIONAL = ("concise_rl.rollout.engines.vllm", "concise_rl.rollout.engines.worker_extension")
"""Modules that import vLLM at their top."""


@dataclass(frozen=True)
class Seam:
    """One override, and what stands behind it upstream.

    Attributes:
        ours: class and name, as this project writes them.
        theirs: class and name that it overrides.
        signature: parameters of that.
        source: hash of its syntax tree, docstring and comments left out.
    """

    ours: str
    theirs: str
    signature: str
    source: str


def our_classes() -> Iterator[type]:
    """Every class of this project with a base class from upstream, by name."""
    found: dict[str, type] = {}
    for module in map(importlib.import_module, _module_names()):
        for cls in vars(module).values():
            if inspect.isclass(cls) and cls.__module__ == module.__name__ and any(map(_is_upstream, cls.__mro__)):
                found[f"{cls.__module__}.{cls.__qualname__}"] = cls
    return iter(dict(sorted(found.items())).values())


def _module_names() -> list[str]:
    names = [module.name for module in pkgutil.walk_packages(concise_rl.__path__, "concise_rl.")]
    return [name for name in names if name not in OPTIONAL and not name.endswith("__main__")]


def _is_upstream(cls: type) -> bool:
    return cls.__module__.split(".")[0] in UPSTREAM


def seams_of(cls: type) -> Iterator[Seam]:
    """What a class, mixins of this project included, overrides of its upstream base classes."""
    bases = [base for base in cls.__mro__ if _is_upstream(base)]
    names = [(own, name) for own in cls.__mro__ if own.__module__.startswith("concise_rl.") for name in vars(own)]
    for own, name in [(own, name) for own, name in names if name == "__init__" or not name.startswith("__")]:
        base = next((base for base in bases if name in vars(base)), None)
        # A dataclass's constructor is generated; its fields are settings, which have a test of their own.
        if base is None or (name == "__init__" and is_dataclass(base)):
            continue
        if inspect.isfunction(function := inspect.unwrap(getattr(base, name))):
            signature = str(inspect.signature(function).replace(return_annotation=inspect.Signature.empty))
            ours, theirs = (f"{one.__module__}.{one.__qualname__}.{name}" for one in (own, base))
            yield Seam(ours, theirs, signature, fingerprint(inspect.getsource(function)))


def fingerprint(source: str) -> str:
    """Hash of what a function does: its syntax tree without docstring, comments and layout."""
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def private_reads() -> dict[str, list[str]]:
    """Private names that this project reads of its upstream base classes, or of a trainer, and the files that do."""
    derived = {own.__name__ for cls in our_classes() for own in cls.__mro__}
    read: dict[str, set[str]] = {}
    defined: set[str] = set()
    for path in sorted(Path(concise_rl.__path__[0]).rglob("*.py")):
        tree = ast.parse(path.read_text())
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name in derived]
        defined |= {node.name for cls in classes for node in cls.body if isinstance(node, ast.FunctionDef)}
        for node in [*_private(tree, "trainer"), *(node for cls in classes for node in _private(cls, "self"))]:
            if isinstance(node.ctx, ast.Store):
                defined.add(node.attr)
            else:
                read.setdefault(node.attr, set()).add(path.name)
    return {name: sorted(files) for name, files in sorted(read.items()) if name not in defined}


def _private(tree: ast.AST, name: str) -> list[ast.Attribute]:
    """The private attributes of `name` in a piece of code."""
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("_")]
    return [n for n in attributes if isinstance(n.value, ast.Name) and n.value.id == name and n.attr[:2] != "__"]


@cache
def current() -> dict[str, Seam]:
    """The seams as they are with the installed packages."""
    found = {seam.ours: seam for cls in our_classes() for seam in seams_of(cls)}
    return {ours: found[ours] for ours in sorted(found)}


def differences(recorded: Mapping[str, Mapping[str, str]], found: Mapping[str, Seam]) -> Iterator[tuple[str, str]]:
    """(`breaks` or `read again`, a line) for each seam that is not as it was recorded."""
    for ours, was in recorded.items():
        now = found.get(ours)
        if now is None:
            yield "breaks", f"{ours} overrides nothing any more: {was['theirs']} is gone"
        elif now.signature != was["signature"]:
            yield "breaks", f"{ours}: {now.theirs} takes {now.signature}, and took {was['signature']}"
        elif now.source != was["source"]:
            yield "read again", f"{ours}: {now.theirs} does something else than what was read"
    for ours in found.keys() - recorded.keys():
        yield "read again", f"{ours} overrides {found[ours].theirs}, which is not recorded"


def gone(names: Mapping[str, list[str]], upstream: list[ModuleType]) -> Iterator[tuple[str, str]]:
    """A line for each private name that upstream does not have any more."""
    text = "\n".join(inspect.getsource(module) for module in upstream)
    for name, files in names.items():
        if name not in text:
            yield "breaks", f"{', '.join(files)}: the trainer's {name} is gone"


def compare() -> list[tuple[str, str]]:
    """All that has changed since the record was made, what breaks first."""
    modules = ["trl.trainer.grpo_trainer", "trl.trainer.base_trainer", "trl.generation.vllm_generation"]
    modules.append("transformers.trainer")
    changed = [*differences(json.loads(RECORD.read_text()), current())]
    changed += gone(private_reads(), [importlib.import_module(name) for name in modules])
    return sorted(changed)


def main() -> None:
    """Print what has changed; exit code 1 where something breaks."""
    print(", ".join(f"{name} {version(name)}" for name in ("trl", "transformers")))
    if "--record" in sys.argv:
        found = {ours: asdict(seam) for ours, seam in current().items()}
        RECORD.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{len(found)} seams recorded in {RECORD}")
        return
    try:
        changed = compare()
    except (ImportError, RuntimeError) as error:  # of this project's own imports, or TRL's lazy ones
        sys.exit(f"breaks      {str(error).splitlines()[-1]}")
    for kind, line in changed:
        print(f"{kind:10}  {line}")
    total = len(current())
    print(
        f"{len(changed)} differences in {total} overrides"
        if changed
        else f"all {total} overrides are as they were read"
    )
    sys.exit(any(kind == "breaks" for kind, _ in changed))


if __name__ == "__main__":
    main()
