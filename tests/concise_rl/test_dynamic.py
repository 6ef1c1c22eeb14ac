"""Dynamic sampling: which groups it asks for, and which it hands on."""

from collections.abc import Callable

import pytest
from accelerate import Accelerator
from datasets import Dataset

from concise_rl.dynamic import ROUNDS, DynamicSampling
from concise_rl.rollout.collect import Judged, Row
from concise_rl.rollout.plans import Rollout
from concise_rl.schedule import OversampleFactor
from concise_rl.trace import StopReason, Trace

GROUP = 2
PROBLEMS = Dataset.from_list([{"prompt": str(i)} for i in range(100)])


class Asked:
    """What was sampled, round by round; every rollout is alike."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []

    def sample(self, rows: list[Row], turn: int) -> Judged:
        assert turn == len(self.rounds)
        self.rounds.append([row["prompt"] for row in rows])
        rollout, trace = Rollout([1], StopReason.EOS, 1), Trace(1, 0, (1,), True)
        return Judged(list(rows), [[1]] * len(rows), [rollout] * len(rows), [trace] * len(rows), [1.0] * len(rows))


def collect(signal: Callable[[str], bool], step: int = 0, seed: int = 0, initial: float = 1.5):
    """Four groups wanted; whether a group has a signal is decided by its prompt."""
    asked, factor = Asked(), OversampleFactor(initial=initial)
    dynamic = DynamicSampling(PROBLEMS, GROUP, Accelerator(cpu=True), seed)
    given = [{"prompt": f"given {i}"} for i in range(4) for _ in range(GROUP)]

    def has_signal(judged: Judged) -> list[bool]:
        return [signal(row["prompt"]) for row in judged.rows[::GROUP]]

    judged, metrics = dynamic.collect(given, asked.sample, has_signal, factor, (step,))
    return [row["prompt"] for row in judged.rows], asked.rounds, metrics, factor


def test_one_round_of_as_many_groups_as_predicted_suffices_where_all_have_a_signal() -> None:
    prompts, rounds, metrics, factor = collect(lambda prompt: True)
    assert prompts == [f"given {i}" for i in range(4) for _ in range(GROUP)]
    assert [len(asked) for asked in rounds] == [6 * GROUP]
    assert (metrics["dynamic/groups_sampled"], metrics["dynamic/groups_with_signal"]) == (6, 6)
    assert factor.factor == factor.min_factor, "it has learnt that all pass"


def test_groups_without_a_signal_are_exchanged_for_drawn_ones_and_stay_whole() -> None:
    prompts, _, metrics, _ = collect(lambda prompt: not prompt.startswith("given"))
    assert not any(prompt.startswith("given") for prompt in prompts)
    assert prompts[::GROUP] == prompts[1::GROUP] and len(prompts) == 8
    assert metrics["dynamic/filled"] == 1


def test_it_goes_on_until_every_group_has_a_signal() -> None:
    _, rounds, metrics, _ = collect(lambda prompt: prompt.isdigit() and int(prompt) % 3 == 0)
    assert len(rounds) > 1 and metrics["dynamic/filled"] == 1


def test_after_some_rounds_silent_groups_stay_in_the_batch() -> None:
    prompts, rounds, metrics, factor = collect(lambda prompt: False)
    assert len(rounds) == ROUNDS and len(prompts) == 8
    assert metrics["dynamic/filled"] == 0 and factor.factor == factor.max_factor


def test_what_is_drawn_depends_on_seed_and_step_alone() -> None:
    first, again, later, other = (collect(lambda _: False, *at)[1] for at in ((3, 0), (3, 0), (4, 0), (3, 1)))
    assert first == again and first != later and first != other


def test_a_group_is_not_drawn_twice_in_a_round() -> None:
    rounds = collect(lambda _: False, initial=5.0)[1]
    drawn = rounds[0][4 * GROUP :: GROUP]
    assert len(set(drawn)) == len(drawn) == 16


@pytest.mark.parametrize("wanted", [0, 1])
def test_a_rank_that_has_all_its_groups_asks_for_none(wanted: int) -> None:
    dynamic = DynamicSampling(PROBLEMS, GROUP, Accelerator(cpu=True), 0)
    loud, silent = dynamic._split(Asked().sample(dynamic._draw(wanted, (1,)), 0), lambda judged: [True])
    assert (len(loud.rows), len(silent.rows)) == (wanted * GROUP, 0)
