"""Find what reports say about the very weights that are released."""

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from concise_rl.evaluate.release.numbers import Measured
from concise_rl.evaluate.release.source import Source
from concise_rl.evaluate.release.wanted import Wanted
from concise_rl.evaluate.release.weights import load, write_merged
from concise_rl.evaluate.spec import fingerprint
from concise_rl.files import read_object
from concise_rl.models.gguf import save_folder


def find_all(source: Source, out: Path, wanted: Wanted) -> dict[Path, Measured]:
    """Find what each report says about the released weights, or about what they were made of.

    Args:
        source: the run.
        out: the weights as they are released.
        wanted: names the reports, and the model.

    Raises:
        ValueError: see `find_measured`.
    """
    if not wanted.reports:
        return {}
    prints = {fingerprint(str(source.folder)), fingerprint(str(out))}
    if wanted.adapter_alone:
        prints.add(_merged_print(source, out, wanted))
    return {folder: find_measured(folder, prints, source, wanted.name) for folder in wanted.reports}


def _merged_print(source: Source, adapters: Path, wanted: Wanted) -> str | None:
    """Return the fingerprint of adapters in their base, as engines measure them: whole. Those that ship are merged
    when they are named; others are what a release without `--adapter` makes of them."""
    base = source.base_folder
    with tempfile.TemporaryDirectory() as folder:
        merged = Path(folder) / "merged"
        if wanted.ships:
            save_folder(load(adapters, base).merge_and_unload(), AutoTokenizer.from_pretrained(base), merged)
        else:
            write_merged(source, adapters, merged)
        return fingerprint(str(merged))


def find_measured(folder: Path, prints: Collection[str | None], source: Source, name: str) -> Measured:
    """Find what a report says about weights.

    Args:
        folder: that `concise-rl eval` wrote.
        prints: fingerprints of the same model: as it was trained, and merged say.
        source: for what to say where the report is about others.
        name: what the page calls the model.

    Raises:
        ValueError: when there is no report, or it is one about other weights.
    """
    path = folder / "report.json"
    if not path.is_file():
        raise ValueError(f"There is no report.json in {folder}: give the folder that `concise-rl eval` wrote.")
    report = read_object(path)
    if "methods" not in report:
        raise ValueError(f"{path} is the report of several tasks: give the folder of one of them.")
    baseline = report["baseline"]
    for entry in report["methods"]:
        for seed in entry["seeds"]:
            if seed["fingerprint"] in prints:
                return Measured(name, _name_of(baseline), seed, baseline, portable(report))
    if baseline and baseline["seeds"][0]["fingerprint"] in prints:
        return Measured(name, "", baseline, None, portable(report))
    entries = [*report["methods"], *([baseline] if baseline else [])]
    measured = ", ".join(sorted({seed["model"] for entry in entries for seed in entry["seeds"]}))
    raise ValueError(
        f"The report in {folder} is about other weights ({measured}), not those in {source.folder}. Measure them: "
        f"concise-rl eval --model {source.folder} --baseline {source.base} --task {report['measurement']['task']}"
    )


def _name_of(baseline: Mapping[str, Any] | None) -> str:
    """Return what the report calls its baseline."""
    return portable(baseline["seeds"][0]["model"]) if baseline else ""


def portable(value: Any) -> Any:
    """Return settings or a report with the last part of each path of this machine in place of the path."""
    if isinstance(value, Mapping):
        return {key: portable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [portable(one) for one in value]
    is_path = isinstance(value, str) and (Path(value).is_absolute() or ("/" in value and Path(value).exists()))
    return Path(value).name if is_path else value
