"""Writing files so that a crash or a full disk leaves the previous content in place, and others may read them."""

import os
import secrets
from pathlib import Path


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
