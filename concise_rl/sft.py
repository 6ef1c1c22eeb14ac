"""Supervised fine-tuning by a recipe (`stage: sft`): what makes the embedded reasoner, and any cold start."""

from typing import Any

from accelerate import PartialState
from datasets import Dataset
from transformers import TrainerCallback, TrainerState, TrainingArguments, set_seed
from trl import SFTTrainer, get_peft_config

from concise_rl.callbacks import MetricsFile, use_progress_bar
from concise_rl.checkpoint import mark_complete
from concise_rl.data import to_messages
from concise_rl.recipe import Recipe
from concise_rl.tiny import resolve_model


class MarkCheckpoints(TrainerCallback):
    """Marks each checkpoint when all of it is written, so that a run that is cut goes on from there."""

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Called on every rank, when its own part is written."""
        PartialState().wait_for_everyone()
        if args.should_save:
            mark_complete(str(args.output_dir), state.global_step)


def load_demonstrations(recipe: Recipe) -> Dataset:
    """Rows whose answer is a whole completion, in TRL's conversational prompt-completion form."""
    data = recipe.data
    rows = data.load(recipe.training.seed)
    completions = [[{"role": "assistant", "content": answer}] for answer in rows["answer"]]
    prompts = to_messages(rows, data.prompt_template, data.system_prompt)["prompt"]
    return Dataset.from_dict({"prompt": list(prompts), "completion": completions})


def train_sft(recipe: Recipe) -> None:
    """TRL's `SFTTrainer` on the recipe's demonstrations."""
    from concise_rl.train import claim_folder, finish_training

    set_seed(recipe.training.seed)
    model, demonstrations = resolve_model(recipe.model_name), load_demonstrations(recipe)
    claim_folder(recipe)
    trainer = SFTTrainer(
        model=model,
        args=recipe.training,
        train_dataset=demonstrations,
        peft_config=get_peft_config(recipe.model),
        callbacks=[MetricsFile(), MarkCheckpoints()],
    )
    use_progress_bar(trainer)
    finish_training(trainer, recipe.folder)
