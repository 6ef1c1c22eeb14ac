"""The command `concise-rl probe`."""

import json
from pathlib import Path

import pytest

from concise_rl.cli import main
from concise_rl.evaluate.probe.cli import slug
from concise_rl.tasks.tiny.model import write_untrained

PROBE = ("probe", "tiny:base", "--task", "tiny:sums")


def says(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a wrong command ends with."""
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    said = stopped.value.code if isinstance(stopped.value.code, str) else capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    return said


def test_a_recipe_that_is_there_is_not_replaced(tmp_path: Path, capsys) -> None:
    mine = tmp_path / "mine.yaml"
    mine.touch()
    assert "is there already" in says(capsys, *PROBE, "--recipe", str(mine), "--out", str(tmp_path))
    assert mine.read_text() == ""


def test_what_is_for_a_recipe_needs_one(capsys) -> None:
    assert "--method is for the recipe: give --recipe FILE" in says(capsys, *PROBE, "--method", "decs")
    assert "--gpus is for the recipe: give --recipe FILE" in says(capsys, *PROBE, "--gpus", "8x80")


def test_wrong_methods_and_gpus_are_found_before_anything_is_sampled(tmp_path: Path, capsys) -> None:
    recipe = ("--recipe", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out"))
    assert "Did you mean 'decs'" in says(capsys, *PROBE, *recipe, "--method", "dces")
    assert "as 8x80" in says(capsys, *PROBE, *recipe, "--gpus", "eight")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_to_think_is_not_probed(capsys) -> None:
    assert "A probe reads the thinking" in says(capsys, *PROBE, "--think-end", "")


def test_few_problems_are_refused_and_missing_ones_named(tmp_path: Path, capsys) -> None:
    assert "give 10 or more" in says(capsys, *PROBE, "--problems", "4")
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"{i} + 1?", "answer": str(i + 1)}) + "\n" for i in range(12)))
    said = says(capsys, "probe", "tiny:base", "--task", str(rows), "--out", str(tmp_path / "out"))
    assert "has 12 rows, fewer than the 32 that were asked for (--problems, or a recipe's num_rows)" in said


def test_a_task_without_golds_is_refused(tmp_path: Path, capsys) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"{i} + 1?"}) + "\n" for i in range(40)))
    assert "answer" in says(capsys, "probe", "tiny:base", "--task", str(rows), "--out", str(tmp_path / "out"))


def test_a_folder_is_named_after_what_is_probed() -> None:
    assert (
        slug("Qwen/Qwen3-8B-reasoning_gym:chain_sum?min_terms=3") == "Qwen-Qwen3-8B-reasoning-gym-chain-sum-min-terms-3"
    )


@pytest.mark.slow
def test_a_probe_of_the_embedded_reasoner_writes_a_recipe_that_passes_its_check(tmp_path: Path, capsys) -> None:
    out, recipe = tmp_path / "out", tmp_path / "mine.yaml"
    words = [*PROBE, "--problems", "10", "--samples", "8", "--out", str(out), "--json"]
    main([*words, "--recipe", str(recipe), "--method", "grpo_lambda"])
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found == json.loads((out / "probe.json").read_text())
    assert found["verdict"] == "train" and "Worth training" in shown.err
    assert [one["level"] for one in found["findings"]] == ["ok"] * 8
    assert (out / "probe.html").is_file() and (out / "report.html").is_file()
    samples = (out / "samples").glob("*.jsonl")
    before = [path.stat().st_mtime_ns for path in samples]
    main([*words, "--recipe", str(recipe), "--method", "decs", "--overwrite"])  # the samples are still there
    assert [path.stat().st_mtime_ns for path in (out / "samples").glob("*.jsonl")] == before
    assert "objective: decs" in recipe.read_text()


@pytest.mark.slow
def test_a_model_that_never_closes_its_thinking_is_told_apart(tmp_path: Path, capsys) -> None:
    write_untrained(tmp_path / "model")
    words = ["probe", str(tmp_path / "model"), "--task", "tiny:sums", "--problems", "10", "--samples", "2"]
    main([*words, "--max-tokens", "24", "--out", str(tmp_path / "out")])
    assert "Raise the cap first" in capsys.readouterr().out
