"""`concise-rl completion`: what a shell needs to complete command lines, made by shtab from the parser itself."""

import argparse
from collections.abc import Iterator

import shtab

from concise_rl.tasks.tiny import MODELS

SHELLS = ("bash", "zsh", "tcsh")
EPILOG = """\
bash: write it to ~/.local/share/bash-completion/completions/concise-rl, or to any file, and source that in ~/.bashrc.
It takes the colon out of COMP_WORDBREAKS, so that names like tiny:base are one word.
zsh: write it to a file called _concise-rl in a folder of $fpath. tcsh: to any file, and source that in ~/.tcshrc.
"""
BASH = "COMP_WORDBREAKS=${COMP_WORDBREAKS//:}"
"""bash cuts words at a colon unless told otherwise, and would complete neither tiny: nor what follows it."""


def add_completion_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl completion`."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run_completion(args: argparse.Namespace) -> None:
    """Print the script for a shell."""
    from reward import OBJECTIVES

    for action in _arguments(args.parser):
        if action.metavar == "METHOD":
            action.choices = tuple(OBJECTIVES)
        elif kind := KINDS.get(str(action.metavar)):
            action.complete = kind  # ty: ignore[missing-attribute]  # shtab reads it
    print(shtab.complete(args.parser, args.shell, preamble=BASH if args.shell == "bash" else ""))


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of all commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _arguments(command)
        else:
            yield action


def _names_or(files: str, name: str, names: tuple[str, ...]) -> dict[str, str | dict[str, str]]:
    """Completion by names that are known, and by what lies on disk.

    Args:
        files: `file` or `dir`.
        name: of the functions that do it. shtab takes what bash finds for files where `_file` or `_dir` is in it.
        names: what is known.
    """
    listed = " ".join(names)
    function = f"_concise_rl_{name}_or_{files}"
    bash, zsh = ("-f", "_files") if files == "file" else ("-d", "_files -/")
    return {
        "bash": function,
        "zsh": function,
        "tcsh": f"({listed})",
        "preamble": {
            "bash": f'{function}() {{ compgen -W "{listed}" -- "$1"; compgen {bash} -- "$1"; }}',
            "zsh": f'{function}() {{ compadd "$@" -- {listed}; {zsh} "$@"; }}',
        },
    }


KINDS = {
    "RECIPE": shtab.glob("*.yaml", "*.yml"),
    "FILE": shtab.FILE,
    "SOURCE": shtab.FILE,
    "WHAT": shtab.FILE,
    "DIR": shtab.DIRECTORY,
    "FOLDER": shtab.DIRECTORY,
    "MODEL": _names_or("dir", "models", MODELS),
    "[LABEL=]MODEL": _names_or("dir", "models", MODELS),
    "TASK": _names_or("file", "tasks", ("tiny:sums",)),
}
"""How an argument is completed, by what its help calls it."""
