import io
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from concise_rl.evaluate.report import write_report
from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.text import headline, terminal_table
from tests.concise_rl.evaluate.fabric import given_up, labelled, sample, write_evaluation

PROBLEMS, SAMPLES = 12, 3


def samples_of(length: int, shift: int = 0) -> list[Sample]:
    return [
        sample(p, k, int((p + k + shift) % 4 > 0), length + p, difficulty=p % 3, oracle_length=6)
        for p in range(PROBLEMS)
        for k in range(SAMPLES)
    ]


def evaluated(folder: Path, shuffle: bool = False) -> Path:
    models = [("grpo", samples_of(20)), ("grpo", samples_of(22, 1)), ("other", samples_of(30))]
    if shuffle:
        models = [(label, random.Random(0).sample(samples, len(samples))) for label, samples in models]
    write_evaluation(folder, samples_of(40), *models, problems=PROBLEMS, samples=SAMPLES)
    return folder


def plain(report: dict[str, Any]) -> str:
    """The terminal table on 80 columns; its caption is one line of words."""
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal_table(report))
    table, _, caption = console.export_text().partition("Brackets")
    return f"{table}Brackets{' '.join(caption.split())}"


def words(folder: Path) -> str:
    """The page without its styles, scripts and data."""
    page = (folder / "report.html").read_text()
    return re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.suffix in (".json", ".html", ".png")
    }


def test_reporting_again_gives_the_identical_bytes(tmp_path: Path) -> None:
    folder = evaluated(tmp_path)
    write_report(folder)
    first = contents(folder)
    write_report(folder)
    assert contents(folder) == first
    assert {"report.json", "report.html", "plots/accuracy_against_tokens.png"} <= first.keys()


def test_the_order_of_lines_leaves_the_report_as_it_is(tmp_path: Path) -> None:
    write_report(evaluated(tmp_path / "a"))
    write_report(evaluated(tmp_path / "b", shuffle=True))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_report_has_what_was_promised(tmp_path: Path) -> None:
    report = json.loads(json.dumps(write_report(evaluated(tmp_path))))
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert report["baseline"]["tokens"] == 45.5
    assert report["model"]["tokens"] == 26.5
    assert report["model"] == report["methods"][0]
    assert report["token_savings"]["value"] == pytest.approx(1 - 26.5 / 45.5)
    assert len(report["accuracy_change"]["ci95"]) == 2
    assert report["samples"] == PROBLEMS * SAMPLES * 2
    assert report["problems"] == PROBLEMS
    assert report["oracle_tokens"] == 6
    assert [method["label"] for method in report["methods"]] == ["grpo", "other"]
    assert [seed["tokens"] for seed in report["model"]["seeds"]] == [25.5, 27.5]
    assert report["model"]["spread"]["tokens"] == pytest.approx(2**0.5)


def test_one_label_needs_no_baseline(tmp_path: Path) -> None:
    write_evaluation(tmp_path, None, ("grpo", samples_of(20)), problems=PROBLEMS, samples=SAMPLES)
    report = write_report(tmp_path)
    assert report["baseline"] is None
    assert report["token_savings"] is None
    assert headline(report) == "grpo answers 75.0 % correctly with 25.5 tokens."
    assert "tokens saved" not in (tmp_path / "report.html").read_text()


def test_missing_samples_are_named_for_every_run(tmp_path: Path) -> None:
    write_evaluation(tmp_path, samples_of(40)[5:], ("grpo", []), problems=PROBLEMS, samples=SAMPLES)
    with pytest.raises(ValueError, match=r"baseline \(.*\): 5 of 36 .* missing. grpo \(.*\): 36 of 36 .* missing"):
        write_report(tmp_path)
    assert not (tmp_path / "report.json").exists()


def of_another_version(folder: Path) -> None:
    manifest = json.loads((evaluated(folder) / "eval.json").read_text())
    (folder / "eval.json").write_text(json.dumps(manifest | {"from_the_future": 1}))


