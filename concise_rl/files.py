"""Writing files so that a crash or a full disk leaves the previous content in place."""

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` in one step, through a temporary file in the same folder.

    Raises:
        OSError: when writing fails; `path` is then as it was, and no temporary file is left.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)  # NamedTemporaryFile makes files that only their owner can read
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
