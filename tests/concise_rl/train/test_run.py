"""Training by recipe: every recipe trains, and an output folder is never mixed up or half believed."""

import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from accelerate import Accelerator
from transformers import AutoModelForCausalLM

from concise_rl.cli.parser import build_parser
from concise_rl.files import MARKER, SETTINGS_FILE
from concise_rl.recipe.parse import parse_recipe, read_recipe
from concise_rl.rollout.sync.links import WEIGHTS_FOLDER
from concise_rl.train.__main__ import main
from concise_rl.train.finish import finish_training
from concise_rl.train.folder import check_folder, claim_folder
from concise_rl.train.lock import LOCK
from concise_rl.train.run import next_commands
from tests.concise_rl.recipe.stored import stored_samples, write_samples
from tests.device import ON_CPU

ROOT = Path(__file__).parents[3]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
TINY = str(ROOT / "recipes/tiny/grpo_lambda.yaml")
STAGE_SETTINGS = {
    "rl": {"num_generations": 4, "max_completion_length": 64, "verifier": "reasoning_gym", "use_vllm": False},
    "sft": {"dataset": "tiny:traces"},
    "dpo": {},
}


# Options that fit a small run: its cap, its groups.
SMALL_OPTIONS = {
    "adaptthink": {"think_text": "<think>"},
    "elastic": {"think_tokens": 40, "answer_tokens": 8},
    "s_grpo": {"answer_max_tokens": 8},
    "gfpo": {"keep": 2},
}


def of_samples(dataset: str, folder: Path) -> dict[str, object]:
    """Settings of a recipe that learns from stored samples: some that are there."""
    selection, is_selected, _ = dataset.partition("?samples=")
    if not is_selected:
        return {}
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = write_samples(folder.parent / "samples.jsonl", stored_samples(problems=16))
    told = {"dataset": f"{selection}?samples={file}", "num_rows": None}
    return told | ({"verifier": "math"} if "solve_rate" in selection else {})


def small(recipe: Path | str, folder: Path, **settings: object) -> list[str]:
    """Arguments that run a recipe for one step of 8 rows with the embedded model and its problems."""
    content = read_recipe(recipe)
    stage = content.get("stage", "rl")
    swapped: dict[str, object] = {
        "model_name_or_path": "tiny:base",
        "dataset": "tiny:sums",
        "num_rows": 32,
        "prompt_column": "prompt",
        "answer_column": "answer",
        "output_dir": folder,
        "max_steps": 1,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "bf16": False,
        "use_cpu": ON_CPU,
        "dtype": "float32",
        "attn_implementation": "sdpa",
        "disable_tqdm": True,
        "save_strategy": "no",
        **STAGE_SETTINGS[stage],
        **of_samples(str(content["dataset"]), folder),
        **({"steps_per_generation": 2} if "steps_per_generation" in content else {}),
        **({"lora_target_modules": "all-linear"} if content.get("use_peft") else {}),  # it has no upper layers
        **{f"objective_options.{key}": value for key, value in SMALL_OPTIONS.get(content.get("objective"), {}).items()},
        **settings,
    }
    words = [(f"--{key}", json.dumps(value, default=str)) for key, value in swapped.items()]
    return ["--config", str(recipe), *(word for pair in words for word in pair)]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_recipe_trains_a_step_of_the_embedded_model_on_its_problems(recipe: Path, tmp_path: Path) -> None:
    main(small(recipe, tmp_path / "run"))
    assert (tmp_path / "run" / MARKER).is_file()
    AutoModelForCausalLM.from_pretrained(tmp_path / "run")
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) >= 1


def last_step(run: Path) -> dict[str, float]:
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [step for step in steps if "loss" in step][-1]


def assert_alike(resumed: dict[str, float], unbroken: dict[str, float]) -> None:
    for name in ("step", "loss", "grad_norm", "length/mean", "rewards/correct/mean", "learning_rate"):
        assert resumed[name] == unbroken[name], name


