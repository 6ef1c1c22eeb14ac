import argparse
import json
import shlex
from pathlib import Path

import pytest

from concise_rl.cli import main
from concise_rl.cli.parser import build_parser
from concise_rl.evaluate.cli import (
    add_eval_arguments,
    folder_of,
    next_commands,
    run_eval,
    spec_of,
    split_labels,
)
from concise_rl.evaluate.report_cli import add_report_arguments, run_report
from concise_rl.tasks.tiny.model import write_untrained
from tests.concise_rl.evaluate.fabric import sample, write_evaluation


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_eval_arguments(parser)
    return parser.parse_args(words)


def test_labels_are_given_or_taken_from_the_name() -> None:
    models = ["grpo=runs/a", "grpo=runs/b", "Qwen/Qwen3-8B", "runs/c/", "tiny:base", "./runs/lr=1e-5"]
    assert [label for label, _ in split_labels(models)] == ["grpo", "grpo", "Qwen3-8B", "c", "tiny-base", "lr-1e-5"]


def test_two_models_of_one_name_by_chance_are_not_taken_for_two_seeds() -> None:
    with pytest.raises(ValueError, match="Several models would be called 'final'"):
        split_labels(["runs/a/final", "runs/b/final"])


@pytest.mark.parametrize("model", ["a/b=tiny:base", "=tiny:base", "my run=runs/a"])
def test_a_label_that_cannot_be_a_file_name_is_refused(model: str) -> None:
    with pytest.raises(ValueError, match=r"a label has letters, digits and \. _ \+ - alone"):
        split_labels([model])


def test_the_verifier_and_the_cap_follow_the_task() -> None:
    of_tiny = spec_of(parse("--model", "tiny:untrained", "--task", "tiny:sums", "--out", "x")).measurement
    of_file = spec_of(parse("--model", "org/name", "--task", "math.parquet", "--out", "x")).measurement
    assert (of_tiny.verifier, of_tiny.max_tokens) == ("reasoning_gym", 512)
    assert (of_file.verifier, of_file.max_tokens) == ("math", 16384)


def test_budgets_give_the_cap_with_the_delimiter() -> None:
    words = [
        "--model",
        "tiny:base",
        "--task",
        "tiny:sums",
        "--out",
        "x",
        "--think-budget",
        "64",
        "--answer-budget",
        "8",
    ]
    assert spec_of(parse(*words)).measurement.max_tokens == 73
    assert spec_of(parse(*words, "--max-tokens", "90")).measurement.max_tokens == 90


def test_a_model_is_found_and_prompted_as_in_training() -> None:
    words = ["--model", "org/name", "--task", "t", "--out", "x"]
    plain, told = (
        spec_of(parse(*words, *more)).measurement
        for more in (
            [],
            ["--revision", "abc", "--trust-remote-code", "--chat-template-kwargs", '{"enable_thinking": false}'],
        )
    )
    assert (plain.revision, plain.trust_remote_code, plain.chat_template_kwargs) == (None, False, None)
    assert (told.revision, told.trust_remote_code) == ("abc", True)
    assert told.chat_template_kwargs == {"enable_thinking": False}


def test_one_budget_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="give both or neither"):
        spec_of(parse("--model", "org/name", "--task", "t", "--out", "x", "--think-budget", "64"))


def test_an_engine_that_is_given_several_times_is_several_servers() -> None:
    words = ("--model", "tiny:untrained", "--task", "tiny:sums", "--out", "x")
    urls = ("--engine", "http://a:1", "--engine", "http://b:2")
    assert spec_of(parse(*words, *urls)).measurement.urls == ["http://a:1", "http://b:2"]
    assert spec_of(parse(*words, "--engine", "http://a:1")).measurement.urls == ["http://a:1"]
    assert spec_of(parse(*words)).measurement.urls == []


@pytest.mark.parametrize(
    ("words", "batch_size"),
    [
        ([], 64),
        (["--engine", "vllm"], 4096),
        (["--engine", "http://127.0.0.1:8000"], 4096),
        (["--keep-shortest", "1", "--samples", "6"], 66),
        (["--keep-shortest", "1", "--samples", "6", "--batch-size", "12"], 12),
    ],
)
def test_the_batch_size_follows_the_engine_and_holds_whole_problems(words: list[str], batch_size: int) -> None:
    spec = spec_of(parse("--model", "org/name", "--task", "t", "--out", "x", *words))
    assert spec.measurement.batch_size == batch_size


def test_an_empty_think_end_is_a_model_that_does_not_think() -> None:
    args = parse("--model", "org/name", "--task", "t", "--out", "x", "--think-end", "")
    assert spec_of(args).measurement.think_end is None


@pytest.mark.parametrize(
    ("words", "judge"),
    [
        ([], "rule"),
        (["--judge", "oracle"], "oracle"),
        (["--judge", "none"], None),
        (["--think-end", ""], None),
    ],
)
def test_the_rule_reads_the_thinking_unless_told_otherwise(words: list[str], judge: str | None) -> None:
    args = parse("--model", "org/name", "--task", "t", "--out", "x", *words)
    assert spec_of(args).measurement.judge == judge


