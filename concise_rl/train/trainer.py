"""The trainer: TRL's GRPO with the advantages of an objective. What it overrides was read at TRL 1.16.

Private parts of TRL in use, in this file and in `rollout/links.py`: `_generate_and_score_completions` (rollouts are
made before it, advantages replaced after it), `_tokenize_prompts`, `_generate_single_turn`, `_last_loaded_step`,
`VLLMGeneration._iter_named_params`, `_save_checkpoint` (a marker is written last), `_get_train_sampler`,
`_save_rng_state` and `_load_rng_state` (see `resume.py`), `_get_per_token_logps_and_entropies` (no padding, see
`forwards.py`), with `shared_prefix` `_prepare_inputs` (micro-batches of whole groups), `_metrics`, and those that
`checkpoint.py`, `eval_batches.py` and `finite.py` override.
"""

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOTrainer

from concise_rl.curriculum.curricula import build_curriculum
from concise_rl.curriculum.filling import Filled, Filling
from concise_rl.curriculum.kinds import GroupKind, group_kinds
from concise_rl.labels.crop import crop
from concise_rl.labels.judges import DEFAULT_JUDGE
from concise_rl.labels.labeller import Labeller, Labels, build_labeller
from concise_rl.methods import Objective, PlanContext, RolloutBatch, SequenceReward
from concise_rl.models.policy import class_of_revision, training_processor
from concise_rl.models.resolve import resolve_model
from concise_rl.named import mapping
from concise_rl.reading.passages import count_cues
from concise_rl.reading.trace import Delimiters, StopReason, encode_words
from concise_rl.recipe.compatibility import check_compatible, check_datasets, passages_wanted, shares_prefixes
from concise_rl.recipe.config import ConciseConfig
from concise_rl.recipe.precision import check_weights
from concise_rl.rollout.collect import Collector, Judged
from concise_rl.rollout.engine import Sampling, derive_seed
from concise_rl.rollout.plans.plan import Parallel
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.rollout.sync.links import Colocated, Remote, link_to_engine, refuse_plan
from concise_rl.rollout.sync.refused import refuse_unsupported
from concise_rl.shared_prefix.tree import fold_groups
from concise_rl.train.callbacks import MetricsFile, Watchdog, use_progress_bar
from concise_rl.train.card import write_card
from concise_rl.train.checkpoint import WholeCheckpoints, demand_trainable
from concise_rl.train.eval_batches import EvalBatches
from concise_rl.train.finite import FiniteSteps
from concise_rl.train.forwards import Forwards
from concise_rl.train.gather import fit_width, loss_mask, to_batch, to_columns
from concise_rl.train.metrics import (
    NAN,
    Counted,
    label_metrics,
    ratio_columns,
    ratio_metrics,
    rollout_metrics,
    step_metrics,
)
from concise_rl.train.resume import EpochSampler, TellEpoch, check_reference, load_state, save_state
from concise_rl.train.shared_prefix import share_prefixes
from concise_rl.train.watch.events import Told
from concise_rl.train.watch.record import Recorder
from concise_rl.verify.grade import earned
from concise_rl.verify.pool import VerifierPool
from reward import build_objective


@dataclass(frozen=True)
class Credited:
    """A batch on its way into the loss.

    Attributes:
        judged: this rank's rollouts.
        batch: all ranks' rollouts.
        paid: the same, with the verdicts that are paid for: those on what a method keeps, where it judges again.
        kept_B: (B,) tokens of each that stay in the loss.
        real_B: (B,) which do not merely fill the batch.
        advantages: (B,) or (B, T).
    """

    judged: Judged
    batch: RolloutBatch
    paid: RolloutBatch
    kept_B: Tensor
    real_B: Tensor
    advantages: Tensor

    @property
    def real(self) -> RolloutBatch:
        """The batch without what merely fills it."""
        return self.batch.rows(self.real_B)

    @property
    def paid_real(self) -> RolloutBatch:
        """What is paid for, without what merely fills the batch."""
        return self.paid.rows(self.real_B)