def test_a_run_that_is_complete_is_left_alone(tmp_path: Path, capsys) -> None:
    main(small(TINY, tmp_path / "run"))
    before = (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns
    main(small(TINY, tmp_path / "run"))
    assert "is trained already" in capsys.readouterr().out
    assert (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns == before


def test_what_a_training_says_to_run_next_is_understood_and_puts_problems_as_the_recipe_does() -> None:
    recipe = parse_recipe(TINY, ["--prompt_column", "question", "--prompt_template", "Solve {prompt}"])
    for command, _ in next_commands(recipe):
        args = build_parser().parse_args(shlex.split(command)[1:])
    assert (args.prompt_column, args.prompt_template, args.system_prompt) == ("question", "Solve {prompt}", None)


def test_an_interrupted_run_goes_on_from_its_last_complete_checkpoint(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    settings = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1}
    main(small(TINY, run, **settings))
    unbroken = last_step(run)
    (run / MARKER).unlink()
    (run / "checkpoint-3" / MARKER).unlink()
    main(small(TINY, run, **settings))
    assert f"Resuming from {run / 'checkpoint-2'}" in capsys.readouterr().out
    assert (run / MARKER).is_file()
    assert_alike(last_step(run), unbroken)


def begun(folder: Path, *settings: str, recipe: str | Path = TINY) -> list[str]:
    """Make a folder that of a run which has made steps. Returns the arguments that name it."""
    arguments = ["--output_dir", str(folder)]
    claim_folder(parse_recipe(recipe, [*arguments, *settings]))
    (folder / "metrics.jsonl").write_text('{"step": 1}\n')
    return arguments


def test_a_folder_of_another_run_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    begun(tmp_path / "run", "--seed", "1")
    with pytest.raises(ValueError, match=r"holds another run \(seed: 1 there, 2 now\)"):
        claim_folder(parse_recipe(TINY, ["--output_dir", str(tmp_path / "run"), "--seed", "2"]))


MAY_CHANGE: dict[str, object] = {
    "save_steps": 7,
    "hub_model_id": "me/mine",
    "logging_first_step": True,
    "verifier_workers": 1,
    "vllm_max_model_length": 8192,
    "vllm_gpu_memory_utilization": 0.5,
    "vllm_server_host": "elsewhere",
    "sync_error": 2.0,
    "attn_implementation": "eager",
    "ddp_timeout": 7200,
}


def test_what_nothing_learnt_depends_on_may_change(tmp_path: Path) -> None:
    settings = [*begun(tmp_path / "run", "--use_vllm", "true"), "--use_vllm", "true"]
    check_folder(parse_recipe(TINY, [*settings, *(w for k, v in MAY_CHANGE.items() for w in (f"--{k}", str(v)))]))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vllm_importance_sampling_mode", "token_mask"),
        ("vllm_importance_sampling_clip_max", "3.0"),
        ("vllm_importance_sampling_correction", "false"),
        ("use_vllm", "false"),
        ("verifier_timeout", "3"),
        ("max_completion_length", "96"),
        ("dtype", "bfloat16"),
    ],
)
def test_what_is_learnt_by_other_settings_is_another_run(tmp_path: Path, key: str, value: str) -> None:
    settings = [*begun(tmp_path / "run", "--use_vllm", "true"), "--use_vllm", "true"]
    with pytest.raises(ValueError, match=f"holds another run \\({key}: "):
        check_folder(parse_recipe(TINY, [*settings, f"--{key}", value]))


def test_more_steps_are_refused_where_the_learning_rate_depends_on_them(tmp_path: Path) -> None:
    settings = begun(tmp_path / "run", "--lr_scheduler_type", "linear", "--max_steps", "2")
    with pytest.raises(ValueError, match=r"max_steps: 2 there, 3 now.*if its learning rate did not depend"):
        check_folder(parse_recipe(TINY, [*settings, "--lr_scheduler_type", "linear", "--max_steps", "3"]))