def test_a_folder_of_samples_that_nobody_read_goes_on_without_a_judge(tmp_path: Path) -> None:
    write_evaluation(tmp_path, None, ("m", [sample(0, 0)]), problems=1, samples=1)
    words = ["--model", "org/name", "--task", "t", "--out", str(tmp_path)]
    assert spec_of(parse(*words)).measurement.judge is None
    assert spec_of(parse(*words, "--overwrite")).measurement.judge == "rule"


@pytest.mark.parametrize("options", ["{", "[1]"])
def test_options_that_are_no_json_object_are_refused(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--model", "org/name", "--task", "t", "--out", "x", "--judge-options", options)
    assert f"argument --judge-options: '{options}' is no" in capsys.readouterr().err


def test_a_value_out_of_bounds_is_named() -> None:
    with pytest.raises(ValueError, match="top_p"):
        spec_of(parse("--model", "org/name", "--task", "t", "--out", "x", "--top-p", "1.5"))


def test_a_real_model_is_sampled_graded_and_reported_and_reported_again_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = write_untrained(tmp_path / "model"), tmp_path / "out"
    words = [
        "--model",
        f"a={model}",
        "--model",
        f"a={write_untrained(tmp_path / 'other', seed=1)}",
        "--baseline",
        str(model),
    ]
    words += ["--task", "tiny:sums", "--problems", "3", "--samples", "2", "--max-tokens", "12", "--out", str(out)]
    run_eval(parse(*words))
    written = (out / "report.json").read_bytes()
    report = json.loads(written)
    assert report["samples"] == 12
    assert report["oracle_tokens"] > 10
    assert "report.html" in capsys.readouterr().out

    for folder in (model, tmp_path / "other"):
        (folder / "model.safetensors").unlink()
    parser = argparse.ArgumentParser()
    add_report_arguments(parser)
    run_report(parser.parse_args([str(out)]))
    assert (out / "report.json").read_bytes() == written


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "vlm"], "engine: Unknown engine 'vlm'. Did you mean 'vllm'?"),
        (["--samples", "0"], "samples: Input should be greater than or equal to 1, got 0"),
        (["--think-budget", "40"], "give both or neither"),
    ],
)
def test_a_setting_out_of_bounds_is_said_in_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["eval", "--model", "tiny:base", "--task", "tiny:sums", "--out", str(tmp_path), *words])
    assert said in str(exit.value) and "\n" not in str(exit.value)


def test_a_tiny_task_is_small_unless_told_otherwise() -> None:
    def size(*words: str) -> tuple[int | None, int]:
        measurement = spec_of(parse("--model", "tiny:s_grpo", *words)).measurement
        return measurement.problems, measurement.samples

    assert size("--task", "tiny:sums") == (192, 2)
    assert size("--task", "tiny:sums", "--problems", "9", "--samples", "1") == (9, 1)
    assert size("--task", "math.parquet") == (None, 8)


@pytest.mark.parametrize(
    ("models", "task", "folder"),
    [
        (["tiny:s_grpo"], "tiny:sums", "tiny-s_grpo-on-tiny-sums"),
        (
            ["a=x/y", "a=x/z", "b=x/w"],
            "reasoning_gym:chain_sum?min_terms=3",
            "a+b-on-reasoning_gym-chain_sum-min_terms-3",
        ),
        (["org/Name-1B"], "data/test.jsonl", "Name-1B-on-data-test.jsonl"),
    ],
)
def test_a_folder_that_is_not_given_is_named_by_models_and_task(models: list[str], task: str, folder: str) -> None:
    words = [word for model in models for word in ("--model", model)]
    assert folder_of(parse(*words, "--task", task)) == Path("runs/eval") / folder


def test_an_evaluation_without_a_folder_says_where_it_is_and_gives_its_numbers_as_json(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    models = ["--model", "tiny:s_grpo", "--baseline", "tiny:grpo_lambda"]
    main(["eval", *models, "--task", "tiny:sums", "--problems", "8", "--samples", "1", "--json"])
    shown, folder = capsys.readouterr(), Path("runs/eval/tiny-s_grpo-on-tiny-sums")
    assert json.loads(shown.out) == json.loads((folder / "report.json").read_text())
    assert f"Samples and report go to {folder}." in shown.err and "tiny-s_grpo uses" in " ".join(shown.err.split())


@pytest.mark.parametrize("baseline", [[], ["--baseline", "tiny:base"]])
def test_what_an_evaluation_says_to_run_next_is_understood(baseline: list[str]) -> None:
    args = parse("--model", "mine=my runs/a", *baseline, "--task", "reasoning_gym:chain_sum?min_terms=2")
    for command, _ in next_commands(args):
        program, *words = shlex.split(command)
        assert program == "concise-rl" and build_parser().parse_args(words)


def test_a_report_is_json_where_that_is_asked_for(tmp_path: Path, capsys) -> None:
    write_evaluation(tmp_path, None, ("m", [sample(0, 0)]), problems=1, samples=1)
    main(["report", str(tmp_path), "--json"])
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "report.json").read_text())
