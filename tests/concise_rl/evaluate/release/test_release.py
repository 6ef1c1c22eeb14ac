"""Releasing real runs of one step: what is written, what it says, that it loads, and how it is sent."""

import contextlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig

from concise_rl.cli import main
from concise_rl.evaluate.release.beside import SUMS
from concise_rl.evaluate.release.weights import load
from concise_rl.models.resolve import resolve_model
from concise_rl.recipe.parse import parse_recipe
from tests.concise_rl.evaluate.release.hub import Hub, running_hub

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[4]
Says = Callable[..., str]


def trained(folder: Path, *more: str) -> Path:
    """A run of one step, as a user makes it."""
    recipe = str(ROOT / "recipes/tiny/grpo_lambda.yaml")
    small = ["--max_steps", "1", "--num_rows", "16", "--per_device_train_batch_size", "8", "--save_steps", "1"]
    main(["train", recipe, *small, "--max_completion_length", "48", "--output_dir", str(folder), *more])
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("run") / "model")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lora = ["--use_peft", "true", "--lora_target_modules", "all-linear", "--learning_rate", "0.01"]
    return trained(tmp_path_factory.mktemp("adapter") / "model", *lora)


@pytest.fixture(scope="module")
def report(run: Path) -> Path:
    out = run.parent / "report"
    measured = ["--baseline", "tiny:base", "--task", "tiny:sums", "--problems", "6", "--samples", "2"]
    main(["eval", "--model", f"mine={run}", *measured, "--out", str(out)])
    return out