def still_running(folder: Path) -> None:
    write_evaluation(folder, samples_of(40)[:-5], ("grpo", samples_of(40)), problems=PROBLEMS, samples=SAMPLES)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (of_another_version, r"eval\.json cannot be read .*from_the_future: .*--overwrite"),
        (still_running, r"baseline .*: 5 of 36 samples are missing\. If no .* go on with: concise-rl eval .* --out "),
        (lambda folder: None, r"holds no eval\.json\. Give the folder that `concise-rl eval` wrote\."),
    ],
)
def test_a_folder_that_makes_no_report_is_refused_in_one_line(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    make(tmp_path)
    with pytest.raises(ValueError, match=said) as error:
        write_report(tmp_path)
    assert "\n" not in str(error.value)


def test_a_failed_report_leaves_the_previous_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = evaluated(tmp_path)
    write_report(folder)
    before = contents(folder)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("concise_rl.files.os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(folder)
    assert contents(folder) == before


def test_the_page_loads_nothing_from_outside_and_escapes_what_models_write(tmp_path: Path) -> None:
    text = "<think>\n<script>alert(1)</script>\n</think>\n7"
    write_evaluation(tmp_path, None, ("grpo", [sample(0, 0, text=text)]), problems=1, samples=1)
    write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"(src|href)=\"(?!#)", page)


def test_models_of_which_nothing_is_correct_still_get_a_page(tmp_path: Path) -> None:
    cut = [
        sample(p, k, 0, 512, answer=None, stop_reason="length", finished=False)
        for p in range(PROBLEMS)
        for k in range(SAMPLES)
    ]
    write_evaluation(tmp_path, cut, ("grpo", cut), problems=PROBLEMS, samples=SAMPLES)
    report = write_report(tmp_path)
    assert any("100% of the samples of grpo hit the cap of 512 tokens" in warning for warning in report["warnings"])
    assert "before and after" not in (tmp_path / "report.html").read_text()


def test_samples_that_ended_inside_the_thinking_are_warned_about(tmp_path: Path) -> None:
    inside = [sample(p, k, 0, 20, answer=None, think_length=19) for p in range(6) for k in range(2)]
    write_evaluation(tmp_path, None, ("grpo", inside), problems=6, samples=2)
    report = write_report(tmp_path)
    assert report["model"]["ended_thinking"] == 1
    assert any("100% of the samples of grpo ended inside the thinking" in warning for warning in report["warnings"])
    assert "ended inside the thinking" in (tmp_path / "report.html").read_text()


def test_what_could_not_be_graded_is_said(tmp_path: Path) -> None:
    unjudged = [sample(p, k, None) for p in range(PROBLEMS) for k in range(SAMPLES)]
    write_evaluation(tmp_path, samples_of(40), ("grpo", unjudged), problems=PROBLEMS, samples=SAMPLES)
    report = write_report(tmp_path)
    assert report["model"]["accuracy"] is None
    assert "36 of 36 samples of grpo could not be graded; accuracy leaves them out." in report["warnings"]


def first_of_three(p: int, fastest: int, length: int) -> list[Sample]:
    """Samples of a problem of which one ended first, and the others were given up then."""
    return [sample(p, k, int(p % 4 > 0), length) if k == fastest else given_up(p, k, length + 4) for k in range(3)]


def answered_together(folder: Path) -> Path:
    """First-finish: of three samples the first answers, right on three problems of four."""
    short = [one for p in range(PROBLEMS) for one in first_of_three(p, p % 3, 10)]
    long = [one for p in range(PROBLEMS) for one in first_of_three(p, 0, 20)]
    write_evaluation(
        folder, long, ("grpo", short), ("grpo", long), problems=PROBLEMS, samples=3, batch_size=3, keep_shortest=1
    )
    return folder


def test_where_samples_answer_together_a_question_is_what_counts(tmp_path: Path) -> None:
    report = write_report(answered_together(tmp_path))
    assert report["unit"] == "question, short-1@3"
    assert (report["baseline"]["accuracy"], report["baseline"]["tokens"]) == (0.75, 68)
    assert [(seed["accuracy"], seed["tokens"]) for seed in report["model"]["seeds"]] == [(0.75, 38), (0.75, 68)]
    assert report["token_savings"]["value"] == pytest.approx(1 - 53 / 68)
    assert report["model"]["samples"] == 2 * 3 * PROBLEMS
    assert report["model"]["stop_reasons"] == {"aborted": 48, "eos": 24}
    assert report["model"]["unjudged"] == 0


def test_table_and_page_say_that_questions_are_counted(tmp_path: Path) -> None:
    text = plain(write_report(answered_together(tmp_path)))
    page = (tmp_path / "report.html").read_text()
    for written in (text, page):
        assert (
            "short-1@3: of 3 samples, the first to end gives the answer. Tokens are those of all 3, given up or not."
            in written
        )
    assert "unit: question, short-1@3" in page
    assert "tokens of a question" in page
    assert "before and after" in page


def test_a_question_without_a_verdict_is_counted_among_questions(tmp_path: Path) -> None:
    unjudged = [sample(p, k, None) for p in range(PROBLEMS) for k in range(2)]
    write_evaluation(tmp_path, None, ("grpo", unjudged), problems=PROBLEMS, samples=2, batch_size=2, keep_shortest=1)
    assert (
        "12 of 12 questions of grpo could not be graded; accuracy leaves them out."
        in write_report(tmp_path)["warnings"]
    )


def test_where_each_sample_counts_that_is_said(tmp_path: Path) -> None:
    assert write_report(evaluated(tmp_path))["unit"] == "sample"
    assert "question" not in (tmp_path / "report.html").read_text()


def test_every_way_to_end_is_in_the_table_and_on_the_page(tmp_path: Path) -> None:
    samples = [sample(p, 0, stop_reason="think_budget" if p % 4 == 0 else "eos") for p in range(PROBLEMS)]
    write_evaluation(tmp_path, None, ("grpo", samples), problems=PROBLEMS, samples=1)
    assert "How samples ended: grpo eos 75.0 %, think_budget 25.0 %." in plain(write_report(tmp_path))
    assert "eos 9, think_budget 3" in (tmp_path / "report.html").read_text()


def read_by_a_judge(folder: Path) -> Path:
    """An evaluation whose labels are of use: the baseline goes on for 20 tokens after the answer, grpo for 4."""
    long, short = (
        [
            labelled(p, k, passages=4, first=passage, redundant=redundant + p, overshoot=redundant + p + 2, length=60)
            for p in range(PROBLEMS)
            for k in range(SAMPLES)
        ]
        for passage, redundant in ((0, 20), (3, 4))
    )
    write_evaluation(folder, long, ("grpo", short), problems=PROBLEMS, samples=SAMPLES, judge="rule")
    return folder


def test_overthinking_is_reported_for_every_label(tmp_path: Path) -> None:
    report = write_report(read_by_a_judge(tmp_path))
    before, after = report["baseline"]["overthinking"], report["model"]["overthinking"]
    assert (before["redundant_tokens"]["value"], after["redundant_tokens"]["value"]) == (25.5, 9.5)
    assert (before["necessary_prefix"]["value"], after["necessary_prefix"]["value"]) == (0.25, 1)
    assert (after["overshoot"]["value"], after["states_answer"]["value"], after["reflections"]["value"]) == (11.5, 1, 2)
    low, high = after["redundant_tokens"]["ci95"]
    assert low < 9.5 < high
    assert after["labelled"] == PROBLEMS * SAMPLES


def test_redundant_tokens_stand_below_the_tokens_in_the_table_and_on_the_page(tmp_path: Path) -> None:
    text = plain(write_report(read_by_a_judge(tmp_path)))
    page = (tmp_path / "report.html").read_text()
    assert "redundant" in text and " 25.5 " in text and " 9.5 " in text and "judge: rule" in text
    assert all(words in page for words in (">Overthinking</h2>", "25.5", "necessary share", "<code>rule</code>"))


def test_a_report_on_samples_that_nobody_read_is_silent_about_redundancy(tmp_path: Path) -> None:
    text = plain(write_report(evaluated(tmp_path)))
    assert "edundant" not in text
    assert "Overthinking" not in (tmp_path / "report.html").read_text()


def test_without_a_judge_reflections_are_still_reported(tmp_path: Path) -> None:
    samples = [sample(p, 0, reflections=p) for p in range(PROBLEMS)]
    write_evaluation(tmp_path, None, ("grpo", samples), problems=PROBLEMS, samples=1)
    assert write_report(tmp_path)["model"]["overthinking"]["reflections"]["value"] == 5.5
    page = words(tmp_path)
    assert "reflections" in page and "redundant" not in page


def test_the_table_with_redundant_tokens_fits_80_columns_whole(tmp_path: Path) -> None:
    many = [labelled(p, 0, length=16000, redundant=10000, overshoot=10000 + p) for p in range(PROBLEMS)]
    write_evaluation(tmp_path, many, ("length_penalty", many), problems=PROBLEMS, samples=1, judge="rule")
    text = plain(write_report(tmp_path))
    assert "…" not in text and "10,000" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"value": 0.0, "ci95": [-0.104, 0.125]},
            "its accuracy is unchanged within the noise (-10.4 to +12.5 points).",
        ),
        ({"value": -0.03, "ci95": [-0.04, -0.02]}, "its accuracy is 3.0 points lower"),
        ({"value": 0.03, "ci95": [0.02, 0.04]}, "its accuracy is 3.0 points higher"),
    ],
)
def test_the_headline_lets_the_interval_decide(change: dict[str, object], said: str) -> None:
    model = {"label": "grpo", "accuracy": 0.8, "tokens": 30.0}
    savings = {"value": 0.64, "ci95": [0.6, 0.7]}
    sentence = headline({"model": model, "token_savings": savings, "accuracy_change": change})
    assert sentence.startswith("grpo uses 64.0 % fewer tokens")
    assert said in sentence


def test_the_terminal_table_fits_80_columns_whole(tmp_path: Path) -> None:
    text = plain(write_report(evaluated(tmp_path)))
    assert "…" not in text
    assert all(name in text for name in ("baseline", "grpo", "run 2", "other", "acc. change", "41.8 %"))
