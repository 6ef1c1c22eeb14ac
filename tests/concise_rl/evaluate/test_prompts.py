"""Evaluations that write something into prompts."""

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import BaseModel

from concise_rl.evaluate.browse import browse
from concise_rl.evaluate.evaluation import read_evaluation
from concise_rl.evaluate.prompts import writer_of
from concise_rl.evaluate.report import write_report
from concise_rl.evaluate.reproduce import eval_command
from concise_rl.evaluate.samples import Sample, read_samples
from concise_rl.evaluate.spec import Measurement, read_manifest
from concise_rl.evaluate.text import targets
from concise_rl.methods import Fact, add_to_prompt
from tests.concise_rl.evaluate.fabric import TOKENIZER, given_up, sample, write_evaluation
from tests.concise_rl.evaluate.test_run import PROBLEMS, lines, run, spec

WRITER = f"{__name__}.Counted"


class Counted(BaseModel):
    """Asks for a drawn number of tokens."""

    facts: ClassVar[tuple[Fact, ...]] = (Fact("target"),)
    most: int = 30

    def write(self, row: dict[str, Any], rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
        """See `PromptWriter`."""
        target = rng.integers(1, self.most, endpoint=True)
        return add_to_prompt(row, f" + {target}"), {"target": target}


class Pair(Counted):
    """Knows two numbers as one fact."""

    facts: ClassVar[tuple[Fact, ...]] = (Fact("pair", 2),)


class Mute(BaseModel):
    """Writes nothing."""


def samples_in(out: Path, name: str = "m.0") -> list[Sample]:
    return list(read_samples(out / "samples" / f"{name}.jsonl"))


def test_the_samples_of_a_problem_and_all_models_are_asked_the_same(tmp_path: Path) -> None:
    run(spec(tmp_path, prompts=WRITER), tmp_path / "out")
    drawn = [{(s.problem, s.facts["target"]) for s in samples_in(tmp_path / "out", n)} for n in ("m.0", "baseline.0")]
    assert drawn[0] == drawn[1] and len(drawn[0]) == PROBLEMS
    assert len({target for _, target in drawn[0]}) > 1


def test_what_is_written_stands_in_the_prompt_that_is_sampled_from(tmp_path: Path) -> None:
    _, engine = run(spec(tmp_path, prompts=WRITER), tmp_path / "out")
    asked = [TOKENIZER.decode(request.prompt_ids) for call in engine.calls for request in call]
    for text, one in zip(asked, samples_in(tmp_path / "out"), strict=True):
        target = TOKENIZER.decode(TOKENIZER.encode(f" + {one.facts['target']:.0f}", add_special_tokens=False)).strip()
        assert target in text
        assert "+" not in one.prompt.removeprefix("What is 7 +")


def test_another_seed_draws_other_numbers_for_the_same_problems(tmp_path: Path) -> None:
    drawn = []
    for seed in (0, 1):
        run(spec(tmp_path, prompts=WRITER, seed=seed), tmp_path / str(seed))
        drawn.append([s.facts["target"] for s in samples_in(tmp_path / str(seed))])
    assert drawn[0] != drawn[1]


def test_an_interrupted_evaluation_draws_the_same_numbers_again(tmp_path: Path) -> None:
    measured = spec(tmp_path, prompts=WRITER)
    run(measured, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(measured, tmp_path / "out", fail_at=1)
    run(measured, tmp_path / "out")
    assert lines(tmp_path / "out") == lines(tmp_path / "whole")


@pytest.mark.parametrize("now", [{}, {"prompts": WRITER, "prompts_options": {"most": 5}}])
def test_what_is_written_is_part_of_the_measurement(tmp_path: Path, now: dict[str, Any]) -> None:
    run(spec(tmp_path, prompts=WRITER), tmp_path / "out")
    with pytest.raises(ValueError, match=r"holds another evaluation.*prompts"):
        run(spec(tmp_path, **now), tmp_path / "out")


def test_without_a_writer_a_sample_is_written_as_it_always_was(tmp_path: Path) -> None:
    run(spec(tmp_path), tmp_path / "out")
    assert all("facts" not in json.loads(line) for line in lines(tmp_path / "out"))
    assert all(s.facts == {} for s in samples_in(tmp_path / "out"))


def test_the_command_of_a_report_names_the_writer_and_its_options(tmp_path: Path) -> None:
    run(spec(tmp_path, prompts=WRITER, prompts_options={"most": 9}), tmp_path / "out")
    words = eval_command(read_manifest(tmp_path / "out"))
    assert words[words.index("--prompts") + 1] == WRITER
    assert json.loads(words[words.index("--prompts-options") + 1]) == {"most": 9}


def test_the_methods_that_ask_for_a_length_are_known_by_name() -> None:
    writer: Any = writer_of(Measurement(task="t", prompts="l1_exact", prompts_options={"low": 7, "high": 7}))
    assert writer.write({"prompt": "How?"}, np.random.default_rng(0))[1] == {"target": 7}


@pytest.mark.parametrize(
    ("prompts", "options", "said"),
    [
        ("l1_exat", None, "Unknown prompt writer 'l1_exat'. Did you mean"),
        (WRITER, {"mos": 3}, "mos"),
        (f"{__name__}.Pair", None, "knows pair as several numbers"),
        (f"{__name__}.Mute", None, "is no prompt writer"),
    ],
)
def test_a_writer_that_cannot_be_used_is_refused_before_a_model_is_loaded(
    tmp_path: Path, prompts: str, options: dict[str, Any] | None, said: str
) -> None:
    events: list[str] = []
    with pytest.raises(ValueError, match=said):
        run(spec(tmp_path, prompts=prompts, prompts_options=options), tmp_path / "out", events)
    assert not events and not (tmp_path / "out").exists()


def test_options_without_a_writer_are_refused() -> None:
    with pytest.raises(ValueError, match="prompts_options are a prompt writer's"):
        Measurement(task="t", prompts_options={"low": 1})


def asked(problem: int, number: int, length: int, target: float) -> Sample:
    return sample(problem, number, 1, length, facts={"target": target})


def write_asked(folder: Path) -> Path:
    """Two problems with targets of 20 and 40 tokens, and a baseline that was asked for nothing."""
    drawn = [asked(0, 0, 10, 20), asked(0, 1, 24, 20), asked(1, 0, 40, 40), asked(1, 1, 46, 40)]
    plain = [sample(p, k, 1, 30) for p in range(2) for k in range(2)]
    write_evaluation(folder, plain, ("m", drawn), problems=2, samples=2)
    return folder


def test_a_report_says_how_far_off_the_target_samples_are_and_how_many_are_within(tmp_path: Path) -> None:
    report = write_report(write_asked(tmp_path))
    assert report["model"]["target"]["missed_by"]["value"] == ((10 + 4) / 2 + (0 + 6) / 2) / 2
    assert report["model"]["target"]["within"]["value"] == (1 / 2 + 1 / 2) / 2
    assert report["baseline"]["target"] is None
    assert targets(report) == "Target in the prompt: m misses it by 5.0 tokens, 50.0 % are within."
    assert ">Target</h2>" in (tmp_path / "report.html").read_text()


def test_without_a_target_a_report_does_not_speak_of_one(tmp_path: Path) -> None:
    write_evaluation(tmp_path, None, ("m", [sample(0, 0)]), problems=1, samples=1)
    report = write_report(tmp_path)
    assert (report["model"]["target"], targets(report)) == (None, "")
    assert ">Target</h2>" not in (tmp_path / "report.html").read_text()


def test_samples_given_up_miss_no_target() -> None:
    assert "missed_by" not in given_up(0, 0).model_copy(update={"facts": {"target": 5.0}}).measures


def test_what_was_written_is_shown_where_samples_are_browsed(tmp_path: Path) -> None:
    data = browse(read_evaluation(write_asked(tmp_path))).data
    (column,) = [fact for fact in data["facts"] if fact["title"] == "in prompt: target"]
    assert column["data"] == [None, None, 20, 20, None, None, 40, 40]
    assert column["digits"] == 0
