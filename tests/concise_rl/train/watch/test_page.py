"""The page of a run shows all that the run has logged."""

import json
import logging
import math
from pathlib import Path

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from concise_rl.files import read_lines
from concise_rl.output.pages.curves import Series
from concise_rl.train.watch import writer
from concise_rl.train.watch.browse import beside_of, places_of, rollouts_data
from concise_rl.train.watch.page import history, page_values, unique_names, write_overlay, write_run_page
from concise_rl.train.watch.panels import derive, draw, thin
from concise_rl.train.watch.run import read_run
from concise_rl.train.watch.sections import BOOKKEEPING, COUNTERS, OF_THE_END, SAME
from concise_rl.train.watch.summary import ends, write
from concise_rl.train.watch.writer import PageWriter
from tests.concise_rl.train.watch.test_run import start, write_run


def test_no_metric_of_a_run_is_missing_from_its_page(trained: Path) -> None:
    run = read_run(trained)
    values = page_values(run, 0.0)
    drawn = [series for _, panels in values["sections"] for panel in panels for series in panel["series"]]
    constant = [key for section, _ in values["sections"] for key in section.constant]
    numbers = derive(run).keys() - BOOKKEEPING - SAME
    numbers = {key for key in numbers if not key.startswith(COUNTERS) and not key.endswith(OF_THE_END)}
    zero = [key for key in numbers if key.startswith("stop/") and not any(run.values(key))]
    assert {"correct/mean", "redundant/tokens", "groups/mixed", "grad_norm", "time/label"} <= numbers
    assert len(drawn) + len(constant) + len(zero) == len(numbers)
    assert [label for label, _ in values["counters"]][:2] == ["verifier: judged", "verifier: correct"]


def test_what_a_method_of_the_users_own_says_is_drawn(tmp_path: Path) -> None:
    lines = [{"step": n, "objective/my_term": n / 2, "mine": n, "curriculum/speed": 1.0} for n in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sections = {section.id: section for section in draw([read_run(tmp_path)], [""])}
    assert [panel.title for panel in sections["method"].panels] == ["my term"]
    assert [panel.title for panel in sections["else"].panels] == ["mine"]
    assert sections["curriculum"].constant == {"curriculum/speed": 1.0}


def test_a_run_that_left_nothing_but_its_metrics_has_a_page(tmp_path: Path) -> None:
    write_run(tmp_path, **{"correct/mean": 0.5, "length/mean": 40.0, "length/think": 30.0})
    text = write_run_page(tmp_path).read_text()
    assert "Right rollouts" in text and 'data-browser="rollouts-browser-data"' not in text


def test_a_run_of_supervised_tuning_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text('{"stage": "sft", "model_name_or_path": "tiny:base", "max_steps": 5}')
    write_run(tmp_path, mean_token_accuracy=0.5, grad_norm=0.25)
    values = page_values(read_run(tmp_path), 0.0)
    assert (values["title"], values["rollouts"]) == ("supervised tuning on tiny:base", None)
    assert [change.label for change in values["changes"]] == ["loss"]


def test_a_page_of_a_run_that_has_logged_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text('{"objective": "grpo", "max_steps": 3}')
    assert "Nothing has been logged yet" in write_run_page(tmp_path).read_text()


def test_a_process_that_was_killed_shows_in_the_history(tmp_path: Path) -> None:
    saved = {"time": 1.0, "event": "saved", "step": 4}
    run = read_run(write_run(tmp_path, events=[start(), saved, start(step=4)]))
    assert [words for _, words in history(run)] == [
        "to make 20 steps, 1 process",
        "to make 20 steps, 1 process; the process before had ended without a word",
    ]


def test_text_of_a_model_cannot_leave_its_place(tmp_path: Path) -> None:
    event = {"time": 1.0, "event": "warning", "step": 1, "text": "<script>alert(1)</script>", "logger": "x"}
    write_run(tmp_path, events=[event])
    assert "<script>alert" not in write_run_page(tmp_path).read_text()


def test_runs_lie_over_each_other(tmp_path: Path) -> None:
    folders = [tmp_path / name / "run" for name in ("a", "b")]
    for folder, accuracy in zip(folders, (0.5, 0.75), strict=True):
        folder.mkdir(parents=True)
        write_run(folder, **{"correct/mean": accuracy})
    assert unique_names(folders) == ["a/run", "b/run"]
    write_overlay(folders, tmp_path / "curves.html")
    text = (tmp_path / "curves.html").read_text()
    assert "a/run: in the batch" in text and "b/run: in the batch" in text and "75.0 %" in text


def test_a_long_curve_is_drawn_by_means_of_stretches() -> None:
    values = [float(i % 2) for i in range(99)] + [None]
    drawn = thin(Series("x", [float(i) for i in range(1, 101)], values), most=10)
    assert (list(drawn.x), next(iter(drawn.y))) == ([10.0 * i for i in range(1, 11)], 0.5)
    assert list(drawn.y)[-1] == pytest.approx(4 / 9, abs=1e-4)


def test_the_best_of_a_group_stands_beside_its_worst() -> None:
    groups = [{"rollouts": [{"advantage": a} for a in of_one]} for of_one in ([0.0, 2.0, None, -1.0], [0.0, None])]
    places = [place for group in groups for place in places_of(group["rollouts"])]
    assert places == [None, "best", None, "worst", None, None]
    assert beside_of(groups, places) == [1, 3, 1, 1, None, None]


def test_recorded_rollouts_are_browsed_with_their_facts(trained: Path) -> None:
    data = rollouts_data(read_lines(trained / "rollouts.jsonl"))
    titles = [fact["title"] for fact in data["facts"]]
    assert data["count"] == 8 and titles[:4] == ["step", "verdict", "tokens", "advantage"]
    assert "advantage of thinking" in titles and "redundant" in titles


def test_beginning_and_end_are_means_of_a_tenth_of_the_steps() -> None:
    assert ends([None, *map(float, range(20))]) == (0.5, 18.5)
    assert ends([3.0]) == (3.0, 3.0)
    assert [write(0.905, "percent"), write(1234.5, "number"), write(0.01234, "number")] == [
        "90.5 %",
        "1,234.5",
        "0.0123",
    ]


def log(page: PageWriter, folder: Path, step: int) -> bool:
    """Log a step; whether the page was written."""
    (folder / "run.html").unlink(missing_ok=True)
    args, state = TrainingArguments(output_dir=str(folder), use_cpu=True), TrainerState(global_step=step)
    page.on_log(args, state, TrainerControl(), {"loss": 1.0})
    return (folder / "run.html").is_file()


def test_a_page_is_written_every_so_many_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SHARE", math.inf)
    page = PageWriter(3)
    write_run(tmp_path)
    assert [log(page, tmp_path, step) for step in range(1, 8)] == [True, False, False, True, False, False, True]


def test_pages_take_no_more_than_their_share_of_the_time(tmp_path: Path) -> None:
    page = PageWriter(1)
    write_run(tmp_path)
    assert [log(page, tmp_path, step) for step in range(1, 5)] == [True, False, False, False]


def test_a_page_that_cannot_be_written_costs_a_warning_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "SHARE", math.inf)
    write_run(tmp_path)
    (tmp_path / "run.html").mkdir()
    page = PageWriter(1)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            page.write(tmp_path)
    assert [record.message for record in caplog.records] and len(caplog.records) == 1
    assert "Could not write the page of this run (IsADirectoryError" in caplog.text
