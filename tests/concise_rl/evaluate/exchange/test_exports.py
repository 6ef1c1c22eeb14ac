from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import pytest

from concise_rl.evaluate.evaluation import read_evaluation
from concise_rl.evaluate.exchange.exports import export
from concise_rl.evaluate.exchange.importing import ImportSpec, import_logs
from concise_rl.evaluate.statistics import Table, describe
from tests.concise_rl.evaluate.fabric import given_up, sample, write_evaluation

PROBLEMS, SAMPLES = 5, 3


def evaluated(folder: Path) -> Path:
    """An evaluation with every way to end: right, wrong, ungraded, cut, never closed, given up."""
    samples = [sample(p, k, int((p + k) % 3 > 0), 20 + p + k) for p in range(PROBLEMS) for k in range(SAMPLES)]
    samples[0] = sample(0, 0, None, 30)
    samples[1] = sample(0, 1, 0, 64, text="<think>\n7", answer=None, finished=False, stop_reason="length")
    samples[2] = sample(0, 2, 0, 33, text="<think>\n7", answer=None, think_length=32)
    samples[3] = given_up(1, 0, 25)
    write_evaluation(folder, samples[::-1], ("mine", samples), problems=PROBLEMS, samples=SAMPLES)
    return folder


def figures(table: Table) -> dict[str, Any]:
    """What a report says of one model, but for its intervals: resamples follow the order of the problems, which is
    another after an import, and so is that of a sum's terms."""
    found = {name: value for name, value in asdict(describe(table)).items() if not name.endswith("_ci95")}
    return found | {name: round(found[name], 9) for name in ("accuracy", "tokens", "tokens_thinking")}


@pytest.mark.parametrize("to", ["inspect", "lm-eval"])
def test_what_is_exported_and_imported_again_has_the_same_figures(to: str, tmp_path: Path) -> None:
    folder, out = evaluated(tmp_path / "eval"), tmp_path / "out"
    base, mine = sorted({path if to == "inspect" else path.parent for path in export(folder, to, tmp_path / to)})
    import_logs(ImportSpec((mine,), baseline=(base,), label="mine"), out)
    before, after = read_evaluation(folder), read_evaluation(out)
    assert figures(after.labels[0].table) == figures(before.labels[0].table)
    assert before.baseline is not None and after.baseline is not None
    assert figures(after.baseline.table) == figures(before.baseline.table)
    assert after.manifest.models[0].model == before.manifest.models[0].model


def test_inspect_itself_finds_the_samples_and_the_accuracy(tmp_path: Path) -> None:
    from inspect_ai.analysis import samples_df
    from inspect_ai.log import read_eval_log

    folder = evaluated(tmp_path / "eval")
    paths = export(folder, "inspect", tmp_path / "logs")
    assert len(samples_df([str(path) for path in paths], quiet=True)) == 2 * PROBLEMS * SAMPLES
    log = read_eval_log(str(paths[1]))
    assert log.samples is not None and log.results is not None
    assert sum(one.output.usage.output_tokens for one in log.samples if one.output.usage) == sum(
        read_evaluation(folder).labels[0].table.length_PK.ravel()
    )
    assert log.results.scores[0].metrics["accuracy"].value == describe(read_evaluation(folder).labels[0].table).accuracy


def test_lm_eval_lines_load_as_a_data_set_and_are_found_by_their_names(tmp_path: Path) -> None:
    paths = export(evaluated(tmp_path / "eval"), "lm-eval", tmp_path / "logs")
    samples = [str(path) for path in paths if "/samples_" in str(path) and ".json" in str(path)]
    assert len(samples) == 2 and len([path for path in paths if "/results_" in str(path)]) == 2
    rows = datasets.load_dataset("json", data_files=samples, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == 2 * PROBLEMS and set(rows["filter"]) == {"none"}
    assert [len(responses[0]) for responses in rows["resps"]] == [SAMPLES] * 2 * PROBLEMS


def test_the_same_evaluation_exports_the_same_bytes(tmp_path: Path) -> None:
    folder = evaluated(tmp_path / "eval")
    first, second = (export(folder, "lm-eval", tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_an_unknown_format_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Unknown format 'csv'"):
        export(evaluated(tmp_path / "eval"), "csv", tmp_path / "out")
