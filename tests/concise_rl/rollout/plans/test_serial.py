"""Serial groups: one path, its exits, and what each of them costs."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.reading.trace import Delimiters, StopReason, read_trace
from concise_rl.rollout.engine import Asked, Completion, Request, Sampling, stop_reason
from concise_rl.rollout.engines.transformers import TransformersEngine, load_engine
from concise_rl.rollout.plans.plan import Parallel, Rollout
from concise_rl.rollout.plans.serial import AtFractions, SerialExits, Uniform
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.tasks.tiny import load_problems
from concise_rl.train.parts import build_steps
from concise_rl.train.trainer import ConciseTrainer
from reward import Jet, SGrpo
from tests.concise_rl.rollout.sync.test_links import ENGINES, engines_are_closed  # noqa: F401 (a fixture that runs by itself)
from tests.concise_rl.train.test_trainer import metrics_of, trainer_of

EOS, END, EXIT, NEWLINE = 1, 7, 5, 8
ONE = Delimiters((END,), frozenset([EOS]))
EXIT_IDS = (EXIT, END, NEWLINE)
CAP = 100
SERIES = SerialExits(ONE, EXIT_IDS, 4, Uniform(3))


class ScriptedEngine:
    """An `Engine` whose paths are given by the first token of their prompt; an exit's answer tells where it was cut.

    Attributes:
        answer_length: tokens of an answer, EOS included.
        calls: the requests of each call.
    """

    def __init__(self, paths: dict[int, list[int]], answer_length: int = 2) -> None:
        self.paths, self.answer_length = paths, answer_length
        self.calls: list[list[Request]] = []

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`. The log-probability of a token is minus its id."""
        self.calls.append(list(asked.requests))
        if asked.progress:
            asked.progress(len(asked.requests))
        return [self._complete(request, asked.sampling) for request in asked.requests]

    def _complete(self, request: Request, sampling: Sampling) -> Completion:
        first, *rest = request.prompt_ids
        cut = len(rest) - len(EXIT_IDS)
        whole = [*[1000 + cut] * (self.answer_length - 1), EOS] if rest else self.paths[first]
        ids = whole[: request.max_tokens]
        logprobs: list[float | None] | None = [-float(token) for token in ids] if sampling.logprobs else None
        return Completion(ids, stop_reason(ids, [EOS], ()), logprobs)


def rollouts_of(
    path: list[int], plan: SerialExits = SERIES, cap: int = CAP, answer_length: int = 2, logprobs: bool = False
) -> tuple[list[Rollout], ScriptedEngine]:
    """The group that a plan makes of a path."""
    engine = ScriptedEngine({0: path}, answer_length)
    requests = [Request([0], cap, seed) for seed in range(plan.num_members)]
    return plan.rollouts(engine, Asked(requests, Sampling(logprobs=logprobs))), engine


def cut_of(rollout: Rollout) -> int:
    """How much of the path's thinking an exit keeps."""
    return rollout.ids.index(EXIT)


# Where the exits are


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 2**32))
def test_uniform_positions_are_sorted_inside_the_thinking_and_differ_where_there_are_enough(
    thinking: int, num_exits: int, seed: int
) -> None:
    positions = Uniform(num_exits).positions(thinking, seed)
    assert len(positions) == num_exits and positions == sorted(positions)
    assert positions[0] >= 1 and positions[-1] <= thinking
    assert len(set(positions)) == num_exits or thinking < num_exits


def test_uniform_positions_are_a_function_of_the_seed() -> None:
    placement = Uniform(7)
    assert placement.positions(90, 3) == placement.positions(90, 3) != placement.positions(90, 4)


def test_every_position_is_as_likely_as_any_other() -> None:
    """7 of 20 tokens, 4,000 times: each is expected 1,400 times, with a standard deviation of 30."""
    counts = [0] * 21
    for seed in range(4000):
        for position in Uniform(7).positions(20, seed):
            counts[position] += 1
    assert counts[0] == 0 and all(abs(count - 1400) < 150 for count in counts[1:])


