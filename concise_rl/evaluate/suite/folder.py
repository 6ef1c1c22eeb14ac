"""The folder of a suite: `suite.json` lists its tasks, and each is an evaluation in a folder of its own."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from concise_rl.errors import in_a_line
from concise_rl.evaluate.claim import REPORTS, clear_folder, identity
from concise_rl.evaluate.spec import MANIFEST, EvalSpec, ModelRun, read_manifest
from concise_rl.files import write_atomically

LIST = "suite.json"


class TaskList(BaseModel):
    """Hold the content of `suite.json`.

    Attributes:
        tasks: what `--task` took of each, by the name of its folder, in the order of the table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: dict[str, str] = Field(min_length=1)


def is_suite(folder: Path) -> bool:
    """Say whether a folder holds a suite."""
    return (folder / LIST).is_file()


def read_list(folder: Path) -> TaskList:
    """Read `suite.json`.

    Raises:
        ValueError: when it is not one that `concise-rl eval` wrote.
    """
    path = folder / LIST
    try:
        return TaskList.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} cannot be read: {in_a_line(error)}. The folders of the tasks are whole.") from error


def check_place(folder: Path) -> None:
    """Refuse a place that is no folder for a suite.

    Raises:
        ValueError: when it is a file, or holds an evaluation of one task.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: `--out` is a folder.")
    if (folder / MANIFEST).is_file():
        raise ValueError(f"{folder} holds an evaluation of one task. Choose another `--out` for several.")


def clear_suite(folder: Path) -> None:
    """Delete what an evaluation of several tasks writes, and nothing else."""
    if not is_suite(folder):
        return
    for name in read_list(folder).tasks:
        clear_folder(folder / name)
        (folder / name / MANIFEST).unlink(missing_ok=True)
    for name in (LIST, *REPORTS):
        (folder / name).unlink(missing_ok=True)


def check_models(folder: Path, specs: Mapping[str, EvalSpec]) -> None:
    """Make sure that a label stands for the same model in the tasks of a command and in those that are there.

    Args:
        folder: of the suite.
        specs: what is to be sampled of each task, by the name of its folder.

    Raises:
        ValueError: when it does not.
    """
    there = read_list(folder).tasks if is_suite(folder) else {}
    found = {name: read_manifest(folder / name) for name in there if (folder / name / MANIFEST).is_file()}
    check_same_models(found | dict(specs))


def list_tasks(folder: Path, specs: Mapping[str, EvalSpec]) -> None:
    """List tasks in `suite.json`, behind those that are there."""
    there = read_list(folder).tasks if is_suite(folder) else {}
    tasks = there | {name: spec.measurement.task for name, spec in specs.items()}
    write_atomically(folder / LIST, TaskList(tasks=tasks).model_dump_json(indent=2) + "\n")


def check_same_models(specs: Mapping[str, EvalSpec]) -> None:
    """Make sure that a label stands for the same model in all tasks.

    Raises:
        ValueError: naming the label, the tasks and the models.
    """
    seen: dict[tuple[str, int], tuple[str, ModelRun]] = {}
    for task, spec in specs.items():
        for run in spec.runs:
            first, other = seen.setdefault((run.label, run.run), (task, run))
            if run != other:
                raise ValueError(
                    f"{run.title} is {identity(other)} in {first} and {identity(run)} in {task}: means over tasks need "
                    "one model. Give it another label, or another --out."
                )
