"""What is refused before a model is loaded or data are judged, in `check` and at the start of `train` alike."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from concise_rl.models.resolve import resolve_model
from concise_rl.recipe.check import check_recipe
from concise_rl.recipe.parse import Recipe, parse_recipe
from concise_rl.recipe.preflight import check_attention, check_prompt, check_rows
from concise_rl.train.run import run

ROOT = Path(__file__).parents[3]
TINY = str(ROOT / "recipes/tiny/grpo.yaml")
SFT = str(ROOT / "recipes/tiny/sft.yaml")
# As Qwen3's: a system turn is taken, and thinking that is switched off is closed before the model begins.
SWITCHED = (
    "{% for m in messages %}<user>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<assistant>"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
PREFILLED = "{% for m in messages %}<user>{{ m['content'] }}{% endfor %}<assistant><think>"
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + PREFILLED
)


def model(folder: Path, template: str | None = None, **files: dict) -> str:
    """A copy of the embedded reasoner with another chat template and other keys in its files."""
    shutil.copytree(resolve_model("tiny:base"), folder)
    (folder / "chat_template.jinja").unlink()
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    for name, changed in files.items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    return str(folder)


def both_refuse(message: str, *overrides: str, recipe: str = TINY, out: Path) -> None:
    """The check and the training say the same, whatever the data are."""
    words = [*overrides, "--dataset", "nobody/nowhere", "--output_dir", str(out / "run")]
    with pytest.raises(ValueError, match=message):
        check_recipe(recipe, words)
    with pytest.raises(ValueError, match=message):
        run(parse_recipe(recipe, words))


def fine(*overrides: str) -> None:
    check_recipe(TINY, [*overrides, "--dataset", "nobody/nowhere"])


def test_thinking_that_the_template_closes_is_refused(tmp_path: Path) -> None:
    named = ("--model_name_or_path", model(tmp_path / "model", SWITCHED))
    switched_off = ("--chat_template_kwargs", '{"enable_thinking": false}')
    both_refuse("closes the thinking before the model begins", *named, *switched_off, out=tmp_path)
    fine(*named)
    fine(*named, "--think_end", "null", *switched_off)


def rendered(folder: Path, template: str, *overrides: str) -> str:
    name = model(folder, template)
    recipe: Recipe = parse_recipe(TINY, ["--model_name_or_path", name, *overrides])
    return check_prompt(recipe, AutoTokenizer.from_pretrained(name), "1 + 1?")


def test_thinking_that_the_template_opens_is_fine(tmp_path: Path) -> None:
    assert rendered(tmp_path / "model", PREFILLED) == "<user>1 + 1?<assistant><think>"


def test_a_prompt_may_speak_of_the_delimiter(tmp_path: Path) -> None:
    asked = (
        "--prompt_template",
        "Solve {prompt} in <think></think>.",
        "--system_prompt",
        "Close by </think>.",
    )
    assert "</think>" in rendered(tmp_path / "model", PREFILLED, *asked)


@pytest.mark.parametrize("recipe", [TINY, SFT])
def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path: Path, recipe: str) -> None:
    name = model(tmp_path / "model")
    both_refuse("has no chat template", "--model_name_or_path", name, recipe=recipe, out=tmp_path)


def test_a_template_that_refuses_the_system_turn_is_quoted(tmp_path: Path) -> None:
    name = model(tmp_path / "model", NO_SYSTEM)
    message = r"refuses a prompt of this recipe \(System role not supported\): leave system_prompt out"
    both_refuse(message, "--model_name_or_path", name, "--system_prompt", "Be short.", out=tmp_path)


@pytest.mark.parametrize(
    ("setting", "value", "package"),
    [
        ("report_to", "tensorboard", "tensorboard"),
        ("report_to", "swanlab", "swanlab"),
        ("use_liger_kernel", "true", "liger_kernel"),
        ("optim", "adamw_bnb_8bit", "bitsandbytes"),
        ("optim", "galore_adamw", "galore_torch"),
    ],
)
def test_a_package_that_is_not_there_is_missed_early(tmp_path: Path, setting: str, value: str, package: str) -> None:
    both_refuse(f"{setting}: {value} needs the package {package}", f"--{setting}", value, out=tmp_path)


def test_a_misspelt_reporter_is_named_early(tmp_path: Path) -> None:
    both_refuse("Unknown report_to 'tensorbord'. Did you mean 'tensorboard'", "--report_to", "tensorbord", out=tmp_path)


def test_an_attention_that_is_not_there_is_missed_early(tmp_path: Path) -> None:
    both_refuse("set attn_implementation: sdpa", "--attn_implementation", "flash_attention_2", out=tmp_path)
    with pytest.raises(ValueError, match="Did you mean 'flash_attention_2'"):
        check_attention("flash_attention2")
    for name in (None, "sdpa", "eager", "flex_attention"):
        check_attention(name)


def test_a_hub_id_that_is_not_cached_is_refused_offline(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    recipe = parse_recipe(TINY, ["--model_name_or_path", "nobody/nothing", "--output_dir", str(tmp_path / "run")])
    with pytest.raises(ValueError, match=r"nobody/nothing is not in the hub's cache, and HF_HUB_OFFLINE is set"):
        run(recipe)


def trained_on(rows: int, *overrides: str, recipe: str = TINY, processes: int = 1) -> None:
    check_rows(rows, parse_recipe(recipe, [*overrides], processes))


def test_fewer_rows_than_prompts_a_step_are_refused() -> None:
    trained_on(16)
    with pytest.raises(ValueError, match="has 15 rows, fewer than the 16 prompts"):
        trained_on(15)
    with pytest.raises(ValueError, match="has 31 rows, fewer than the 32 prompts"):
        trained_on(31, "--gradient_accumulation_steps", "2")
    with pytest.raises(ValueError, match="has 127 rows, fewer than the 128 prompts"):
        trained_on(127, processes=8)


DROPPED = ("--num_rows", "33", "--dataloader_drop_last", "true")


def test_the_check_counts_rows_for_the_gpus_that_it_is_given() -> None:
    check_recipe(SFT, [*DROPPED])
    with pytest.raises(ValueError, match="has 33 rows, fewer than the 64 rows of a batch"):
        check_recipe(SFT, [*DROPPED], gpus="2x24")


def test_training_that_could_make_no_step_does_not_start(tmp_path: Path) -> None:
    small = (*DROPPED, "--per_device_train_batch_size", "34", "--output_dir", str(tmp_path / "run"))
    with pytest.raises(ValueError, match="has 33 rows, fewer than the 34 rows of a batch"):
        run(parse_recipe(SFT, [*small]))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_reinforcement_learning_that_could_make_no_step_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 15 rows, fewer than the 16 prompts"):
        run(parse_recipe(TINY, ["--num_rows", "15", "--max_steps", "2", "--output_dir", str(tmp_path / "run")]))
    assert not (tmp_path / "run").exists()


def test_a_batch_of_demonstrations_that_is_dropped_is_refused() -> None:
    trained_on(1, recipe=SFT)
    with pytest.raises(ValueError, match="has 31 rows, fewer than the 32 rows of a batch"):
        trained_on(31, "--dataloader_drop_last", "true", recipe=SFT)


def test_no_step_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="num_train_epochs is above 0 and finite, not 0"):
        trained_on(100, "--max_steps", "-1", "--num_train_epochs", "0")


def test_a_tokenizer_without_eos_is_checked_by_the_generation_config(tmp_path: Path, capsys) -> None:
    fine("--model_name_or_path", model(tmp_path / "model", PREFILLED, tokenizer_config={"eos_token": None}))
    assert "'<eos>' a completion" in capsys.readouterr().out


def test_a_cap_beyond_the_context_is_refused_for_either_engine(tmp_path: Path) -> None:
    both_refuse("the context of tiny:base 1024 tokens: no prompt fits", "--max_completion_length", "1024", out=tmp_path)
    vllm = ("--use_vllm", "true", "--vllm_mode", "colocate", "--vllm_max_model_length", "2048")
    both_refuse("vllm_max_model_length is 2048, and tiny:base has a context of 1024", *vllm, out=tmp_path)


def test_all_faults_are_said_at_once(tmp_path: Path) -> None:
    wrong = ("--report_to", "tensorboard", "--max_completion_length", "2000")
    both_refuse(r"2 faults:\n  - report_to.*\n  - max_completion_length", *wrong, out=tmp_path)
