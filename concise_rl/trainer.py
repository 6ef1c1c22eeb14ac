"""The trainer: TRL's GRPO with the advantages of an objective. What it overrides was read at TRL 1.16.

Private methods of TRL in use, all in this file: `_calculate_rewards` (the gathered verdicts pass here),
`_generate_and_score_completions` (its advantages are replaced), `_tokenize_prompts` (called by the rollout) and
`_save_checkpoint` (a marker is written last).
"""

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOTrainer
from trl.models import unwrap_model_for_generation

from concise_rl.callbacks import MetricsFile, Watchdog, use_progress_bar
from concise_rl.checkpoint import mark_complete
from concise_rl.config import ConciseConfig
from concise_rl.judge import grade
from concise_rl.objective import Objective, RolloutBatch, build_objective, has_signal
from concise_rl.rollout.engine import Sampling
from concise_rl.rollout.transformers_engine import TransformersEngine
from concise_rl.tiny import resolve_model
from concise_rl.trace import Delimiters, StopReason, read_trace
from concise_rl.verify import VerifierPool


class ConciseTrainer(GRPOTrainer):
    """GRPO in which an objective decides what each rollout, or each of its tokens, is worth.

    The verifier is the only reward function; its verdicts are never shaped. Rollouts are gathered over all ranks, the
    objective turns them into advantages on every rank alike, and TRL's losses, clipping, KL, PEFT, logging and
    checkpoints do the rest.
    """

    args: ConciseConfig

    def __init__(
        self,
        model: str | PreTrainedModel,
        args: ConciseConfig,
        train_dataset: Dataset,
        eval_dataset: Dataset | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        objective: Objective | None = None,
        verifier: VerifierPool | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        peft_config: Any = None,
    ) -> None:
        """
        Args:
            model: a model, a folder, a hub id or `tiny:base`.
            args: the configuration.
            train_dataset: rows with `prompt` (text, or messages for a chat template), `answer`, and what the verifier
            reads.
            eval_dataset: the same, for evaluation during training.
            processing_class: the tokenizer; the model's own unless given.
            objective: the method; built from `args.objective` unless given.
            verifier: judges answers; started as `args` says unless given.
            callbacks, optimizers, peft_config: as in TRL.

        Raises:
            ValueError: for an unknown objective, option or verifier, a model that is not there, a delimiter that the
                tokenizer cannot write, and settings of TRL that an objective of token-level credit cannot be used with.
        """
        # Not `objective`: transformers' Trainer uses that name in hyperparameter search.
        self.method = objective or build_objective(args.objective, args.options, args.scale_rewards)
        check_compatible(self.method, args)
        if args.max_completion_length is None:
            raise ValueError("max_completion_length is not set: without a cap a rollout need not end.")
        self.max_length = args.max_completion_length
        self.verifier = verifier or VerifierPool(
            args.verifier, args.verifier_workers, args.verifier_timeout, args.verifier_memory_mb
        )
        super().__init__(
            model=resolve_model(model) if isinstance(model, str) else model,
            reward_funcs=[self.correct],
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=[*(callbacks or []), MetricsFile(), Watchdog(args.truncation_warning, args.no_signal_patience)],
            optimizers=optimizers,
            peft_config=peft_config,
        )
        use_progress_bar(self)
        self.delimiters = Delimiters.of(self._tokenizer, self.eos_token_ids, args.think_end)
        if self._samples_plainly():
            self.rollout_func = self._rollout  # not by the argument: TRL warns that it may change

    def _samples_plainly(self) -> bool:
        """Whether the embedded engine can do what the configuration asks for. Generation is TRL's own otherwise."""
        args = self.args
        sharded = self.is_deepspeed_enabled or self.is_fsdp_enabled
        asks_more = args.generation_kwargs or args.cache_implementation or args.use_transformers_continuous_batching
        return not (self.use_vllm or sharded or asks_more or args.repetition_penalty != 1.0)

    def correct(
        self, prompts: list, completions: list, completion_ids: list[list[int]], **columns: Any
    ) -> list[float | None]:
        """The verdicts on this rank's rollouts, in the form of a TRL reward function."""
        lists = {name: values for name, values in columns.items() if isinstance(values, list)}
        rows = [{name: values[i] for name, values in lists.items()} for i in range(len(completion_ids))]
        traces = [read_trace(ids, self.delimiters) for ids in completion_ids]
        return grade(traces, rows, self._tokenizer, self.verifier)

    def _rollout(self, prompts: list, trainer: GRPOTrainer) -> dict[str, Any]:
        """Sample one completion for each prompt of this rank (TRL has repeated them), through the embedded engine."""
        prompt_ids, _, _ = self._tokenize_prompts(prompts)
        sampling = Sampling(self.max_length, self.temperature, self.top_p, self.top_k or 0, self.min_p or 0.0)
        checkpointing: Any = self.args.gradient_checkpointing_kwargs
        wrapped: Any = self.model_wrapped
        with unwrap_model_for_generation(
            wrapped, self.accelerator, gradient_checkpointing_kwargs=checkpointing
        ) as model:
            engine = TransformersEngine(model, self._tokenizer, self.eos_token_ids, batch_size=len(prompt_ids))
            completions = engine.generate(prompt_ids, sampling)
        return {"prompt_ids": prompt_ids, "completion_ids": [c.ids for c in completions], "logprobs": None}

    def _calculate_rewards(
        self, inputs: list[dict], prompts: list, completions: list, completion_ids_list: list[list[int]]
    ) -> Tensor:
        rewards_per_func = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._rollouts = self._gather_rollouts(rewards_per_func[:, 0], completion_ids_list)
        return rewards_per_func

    def _gather_rollouts(self, correct_B: Tensor, completion_ids: Sequence[list[int]]) -> RolloutBatch:
        """The batch of all ranks, from the gathered verdicts and this rank's completions."""
        traces = [read_trace(ids, self.delimiters) for ids in completion_ids]
        columns = [
            (t.length, t.think_length, t.finished, StopReason.EOS if t.finished else StopReason.LENGTH) for t in traces
        ]
        length_B, think_length_B, finished_B, stop_B = self.accelerator.gather(
            torch.tensor(columns, dtype=torch.long, device=self.accelerator.device)
        ).unbind(dim=1)
        group_size = self.num_generations if self.mode == "train" else self.num_generations_eval
        assert group_size is not None, "TRL has set both"
        return RolloutBatch(
            correct=correct_B,
            length=length_B,
            think_length=think_length_B,
            finished=finished_B.bool(),
            stop_reason=stop_B,
            num_generations=group_size,
            max_length=self.max_length,
            step=self.state.global_step,
        )

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        advantages = self.method.advantages(self._rollouts)
        if not torch.isfinite(advantages).all():
            raise RuntimeError(f"Objective {type(self.method).__name__} gave advantages that are not finite.")
        self._log_rollouts(advantages)
        first = self.accelerator.process_index * len(inputs)
        local = advantages[first : first + len(inputs)]
        output["advantages"] = local if local.ndim == 1 else fit_width(local, output["completion_ids"].size(1))
        return output

    @property
    def mode(self) -> str:
        """`train` or `eval`, as TRL tells them apart."""
        assert self.model is not None
        return "train" if self.model.training else "eval"

    def _log_rollouts(self, advantages: Tensor) -> None:
        """Log what the rollouts were and what the objective made of them; TRL has logged its own advantages by now."""
        metrics = self._metrics[self.mode]
        for key, value in {**rollout_metrics(self._rollouts, advantages), **self._method_metrics()}.items():
            metrics[key].append(value)
        scalars = (advantages if advantages.ndim == 1 else advantages.mean(dim=1)).tolist()
        logged: Any = self._logs["advantages"]
        for _ in range(min(len(scalars), len(logged))):
            logged.pop()
        logged.extend(scalars)

    def _method_metrics(self) -> dict[str, float]:
        of_objective = self.method.metrics(self._rollouts)
        return {f"objective/{name}": value for name, value in of_objective.items()} | {
            f"verifier/{name}": float(count) for name, count in self.verifier.counters.items()
        }

    def compute_loss(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
        """TRL's loss. A loss that is not finite stops the run before it reaches the weights."""
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        if not torch.isfinite(loss):
            raise RuntimeError(
                f"The loss is {loss.item()} at step {self.state.global_step}; the weights are untouched."
            )
        return loss

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # every rank has written its part
        if self.args.should_save:
            mark_complete(self.args.folder, self.state.global_step)


def check_compatible(objective: Objective, args: ConciseConfig) -> None:
    """Refuse the settings of TRL that read advantages as one number for each rollout, for token-level objectives.

    Raises:
        ValueError: naming the setting and what to set it to.
    """
    if not objective.token_level:
        return
    name = type(objective).__name__
    if args.off_policy_mask_threshold is not None:
        raise ValueError(f"{name} gives each token its own advantage: set off_policy_mask_threshold to null.")
    if args.loss_type == "vespo":
        raise ValueError(f"{name} gives each token its own advantage, which loss_type vespo cannot take: use dapo.")


def fit_width(advantages_BT: Tensor, width: int) -> Tensor:
    """Crop, or pad with 0, to this rank's completion width: ranks pad their completions each for itself."""
    extra = width - advantages_BT.size(1)
    return nn.functional.pad(advantages_BT, (0, extra)) if extra > 0 else advantages_BT[:, :width]


def rollout_metrics(batch: RolloutBatch, advantages: Tensor) -> dict[str, float]:
    """What every method logs: signal, pass rates of groups, lengths and stop reasons (shares, one for each reason)."""
    correct_PG = batch.grouped(batch.earned)
    largest_B = advantages.abs() if advantages.ndim == 1 else advantages.abs().amax(dim=1)
    right_B = batch.earned == 1
    mean_right = batch.length[right_B].float().mean().item() if right_B.any() else float("nan")
    return {
        "groups/no_signal": (batch.grouped(largest_B).amax(dim=1) == 0).float().mean().item(),
        "groups/mixed": has_signal(correct_PG).float().mean().item(),
        "groups/all_correct": (correct_PG == 1).all(dim=1).float().mean().item(),
        "groups/all_wrong": (correct_PG == 0).all(dim=1).float().mean().item(),
        "length/mean": batch.length.float().mean().item(),
        "length/correct": mean_right,
        "length/think": batch.think_length.float().mean().item(),
        **{
            f"stop/{r.label}": (batch.stop_reason == r).float().mean().item()
            for r in (StopReason.EOS, StopReason.LENGTH)
        },
    }
