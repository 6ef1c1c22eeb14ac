"""The trainer's configuration: TRL's `GRPOConfig` and what this project adds to it."""

from dataclasses import dataclass, field
from typing import Any

from trl import GRPOConfig

from concise_rl.named import mapping
from concise_rl.recipe.bounds import check_values


@dataclass
class ConciseConfig(GRPOConfig):
    """Everything `trl.GRPOConfig` has, and the fields below. `scale_rewards` is handed on to the objective."""

    # TRL parses these from JSON when they come from the command line.
    _VALID_DICT_FIELDS = [  # noqa: RUF012 (as in the base class)
        *GRPOConfig._VALID_DICT_FIELDS,
        "objective_options",
        "judge_options",
        "curriculum_options",
    ]

    objective: str = field(
        default="grpo",
        metadata={
            "help": "The method: a name that `concise-rl methods` lists, or the dotted path of an Objective class."
        },
    )
    objective_options: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "The method's options, see `concise-rl methods`. On the command line: --objective_options.alpha 0.4"
        },
    )
    think_end: str | None = field(
        default="</think>",
        metadata={
            "help": "Text that closes the thinking; the answer is what follows it. null: the model does not think."
        },
    )
    verifier: str = field(
        default="math",
        metadata={"help": "Who judges answers: math, reasoning_gym, choice, exact, code, or a function's dotted path."},
    )
    refuse_copied: bool = field(
        default=True,
        metadata={
            "help": "An answer that copies a formula of the problem in place of working it out is wrong, with the "
            "verifier math; others know no such answers. An evaluation pays them, as the published ones do."
        },
    )
    verifier_workers: int = field(default=2, metadata={"help": "Processes that judge answers, on each rank."})
    verifier_timeout: float = field(
        default=10.0, metadata={"help": "Seconds for one answer. Then its worker is killed and the verdict is None."}
    )
    verifier_memory_mb: int = field(default=2048, metadata={"help": "Memory limit of a verifier process, in MiB."})
    truncation_warning: float = field(
        default=0.5, metadata={"help": "Warn when more than this share of the rollouts ends at max_completion_length."}
    )
    no_signal_patience: int = field(
        default=10, metadata={"help": "Warn when no group has had a signal for this many logged steps in a row."}
    )
    page_every: int = field(
        default=5,
        metadata={
            "help": "Write run.html, the page that shows the run, at the first logged step and every so many after it, "
            "in at most 2 % of the time. 0: never; `concise-rl watch RUN --page` writes it afterwards."
        },
    )
    record_steps: int = field(
        default=20,
        metadata={"help": "Record rollouts of so many steps, spread over the run, in rollouts.jsonl. 0: none."},
    )
    record_groups: int = field(
        default=4, metadata={"help": "How many groups of each of these steps to record: the main process's first."}
    )
    curriculum: str | None = field(
        default=None,
        metadata={
            "help": "Which of the sampled groups a step is trained on: dynamic_sampling (DAPO), kappa (DECS), "
            "two_stage (ConciseR), or the dotted path of a Curriculum class; the others are exchanged for fresh "
            "ones. null: all of them."
        },
    )
    curriculum_options: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "The curriculum's options, see its class in concise_rl/curriculum/curricula.py."},
    )
    judge: str | None = field(
        default=None,
        metadata={
            "help": "Who says where a right rollout first states its answer: rule, model, oracle (tiny:sums only), or "
            "a class's dotted path. null: rule for a method that asks for it, nobody for others."
        },
    )
    judge_options: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "The judge's options, see its class in concise_rl/labels/judges/."}
    )
    shared_prefix: bool | None = field(
        default=None,
        metadata={
            "help": "Run the model once over what rollouts of a group begin with: their prompt, or the path that they "
            "leave. The loss is the same. Micro-batches are made of whole groups. null: for methods of serial groups."
        },
    )
    rows_per_forward: int | None = field(
        default=None,
        metadata={
            "help": "Run the model over so many rows of a micro-batch at a time, those of like length together: less "
            "padding, and the same loss. For small models. null: over all; shared_prefix does without."
        },
    )
    rollout_timeout: float = field(
        default=600.0,
        metadata={"help": "Seconds in which a vLLM server has to end at least one rollout. It hangs otherwise."},
    )
    sync_warning: float = field(
        default=0.05,
        metadata={
            "help": "Warn when engine and trainer differ by more than this, in nats a token on a probe, after the "
            "weights were handed over."
        },
    )
    sync_error: float = field(default=0.5, metadata={"help": "Stop when they differ by more than this."})
    vllm_importance_sampling_mode: str = field(
        default="token_truncate",
        metadata={
            "help": "How vLLM's log-probabilities correct the loss. By token: a sequence's weight is a product over "
            "its tokens, whose rounding in 16 bit leaves long rollouts a weight of nearly 0 (TRL's default is "
            "sequence_mask)."
        },
    )
    vllm_importance_sampling_clip_max: float | None = field(
        default=2.0, metadata={"help": "Largest such weight. 2 is what others truncate at by token; TRL has 3."}
    )
    # A hidden NaN is a run that trains on nothing for hours.
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Whether to hide non-finite losses in the log. They stop the run anyway."}
    )

    restore_callback_states_from_checkpoint: bool = field(
        default=True,
        metadata={"help": "Whether a resumed run goes on with what schedules have learnt so far, kept in callbacks."},
    )

    def __post_init__(self) -> None:
        check_values(vars(self))  # before TRL divides by some of them
        super().__post_init__()
        for name in ("objective_options", "judge_options", "curriculum_options"):
            if not isinstance(getattr(self, name), dict | None):
                raise ValueError(f"{name} is a mapping of options, not {getattr(self, name)!r}.")
        for name in ("verifier_timeout", "rollout_timeout"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is a positive number of seconds, not {getattr(self, name)}.")
        if self.rows_per_forward is not None and self.rows_per_forward < 1:
            raise ValueError(
                f"rows_per_forward is at least 1, not {self.rows_per_forward}; null for whole micro-batches."
            )
        if not 0 <= self.sync_warning <= self.sync_error:
            raise ValueError(f"0 <= sync_warning <= sync_error, not {self.sync_warning} and {self.sync_error}.")

    def check_evaluation(self) -> None:
        """
        Raises:
            ValueError: when the batches of an evaluation would cut groups.
        """
        rows, group = self.per_device_eval_batch_size * self.world_size, self.num_generations_eval
        group = group or self.num_generations or 1
        if rows % group:
            raise ValueError(
                f"An evaluation is made of whole groups: make per_device_eval_batch_size x processes ({rows}) a "
                f"multiple of num_generations_eval ({group})."
            )

    @property
    def options(self) -> dict[str, Any]:
        """`objective_options` as a mapping."""
        return mapping(self.objective_options)

    @property
    def folder(self) -> str:
        """`output_dir`, which transformers has given a default by now."""
        assert self.output_dir is not None
        return self.output_dir
