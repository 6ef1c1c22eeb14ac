"""Choose which curves a run's page has, by the prefixes of metrics: a method of the user's own has its page, too."""

from dataclasses import dataclass

from concise_rl.output.pages.curves import Format

PARTS = ("time/sync", "time/rollout", "time/verify", "time/label")
BOOKKEEPING = frozenset({"step", "unix_time", "step_time", "epoch", "num_tokens", "total_flos"})
OF_THE_END = ("_runtime", "_per_second", "train_loss")
"""How the names of those end that are logged once, at the end of a training or an evaluation."""
COUNTERS = ("verifier/", "judge/")
"""Prefixes of what is counted from the start of a process."""
SAME = frozenset(
    {
        *("rewards/correct/mean", "rewards/correct/std", "reward", "frac_reward_zero_std", "completions/clipped_ratio"),
        *("completions/mean_length", "completions/mean_terminated_length", "completions/min_terminated_length"),
        "completions/max_terminated_length",
    }
)
"""What TRL logs of the same rollouts under names of its own."""


@dataclass(frozen=True)
class Lines:
    """Say which metrics one pair of axes shows.

    Attributes:
        title, note, format, low, high: as in `Panel`.
        keys: the metrics, each with its name in the legend. Those that were not logged are left out.
        dull: whether a curve that is 0 throughout is left out.
        always: whether it is drawn also where nothing changes.
        stacked: whether they are parts of a whole, drawn on top of each other.
    """

    title: str
    keys: dict[str, str]
    note: str = ""
    format: Format = "number"
    low: float | None = None
    high: float | None = None
    dull: bool = False
    stacked: bool = False
    always: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        id: in the page's address.
        title: its heading.
        note: what it is about.
        lines: pairs of axes of known metrics.
        rest: prefixes: each metric that begins so, and that no other pair of axes has, gets a pair of its own.
    """

    id: str
    title: str
    note: str
    lines: tuple[Lines, ...] = ()
    rest: tuple[str, ...] = ()


SECTIONS: tuple[Section, ...] = (
    Section(
        "outcome",
        "What is learnt",
        "",
        (
            Lines(
                "Right rollouts",
                {
                    "correct/mean": "in the batch",
                    "curriculum/sampled_correct": "of all sampled",
                    "eval_correct/mean": "evaluation",
                },
                "The verifier's verdicts, never shaped.",
                "percent",
                high=1.0,
                always=True,
            ),
            Lines(
                "Tokens of a rollout",
                {
                    "length/mean": "all",
                    "length/think": "thinking",
                    "answer": "answer",
                    "length/correct": "right rollouts",
                },
                "Means of the batch.",
                low=0.0,
            ),
            Lines(
                "Redundant tokens",
                {"redundant/tokens": "redundant"},
                "Thought after the answer was first stated, in right rollouts.",
                low=0.0,
            ),
            Lines(
                "Reflections",
                {"reflections/mean": "a rollout"},
                "Words of doubt in the thinking: wait, but, check.",
                low=0.0,
            ),
            Lines(
                "Verdicts of groups",
                {
                    "groups/mixed": "mixed",
                    "groups/all_wrong": "all wrong",
                    "groups/all_correct": "all right",
                },
                "Shares of the groups. The rest to 100 % could not be graded.",
                "percent",
                low=0.0,
                high=1.0,
                stacked=True,
            ),
            Lines(
                "Groups without a signal",
                {"groups/no_signal": "no signal"},
                "All their advantages are 0: nothing is learnt from them.",
                "percent",
                low=0.0,
                high=1.0,
            ),
            Lines(
                "Passages needed",
                {"redundant/necessary_ratio": "needed", "redundant/stated": "states the answer"},
                "Passages up to the first that states the answer; right rollouts in which one does.",
                "percent",
                high=1.0,
            ),
        ),
    ),
    Section(
        "method",
        "What the method pays",
        "The parts of the reward, by the names that the method gives them.",
        (),
        ("objective/",),
    ),
    Section(
        "rollouts",
        "How rollouts end",
        "",
        (
            Lines(
                "Stop reasons",
                {
                    "stop/eos": "by itself",
                    "stop/length": "at the cap",
                    "stop/think_budget": "thinking budget",
                    "stop/forced_exit": "forced exit",
                    "stop/aborted": "given up",
                    "stop/error": "error",
                },
                "Shares of the rollouts.",
                "percent",
                low=0.0,
                high=1.0,
                dull=True,
                stacked=True,
            ),
            Lines(
                "Cut and unclosed",
                {
                    "rollout/cut": "cut at the cap",
                    "rollout/exits_cut": "exits' answers cut",
                    "rollout/ended_thinking": "ended inside the thinking",
                    "curriculum/sampled_cut": "cut, of all sampled",
                },
                "They count as wrong.",
                "percent",
                low=0.0,
            ),
            Lines(
                "Shortest and longest",
                {"completions/min_length": "shortest", "completions/max_length": "longest"},
                "Tokens of a rollout.",
                low=0.0,
            ),
            Lines(
                "Sampled tokens",
                {"rollout/sampled": "a rollout"},
                "What a rollout cost; forced tokens do not count.",
                low=0.0,
            ),
            Lines(
                "Shares of tokens",
                {
                    "rollout/trained": "in the loss",
                    "padding/forwarded": "columns forwarded",
                    "prefix/forwarded": "tokens forwarded once",
                },
                "What the loss reads, and what the model runs over.",
                "percent",
                low=0.0,
                high=1.0,
            ),
        ),
        ("rollout/",),
    ),
    Section(
        "curriculum",
        "Curriculum",
        "Which of the sampled groups are trained on.",
        (
            Lines(
                "Groups sampled",
                {"curriculum/groups_sampled": "sampled", "curriculum/groups_usable": "usable"},
                "For one step.",
                low=0.0,
            ),
            Lines(
                "Shares",
                {
                    "curriculum/easy_share": "all right, of the sampled",
                    "curriculum/all_wrong": "all wrong, of the sampled",
                    "curriculum/easy_trained": "all right, of the trained",
                    "curriculum/filled": "places filled",
                },
                "",
                "percent",
                low=0.0,
                high=1.0,
            ),
        ),
        ("curriculum/",),
    ),
    Section(
        "optimizer",
        "Optimizer",
        "",
        (
            Lines("Loss", {"loss": "loss", "eval_loss": "evaluation"}),
            Lines("Gradient norm", {"grad_norm": "before clipping"}, low=0.0),
            Lines(
                "Entropy", {"entropy": "a token"}, "Nats. Near 0 the model samples the same again and again.", low=0.0
            ),
            Lines("KL", {"kl": "to the reference"}, "Nats a token.", low=0.0),
            Lines("Learning rate", {"learning_rate": "learning rate"}, low=0.0),
            Lines(
                "Clipped tokens",
                {"clip_ratio/region_mean": "all", "clip_ratio/low_mean": "below", "clip_ratio/high_mean": "above"},
                "Share of the tokens whose ratio of new to old probability is out of bounds.",
                "percent",
                low=0.0,
            ),
        ),
        ("clip_ratio/",),
    ),
    Section(
        "engine",
        "Engine against trainer",
        "Whether what samples and what is trained agree.",
        (
            Lines(
                "Difference after the weights were handed over",
                {"sync/difference": "mean"},
                "Nats a token, on a probe.",
                low=0.0,
            ),
            Lines(
                "Importance weights",
                {
                    "ratio/mean": "before the clip",
                    "ratio/applied": "in the loss",
                    "ratio/long_over_short": "long over short rollouts",
                },
                "1 where both agree. Below 0.8 gradient is lost.",
            ),
            Lines(
                "Clipped and effective",
                {"ratio/clipped": "clipped", "ratio/ess": "effective sample size"},
                "",
                "percent",
                low=0.0,
                high=1.0,
            ),
        ),
        ("ratio/", "sync/", "sampling/"),
    ),
    Section(
        "seconds",
        "Seconds",
        "Of the slowest process.",
        (
            Lines(
                "A step by part",
                {
                    "time/rollout": "rollouts",
                    "update": "update",
                    "time/verify": "verifier",
                    "time/label": "judge",
                    "time/sync": "weights to the engine",
                },
                "Update: all else of a step, forward and backward above all.",
                "seconds",
                low=0.0,
                dull=True,
                stacked=True,
            ),
        ),
        ("time/",),
    ),
    Section("else", "All else", "As it was logged, under its name in metrics.jsonl.", (), ("",)),
)