class ConciseTrainer(Told, FiniteSteps, WholeCheckpoints, EvalBatches, Forwards, GRPOTrainer):
    """GRPO in which an objective decides what each rollout, or each of its tokens, is worth.

    The verifier is the only reward function; its verdicts are never shaped. Rollouts are gathered over all ranks, the
    objective turns them into advantages on every rank alike, and TRL's losses, clipping, KL, PEFT, logging and
    checkpoints do the rest.
    """

    _tag_names = ["concise-rl", "trl"]  # noqa: RUF012 (as in the base class)
    args: ConciseConfig
    num_generations: int
    train_dataset: Dataset
    dataset_name: str | None = None
    """What the model card calls the data set, as a recipe's `dataset` does."""

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
                tokenizer cannot write, a stream of rows, and settings of TRL that would mean something else here.
        """
        # Not `objective`: transformers' Trainer uses that name in hyperparameter search.
        self.method = objective or build_objective(args.objective, args.options, args.scale_rewards)
        args.shared_prefix = shares_prefixes(self.method, args)
        check_compatible(self.method, args)
        check_datasets(train_dataset, eval_dataset)
        assert args.max_completion_length is not None, "checked"
        self.max_length = args.max_completion_length
        self.verifier = verifier or VerifierPool(
            args.verifier, args.verifier_workers, args.verifier_timeout, args.verifier_memory_mb, args.refuse_copied
        )
        model = resolve_model(model) if isinstance(model, str) else model
        if args.use_vllm:
            refuse_unsupported(args)
        # vLLM is ours: TRL would start its own, which gives no seed to a request and cannot abort one.
        use_vllm, args.use_vllm = args.use_vllm, False
        own = (MetricsFile(), Watchdog(args.truncation_warning, args.no_signal_patience))
        with class_of_revision(model, args):
            super().__init__(
                model=model,
                reward_funcs=[self.correct],
                args=args,
                train_dataset=train_dataset,
                eval_dataset=eval_dataset,
                processing_class=training_processor(model, processing_class, args),
                callbacks=[*(callbacks or []), *own],
                optimizers=optimizers,
                peft_config=peft_config,
            )
        demand_trainable(self.model)
        check_weights(self)
        check_reference(self)
        args.use_vllm = self.use_vllm = use_vllm  # TRL corrects the importance ratio by this
        use_progress_bar(self)
        self.add_callback(TellEpoch(self))
        self.recorder = Recorder(args.record_steps, args.record_groups)
        self.add_callback(self.recorder)
        if args.shared_prefix:
            share_prefixes(self)
        self.delimiters = Delimiters.of(self._tokenizer, self.eos_token_ids, args.think_end)
        self.link = self.vllm_generation = link_to_engine(self, use_vllm)
        self._last_loaded_step = -1
        self.rollout_func = self._rollout  # not by the argument: TRL warns that it may change
        self.collector = self._collector()
        self.filling = self._filling()
        self.labeller = self._labeller()
        self._batches: tuple[tuple[int, int], int] = ((-1, 0), 0)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._cues: int | None = None

    def _collector(self) -> Collector:
        """What makes the rollouts.

        Raises:
            ValueError: when the objective's groups would not lie whole on each rank, or its texts cannot be written.
        """
        if self.method.ordered:
            self._demand_whole_groups(f"{type(self.method).__name__} makes the rollouts of a group together")
        sampling = Sampling(
            self.temperature,
            self.top_p,
            self.top_k or 0,
            self.min_p or 0.0,
            logprobs=self.use_vllm and self.vllm_importance_sampling_correction,
        )
        encode = functools.partial(encode_words, self._tokenizer)
        plan = self.method.plan(PlanContext(self.delimiters, self.num_generations, encode))
        plan.check_cap(self.max_length)
        refuse_plan(self.link, plan)
        return Collector(self.link, plan, sampling, self.delimiters, self._tokenizer, self.verifier)

    def _demand_whole_groups(self, reason: str) -> None:
        """
        Raises:
            ValueError: when a group could lie on two ranks.
        """
        assert self.args.steps_per_generation, "TRL has derived it"
        rows = self.args.per_device_train_batch_size * self.args.steps_per_generation
        if rows % self.num_generations:
            raise ValueError(
                f"{reason} on each rank: per_device_train_batch_size x steps_per_generation ({rows}) must be a "
                f"multiple of num_generations ({self.num_generations})."
            )

    def _filling(self) -> Filling | None:
        """What exchanges groups, where the recipe names a curriculum."""
        if not self.args.curriculum:
            return None
        self._demand_whole_groups(f"curriculum {self.args.curriculum} exchanges whole groups")
        curriculum = build_curriculum(self.args.curriculum, mapping(self.args.curriculum_options))
        filling = Filling(curriculum, self.train_dataset, self.num_generations, self.accelerator, self.args.seed)
        for callback in filling.callbacks():
            self.add_callback(callback)
        return filling

    def _labeller(self) -> Labeller | None:
        """What says where thinking has become redundant, if anybody asks."""
        passage = passages_wanted(self.method, self.args, self.filling.curriculum if self.filling else None)
        if passage is None:
            return None
        options, tools = mapping(self.args.judge_options), (self.delimiters, self._tokenizer, self.verifier)
        return build_labeller(passage, self.args.judge or DEFAULT_JUDGE, options, *tools)

    def correct(self, prompts: list, completions: list, completion_ids: list, **columns: Any) -> list[float | None]:
        """The verdicts on this rank's rollouts, in the form of a TRL reward function. What was given up counts as 0
        here: TRL would print a warning for every row without a reward."""
        judged = self._now.judged
        return [
            0.0 if rollout.stop_reason is StopReason.ABORTED else verdict
            for rollout, verdict in zip(judged.rollouts, judged.verdicts, strict=True)
        ]

    def _rollout(self, prompts: list, trainer: GRPOTrainer) -> dict[str, Any]:
        """Hand TRL the rollouts that were collected for this batch."""
        judged, kept_B = self._now.judged, self._local(self._now.kept_B)
        masks = [loss_mask(rollout, kept) for rollout, kept in zip(judged.rollouts, kept_B.tolist(), strict=True)]
        output = {
            "prompt_ids": judged.prompt_ids,
            "completion_ids": [rollout.ids for rollout in judged.rollouts],
            "logprobs": [rollout.logprobs for rollout in judged.rollouts] if self.collector.sampling.logprobs else None,
        }
        return output if all(map(all, masks)) else output | {"env_mask": masks}

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._seconds.clear()
        with self.link.awake():
            self._sync_engine(inputs)
            filled = self._sample_batch(inputs)
        self._now = self._credit(filled)
        self.recorder.record(self, filled)
        # The prompt alone: TRL hands all columns on, under names of its own.
        output = super()._generate_and_score_completions([{"prompt": row["prompt"]} for row in filled.judged.rows])
        self._log_rollouts(filled.metrics | self._learn(filled.easy_share) | self._ratio_metrics(output))
        local = self._local(self._now.advantages).float().to(self.accelerator.device)
        output["advantages"] = local if local.ndim == 1 else fit_width(local, output["completion_ids"].size(1))
        # TRL now shuffles the rows and cuts them into micro-batches; folded, these rows are groups.
        folded = self.args.shared_prefix and self.mode == "train"
        return fold_groups(output, self.num_generations) if folded else output

    def _local(self, values_B: Tensor) -> Tensor:
        """This rank's share of something that all ranks have."""
        rows = len(self._now.judged.rows)
        first = self.accelerator.process_index * rows
        return values_B[first : first + rows]

    def _sync_engine(self, inputs: list[dict[str, Any]]) -> None:
        """Give the engine the weights of this step, once, and again where it has slept."""
        if self.state.global_step == self._last_loaded_step and not self.link.weights_gone:
            return
        with self._timed("sync"):
            if isinstance(self.link, Colocated | Remote):
                self.link.probe.choose(self._tokenize(inputs[:1])[0])
            difference = self.link.sync_weights()
        if difference is not None:
            self._metrics[self.mode]["sync/difference"].append(difference)
        self._last_loaded_step = self.state.global_step

    def _tokenize(self, rows: Sequence[Any]) -> list[list[int]]:
        return self._tokenize_prompts([row["prompt"] for row in rows])[0] if rows else []

    def _sample_batch(self, inputs: list[dict[str, Any]]) -> Filled:
        """This rank's rollouts."""
        step = self._next_batch()
        if not (self.filling and self.mode == "train"):
            filler = self._eval_fillers(len(inputs)) if self.mode == "eval" else [False] * len(inputs)
            return Filled(self._sample(inputs, step), filler, NAN, {})
        rank = self.accelerator.process_index  # ranks may draw different numbers of rows
        return self.filling.collect(
            inputs,
            lambda rows, turn: self._sample(rows, (*step, turn, rank)),
            self._kinds,
            self.callback_handler.callbacks,
            step,
        )

    def _learn(self, easy_share: float) -> dict[str, float]:
        """Tell the curriculum of the batch. Returns what to log."""
        if not (self.filling and self.mode == "train"):
            return {}
        necessary_B = self._now.real.necessary
        ratios = [] if necessary_B is None else necessary_B.tolist()
        return self.filling.observe(ratios, easy_share, self.callback_handler.callbacks)

    def _next_batch(self) -> tuple[int, ...]:
        """What tells this batch from all others of the run, also from those of a run that it resumes."""
        now = (self.state.global_step, int(self.mode == "train"))
        self._batches = (now, self._batches[1] + 1 if self._batches[0] == now else 0)
        return (*now, self._batches[1])

    def _sample(self, rows: list[Any], step: Sequence[int]) -> Judged:
        """Rollouts of rows that stand in groups, judged."""
        prompt_ids = self._tokenize(rows)
        first = self.accelerator.process_index * len(rows)
        seeds = [derive_seed(self.args.seed, *step, first + i) for i in range(len(rows))]
        keep = self.method.keep_shortest(self.num_generations) if self.mode == "train" else None
        rule = ShortestOnly(keep, lambda row: (first + row) // self.num_generations) if keep else None
        # Groups of an evaluation have another size, often 1: nothing to make a serial group of.
        plainly = self.method.ordered and self.mode == "eval"
        collector = replace(self.collector, plan=Parallel()) if plainly else self.collector
        with self._timed("rollout"):
            rollouts = collector.sample(prompt_ids, self._cap, seeds, rule)
        with self._timed("verify"):
            return collector.judge(rows, prompt_ids, rollouts)

    @property
    def _cap(self) -> int:
        """Cap on completion tokens at this step."""
        return self.method.cap(self.state.global_step, self.max_length)

    def _credit(self, filled: Filled) -> Credited:
        """What the objective makes of the rollouts of all ranks."""
        judged, labels = filled.judged, self._label(filled.judged)
        if self.method.crops and labels is not None:
            judged = crop(judged, labels, self.delimiters)
        columns_BC = self.accelerator.gather(to_columns(judged, labels, filled.filler, self.accelerator.device))
        batch, kept_B, real_B = self._settle(columns_BC, labelled=labels is not None)
        paid = self._rejudged(judged, batch, kept_B, self.accelerator.gather, self.accelerator.process_index)
        of_real = self.method.advantages(paid.rows(real_B))
        if not torch.isfinite(of_real).all():
            raise RuntimeError(f"Objective {type(self.method).__name__} gave advantages that are not finite.")
        advantages = of_real.new_zeros(len(real_B), *of_real.shape[1:])
        advantages[real_B] = of_real
        return Credited(judged, batch, paid, kept_B, real_B, advantages)

    def _label(self, judged: Judged) -> list[Labels] | None:
        if self.labeller is None:
            return None
        with self._timed("label"):
            completions = [rollout.ids for rollout in judged.rollouts]
            thinking = [ids[: t.think_length] for ids, t in zip(completions, judged.traces, strict=True)]
            self._cues = sum(count_cues(text).total() for text in self._tokenizer.batch_decode(thinking))
            verdicts = [earned(*pair) for pair in zip(judged.verdicts, judged.traces, strict=True)]
            return self.labeller.label(judged.rows, completions, judged.traces, verdicts)

    def _kinds(self, judged: Judged) -> list[GroupKind]:
        """What each of this rank's groups is, by raw verdicts on what the objective keeps."""
        no_filler = [False] * len(judged.rows)
        columns_BC = to_columns(judged, None, no_filler, self.accelerator.device)
        batch, kept_B, _ = self._settle(columns_BC, labelled=False)
        batch = self._rejudged(judged, batch, kept_B, lambda values: values, 0)
        verdict_B = batch.correct if self.method.pays_unfinished else batch.earned
        return group_kinds(batch.grouped(verdict_B.masked_fill(kept_B == 0, NAN)))

    def _settle(self, columns_BC: Tensor, *, labelled: bool) -> tuple[RolloutBatch, Tensor, Tensor]:
        """The batch, how many tokens of each rollout stay in the loss, and which are there for more than to fill it."""
        group_size = self.num_generations if self.mode == "train" else self.num_generations_eval
        assert group_size is not None, "TRL has set both"
        batch, filler_B = to_batch(columns_BC, group_size, self._cap, self.state.global_step, labelled=labelled)
        dropped_B = filler_B | (batch.stop_reason == StopReason.ABORTED)
        return batch, self.method.kept_length(batch).masked_fill(dropped_B, 0), ~filler_B

    def _rejudged(
        self, judged: Judged, batch: RolloutBatch, kept_B: Tensor, gather: Callable[[Tensor], Tensor], rank: int
    ) -> RolloutBatch:
        """The batch with the verdicts that count. This rank's rollouts, which `gather` makes all of, are at place
        `rank` in it."""
        if not self.method.rejudges:
            return batch
        rows = len(judged.rows)
        with self._timed("verify"):
            verdicts = self.collector.judge_again(judged, kept_B[rank * rows : (rank + 1) * rows].tolist())
        correct_B = torch.tensor([NAN if v is None else v for v in verdicts], device=self.accelerator.device)
        return replace(batch, correct=gather(correct_B).cpu())

    @contextmanager
    def _timed(self, part: str) -> Generator[None]:
        """Count the seconds of a part of the step."""
        began = time.perf_counter()
        yield
        self._seconds[part] += time.perf_counter() - began

    @property
    def mode(self) -> str:
        """`train` or `eval`, as TRL tells them apart."""
        assert self.model is not None
        return "train" if self.model.training else "eval"

    def _log_rollouts(self, more: dict[str, float]) -> None:
        """Log what the rollouts were and what the objective made of them; TRL has logged its own advantages by now."""
        metrics, now = self._metrics[self.mode], self._now
        of_real = now.advantages[now.real_B], now.kept_B[now.real_B]
        of_batch = rollout_metrics(now.real, *of_real) | label_metrics(now.real)
        of_step = step_metrics(gather_object([self._counted()]))
        for key, value in (of_batch | self._method_metrics() | of_step | more).items():
            metrics[key].append(value)
        advantages = now.advantages
        scalars = (advantages if advantages.ndim == 1 else advantages.mean(dim=1)).tolist()
        logged: Any = self._logs["advantages"]
        for _ in range(min(len(scalars), len(logged))):
            logged.pop()
        logged.extend(scalars)

    def _method_metrics(self) -> dict[str, float]:
        paid = self._now.paid_real
        of_objective = self.method.metrics(paid)
        if isinstance(self.method, SequenceReward):
            of_objective["reward"] = self.method.rewards(paid).nanmean().item()
        return {f"objective/{name}": value for name, value in of_objective.items()}

    def _counted(self) -> Counted:
        """What this rank counted in this step."""
        rollouts = self._now.judged.rollouts
        parts = {"verifier": self.verifier.counters} | ({"judge": self.labeller.counters} if self.labeller else {})
        counters = {f"{part}/{name}": count for part, counted in parts.items() for name, count in counted.items()}
        return Counted(len(rollouts), sum(r.sampled for r in rollouts), self._cues, counters, dict(self._seconds))

    def _ratio_metrics(self, scored: dict[str, Any]) -> dict[str, float]:
        """Of the importance weights, where there are any."""
        if "importance_sampling_ratio" not in scored:
            return {}
        clip = self.args.vllm_importance_sampling_clip_max
        columns_BC = ratio_columns(scored, self.args.vllm_importance_sampling_mode, clip)
        return ratio_metrics(self.accelerator.gather(columns_BC))

    def compute_loss(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
        """TRL's loss. A loss that is not finite stops the run before it reaches the weights."""
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        if not torch.isfinite(loss):
            raise RuntimeError(
                f"The loss is {loss.item()} at step {self.state.global_step}; the weights are untouched."
            )
        return loss

    def _get_train_sampler(self, dataset: Dataset | None = None) -> EpochSampler:
        theirs: Any = super()._get_train_sampler(dataset)
        names = ("data_source", "mini_repeat_count", "batch_size", "repeat_count", "shuffle", "seed")
        self.sampler = EpochSampler(**{name: getattr(theirs, name) for name in names})
        return self.sampler

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        save_state(self, output_dir)

    def create_model_card(
        self, model_name: str | None = None, dataset_name: str | None = None, tags: str | list[str] | None = None
    ) -> None:
        if self.is_world_process_zero():
            write_card(self, self.args.folder, model_name, dataset_name or self.dataset_name, tags)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        # After PEFT, which writes a card of its own that names the base model by its folder.
        write_card(self, output_dir or self.args.folder, dataset_name=self.dataset_name)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is not None:
            load_state(self, checkpoint)
