"""The trainer: TRL's GRPO with the advantages of a method. What it overrides was read at TRL 1.16.

A step goes through three places: `Sampler` makes the rollouts, `Creditor` says what they are worth, and TRL's own
`_generate_and_score_completions`, which is private, is handed both. The mixins name the private parts of TRL that they
use.
"""

import functools
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOTrainer

from concise_rl.curriculum.filling import Filled
from concise_rl.methods import Objective, RunContext
from concise_rl.models.policy import class_of_revision, training_processor
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import Delimiters
from concise_rl.recipe.compatibility import check_compatible, check_datasets, shares_prefixes
from concise_rl.recipe.config import ConciseConfig
from concise_rl.recipe.precision import check_weights, demand_shards
from concise_rl.shared_prefix.tree import fold_groups
from concise_rl.train.callbacks import MetricsFile, Watchdog, use_progress_bar
from concise_rl.train.card import WithCard
from concise_rl.train.checkpoint import WholeCheckpoints, demand_trainable
from concise_rl.train.clock import Clock
from concise_rl.train.credit import Credited
from concise_rl.train.engine_link import EngineLink, trl_without_vllm
from concise_rl.train.eval_batches import EvalBatches
from concise_rl.train.finite import FiniteSteps
from concise_rl.train.forwards import Forwards
from concise_rl.train.gather import Moment, World, fit_width
from concise_rl.train.hand_over import HandOver
from concise_rl.train.logs import BatchLogs
from concise_rl.train.loss import FACT, TokenLosses
from concise_rl.train.means import TokenMeans
from concise_rl.train.parts import build_steps, start_verifier
from concise_rl.train.reference import spread_reference
from concise_rl.train.resume import Resumable, TellEpoch, check_reference
from concise_rl.train.shared_prefix import share_prefixes
from concise_rl.train.watch.events import Told
from concise_rl.train.watch.record import Recorder
from concise_rl.verify.pool import VerifierPool
from reward import build_objective


class ConciseTrainer(
    WithCard,
    Resumable,
    Told,
    FiniteSteps,
    WholeCheckpoints,
    EvalBatches,
    EngineLink,
    HandOver,
    BatchLogs,
    Forwards,
    TokenMeans,
    TokenLosses,
    GRPOTrainer,
):
    """GRPO in which a method decides what each rollout, or each of its tokens, is worth.

    The verifier is the only reward function; its verdicts are never shaped. Rollouts are gathered over all ranks, the
    method turns them into advantages on every rank alike, and TRL's losses, clipping, KL, PEFT, logging and
    checkpoints do the rest.
    """

    _tag_names = ["concise-rl", "trl"]  # noqa: RUF012 (as in the base class)
    args: ConciseConfig
    num_generations: int
    train_dataset: Dataset

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
            ValueError: for an unknown method, option or verifier, a model that is not there, a delimiter that the
                tokenizer cannot write, a stream of rows, and settings of TRL that would mean something else here.
        """
        # Not `objective`: transformers' Trainer uses that name in hyperparameter search.
        self.method = objective or build_objective(args.objective, args.options, args.scale_rewards)
        args.shared_prefix = shares_prefixes(self.method, args)
        check_compatible(self.method, args)
        check_datasets(train_dataset, eval_dataset)
        self.verifier = verifier or start_verifier(args)
        model = resolve_model(model) if isinstance(model, str) else model
        own = (MetricsFile(), Watchdog(args.truncation_warning, args.no_signal_patience))
        with trl_without_vllm(args), class_of_revision(model, args):
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
            demand_shards(self)
            spread_reference(self)
        self.use_vllm = args.use_vllm  # TRL corrects the importance ratio by this
        demand_trainable(self.model)
        check_weights(self)
        check_reference(self)
        use_progress_bar(self)
        self.recorder = Recorder(args.record_steps, args.record_groups)
        for callback in (TellEpoch(self), self.recorder):
            self.add_callback(callback)
        if args.shared_prefix:
            share_prefixes(self)
        self._prepare_rollouts()

    def _prepare_rollouts(self) -> None:
        """Set up what the steps go through."""
        assert self.args.max_completion_length is not None, "checked"
        self.max_length = self.args.max_completion_length
        self.delimiters = Delimiters.of(self._tokenizer, self.eos_token_ids, self.args.think_end)
        self.link_engine()
        self.rollout_func = self._rollout  # not by the argument: TRL warns that it may change
        self.parts = self.method.parts(RunContext.of(self.delimiters, self.num_generations, self._tokenizer))
        self.memory = self.method.initial()
        self.world = World(self.accelerator.process_index, self.accelerator.gather, self.accelerator.device)
        self.clock = Clock()
        self.rollouts, self.creditor = build_steps(self)
        self._batches: tuple[tuple[int, bool], int] = ((-1, False), 0)

    def _moment(self) -> Moment:
        """Say where the run stands, and count the batch that begins."""
        assert self.model is not None and self.num_generations_eval is not None, "TRL has set both"
        training, step = self.model.training, self.state.global_step
        number = self._batches[1] + 1 if self._batches[0] == (step, training) else 0
        self._batches = ((step, training), number)
        group_size = self.num_generations if training else self.num_generations_eval
        return Moment(step, training, number, group_size, self.method.cap(step, self.max_length), self.memory)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self.clock.seconds.clear()
        now = self._moment()
        with self.link.awake():
            self._sync_engine(inputs)
            filler = [False] * len(inputs) if now.training else self._eval_fillers(len(inputs))
            kinds = functools.partial(self.creditor.kinds, now=now)
            filled = self.rollouts.batch(inputs, filler, kinds, now)
        credited = self.credited = self.creditor.credit(filled.judged, filled.filler, now)
        self.recorder.record(self, now)
        output = self._scored_by_trl()
        self._log_batch(credited, output, filled.metrics | self._learn(filled, credited, now))
        mine = self._mine(credited.advantages).float().to(self.accelerator.device)
        output["advantages"] = mine if mine.ndim == 1 else fit_width(mine, output["completion_ids"].size(1))
        for name in credited.batch.facts.keys() & set(self.parts.loss.facts if self.parts.loss else ()):
            output[FACT + name] = self._mine(credited.batch.fact(name)).to(self.accelerator.device)
        # TRL now shuffles the rows and cuts them into micro-batches; folded, these rows are groups.
        return fold_groups(output, self.num_generations) if self.args.shared_prefix and now.training else output

    def _learn(self, filled: Filled, credited: Credited, now: Moment) -> dict[str, float]:
        """Let the method and the curriculum learn from the batch. Returns what the curriculum has to log."""
        if not now.training:
            return {}
        self.memory = self.method.learn(credited.real)
        filling = self.rollouts.filling
        if filling is None:
            return {}
        necessary_B = credited.real.necessary
        return filling.observe([] if necessary_B is None else necessary_B.tolist(), filled.easy_share)
