"""Several tasks from sampling to the table, by an engine that follows a script."""

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from concise_rl.cli import main
from concise_rl.evaluate.evaluation import read_evaluation
from concise_rl.evaluate.spec import EvalSpec, Measurement, ModelRun
from concise_rl.evaluate.statistics import describe
from concise_rl.evaluate.suite.compare import compare_suites
from concise_rl.evaluate.suite.report import write_suite_report
from concise_rl.evaluate.suite.run import evaluate_suite
from concise_rl.evaluate.suite.tasks import SUITES, expand
from concise_rl.evaluate.suite.text import markdown_table, terminal_table
from concise_rl.rollout.engine import Completion
from tests.browser import OpenPage, column, overflow
from tests.concise_rl.evaluate.fabric import ScriptedEngine

TASKS = {"few": 3, "more": 6}
"""Problems of each."""
SAMPLES = 2


class Scripted(ScriptedEngine):
    """Draws by the name of its model, too."""

    def __init__(self, name: str, fail_at: int | None) -> None:
        super().__init__(fail_at, alone=True)
        self.name = name

    def _complete(self, rng: random.Random, max_tokens: int) -> Completion:
        return super()._complete(random.Random(f"{self.name} {rng.random()}"), max_tokens)


def specs(folder: Path, models: Sequence[str] = ("m",), tasks: dict[str, int] | None = None) -> dict[str, EvalSpec]:
    """What to sample, by task. The rows are written if need be."""
    found = {}
    for name, problems in (tasks or TASKS).items():
        rows = folder / f"{name}.jsonl"
        rows.write_text("".join(f'{{"prompt": "What is 7 + {i} - {i}?", "answer": "7"}}\n' for i in range(problems)))
        measurement = Measurement(
            task=str(rows), samples=SAMPLES, max_tokens=60 + problems, verifier="exact", batch_size=4, engine="vllm"
        )
        runs = tuple(ModelRun(label=model, model=f"models/{model}") for model in models)
        baseline = ModelRun(label="baseline", model="models/base")
        found[name] = EvalSpec(measurement=measurement, models=runs, baseline=baseline)
    return found


def run(wanted: dict[str, EvalSpec], out: Path, **settings: Any) -> list[str]:
    """Sample with scripted engines. Returns what was opened, with its cap, and closed."""
    events: list[str] = []
    fail_at = settings.pop("fail_at", None)

    @contextmanager
    def load(model: str, measurement: Measurement) -> Iterator[ScriptedEngine]:
        events.append(f"open {Path(model).name} {measurement.max_tokens}")
        yield Scripted(model, fail_at)
        events.append(f"close {Path(model).name}")

    evaluate_suite(wanted, out, load=load, **settings)
    return events


def lines(out: Path) -> dict[str, set[str]]:
    return {
        str(path.relative_to(out)): set(path.read_text().splitlines()) for path in sorted(out.glob("*/samples/*.jsonl"))
    }


# Sampling


def test_a_model_is_loaded_once_for_all_tasks_with_the_longest_cap_and_freed_before_the_next(tmp_path: Path) -> None:
    assert run(specs(tmp_path), tmp_path / "out") == ["open base 66", "close base", "open m 66", "close m"]
    counts = {name: len(found) for name, found in lines(tmp_path / "out").items()}
    assert counts == {
        f"{task}/samples/{label}.0.jsonl": problems * SAMPLES
        for task, problems in TASKS.items()
        for label in ("baseline", "m")
    }


