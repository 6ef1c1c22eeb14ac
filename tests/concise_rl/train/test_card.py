"""The model card: what stands in it, and that it is the one in the folders of a real run."""

from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import pytest
from huggingface_hub import ModelCard
from peft import LoraConfig

from concise_rl import ConciseTrainer, Objective, load_rows, to_messages
from concise_rl.models.resolve import resolve_model
from concise_rl.tasks.tiny import SHIPPED, WEIGHTS
from concise_rl.train.card import card_text, hub_data
from reward import Dot, Grpo
from tests.concise_rl.train.test_trainer import config

PROBLEMS = load_rows("tiny:sums", num_rows=16)


def carded(
    folder: Path, method: Objective | None = None, peft: Any = None, rows: Any = None, **more: Any
) -> ConciseTrainer:
    """A trainer of one step of 8 rollouts on a CPU."""
    # The verifier whose worker starts fast.
    own = {"verifier": "exact", "verifier_workers": 1, "max_steps": 1, "save_strategy": "steps", "save_steps": 1}
    args, problems = config(folder, **{**own, **more}), rows or to_messages(PROBLEMS)
    return ConciseTrainer("tiny:base", args, problems, objective=method, peft_config=peft)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one step."""
    folder = tmp_path_factory.mktemp("run")
    more = {"curriculum": "kappa", "curriculum_options": {"kappa_init": 0.5}, "loss_type": "cispo", "seed": 7}
    trainer = carded(folder, objective="decs", objective_options={"beta": 0.3}, **more)
    trainer.dataset_name = "tiny:sums"
    trainer.train()
    trainer.save_model(str(folder))
    return folder


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> ConciseTrainer:
    return carded(tmp_path_factory.mktemp("untrained"))


def metadata(text: str) -> dict[str, Any]:
    return ModelCard(text).data.to_dict()


def test_the_card_of_a_run_names_the_method_its_paper_and_its_options(run: Path) -> None:
    text = (run / "README.md").read_text()
    assert "`Decs`: Decoupled Rewards and Curriculum Scheduling" in text
    assert text.count("<https://hf.co/papers/2509.25827>") == 2 and "- beta: `0.3`" in text
    assert "DeepSeekMath" not in text and "GRPO," not in text


def test_the_card_of_a_run_names_the_settings_that_matter(run: Path) -> None:
    text = (run / "README.md").read_text()
    for line in (
        "data set: `tiny:sums`",
        "verifier: `exact`",
        "steps: 1",
        "rollouts a step: 8, in groups of 4",
        "cap on a completion: 160 tokens",
        "learning rate: 0.0001",
        "loss: cispo, with a KL coefficient of 0",
        "curriculum: `kappa`, kappa_init 0.5",
        "judge: `rule`",
        "seed: 7",
    ):
        assert f"- {line}\n" in text
    assert all(f"{package} {version(package)}" in text for package in ("concise_rl", "trl", "transformers", "torch"))


def test_the_metadata_name_the_library_and_the_method_and_no_base_that_is_not_on_the_hub(run: Path) -> None:
    assert metadata((run / "README.md").read_text()) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["concise-rl", "trl", "decs"],
    }


def test_the_program_in_the_card_asks_the_model_and_prints_what_it_says(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = (run / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert "apply_chat_template" in program
    exec(program.replace("path/to/this/folder", str(run)), {})
    assert "</think>" in capsys.readouterr().out


@pytest.fixture(scope="module")
def adapter_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one step with LoRA."""
    folder = tmp_path_factory.mktemp("lora")
    trainer = carded(folder, peft=LoraConfig(r=4, target_modules="all-linear"))
    trainer.train()
    trainer.save_model(str(folder))
    return folder


@pytest.mark.parametrize("place", [".", "checkpoint-1"])
def test_the_card_of_an_adapter_says_so_and_has_no_local_folder_for_a_base_model(adapter_run: Path, place: str) -> None:
    text = (adapter_run / place / "README.md").read_text()
    assert "An adapter" in text and "adapter_config.json" in text
    assert metadata(text)["library_name"] == "peft" and "base_model" not in metadata(text)


@pytest.mark.parametrize("folder", ["run", "adapter_run"])
def test_no_path_of_this_machine_and_nothing_that_is_none_stands_in_a_card(
    folder: str, request: pytest.FixtureRequest
) -> None:
    of_run = request.getfixturevalue(folder)
    text = (of_run / "README.md").read_text()
    assert not [path for path in (str(of_run.parent), str(WEIGHTS), str(Path.home()), "None") if path in text]