def test_steps_in_place_of_epochs_are_another_run(tmp_path: Path) -> None:
    (tmp_path / "epochs.yaml").write_text(Path(TINY).read_text().replace("max_steps: 80", "num_train_epochs: 1"))
    claim_folder(parse_recipe(tmp_path / "epochs.yaml", ["--output_dir", str(tmp_path / "run")]))
    (tmp_path / "run" / "metrics.jsonl").write_text("{}")
    again = ["--output_dir", str(tmp_path / "run"), "--max_steps", "3"]
    with pytest.raises(ValueError, match="max_steps: None there, 3 now"):
        check_folder(parse_recipe(tmp_path / "epochs.yaml", again))


def test_fewer_steps_are_another_run(tmp_path: Path) -> None:
    settings = begun(tmp_path / "run", "--max_steps", "3")
    with pytest.raises(ValueError, match="max_steps: 3 there, 2 now"):
        check_folder(parse_recipe(TINY, [*settings, "--max_steps", "2"]))


def test_more_steps_need_a_checkpoint_of_a_complete_run(tmp_path: Path) -> None:
    settings = begun(tmp_path / "run", "--max_steps", "2")
    (tmp_path / "run" / MARKER).write_text("")
    with pytest.raises(ValueError, match="left no checkpoint to go on from"):
        check_folder(parse_recipe(TINY, [*settings, "--max_steps", "3"]))


def test_what_a_start_that_failed_has_left_is_free_for_another_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(SystemExit, match="think delimiter"):
        main(small(TINY, run, think_end="xyz ◁", log_completions=True))
    (run / WEIGHTS_FOLDER / "step-0").mkdir(parents=True)
    (run / f".{SETTINGS_FILE}.torn").write_text("{")
    for name in ("events.jsonl", "rollouts.jsonl", "run.html"):
        (run / name).write_text("")
    other = parse_recipe(TINY, ["--output_dir", str(run), "--seed", "7"])
    check_folder(other)
    claim_folder(other)
    assert not (run / "events.jsonl").exists()


@pytest.mark.parametrize("left", ["metrics.jsonl", MARKER, "checkpoint-1", "notes.txt"])
def test_a_folder_that_holds_more_than_a_failed_start_is_not_free(tmp_path: Path, left: str) -> None:
    settings = ["--output_dir", str(tmp_path / "run")]
    claim_folder(parse_recipe(TINY, settings))
    (tmp_path / "run" / left).write_text("")
    with pytest.raises(ValueError, match="holds another run"):
        check_folder(parse_recipe(TINY, [*settings, "--seed", "7"]))