def test_an_interrupted_suite_ends_with_the_samples_of_an_uninterrupted_one(tmp_path: Path) -> None:
    run(specs(tmp_path), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(specs(tmp_path), tmp_path / "cut", fail_at=3)  # within the second task
    cut = lines(tmp_path / "cut")
    assert sum(map(len, cut.values())) == 3 * 4 - 2
    assert run(specs(tmp_path), tmp_path / "cut")[0] == "open base 66"
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert run(specs(tmp_path), tmp_path / "cut") == [], "nothing is missing, so that nothing is loaded"


def test_a_task_can_be_added_later(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(specs(tmp_path, tasks={"few": 3}), out)
    assert run(specs(tmp_path), out) == ["open base 66", "close base", "open m 66", "close m"]
    assert [task["name"] for task in write_suite_report(out)["tasks"]] == ["few", "more"]


def test_a_task_that_cannot_be_used_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    wanted = specs(tmp_path)
    (tmp_path / "more.jsonl").unlink()
    with pytest.raises(ValueError, match=r"There is no file .*more\.jsonl"):
        run(wanted, tmp_path / "out")
    assert not lines(tmp_path / "out")


def test_a_label_stands_for_one_model_in_all_tasks(tmp_path: Path) -> None:
    out, wanted = tmp_path / "out", specs(tmp_path, tasks={"more": 6})
    run(specs(tmp_path, tasks={"few": 3}), out)
    other = (ModelRun(label="m", model="models/other"),)
    with pytest.raises(ValueError, match=r"m is models/m in few and models/other in more: .* Give it another label"):
        run({name: one.model_copy(update={"models": other}) for name, one in wanted.items()}, out)
    assert not (out / "more").exists()


def test_overwriting_deletes_every_task_of_the_suite_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(specs(tmp_path), out)
    (out / "notes.txt").touch()
    run(specs(tmp_path, tasks={"few": 3}), out, overwrite=True)
    assert {name.split("/")[0] for name in lines(out)} == {"few"}
    assert (out / "notes.txt").exists() and len(write_suite_report(out)["tasks"]) == 1


def test_a_folder_of_one_task_is_no_place_for_several(tmp_path: Path) -> None:
    run(specs(tmp_path, tasks={"few": 3}), tmp_path / "out")
    with pytest.raises(ValueError, match="holds an evaluation of one task"):
        run(specs(tmp_path), tmp_path / "out/few")


# The report


def test_the_report_has_the_means_and_every_task_a_report_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(specs(tmp_path, ["m", "n"]), out)
    report = write_suite_report(out)
    assert json.loads(json.dumps(report)) == json.loads((out / "report.json").read_text())
    alone = {name: json.loads((out / name / "report.json").read_text()) for name in TASKS}
    found = report["methods"][1]
    assert found["label"] == "n" and found["tasks"]["few"]["tokens"] == alone["few"]["methods"][1]["tokens"]
    both = [alone[name]["methods"][1]["accuracy"] for name in TASKS]
    assert found["macro"]["accuracy"]["value"] == pytest.approx(sum(both) / 2)
    tables = [read_evaluation(out / name).labels[1].table for name in TASKS]
    total = sum(describe(table).tokens * TASKS[name] for name, table in zip(TASKS, tables, strict=True))
    assert found["pooled"]["tokens"]["value"] == pytest.approx(total / sum(TASKS.values()))
    assert report["baseline"]["macro"]["aes"] is None and found["macro"]["aes"] is not None


def test_reporting_again_gives_the_identical_bytes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(specs(tmp_path), out)
    write_suite_report(out)
    before = {path: path.read_bytes() for path in out.rglob("report.*")}
    main(["report", str(out)])
    assert len(before) == 6 and {path: path.read_bytes() for path in before} == before


def test_a_model_that_was_not_measured_on_every_task_has_no_means_and_that_is_said(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(specs(tmp_path), out)
    run(specs(tmp_path, ["late"], {"few": 3}), out)
    report = write_suite_report(out)
    late = report["methods"][1]
    assert (late["macro"], late["pooled"], late["missing"]) == (None, None, ["more"])
    assert report["warnings"][0].startswith("late was not measured on more, and has no means")
    assert report["methods"][0]["macro"]["aes"] is not None


def test_what_is_missing_is_said_of_every_task_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(specs(tmp_path), out)
    for name in TASKS:
        (out / name / "samples/m.0.jsonl").unlink()
    with pytest.raises(ValueError, match=r"(?s)few.*6 of 6 samples are missing.*more.*12 of 12 samples are missing"):
        write_suite_report(out)


def test_the_table_fits_80_columns_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(specs(tmp_path, ["m", "a-long-name-of-a-method"]), out)
    report = write_suite_report(out)
    console = Console(width=80)
    with console.capture() as shown:
        console.print(terminal_table(report))
    text = shown.get()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    assert text.count("mean of tasks") == 3 and "2 tasks, 9 problems" in text


def test_the_page_sorts_by_any_column_and_fits_a_phone(tmp_path: Path, open_page: OpenPage) -> None:
    out = tmp_path / "out"
    run(specs(tmp_path, ["m", "n"]), out)
    report = write_suite_report(out)
    page = open_page(out / "report.html", (390, 844))
    assert overflow(page) == 0
    page.get_by_role("button", name="tokens").first.click()
    entries = [report["baseline"], *report["methods"]]
    by_tokens = sorted(entries, key=lambda entry: -entry["macro"]["tokens"]["value"])
    assert column(page, 1) == [entry["label"] for entry in by_tokens]
    linked = page.get_by_role("link", name="few").first.get_attribute("href")
    assert (out / linked).is_file()


# Comparing


def test_suites_are_compared_task_by_task_and_by_their_means(tmp_path: Path) -> None:
    run(specs(tmp_path), tmp_path / "a")
    run(specs(tmp_path, ["n"]), tmp_path / "b")
    out = tmp_path / "compared"
    found = compare_suites([tmp_path / "a", tmp_path / "b"], out, [(str(tmp_path / "b"), "new")], None, "tokens", 2.0)
    means = {entry["label"]: entry["macro"]["tokens"]["value"] for entry in found.report["methods"]}
    assert set(means) == {"m", "new"} and list(means.values()) == sorted(means.values())
    assert means["m"] == pytest.approx(write_suite_report(tmp_path / "a")["methods"][0]["macro"]["tokens"]["value"])
    assert {path.parent.name for path in out.rglob("compare.html")} == {"compared", *TASKS}
    assert markdown_table(found.report).count("\n") == 4


def test_what_only_one_suite_has_is_left_out_of_the_means_and_named(tmp_path: Path) -> None:
    run(specs(tmp_path), tmp_path / "a")
    run(specs(tmp_path, ["n"], {"few": 3}), tmp_path / "b")
    found = compare_suites([tmp_path / "a", tmp_path / "b"], tmp_path / "out", [], None, None, 2.0)
    assert [task["name"] for task in found.report["tasks"]] == ["few"]
    assert found.report["warnings"][0].startswith("Left out of the means, as not every suite has it: more of ")


def test_a_suite_is_not_compared_with_an_evaluation_of_one_task(tmp_path: Path) -> None:
    run(specs(tmp_path), tmp_path / "a")
    shutil.copytree(tmp_path / "a/few", tmp_path / "b")
    with pytest.raises(SystemExit, match=r"b is no suite, and the others are: .* DIR/TASK"):
        main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out")])


# Naming


def test_the_tasks_of_a_suite_stand_beside_others(tmp_path: Path) -> None:
    found = expand(["suite:tiny", "math500=copies/math.parquet", "data/my rows.jsonl"])
    assert [one.name for one in found] == [*(one.name for one in SUITES["tiny"]), "math500", "data-my-rows.jsonl"]
    assert found[-2].task == "math500=copies/math.parquet"


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (["suite:maths"], "Unknown suite 'suite:maths'. Did you mean 'suite:math'?"),
        (["tiny:sums", "tiny:sums"], "--task tiny:sums would share the folder 'tiny-sums'"),
        (["math500", "math500=a.parquet"], "--task math500 and math500=a.parquet would share the folder 'math500'"),
    ],
)
def test_tasks_that_cannot_be_told_apart_are_refused(tasks: list[str], said: str) -> None:
    with pytest.raises(ValueError) as error:
        expand(tasks)
    assert said in str(error.value)
