import json
from pathlib import Path

from concise_rl.files import write_atomically


def write_comparison(report, evaluation, out: Path) -> Path:
    write_atomically(out / "compare.json", json.dumps(report, indent=2, allow_nan=False) + "\n")
    return out / "compare.html"
