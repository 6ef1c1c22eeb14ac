"""Writing files so that a crash or a full disk leaves the previous content in place, and others may read them."""

import errno
import json
import os
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` in one step, through a temporary file in the same folder.

    Raises:
        OSError: when writing fails; `path` is then as it was, and no temporary file is left.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def flush(*paths: Path) -> None:
    """Wait until files, and the entries of folders, are on the disk: a power failure then leaves them whole."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # there are file systems that cannot flush a folder
                raise
        finally:
            os.close(descriptor)


def flush_all(folder: Path) -> None:
    """Wait until all that lies in a folder, however deep, and the folder itself are on the disk. Hidden files do not
    count: file servers put some of theirs there, and take them away again."""
    flush(*sorted(path for path in folder.rglob("[!.]*") if path.is_file() or path.is_dir()), folder)


def beside(path: Path) -> Path:
    """A hidden name in the same folder that nothing has yet. What `tempfile` makes is for its owner alone."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def open_up(folder: Path) -> None:
    """Give the weights in a folder the permissions of any new file. safetensors writes them for their owner alone."""
    example = beside(folder / "mode")
    example.touch()
    mode = example.stat().st_mode & 0o777
    example.unlink()
    for path in folder.glob("*.safetensors"):
        path.chmod(mode)


MARKER = "COMPLETE"
"""Written last: a checkpoint, or the trained model, is whole where it is there."""
SETTINGS_FILE = "recipe.json"
"""What a run is, see `concise_rl.train.folder.identity`."""
METRICS_FILE = "metrics.jsonl"
EVENTS_FILE = "events.jsonl"
ROLLOUTS_FILE = "rollouts.jsonl"
PAGE_FILE = "run.html"


def drop_torn_line(path: Path) -> int:
    """Cut off a last line without its newline, which a full disk or the end of a process tore.

    Returns:
        How many bytes were cut off; 0 where there was nothing to cut, or no file.
    """
    if not path.is_file() or not path.stat().st_size:
        return 0
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() == b"\n":
            return 0
        file.seek(0)
        whole = sum(len(line) for line in file if line.endswith(b"\n"))
        size = file.seek(0, os.SEEK_END)
        file.truncate(whole)
    return size - whole


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Append one line behind the last whole one: a torn one before it would make both unreadable.

    Raises:
        OSError: when writing fails.
    """
    drop_torn_line(path)
    with path.open("a") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read all complete lines; none where there is no file.

    A last line without its newline is being written, or was torn when the process ended. It does not count.

    Raises:
        ValueError: for a complete line that is no JSON object. The error names the file and the line.
    """
    if not path.is_file():
        return []
    whole = path.read_bytes().split(b"\n")[:-1]
    return [_parse(line, path, number) for number, line in enumerate(whole, start=1) if line]


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    parsed = _json(line)
    if not isinstance(parsed, dict):
        raise ValueError(f"{path}, line {number} is no JSON object: delete that line.")
    return parsed


def _json(content: bytes) -> Any:
    """What JSON says; None for what is none."""
    try:
        return json.loads(content)
    except ValueError:
        return None


def read_object(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        ValueError: when it holds none.
    """
    found = _json(path.read_bytes())
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object. Put it back from a copy, or use another folder.")
    return found


def read_steps(path: Path) -> list[dict[str, Any]]:
    """Read all complete lines of a file in which each belongs to a step.

    Raises:
        ValueError: for a complete line that is no JSON object, or names no step.
    """
    lines = read_lines(path)
    if any(not isinstance(line.get("step"), int) for line in lines):
        raise ValueError(f"{path} has a line without a step: delete that line.")
    return lines


def opens(path: Path) -> bool:
    """Tell whether a file is what its name says, as far as its beginning and its end show. A disk that was cut off may
    leave zeros in a file of the right size."""
    if path.suffix == ".json":
        return _json(path.read_bytes()) is not None
    if path.suffix == ".jinja":
        return "\ufffd" not in path.read_text(errors="replace")
    if path.suffix in (".pt", ".pth"):  # as torch has written them since 1.6
        return zipfile.is_zipfile(path)
    if path.suffix != ".safetensors":
        return True
    try:
        with safe_open(path, framework="numpy"):
            return True
    except SafetensorError:
        return False


def forget_later(path: Path, step: int) -> None:
    """Drop the lines of later steps, which a run that begins at `step` makes again, and a torn last line.

    Raises:
        ValueError: see `read_steps`.
        OSError: when writing fails; the file is then as it was.
    """
    if path.is_file():
        kept = [line for line in read_steps(path) if line["step"] <= step]
        write_atomically(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