def test_a_base_model_of_the_hub_is_linked_and_in_the_metadata(untrained: ConciseTrainer, monkeypatch) -> None:
    monkeypatch.setattr(untrained.model.config, "_name_or_path", "Qwen/Qwen3-8B")
    text = card_text(untrained)
    assert metadata(text)["base_model"] == "Qwen/Qwen3-8B"
    assert "[Qwen/Qwen3-8B](https://huggingface.co/Qwen/Qwen3-8B)" in text


@pytest.mark.parametrize("name", ["", "{folder}", "{folder}/gone"])
def test_a_base_model_that_is_not_on_the_hub_is_called_local(untrained: ConciseTrainer, monkeypatch, name: str) -> None:
    monkeypatch.setattr(untrained.model.config, "_name_or_path", name.format(folder=untrained.args.folder))
    text = card_text(untrained)
    assert "Fine-tuned from a local model" in text and "base_model" not in metadata(text)
    assert untrained.args.folder not in text


@pytest.mark.parametrize("name", SHIPPED)
def test_a_reasoner_that_ships_is_called_by_its_name(untrained: ConciseTrainer, monkeypatch, name: str) -> None:
    monkeypatch.setattr(untrained.model.config, "_name_or_path", resolve_model(name))
    assert f"Fine-tuned from `{name}`, a reasoner" in card_text(untrained)


def test_a_method_given_as_an_object_is_the_one_that_is_named(tmp_path: Path) -> None:
    trainer = carded(tmp_path, Dot(std_multiplier=1.0))
    text = card_text(trainer)
    assert metadata(text)["tags"][2] == "dot" and "- std_multiplier: `1.0`" in text


class Mine(Grpo):
    """A method of a user's own."""

    paper: ClassVar[str] = "none yet"


def test_a_method_of_the_users_own_goes_by_its_class(tmp_path: Path) -> None:
    text = card_text(carded(tmp_path, Mine()))
    assert metadata(text)["tags"] == ["concise-rl", "trl", "Mine"]
    assert "`Mine`: A method of a user's own." in text and "Paper: none yet." in text


@pytest.mark.parametrize(
    ("source", "said", "in_metadata"),
    [
        (
            "open-r1/DAPO-Math",
            "[open-r1/DAPO-Math](https://huggingface.co/datasets/open-r1/DAPO-Math)",
            "open-r1/DAPO-Math",
        ),
        ("openai/gsm8k:main", "[openai/gsm8k:main](https://huggingface.co/datasets/openai/gsm8k)", "openai/gsm8k"),
        ("gsm8k", "[gsm8k](https://huggingface.co/datasets/openai/gsm8k)", "openai/gsm8k"),
        (f"math500={__file__}", "local, not on the hub", None),
        ("tiny:sums", "`tiny:sums`", None),
        ("reasoning_gym:chain_sum?min_terms=3", "`reasoning_gym:chain_sum?min_terms=3`", None),
        (__file__, "local, not on the hub", None),
    ],
)
def test_the_data_set_is_named_and_in_the_metadata_where_it_is_on_the_hub(
    untrained: ConciseTrainer, source: str, said: str, in_metadata: str | None
) -> None:
    text = card_text(untrained, dataset_name=source)
    assert f"- data set: {said}\n" in text
    assert metadata(text).get("datasets") == in_metadata == hub_data(source)


def test_a_data_set_that_is_not_known_is_not_mentioned(untrained: ConciseTrainer) -> None:
    assert "data set" not in card_text(untrained)


@pytest.mark.parametrize("tags", ["mine", ["mine", "trl"]])
def test_tags_of_the_caller_follow_those_of_the_project(untrained: ConciseTrainer, tags: str | list[str]) -> None:
    assert metadata(card_text(untrained, tags=tags))["tags"] == ["concise-rl", "trl", "grpo", "mine"]


def test_the_title_is_the_name_given_or_that_of_the_repository_or_of_the_folder(
    untrained: ConciseTrainer, monkeypatch
) -> None:
    assert f"\n# {Path(untrained.args.folder).name}\n" in card_text(untrained)
    monkeypatch.setattr(untrained, "hub_model_id", "me/short")
    assert "\n# short\n" in card_text(untrained) and 'name = "me/short"' in card_text(untrained)
    assert "\n# Title\n" in card_text(untrained, model_name="Title")


def test_a_model_trained_on_plain_text_is_asked_in_plain_text(tmp_path: Path) -> None:
    text = card_text(carded(tmp_path, rows=PROBLEMS))
    assert "apply_chat_template" not in text and 'tokenizer("What is 4 + 3 - 9?", return_tensors="pt")' in text


def test_a_model_that_does_not_think_has_no_line_on_its_thinking(tmp_path: Path) -> None:
    assert "its thinking" not in card_text(carded(tmp_path, think_end=None))
