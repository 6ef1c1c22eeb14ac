"""Put what a comparison says into words, for the terminal and the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from concise_rl.evaluate.compare.columns import COLUMNS
from concise_rl.evaluate.text import all_entries, headline

Report = Mapping[str, Any]


def title(report: Report) -> str:
    """Say what was measured: `tiny:sums: 64 problems x 4 samples`."""
    measurement = report["measurement"]
    return f"{measurement['task']}: {report['problems']} problems x {measurement['samples']} samples"


def front_names(report: Report) -> list[str]:
    """List the models on the Pareto front, the shortest first."""
    on_front = [entry for entry in all_entries(report) if entry["front"] and entry["front"]["on_front"]]
    return [entry["label"] for entry in sorted(on_front, key=lambda entry: (entry["tokens"], entry["label"]))]


def front_sentence(report: Report) -> str:
    """Say who is on the front; empty where no accuracy is known."""
    names, total = front_names(report), len(all_entries(report))
    if not names or total == 1:
        return ""
    return f"On the Pareto front ({len(names)} of {total} models): {listed(names)}."


def first_sentence(report: Report) -> str:
    """Say what the first row of the table says, and by what it is the first."""
    if len(report["methods"]) == 1:
        return headline(report)
    return f"First by {COLUMNS[report['sorted_by']].title}: {headline(report)}"


def listed(names: Sequence[str]) -> str:
    """Write names as `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def advice(report: Report) -> str:
    """Say how to get what is missing; empty where nothing is."""
    if report["baseline"]:
        return ""
    return (
        "No baseline, so no tokens saved: name one of the models, --baseline LABEL, or evaluate the untouched model, "
        "concise-rl eval ... --baseline MODEL."
    )


def seeds(entry: Mapping[str, Any]) -> str:
    """Say how many training seeds a row pools: `3 seeds`; empty for one model of which no training is known."""
    count = len(entry["seeds"])
    return f"{count} seeds" if count > 1 else "1 seed" if entry["trained"] else ""


def named(entry: Mapping[str, Any]) -> str:
    """Write the name of a row with its seeds: `grpo (3 seeds)`."""
    return f"{entry['label']} ({seeds(entry)})" if seeds(entry) else entry["label"]


def one_seed(report: Report) -> str:
    """Say what the intervals of single seeds leave out; empty where all rows have several."""
    if all(len(entry["seeds"]) > 1 for entry in report["methods"]):
        return ""
    return "Those of one training seed are about that trained model: another seed may differ by more."


def failure(run: Mapping[str, Any]) -> str:
    """Name a run that has no evaluation: `grpo, seed 2`."""
    return run["label"] if run["seed"] is None else f"{run['label']}, seed {run['seed']}"
