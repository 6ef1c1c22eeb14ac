"""The model card, the README.md in a trained model's folder: what the model is, and how it was made.

No path of the machine that trained it stands in it: a folder is called local, and a data file by what it is.
"""

import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accelerate.utils import is_peft_model
from huggingface_hub import ModelCard, ModelCardData
from trl import GRPOTrainer

from concise_rl.data.sources import GENERATED
from concise_rl.files import write_atomically
from concise_rl.labels.judges import DEFAULT_JUDGE
from concise_rl.methods import Objective
from concise_rl.methods.describe import summary
from concise_rl.named import mapping
from concise_rl.recipe.config import ConciseConfig
from concise_rl.tasks.benchmarks import find_benchmark
from concise_rl.tasks.tiny import WEIGHTS

PACKAGES = ("concise_rl", "trl", "transformers", "torch")
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
TRL_BIBTEX = """```bibtex
@software{vonwerra2020trl,
  title   = {{TRL: Transformers Reinforcement Learning}},
  author  = {von Werra, Leandro and Belkada, Younes and Tunstall, Lewis and Beeching, Edward and Thrush, Tristan and
             Lambert, Nathan and Huang, Shengyi and Rasul, Kashif and Gallouédec, Quentin},
  license = {Apache-2.0},
  url     = {https://github.com/huggingface/trl},
  year    = {2020}
}
```"""
_CHAT = """messages = [{"role": "user", "content": "What is 4 + 3 - 9?"}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")"""
_PLAIN = 'inputs = tokenizer("What is 4 + 3 - 9?", return_tensors="pt")'


class WithCard(GRPOTrainer):
    """The part of the trainer that writes the card of what it saves."""

    args: ConciseConfig
    dataset_name: str | None = None
    """What the card calls the data set, as a recipe's `dataset` does."""

    def create_model_card(
        self, model_name: str | None = None, dataset_name: str | None = None, tags: str | list[str] | None = None
    ) -> None:
        if self.is_world_process_zero():
            write_card(self, self.args.folder, model_name, dataset_name or self.dataset_name, tags)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        # After PEFT, which writes a card of its own that names the base model by its folder.
        write_card(self, output_dir or self.args.folder, dataset_name=self.dataset_name)


def write_card(
    trainer: Any,
    folder: str | Path,
    model_name: str | None = None,
    dataset_name: str | None = None,
    tags: str | Iterable[str] | None = None,
) -> None:
    """Write `README.md` into the folder of a model. Call on one rank.

    Args:
        trainer: what has trained the model.
        folder: where its weights are.
        model_name, dataset_name, tags: see `card_text`.

    Raises:
        OSError: when writing fails.
    """
    write_atomically(Path(folder) / "README.md", card_text(trainer, model_name, dataset_name, tags))


def card_text(
    trainer: Any,
    model_name: str | None = None,
    dataset_name: str | None = None,
    tags: str | Iterable[str] | None = None,
) -> str:
    """The card of the model as it is now: metadata and Markdown.

    Args:
        trainer: what trains the model.
        model_name: its title. Unless given, the last part of its hub id or of the output folder.
        dataset_name: what it is trained on, as a recipe's `dataset` says it. None: not known.
        tags: more tags for the hub.
    """
    model: Any = trainer.model
    base, adapter = getattr(model.config, "_name_or_path", ""), is_peft_model(model)
    data = ModelCardData(
        base_model=base if is_hub_id(base) else None,
        datasets=hub_data(dataset_name),
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=_tags(trainer.method, [tags] if isinstance(tags, str) else tags or []),
    )
    name = model_name or (trainer.hub_model_id or Path(trainer.args.folder).resolve().name).rpartition("/")[2]
    sections = [
        f"# {name}",
        _what_it_is(trainer.method, base, adapter),
        f"## How to use it\n\n{_usage(trainer, adapter and not is_hub_id(base))}",
        f"## Method\n\n{method_text(trainer.method)}",
        f"## Training\n\n{bullets(_settings(trainer, dataset_name))}",
        f"Versions: {', '.join(f'{package} {version(package)}' for package in PACKAGES)}.",
        f"## Citations\n\nThe method: {paper_link(trainer.method)}. The trainer is built on TRL:\n\n{TRL_BIBTEX}",
    ]
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n"))


def is_hub_id(name: str) -> bool:
    """Whether a name is neither empty nor a path of this machine."""
    return bool(_HUB_ID.fullmatch(name)) and not Path(name).exists()


def hub_data(source: str | None) -> str | None:
    """The hub id in what a recipe calls its `dataset`, without the name of a configuration; None if it is none."""
    origin = origin_of(source or "")
    name = origin.partition(":")[0]
    return name if is_hub_id(name) and not origin.startswith(GENERATED) else None


