import json
from pathlib import Path

import pytest

from concise_rl.cli import main
from concise_rl.evaluate.claim import claim_folder
from concise_rl.evaluate.defaults import of_benchmark, said_by_benchmark, settle
from concise_rl.evaluate.spec import Measurement, read_manifest
from concise_rl.tasks.benchmarks import BENCHMARKS
from tests.concise_rl.evaluate.fabric import sample, write_evaluation

AIME = BENCHMARKS["aime24"]


def test_what_is_given_wins_over_the_benchmark_and_that_over_the_rest() -> None:
    values = settle("aime24", {"samples": 3, "temperature": 0.0, "top_p": None, "split": None})
    assert (values["samples"], values["temperature"]) == (3, 0.0), "given, a zero too"
    assert (values["top_p"], values["max_tokens"]) == (AIME.top_p, AIME.max_tokens)
    assert (values["split"], values["prompt_template"]) == (AIME.split, AIME.prompt_template)
    assert (values["seed"], values["top_k"], values["problems"]) == (0, 0, None)


def test_what_a_command_takes_otherwise_gives_way_to_the_benchmark() -> None:
    general = {"split": "dev", "max_tokens": 77}
    assert settle("aime24", {}, general)["split"] == AIME.split
    assert (settle("rows.jsonl", {}, general)["split"], settle("tiny:sums", {}, general)["max_tokens"]) == ("dev", 77)


def test_every_value_of_every_benchmark_makes_a_measurement() -> None:
    for name, benchmark in BENCHMARKS.items():
        found = Measurement(**settle(name, {}))
        assert (found.verifier, found.samples, found.data_revision) == (
            benchmark.verifier,
            benchmark.samples,
            benchmark.revision,
        )


def test_a_copy_has_no_revision_and_all_else_of_its_benchmark() -> None:
    hub, copy = of_benchmark("math500"), of_benchmark("math500=math.parquet")
    assert hub["data_revision"] == BENCHMARKS["math500"].revision and copy["data_revision"] is None
    assert {**hub, "data_revision": None} == copy


def test_other_tasks_are_no_benchmarks_and_a_near_miss_is_said() -> None:
    assert of_benchmark("tiny:sums") == of_benchmark("data/a=b.jsonl") == of_benchmark("org/name") == {}
    with pytest.raises(ValueError, match="Did you mean 'math500'"):
        of_benchmark("math50=a.parquet")


def test_the_defaults_of_a_benchmark_are_said_but_for_those_that_are_given() -> None:
    said = said_by_benchmark("aime24", {"samples": 2, "top_p": None})
    assert said.startswith("aime24: ") and f"top_p {AIME.top_p}" in said and "samples" not in said
    assert said_by_benchmark("rows.jsonl", {}) == ""


def test_a_record_from_before_there_were_benchmarks_goes_on(tmp_path: Path) -> None:
    manifest = write_evaluation(tmp_path, None, ("m", [sample(0, 0)]), problems=1, samples=1)
    record = json.loads((tmp_path / "eval.json").read_text())
    for name in ("top_k", "data_revision"):
        del record["measurement"][name]
    (tmp_path / "eval.json").write_text(json.dumps(record))
    assert read_manifest(tmp_path) == manifest == claim_folder(tmp_path, manifest)


def test_a_benchmark_is_evaluated_as_it_says_and_the_folder_records_it(tmp_path: Path, capsys) -> None:
    rows = [{"problem": f"What is {i} + 1?", "answer": str(i + 1), "level": 1 + i % 2} for i in range(4)]
    copy = tmp_path / "math.jsonl"
    copy.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--task", f"math500={copy}", "--model", "tiny:s_grpo", "--max-tokens", "64", "--samples", "2"]
    main(["eval", *words, "--top-k", "5", "--out", str(tmp_path / "out")])
    found = read_manifest(tmp_path / "out").measurement
    assert (found.temperature, found.top_p, found.top_k, found.max_tokens, found.samples) == (0.6, 0.95, 5, 64, 2)
    assert found.prompt_template == BENCHMARKS["math500"].prompt_template and found.verifier == "math"
    said = f"math500={copy}: verifier math, temperature 0.6, top_p 0.95, as its benchmark says"
    assert said in capsys.readouterr().err
    drawn = json.loads((tmp_path / "out/samples/tiny-s_grpo.0.jsonl").read_text().splitlines()[0])
    assert drawn["difficulty"] in (1, 2) and "\\boxed{}" not in drawn["prompt"]


def test_a_task_that_is_not_reasoning_gyms_is_graded_by_its_own_verifier(tmp_path: Path) -> None:
    words = ["--task", "tiny:bench", "--model", "tiny:bench_base", "--problems", "4", "--samples", "1"]
    main(["eval", *words, "--max-tokens", "96", "--out", str(tmp_path / "out")])
    assert read_manifest(tmp_path / "out").measurement.verifier == "exact"