@pytest.fixture(scope="module")
def said_of_release(run: Path, report: Path) -> dict[str, Any]:
    """What the command says of the release that most tests look at."""
    words = ["release", str(run), "--report", str(report), "--out", str(run.parent / "released"), "--samples", "--json"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main([*words, "--name", "acme/mine", "--about", "It sums up."])
    return json.loads(printed.getvalue())


@pytest.fixture(scope="module")
def released(said_of_release: dict[str, Any]) -> Path:
    return Path(said_of_release["folder"])


def released_again(source: Path, out: Path, *more: str) -> Path:
    """A release without its proof, which takes time."""
    main(["release", str(source), "--out", str(out), "--no-check", *more])
    return out


def model_files(source: Path, out: Path) -> Path:
    """A model as it lies anywhere, without the folder of its run."""
    out.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(source / name, out / name)
    return out


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str]) -> Says:
    """Run a command that fails, and return what it says."""

    def ask(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        capsys.readouterr()
        return str(ended.value)

    return ask


def test_a_release_holds_the_model_and_nothing_of_its_training(released: Path) -> None:
    names = {path.name for path in released.iterdir()}
    assert {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "chat_template.jinja",
    } <= names
    assert {
        "README.md",
        "recipe.yaml",
        "constraints.txt",
        "report-0.json",
        "accuracy_against_tokens.png",
        SUMS,
    } <= names
    assert not names & {"trainer_state.json", "training_args.bin", "metrics.jsonl", "COMPLETE", ".eval_results"}


def test_the_numbers_on_the_page_are_those_of_the_report(released: Path, report: Path) -> None:
    (entry,) = json.loads((report / "report.json").read_text())["methods"]
    results = {one.metric_type: one for one in ModelCard.load(released / "README.md").data.eval_results or []}
    assert results["accuracy"].metric_value == round(entry["accuracy"], 6)
    assert results["tokens"].metric_value == round(entry["tokens"], 6)
    assert results["token_savings"].metric_value == round(entry["token_savings"]["value"], 6)


def test_the_page_names_licence_paper_and_how_to_use_the_model(released: Path) -> None:
    card = ModelCard.load(released / "README.md")
    assert card.data.license == "apache-2.0" and "arxiv:2505.18086" in (card.data.tags or [])
    assert 'pipeline("text-generation", "acme/mine")' in card.text and 'LLM("acme/mine", dtype="float32")' in card.text


def test_the_program_on_the_page_runs(released: Path) -> None:
    text = ModelCard.load(released / "README.md").text
    program = text.partition("```python\n")[2].partition("```")[0].replace("acme/mine", str(released))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip()


def test_the_recipe_that_is_released_is_one_that_trains(released: Path) -> None:
    recipe = parse_recipe(released / "recipe.yaml")
    assert (recipe.training.objective, recipe.model_name, recipe.folder) == ("grpo_lambda", "tiny:base", "runs/mine")


def test_loaded_afresh_it_says_the_same_with_transformers_and_with_vllm(said_of_release: dict[str, Any]) -> None:
    engines = ["transformers", *(["vllm"] if importlib.util.find_spec("vllm") else [])]
    assert said_of_release["compared"] == 6
    assert [said_of_release[f"equal_{engine}"] for engine in engines] == [6] * len(engines)


def test_a_release_does_not_say_that_no_hub_could_be_reached(released: Path) -> None:
    assert '"local_files_only": true' not in (released / "tokenizer_config.json").read_text()


def test_the_page_begins_with_what_the_model_is_and_was_made_of(released: Path) -> None:
    text = ModelCard.load(released / "README.md").text
    assert "# mine\n\nIt sums up.\n\nFine-tuned from `tiny:base`, which ships with concise_rl, by " in text
    assert "- steps: 1\n- rollouts a step: 8, in groups of 8\n" in text and "## Method\n\n`GrpoLambda`" in text


def test_a_cold_start_is_released_as_what_it_is(tmp_path: Path) -> None:
    recipe, run = str(ROOT / "recipes/tiny/sft_careless.yaml"), tmp_path / "run"
    small = ["--max_steps", "1", "--num_rows", "32", "--per_device_train_batch_size", "32"]
    main(["train", recipe, *small, "--model_name_or_path", "tiny:base", "--output_dir", str(run)])
    card = ModelCard.load(released_again(run, tmp_path / "out") / "README.md")
    assert "by supervised fine-tuning with concise_rl." in card.text and "## Method" not in card.text
    assert card.data.tags == ["concise-rl", "trl", "sft"] and "- steps: 1\n- rows a step: 32\n" in card.text


def test_a_checkpoint_is_released_with_its_steps(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    settings = tmp_path / "run/recipe.json"
    settings.write_text(settings.read_text().replace('"max_steps": 1', '"max_steps": 9'))
    out = released_again(tmp_path / "run/checkpoint-1", tmp_path / "out")
    assert "- steps: 1 of 9\n" in (out / "README.md").read_text()
    assert "# Of its 9 steps 1 were made." in (out / "recipe.yaml").read_text()


def test_a_model_without_its_run_is_released_with_the_recipe_that_made_it(
    run: Path, tmp_path: Path, says: Says
) -> None:
    model, recipe = model_files(run, tmp_path / "model"), str(ROOT / "recipes/tiny/grpo_lambda.yaml")
    assert "(--recipe)" in says("release", str(model), "--out", str(tmp_path / "out"))
    assert "leave out --recipe" in says("release", str(run), "--out", str(tmp_path / "out"), "--recipe", recipe)
    text = (released_again(model, tmp_path / "out", "--recipe", recipe) / "README.md").read_text()
    assert "- alpha: `0.6`" in text and "- rollouts a step: 128 in each process, in groups of 8\n" in text


def test_sha256sum_accepts_the_hashes(released: Path) -> None:
    subprocess.run(["sha256sum", "--quiet", "-c", SUMS], cwd=released, check=True)


def test_samples_are_a_data_set(released: Path) -> None:
    import datasets

    folder = released.with_name("released-samples")
    rows = datasets.load_dataset("json", data_files=str(folder / "mine.0.jsonl"), split="train")
    assert len(rows) == 12 and "configs" in (folder / "README.md").read_text()


def test_every_token_that_ends_a_completion_is_named(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run/generation_config.json").unlink()
    released_again(tmp_path / "run", tmp_path / "out")
    before = GenerationConfig.from_pretrained(run).eos_token_id
    named = GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id
    assert {*(before if isinstance(before, list) else [before])} <= {*(named if isinstance(named, list) else [named])}


def test_merged_adapters_say_what_they_said_beside_their_base(adapter: Path, tmp_path: Path) -> None:
    released_again(adapter, tmp_path / "out")
    ids_BT, base = torch.tensor([[5, 6, 7, 8]]), resolve_model("tiny:base")
    with torch.no_grad():
        one, two = load(adapter, base)(ids_BT).logits, load(tmp_path / "out", base)(ids_BT).logits
    assert not (tmp_path / "out/adapter_config.json").exists()
    assert torch.allclose(one, two, atol=1e-4 * float(one.abs().max()))


def test_adapters_alone_need_a_base_that_others_can_load(adapter: Path, tmp_path: Path, says: Says) -> None:
    said = says("release", str(adapter), "--out", str(tmp_path / "out"), "--adapter")
    assert "give --base-model ORG/NAME" in said and not (tmp_path / "out").exists()


def test_adapters_alone_have_the_numbers_of_what_they_are_merged_to(adapter: Path, tmp_path: Path) -> None:
    measured = ["--model", f"mine={released_again(adapter, tmp_path / 'merged')}", "--baseline", "tiny:base"]
    small = ["--task", "tiny:sums", "--problems", "2", "--samples", "1", "--out", str(tmp_path / "report")]
    main(["eval", *measured, *small])
    alone = ["--adapter", "--base-model", "acme/base", "--licence", "mit", "--report", str(tmp_path / "report")]
    main(["release", str(adapter), "--out", str(tmp_path / "out"), "--name", "acme/mine", *alone])  # and its proof
    card = ModelCard.load(tmp_path / "out/README.md")
    (entry,) = json.loads((tmp_path / "report/report.json").read_text())["methods"]
    assert entry["tokens"] in [one.metric_value for one in card.data.eval_results or []]
    assert (card.data.base_model, card.data.base_model_relation) == ("acme/base", "adapter")
    assert json.loads((tmp_path / "out/adapter_config.json").read_text())["base_model_name_or_path"] == "acme/base"
    assert (tmp_path / "out/tokenizer.json").is_file() and not (tmp_path / "out/config.json").exists()


def test_adapters_that_ship_are_of_half_the_size_and_take_the_tokenizer_of_their_base(
    adapter: Path, tmp_path: Path
) -> None:
    half = ["--adapter", "--dtype", "float16", "--name", "tiny:decs"]
    main(["release", str(adapter), "--out", str(tmp_path / "out"), *half])  # and its proof
    kept = load_file(tmp_path / "out/adapter_model.safetensors")
    for name, weight in load_file(adapter / "adapter_model.safetensors").items():
        assert torch.equal(kept[name], weight.half())
    assert json.loads((tmp_path / "out/adapter_config.json").read_text())["base_model_name_or_path"] == "tiny:base"
    assert not list((tmp_path / "out").glob("tokenizer*"))
    assert 'resolve_model("tiny:decs")' in (tmp_path / "out/README.md").read_text()


def test_a_report_about_other_weights_is_refused(adapter: Path, report: Path, tmp_path: Path, says: Says) -> None:
    said = says("release", str(adapter), "--report", str(report), "--out", str(tmp_path / "out"))
    assert "is about other weights" in said and "concise-rl eval --model" in said


def test_weights_that_changed_since_they_were_measured_are_refused(
    run: Path, report: Path, tmp_path: Path, says: Says
) -> None:
    shutil.copytree(run, tmp_path / "run")
    weights = load_file(tmp_path / "run/model.safetensors")
    save_file({name: tensor * 1.01 for name, tensor in weights.items()}, tmp_path / "run/model.safetensors")
    said = says("release", str(tmp_path / "run"), "--report", str(report), "--out", str(tmp_path / "out"))
    assert "is about other weights" in said


def test_a_run_that_has_not_ended_is_not_released(run: Path, tmp_path: Path, says: Says) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run/COMPLETE").unlink()
    assert "has not ended" in says("release", str(tmp_path / "run"), "--out", str(tmp_path / "out"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_a_model_with_a_damaged_file_is_not_released_and_the_file_named(
    run: Path, tmp_path: Path, says: Says, name: str
) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / name).write_bytes(b"\xff" * 40)
    said = says("release", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--no-check")
    assert f"{tmp_path / 'run' / name} is damaged. Delete COMPLETE there" in said and not (tmp_path / "out").exists()


def test_a_model_that_lacks_a_file_or_whose_weights_are_not_finite_is_not_released(
    run: Path, tmp_path: Path, says: Says
) -> None:
    shutil.copytree(run, tmp_path / "run")
    words = ("release", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--no-check")
    weights = load_file(tmp_path / "run/model.safetensors")
    next(iter(weights.values())).view(-1)[0] = float("nan")
    save_file(weights, tmp_path / "run/model.safetensors", {"format": "pt"})
    assert "holds weights that are not finite" in says(*words)
    (tmp_path / "run/config.json").unlink()
    assert "lacks the model's config" in says(*words)


@pytest.mark.parametrize(("repo", "said"), [("a b/c", "--push a b/c: "), ("mine", "--push mine: give ORG/NAME")])
def test_a_name_that_no_repository_can_have_is_refused_before_anything_is_written(
    run: Path, tmp_path: Path, says: Says, repo: str, said: str
) -> None:
    assert said in says("release", str(run), "--out", str(tmp_path / "out"), "--push", repo)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_release_is_never_deleted(run: Path, tmp_path: Path, says: Says) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    said = says("release", str(run), "--out", str(tmp_path), "--overwrite")
    assert "is no release" in said and (tmp_path / "notes.txt").is_file()


def pushed(hub: Hub, run: Path, out: Path, repo: str = "acme/mine") -> subprocess.CompletedProcess[str]:
    """Send a release, in a process that takes the stand-in for the hub."""
    env = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    env |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_none", "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "concise_rl.cli", "release", str(run), "--out", str(out), "--push", repo]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_a_release_is_sent_to_the_hub_with_its_samples(run: Path, released: Path) -> None:
    with running_hub() as hub:
        done = pushed(hub, run, released)
    assert done.returncode == 0, done.stderr
    assert f"{hub.url}/models/acme/mine/commit/" in done.stdout
    sent = hub.files["models/acme/mine"]
    assert set(sent) == {str(path.relative_to(released)) for path in released.rglob("*") if path.is_file()}
    assert sent["README.md"] == (released / "README.md").read_bytes()
    assert {"README.md", "mine.0.jsonl", "baseline.0.jsonl"} == set(hub.files["datasets/acme/mine-samples"])


def test_after_a_failure_the_same_command_goes_on_and_sends_nothing_twice(run: Path, released: Path) -> None:
    sums = dict(line.split("  ")[::-1] for line in (released / SUMS).read_text().splitlines())
    with running_hub() as hub:
        hub.fail = {sums["model.safetensors"]: 403}
        failed = pushed(hub, run, released)
        there = len(hub.blobs)
        hub.fail, hub.calls = {}, []
        done = pushed(hub, run, released)
    assert failed.returncode == 1 and "error: The hub" in failed.stderr and "Traceback" not in failed.stderr
    assert done.returncode == 0 and there == 1
    assert sum(call.startswith("PUT") for call in hub.calls) == len(hub.blobs) - there


def test_a_hub_that_breaks_off_is_said_and_what_it_has_is_not_sent_again(run: Path, released: Path) -> None:
    with running_hub() as hub:
        hub.refuse_after = 1
        failed = pushed(hub, run, released)
        hub.refuse_after, hub.calls = None, []
        done = pushed(hub, run, released)
    assert failed.returncode == 1 and "the same command goes on, and sends nothing twice" in failed.stderr
    assert done.returncode == 0 and sum(call.startswith("PUT") for call in hub.calls) == len(hub.blobs) - 1


def test_a_hub_that_lets_nobody_write_is_said_in_a_line(run: Path, released: Path) -> None:
    with running_hub() as hub:
        hub.fail = {"/preupload/": 403}
        done = pushed(hub, run, released)
    assert done.returncode == 1 and "does not let you write to acme/mine (403)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_release_that_was_changed_is_not_sent(run: Path, released: Path, tmp_path: Path, says: Says) -> None:
    shutil.copytree(released, tmp_path / "out")
    (tmp_path / "out/config.json").write_text("{}")
    said = says("release", str(run), "--out", str(tmp_path / "out"), "--push", "acme/mine")
    assert "has changed since it was released: config.json" in said


def test_a_page_that_calls_the_model_otherwise_is_not_sent(run: Path, released: Path, says: Says) -> None:
    said = says("release", str(run), "--out", str(released), "--push", "acme/other")
    assert "--name acme/other --overwrite" in said