def origin_of(source: str) -> str:
    """What a benchmark's name, or that of a copy, stands for; other sources as they are."""
    benchmark = find_benchmark(source)
    return source if benchmark is None else benchmark[2] or benchmark[1].source


def _tags(method: Objective, more: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(["concise-rl", "trl", method_name(method), *more]))


def method_name(method: Objective) -> str:
    """What a recipe calls the method, where it is one of this project's; else the name of its class."""
    from reward import OBJECTIVES

    return next((name for name, cls in OBJECTIVES.items() if cls is type(method)), type(method).__name__)


def _what_it_is(method: Objective, base: str, adapter: bool) -> str:
    origin = f"[{base}](https://huggingface.co/{base})" if is_hub_id(base) else "a local model, which has no hub id"
    if base and Path(base).parent == WEIGHTS:
        origin = f"`tiny:{Path(base).name}`, a reasoner of 0.9M parameters that ships with concise_rl"
    weights = "An adapter, made by fine-tuning" if adapter else "Fine-tuned from"
    return f"{weights} {origin}, by reinforcement learning with concise_rl and its method `{method_name(method)}`."


def _usage(trainer: Any, local_base: bool) -> str:
    """A program that asks the model something, and where its thinking ends."""
    tokenizer: Any = trainer.processing_class
    chats = tokenizer.chat_template is not None and not isinstance(trainer.train_dataset[0]["prompt"], str)
    program = f"""```python
from transformers import AutoModelForCausalLM, AutoTokenizer

name = "{trainer.hub_model_id or "path/to/this/folder"}"
tokenizer = AutoTokenizer.from_pretrained(name)
model = AutoModelForCausalLM.from_pretrained(name)
{_CHAT if chats else _PLAIN}
output = model.generate(**inputs, max_new_tokens={trainer.max_length})
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :]))
```"""
    closing = trainer.args.think_end
    thinking = [f"What stands before `{closing}` is its thinking; the answer follows."] if closing else []
    base = ["The base model has to lie where `adapter_config.json` says."] if local_base else []
    return "\n\n".join([program, *thinking, *base])


def method_text(method: Objective) -> str:
    """Describe a method: its paper and its options."""
    options = {name: f"`{value!r}`" for name, value in method.model_dump().items()}
    lines = [f"`{type(method).__name__}`: {summary(type(method))}", f"Paper: {paper_link(method)}."]
    return "\n\n".join([*lines, f"Its options:\n\n{bullets(options)}"] if options else lines)


def paper_link(method: Objective) -> str:
    """Link the paper of a method."""
    return f"<{method.paper}>" if method.paper.startswith("https://") else method.paper


def _settings(trainer: Any, dataset_name: str | None) -> dict[str, str]:
    """What was set, by name; nothing about what is not known."""
    args = trainer.args
    rows = args.per_device_train_batch_size * args.gradient_accumulation_steps * trainer.accelerator.num_processes
    settings = {
        "data set": data_link(dataset_name),
        "verifier": f"`{trainer.verifier.name}`",
        "steps": str(trainer.state.global_step),
        "rollouts a step": f"{rows}, in groups of {trainer.num_generations}",
        "cap on a completion": f"{trainer.max_length} tokens",
        "temperature": f"{args.temperature:g}",
        "learning rate": f"{args.learning_rate:g}",
        "loss": f"{args.loss_type}, with a KL coefficient of {args.beta:g}",
        "curriculum": _with_options(args.curriculum, mapping(args.curriculum_options)),
        "judge": f"`{args.judge or DEFAULT_JUDGE}`" if trainer.creditor.tools.labeller else "",
        "seed": str(args.seed),
    }
    return {name: value for name, value in settings.items() if value}


def data_link(source: str | None) -> str:
    """Say what a recipe calls its `dataset`, as a link where it is on the hub; nothing where it is not known."""
    if hub_data(source):
        return f"[{source}](https://huggingface.co/datasets/{hub_data(source)})"
    generated = source is not None and origin_of(source).startswith(GENERATED)
    return f"`{source}`" if generated else "local, not on the hub" if source else ""


def _with_options(name: str | None, options: dict[str, Any]) -> str:
    listed = ", ".join(f"{option} {value}" for option, value in options.items())
    return (f"`{name}`" + (f", {listed}" if listed else "")) if name else ""


def bullets(values: dict[str, str]) -> str:
    """Write names and values as a list in Markdown."""
    return "\n".join(f"- {name}: {value}" for name, value in values.items())
