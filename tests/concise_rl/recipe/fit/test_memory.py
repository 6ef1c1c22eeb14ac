"""The arithmetic of memory, against the figures of a table that was worked out by hand and with measured peaks."""

import functools

import pytest

from concise_rl.recipe.fit.facts import Shape, known_facts, shape_of
from concise_rl.recipe.fit.hardware import Gpus, Launch
from concise_rl.recipe.fit.memory import (
    GIB,
    RESERVE,
    Strategy,
    Trainer,
    Training,
    cache_of,
    fits_beside_sleeping,
    largest_share,
)
from concise_rl.recipe.fit.setup import Setup
from tests.bench.gpu_memory import recipe_of

MEMORY = 79 * GIB
R1_SMALL = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
R1 = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"
PHI = "microsoft/Phi-4-reasoning"
PARAMETERS = {R1_SMALL: 1.777, "Qwen/Qwen3-4B": 4.022, R1: 7.616, "Qwen/Qwen3-8B": 8.191, PHI: 14.66}
KEY_BYTES = {R1_SMALL: 28_672, "Qwen/Qwen3-4B": 147_456, R1: 57_344, "Qwen/Qwen3-8B": 147_456, PHI: 204_800}
# model, strategy, GPUs; GiB of states, and of activations with the head; share, thousands of tokens of keys and values,
# full sequences: without sleep, with sleep, and full sequences with sleep over two GPUs.
ROWS = [
    (R1_SMALL, "zero2", 4, 11.9, 6.4, (0.70, 1853, 106), (0.80, 2149, 123), None),
    (R1_SMALL, "zero2", 8, 8.6, 6.4, (0.75, 2001, 115), (0.85, 2297, 132), None),
    ("Qwen/Qwen3-4B", "zero3", 4, 19.6, 9.2, (0.55, 244, 14), (0.70, 330, 19), 20),
    ("Qwen/Qwen3-4B", "zero2", 8, 17.0, 9.2, (0.60, 272, 16), (0.70, 330, 19), 20),
    ("Qwen/Qwen3-4B", "zero3", 8, 11.2, 9.2, (0.70, 330, 19), (0.80, 387, 22), 24),
    (R1, "zero3", 4, 35.9, 13.9, (0.30, 131, 7.5), (0.50, 427, 24), 32),
    (R1, "zero3", 8, 20.0, 13.9, (0.50, 427, 24), (0.70, 723, 41), 49),
    ("Qwen/Qwen3-8B", "zero3", 4, 38.6, 13.3, (0.30, 43, 2.5), (0.45, 130, 7.4), 10.6),
    ("Qwen/Qwen3-8B", "zero3", 8, 21.5, 13.3, (0.50, 158, 9.1), (0.65, 245, 14), 17),
    (PHI, "zero3", 4, 65.4, 17.5, None, None, None),
    (PHI, "zero3", 8, 34.6, 17.5, (0.30, -32, 0), (0.50, 51, 2.8), 6.6),
]
# On one NVIDIA H200 (torch 2.11.0+cu130), by `python -m tests.bench.gpu_memory`: model, what was trained, bytes of the
# states when the gradients of a step were complete, and of the peak.
LORA = 33_030_144
MEASURED = {
    "0.6B": ("Qwen/Qwen3-0.6B", Training(5120, weight_bytes=4), 9604725248, 11502018560),
    "0.6B, activations kept": (
        "Qwen/Qwen3-0.6B",
        Training(5120, weight_bytes=4, checkpointing=False),
        9604725248,
        23367955456,
    ),
    "4B, LoRA": ("Qwen/Qwen3-4B", Training(10240, adapter_parameters=LORA), 8641462784, 13841656832),
    "0.6B, 8 rows at once": (
        "Qwen/Qwen3-0.6B",
        Training(24576, weight_bytes=4, accumulates=False),
        9604463104,
        13021672448,
    ),
    "0.6B, 8 rows, one a forward": (
        "Qwen/Qwen3-0.6B",
        Training(24576, weight_bytes=4, at_once=3072),
        9604463104,
        13231744000,
    ),
    "1.7B": ("Qwen/Qwen3-1.7B", Training(9216, weight_bytes=4), 27597650432, 33253404672),
    "4B": ("Qwen/Qwen3-4B", Training(9216, weight_bytes=4), 64427985408, 75926405120),
}


@functools.cache
def shape(model: str) -> Shape:
    facts = known_facts(model)
    assert facts
    return shape_of(facts.config)


@pytest.mark.parametrize("model", PARAMETERS)
def test_parameters_and_keys_of_known_models_are_right(model: str) -> None:
    assert shape(model).parameters / 1e9 == pytest.approx(PARAMETERS[model], rel=5e-4)
    assert shape(model).key_bytes == KEY_BYTES[model]


@pytest.mark.parametrize(("model", "kind", "gpus", "states", "training", "awake", "asleep", "paired"), ROWS)
def test_the_table_is_reproduced(model, kind, gpus, states, training, awake, asleep, paired) -> None:
    sequence = 18_432 if model == PHI else 17_408
    trainer = Trainer.of(shape(model), Strategy(kind, gpus), Training(sequence))
    assert trainer.states / GIB == pytest.approx(states, abs=0.06)
    assert (trainer.activations + trainer.head) / GIB == pytest.approx(training, abs=0.06)
    for sleep, expected in ((False, awake), (True, asleep)):
        share = largest_share(trainer, MEMORY, sleep)
        if expected is None:
            assert share == 0
            continue
        cache = cache_of(shape(model), share, MEMORY, sequence)
        assert share == pytest.approx(expected[0])
        assert cache.tokens / 1000 == pytest.approx(expected[1], abs=1)
        assert cache.sequences == pytest.approx(expected[2], abs=0.6)
    if paired:
        share = largest_share(trainer, MEMORY, sleep=True)
        cache = cache_of(shape(model), share, MEMORY, sequence, tensor_parallel=2)
        assert cache.sequences == pytest.approx(paired, abs=0.6)


def test_a_model_that_does_not_fit_while_it_is_trained_gets_no_share() -> None:
    trainer = Trainer.of(shape(PHI), Strategy("zero3", 4), Training(18_432))
    assert not fits_beside_sleeping(trainer, MEMORY)
    assert largest_share(trainer, MEMORY, sleep=True) == 0


@pytest.mark.parametrize(("model", "training", "states", "peak"), MEASURED.values(), ids=MEASURED)
def test_what_a_gpu_has_measured_is_expected(model: str, training: Training, states: int, peak: int) -> None:
    trainer = Trainer.of(shape(model), Strategy("single", 1), training)
    assert trainer.states == pytest.approx(states, rel=0.01)
    assert 0.98 * peak < trainer.peak < 1.15 * peak
    assert peak < trainer.peak + RESERVE


def test_the_cases_of_the_benchmark_are_those_that_were_measured(tmp_path) -> None:
    for case, (model, training, *_) in MEASURED.items():
        recipe, facts = recipe_of(case, tmp_path, ["--bf16", "false", "--use_cpu", "true"]), known_facts(model)
        recipe.training.bf16 = True  # which TRL refuses to parse without a GPU
        assert facts
        assert Setup(recipe, facts, Gpus(1, 80), Launch(Strategy("single", 1), "")).training == training, case