def test_a_folder_with_names_of_ours_alone_is_not_free(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(ValueError, match="not a run's folder"):
        check_folder(parse_recipe(TINY, ["--output_dir", str(tmp_path)]))


@pytest.mark.parametrize("stage", ["rl", "sft"])
def test_checkpoints_without_what_a_run_goes_on_with_are_refused(tmp_path: Path, stage: str) -> None:
    recipe = TINY if stage == "rl" else str(ROOT / "recipes/tiny/sft.yaml")
    with pytest.raises(SystemExit, match="save_only_model: a run could not go on"):
        main(small(recipe, tmp_path / "run", save_only_model=True, save_strategy="steps"))
    assert not (tmp_path / "run").exists()


def test_too_few_rows_for_a_step_end_in_an_error_and_no_marker(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit, match=r"^error: "):
        main(small(TINY, tmp_path / "run", num_rows=1, max_steps=2))
    assert not (tmp_path / "run" / MARKER).exists()
    assert "trained model" not in capsys.readouterr().out


def test_a_complete_run_goes_on_for_more_steps_as_if_it_had_not_stopped(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    main(small(TINY, run, max_steps=1, save_strategy="steps", save_steps=5))
    main(small(TINY, run, max_steps=3, save_strategy="steps", save_steps=1))
    assert f"Resuming from {run / 'checkpoint-1'}" in capsys.readouterr().out
    assert (run / MARKER).is_file()
    assert (run / "checkpoint-2").is_dir(), "it saves as often as it is told now"
    main(small(TINY, tmp_path / "unbroken", max_steps=3))
    assert_alike(last_step(run), last_step(tmp_path / "unbroken"))


@pytest.mark.parametrize(("raised_by", "shown"), [(json.loads, True), (check_folder, False)])
def test_an_error_of_other_code_in_training_comes_with_its_traceback(raised_by, shown, tmp_path: Path, capsys) -> None:
    class Broken(SimpleNamespace):
        def add_callback(self, _: object) -> None: ...

        def train(self, **_: object) -> None:
            raised_by(SimpleNamespace(folder=tmp_path) if raised_by is check_folder else "{")

    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError):
        parts = {"callback_handler": SimpleNamespace(callbacks=[]), "accelerator": Accelerator(cpu=True)}
        finish_training(Broken(**parts), str(tmp_path))
    assert ("Traceback" in capsys.readouterr().err) == shown


def test_a_folder_with_other_files_is_refused_and_they_stay(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="not a run's folder"):
        claim_folder(parse_recipe(TINY, ["--output_dir", str(tmp_path)]))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_overwriting_starts_afresh(tmp_path: Path) -> None:
    run = tmp_path / "run"
    claim_folder(parse_recipe(TINY, ["--output_dir", str(run), "--seed", "1"]))
    (run / MARKER).write_text("")
    claim_folder(parse_recipe(TINY, ["--output_dir", str(run), "--seed", "2", "--overwrite", "true"]))
    assert {path.name for path in run.iterdir()} == {SETTINGS_FILE, LOCK}


def test_overwriting_never_deletes_what_is_no_runs_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="not a run's folder"):
        claim_folder(parse_recipe(TINY, ["--output_dir", str(tmp_path), "--overwrite", "true"]))
    assert (tmp_path / "thesis.tex").exists()


def test_overwriting_empties_a_linked_folder_and_nothing_that_it_links_to(tmp_path: Path) -> None:
    target, link, other = tmp_path / "target", tmp_path / "link", tmp_path / "other"
    begun(target, "--seed", "1")
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    (target / "elsewhere").symlink_to(other)
    (target / "checkpoint-1").mkdir()
    (target / "checkpoint-1" / "inner").symlink_to(other)
    link.symlink_to(target)
    claim_folder(parse_recipe(TINY, ["--output_dir", str(link), "--seed", "2", "--overwrite", "true"]))
    assert link.is_symlink() and {path.name for path in target.iterdir()} == {SETTINGS_FILE, LOCK}
    assert (other / "thesis.tex").exists()


def test_an_output_folder_that_is_a_file_or_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name in ("file", "link"):
        with pytest.raises(ValueError, match=f"{name} is not a folder"):
            check_folder(parse_recipe(TINY, ["--output_dir", str(tmp_path / name)]))


def test_a_wrong_input_is_one_line_on_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*Did you mean 'grpo_lambda'"):
        main(small(TINY, tmp_path / "run", objective="grpo_lamda"))


def test_a_wrong_input_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(small(TINY, tmp_path / "run", dataset="nowhere.jsonl"))
    assert not (tmp_path / "run").exists()


def test_a_corrupt_row_is_named_by_file_row_and_field(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "1 + 1?", "answer": "2"}\n{"prompt": "2 + 2?"}\n')
    with pytest.raises(SystemExit, match=r"rows\.jsonl has bad rows:\s+line 2: 'answer' is missing"):
        main(small(TINY, tmp_path / "run", dataset=str(tmp_path / "rows.jsonl"), num_rows=None))