def test_without_a_seed_positions_are_drawn_anew() -> None:
    assert len({tuple(Uniform(7).positions(900, None)) for _ in range(5)}) == 5


@given(st.integers(0, 200), st.integers(0, 99), st.sampled_from([0.25, 0.5, 0.9]))
def test_exits_keep_the_share_of_the_thinking_that_they_have_to(thinking: int, seed: int, earliest: float) -> None:
    positions = Uniform(5, earliest).positions(thinking, seed)
    assert all(earliest * thinking <= position <= thinking for position in positions)


@pytest.mark.parametrize("thinking", [0, 1])
def test_fractions_are_of_the_thinking_rounded_down_but_after_its_first_token(thinking: int) -> None:
    placement = AtFractions((0.0, 0.1, 0.5, 1.0))
    assert placement.num_exits == 4
    assert placement.positions(39, None) == [1, 3, 19, 39]
    assert placement.positions(thinking, None) == [thinking] * 4


@given(st.integers(1, 20_000), st.integers(0, 100))
def test_fractions_are_rounded_down_as_the_numbers_that_were_written(thinking: int, percent: int) -> None:
    assert AtFractions((percent / 100,)).positions(thinking, None) == [max(1, percent * thinking // 100)]


# What comes out


def test_a_group_is_its_exits_by_position_and_then_the_path() -> None:
    path = [10, 11, 12, 13, 14, END, 20, EOS]
    rollouts, _ = rollouts_of(path)
    *exits, full = rollouts
    assert full == Rollout(path, StopReason.EOS, sampled=8)
    cuts = [cut_of(rollout) for rollout in exits]
    assert len(exits) == 3 and all(earlier < later for earlier, later in pairwise(cuts)) and cuts[-1] <= 5
    for rollout, cut in zip(exits, cuts, strict=True):
        assert rollout.ids == [*path[:cut], *EXIT_IDS, 1000 + cut, EOS]
        assert rollout.stop_reason is StopReason.FORCED_EXIT and rollout.sampled == 2


def test_a_path_is_asked_for_with_room_for_its_latest_exit() -> None:
    _, engine = rollouts_of([10, 11, 12, END, 13, EOS])
    (path,), exits = engine.calls
    assert path.most_tokens == 1 + CAP
    assert all(request.most_tokens <= path.most_tokens for request in exits)


def test_only_the_path_and_the_answers_are_sampled() -> None:
    path = [*[10] * 50, END, 20, EOS]
    rollouts, engine = rollouts_of(path)
    paths, exits = engine.calls
    assert [len(paths), len(exits)] == [1, 3]
    assert sum(rollout.sampled for rollout in rollouts) == len(path) + 3 * 2
    assert all(request.max_tokens == SERIES.answer_tokens for request in exits)
    assert [list(request.prompt_ids) for request in exits] == [
        [0, *path[: cut_of(rollout)], *EXIT_IDS] for rollout in rollouts[:-1]
    ]


def test_log_probabilities_are_the_paths_then_none_for_forced_tokens_then_the_answers() -> None:
    (first, _, _, full), _ = rollouts_of([10, 11, 12, 13, END, 20, EOS], logprobs=True)
    cut = cut_of(first)
    assert first.logprobs == [*[-10.0, -11.0, -12.0, -13.0][:cut], None, None, None, -1000.0 - cut, -1.0]
    assert full.logprobs == [-10, -11, -12, -13, -END, -20, -1]


def test_there_are_no_log_probabilities_unless_they_are_wanted() -> None:
    assert all(rollout.logprobs is None for rollout in rollouts_of([10, 11, 12, END, 20, EOS])[0])


@pytest.mark.parametrize("train_prefix", [True, False])
@pytest.mark.parametrize("train_exit_text", [True, False])
def test_the_loss_reads_the_parts_of_an_exit_that_it_is_told_to(train_prefix: bool, train_exit_text: bool) -> None:
    plan = replace(SERIES, train_prefix=train_prefix, train_exit_text=train_exit_text)
    *exits, full = rollouts_of([10, 11, 12, 13, END, 20, EOS], plan)[0]
    assert full.trained is None
    for rollout in exits:
        cut = cut_of(rollout)
        trained = rollout.trained or [True] * len(rollout.ids)
        assert trained == [train_prefix] * cut + [train_exit_text] * 3 + [True] * 2


def test_groups_of_a_batch_stay_apart() -> None:
    engine = ScriptedEngine({2: [10, 11, 12, END, EOS], 3: [13] * 40 + [END, 20, EOS]})
    requests = [Request([name], CAP, 7) for name in (3, 2, 3) for _ in range(4)]
    rollouts = SERIES.rollouts(engine, Asked(requests, Sampling()))
    assert [list(request.prompt_ids) for request in engine.calls[0]] == [[3], [2], [3]]
    assert [rollout.ids[0] for rollout in rollouts] == [13] * 4 + [10] * 4 + [13] * 4
    assert [rollout.ids for rollout in rollouts[4:7]] == [
        [*[10, 11, 12][:p], *EXIT_IDS, 1000 + p, EOS] for p in (1, 2, 3)
    ]


def test_a_group_may_have_several_paths_each_with_its_exits() -> None:
    plan = replace(SERIES, placement=AtFractions((0.5, 1.0)))
    engine = ScriptedEngine({0: [10, 11, END, EOS]})
    rollouts = plan.rollouts(engine, Asked([Request([0], CAP, seed) for seed in range(6)], Sampling()))
    assert [rollout.stop_reason is StopReason.FORCED_EXIT for rollout in rollouts] == [True, True, False] * 2
    assert [request.seed for request in engine.calls[0]] == [0, 3]


# Edges


def test_thinking_that_is_never_closed_is_cut_anywhere_but_behind_its_eos() -> None:
    plan = replace(SERIES, placement=Uniform(4))
    *exits, full = rollouts_of([10, 11, 12, 13, EOS], plan)[0]
    assert [cut_of(rollout) for rollout in exits] == [1, 2, 3, 4]
    assert read_trace(full.ids, ONE).answer_ids is None and full.stop_reason is StopReason.EOS
    assert all(read_trace(rollout.ids, ONE).finished for rollout in exits)


def test_thinking_of_fewer_tokens_than_there_are_exits_is_cut_there_again() -> None:
    plan = replace(SERIES, placement=Uniform(7))
    rollouts, engine = rollouts_of([10, 11, END, 20, EOS], plan)
    assert {cut_of(rollout) for rollout in rollouts[:-1]} <= {1, 2}
    assert len({request.seed for request in engine.calls[1]}) == 7, "their answers are sampled apart"


def test_without_any_thinking_an_exit_is_the_exit_text_and_an_answer() -> None:
    *exits, full = rollouts_of([END, 20, EOS])[0]
    assert [rollout.ids for rollout in exits] == [[*EXIT_IDS, 1000, EOS]] * 3
    assert full.ids == [END, 20, EOS]


def test_a_path_at_its_cap_leaves_room_for_the_latest_exit_and_is_unfinished() -> None:
    plan = replace(SERIES, placement=AtFractions((0.5, 1.0)))
    *exits, full = rollouts_of([10] * 50, plan, cap=20, answer_length=4)[0]
    assert full.ids == [10] * 13 and full.stop_reason is StopReason.LENGTH
    assert len(exits[-1].ids) == 20 and read_trace(exits[-1].ids, ONE).finished


def test_a_path_cut_off_in_its_answer_is_cut_inside_its_thinking() -> None:
    plan = replace(SERIES, placement=AtFractions((1.0,)))
    early, full = rollouts_of([10, 11, END, *[20] * 50], plan, cap=20)[0]
    assert cut_of(early) == 2
    assert full.stop_reason is StopReason.LENGTH and not read_trace(full.ids, ONE).finished


def test_an_answer_at_its_cap_is_unfinished_and_its_exit_is_an_exit_all_the_same() -> None:
    early = rollouts_of([10, 11, 12, END, 20, EOS], answer_length=9)[0][0]
    assert early.stop_reason is StopReason.FORCED_EXIT and early.sampled == 4
    assert not read_trace(early.ids, ONE).finished


@given(st.integers(8, 60), st.integers(0, 60), st.integers(1, 9), st.booleans())
def test_no_rollout_is_longer_than_its_cap(cap: int, thinking: int, answer_length: int, closed: bool) -> None:
    path = [10] * thinking + [END, 20, EOS] * closed + [EOS]
    plan = replace(SERIES, placement=AtFractions((0.3, 1.0)))
    assert all(1 <= len(rollout.ids) <= cap for rollout in rollouts_of(path, plan, cap, answer_length)[0])


@pytest.mark.parametrize(("cap", "fits"), [(7, False), (8, True)])
def test_a_cap_that_leaves_no_thinking_beside_an_exit_is_refused(cap: int, fits: bool) -> None:
    if fits:
        assert len(rollouts_of([10] * 50, cap=cap)[0]) == 4
    else:
        with pytest.raises(
            ValueError, match="no thinking under a cap of 7 tokens: raise max_completion_length or lower"
        ):
            rollouts_of([10] * 50, cap=cap)


def test_a_model_that_does_not_think_has_no_exits() -> None:
    with pytest.raises(ValueError, match="set think_end"):
        SerialExits(Delimiters((), frozenset([EOS])), EXIT_IDS, 4, Uniform(3))


@pytest.mark.parametrize("exit_ids", [(), (EXIT,), (END, EXIT, END)])
def test_an_exit_text_without_the_closing_delimiter_or_with_two_is_refused(exit_ids: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must hold the delimiter that closes the thinking"):
        SerialExits(ONE, exit_ids, 4, Uniform(3))


def test_members_of_a_group_share_a_prompt() -> None:
    with pytest.raises(AssertionError, match="share a prompt"):
        SERIES.rollouts(ScriptedEngine({0: [END, EOS]}), Asked([Request([i // 3], CAP) for i in range(4)], Sampling()))


def test_requests_come_in_whole_groups() -> None:
    with pytest.raises(AssertionError, match="not whole groups of 4"):
        SERIES.rollouts(ScriptedEngine({0: [END, EOS]}), Asked([Request([0], CAP)] * 6, Sampling()))


def test_groups_stay_together_in_training_and_an_evaluation_samples_plainly() -> None:
    assert SERIES.whole_groups and SERIES.shared_path
    assert SERIES.evaluated == Parallel()


# What is asked of the engine


def test_no_path_and_no_exit_may_be_given_up() -> None:
    handed = []

    class Listening(ScriptedEngine):
        def generate(self, asked):
            handed.append(asked.give_up)
            return super().generate(asked)

    asked = Asked([Request([0], CAP)] * 4, Sampling(), give_up=ShortestOnly(1, lambda row: 0))
    SERIES.rollouts(Listening({0: [10, 11, 12, END, EOS]}), asked)
    assert handed == [None, None]


def test_the_engine_is_called_as_often_for_no_requests_as_for_many() -> None:
    engine = ScriptedEngine({})
    assert SERIES.rollouts(engine, Asked([], Sampling())) == [] and engine.calls == [[], []]


def test_every_request_has_a_seed_of_its_own_and_none_without_one() -> None:
    _, engine = rollouts_of([10, 11, 12, END, 20, EOS])
    seeds = [request.seed for call in engine.calls for request in call]
    assert seeds[0] == 0 and len(set(seeds)) == 4
    unseeded = ScriptedEngine({0: [10, 11, 12, END, EOS]})
    SERIES.rollouts(unseeded, Asked([Request([0], CAP)] * 4, Sampling()))
    assert {request.seed for call in unseeded.calls for request in call} == {None}


def test_progress_counts_every_rollout_once() -> None:
    ended: list[int] = []
    engine = ScriptedEngine({0: [10, 11, 12, END, EOS]})
    SERIES.rollouts(engine, Asked([Request([0], CAP)] * 8, Sampling(), ended.append))
    assert sum(ended) == 8


# With the embedded reasoner


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    return load_engine("tiny:base", batch_size=32)


@pytest.fixture(scope="module")
def requests(engine: TransformersEngine) -> list[Request]:
    chats = [[{"role": "user", "content": row["prompt"]}] for row in load_problems("test", 3) for _ in range(5)]
    prompts = [engine.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]
    return [Request(prompt, 320, seed) for seed, prompt in enumerate(prompts)]


def plan_of(engine: TransformersEngine) -> SerialExits:
    delimiters = Delimiters.of(engine.tokenizer, engine.eos_token_ids, "</think>")
    exit_ids = tuple(engine.tokenizer.encode("</think>\n", add_special_tokens=False))
    return SerialExits(delimiters, exit_ids, 12, Uniform(4))


def test_the_reasoner_answers_at_its_exits(engine: TransformersEngine, requests: list[Request]) -> None:
    plan = plan_of(engine)
    rollouts = plan.rollouts(engine, Asked(requests, Sampling(logprobs=True)))
    for start in range(0, 15, 5):
        *exits, full = rollouts[start : start + 5]
        thinking = [read_trace(rollout.ids, plan.delimiters).think_length for rollout in exits]
        assert thinking == sorted(thinking)
        for rollout, cut in zip(exits, thinking, strict=True):
            assert rollout.ids[:cut] == full.ids[:cut]
            assert tuple(rollout.ids[cut : cut + 2]) == plan.exit_ids and rollout.logprobs is not None
            assert len(rollout.logprobs) == len(rollout.ids) == cut + 2 + rollout.sampled
    assert sum(read_trace(rollout.ids, plan.delimiters).finished for rollout in rollouts) >= 12


def test_the_path_of_a_group_is_what_plain_sampling_draws(engine: TransformersEngine, requests: list[Request]) -> None:
    paths = plan_of(engine).rollouts(engine, Asked(requests, Sampling()))[4::5]
    plain = Parallel().rollouts(
        engine, Asked([replace(request, max_tokens=306) for request in requests[::5]], Sampling())
    )
    assert paths == plain


def test_the_same_seeds_give_the_same_rollouts_and_others_do_not(
    engine: TransformersEngine, requests: list[Request]
) -> None:
    plan = plan_of(engine)
    first, again = (plan.rollouts(engine, Asked(requests, Sampling())) for _ in range(2))
    reseeded = [replace(request, seed=100 + i) for i, request in enumerate(requests)]
    assert first == again != plan.rollouts(engine, Asked(reseeded, Sampling()))


# In the trainer

TINY: dict[str, Any] = {"exit_text": "</think>\n", "answer_max_tokens": 12}


def serial_trainer(tmp_path: Path, objective: SGrpo | Jet | None = None, **settings: Any) -> ConciseTrainer:
    """One step of two groups of a path and three exits."""
    defaults = {"max_completion_length": 320, "max_steps": 1}
    return trainer_of(tmp_path, objective or SGrpo(**TINY), **{**defaults, **settings})


@pytest.mark.parametrize("use_vllm", ENGINES)
def test_serial_groups_are_sampled_judged_and_trained_on(tmp_path: Path, use_vllm: bool) -> None:
    trainer = serial_trainer(tmp_path, use_vllm=use_vllm)
    trainer.train()
    rollouts, logged = trainer.credited.judged.rollouts, metrics_of(tmp_path)[0]
    assert [rollout.stop_reason is StopReason.FORCED_EXIT for rollout in rollouts] == [True, True, True, False] * 2
    assert logged["stop/forced_exit"] == 0.75 and logged["objective/exit_position"] > 1
    assert logged["rollout/sampled"] == sum(rollout.sampled for rollout in rollouts) / 8 < logged["length/mean"]
    if use_vllm:
        assert logged["sampling/sampling_logp_difference/mean"] < 1e-4
        assert logged["sampling/importance_sampling_ratio/min"] == pytest.approx(1, abs=1e-3)


def test_forced_tokens_and_prefixes_that_are_not_trained_on_are_masked_in_the_loss(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    class Spied(ConciseTrainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            seen.append(inputs)
            return super().compute_loss(model, inputs, *args, **kwargs)

    objective = SGrpo(**TINY, train_prefix=False, train_exit_text=False)
    trainer = serial_trainer(tmp_path, objective, cls=Spied)
    trainer.train()
    (inputs,) = seen
    trained_B = (inputs["completion_mask"] * inputs["tool_mask"]).sum(dim=1)
    sampled = [rollout.sampled for rollout in trainer.credited.judged.rollouts]
    assert sorted(trained_B.tolist()) == sorted(sampled), "the loss reads what was sampled, once"
    assert inputs["num_items_in_batch"] == sum(sampled)


def test_a_group_of_jet_has_several_paths(tmp_path: Path) -> None:
    trainer = serial_trainer(tmp_path, Jet(**TINY, fractions=(0.5,)))
    trainer.train()
    rollouts = trainer.credited.judged.rollouts
    assert [rollout.stop_reason is StopReason.FORCED_EXIT for rollout in rollouts] == [True, False] * 4


def test_evaluation_during_training_samples_plainly(tmp_path: Path) -> None:
    trainer = serial_trainer(tmp_path, num_generations_eval=1, per_device_eval_batch_size=4)
    trainer.evaluate(trainer.train_dataset.select(range(4)))
    (logged,) = metrics_of(tmp_path)
    assert logged["eval_stop/forced_exit"] == 0 and logged["eval_rollout/sampled"] == logged["eval_length/mean"]


def test_a_serial_group_lies_on_one_rank(tmp_path: Path) -> None:
    trainer = serial_trainer(tmp_path)
    trainer.args.per_device_train_batch_size = 6  # of 12 on two ranks, say, with groups of 4
    with pytest.raises(
        ValueError, match=r"SGrpo .* on each rank: .* \(6\) must be a multiple of num_generations \(4\)"
    ):
        build_steps(trainer)


def test_what_the_rollouts_of_a_serial_group_share_is_forwarded_once_unless_it_is_told_otherwise(
    tmp_path: Path,
) -> None:
    sampled = []
    for name, told, shares in (("default", {}, True), ("told", {"shared_prefix": False}, False)):
        trainer = serial_trainer(tmp_path / name, **told)
        trainer.train()
        forwarded = metrics_of(tmp_path / name)[0].get("prefix/forwarded")
        assert forwarded is not None and forwarded < 0.6 if shares else forwarded is None
        sampled.append([rollout.ids for rollout in trainer.credited.judged.rollouts])
    assert sampled[0] == sampled[1]


def test_a_serial_group_may_be_cut_over_micro_batches_only_where_nothing_is_shared(tmp_path: Path) -> None:
    cut = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    with pytest.raises(ValueError, match=r"make per_device_train_batch_size .* or set shared_prefix: false"):
        serial_trainer(tmp_path, **cut)
    serial_trainer(tmp_path, **cut, shared_prefix=False).train()
    assert metrics_of(tmp_path)[0]["stop/forced_exit"] == 0.75


def test_an_exit_text_of_unknown_words_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot write 'Enough already!</think>': choose a text in its vocabulary"):
        serial_trainer(tmp_path, SGrpo(exit_text="Enough already!</think>"))


def test_generation_that_cannot_cap_an_answer_by_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="remove repetition_penalty"):
        serial_trainer(tmp_path, repetition_penalty=1.1)
