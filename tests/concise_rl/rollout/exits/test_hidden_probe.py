"""The probe of hidden states behind LYNX: what its sets of verdicts promise, and its file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from concise_rl.evaluate.exits.training import auc, coverage_at, split
from concise_rl.rollout.exits.hidden_probe import published_layers, quantile, read_probe, train_probe, write_probe

LAYERS, CUES = (1, 2), ("wait",)


def made(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Hidden states of which one number says, with much noise, whether a place is right."""
    generator = torch.Generator().manual_seed(seed)
    hidden_ND = torch.randn(count, 8, generator=generator)
    right_N = hidden_ND[:, 0] + torch.randn(count, generator=generator) > 0
    return hidden_ND, right_N


@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_sets_of_verdicts_miss_no_more_than_was_promised_on_held_out_places(delta: float) -> None:
    hidden_ND, right_N = made(1200, seed=0)
    probe = train_probe(hidden_ND, right_N, torch.arange(1200) >= 600, LAYERS, CUES)
    found = coverage_at(probe, probe.scores(made(4000, seed=1)[0]), made(4000, seed=1)[1], delta)
    noise = 3 * (delta * (1 - delta)) ** 0.5 * (1 / 300 + 1 / 2000) ** 0.5  # of the calibration and of the counting
    assert found.right is not None
    assert found.wrong is not None
    assert abs(1 - delta - found.right) < noise
    assert abs(1 - delta - found.wrong) < noise
    assert found.stops > 0
    assert found.precision is not None
    assert found.precision > 0.7


def test_a_stricter_promise_stops_at_fewer_places() -> None:
    hidden_ND, right_N = made(1200, seed=0)
    probe = train_probe(hidden_ND, right_N, torch.arange(1200) >= 600, LAYERS, CUES)
    scores = probe.scores(hidden_ND).tolist()
    stops = [sum(probe.is_surely_right(score, delta) for score in scores) for delta in (0.001, 0.03, 0.3)]
    assert stops == sorted(stops)
    assert stops[0] == 0  # 300 wrong places cannot promise one in a thousand
    assert probe.least_delta() == pytest.approx(1 / (len(probe.wrong_N) + 1))


def test_the_quantile_is_the_one_of_split_conformal_prediction() -> None:
    values = torch.tensor([0.4, 0.1, 0.3, 0.2])
    assert [quantile(values, delta) for delta in (0.8, 0.6, 0.4, 0.2)] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert quantile(values, 0.1) == float("inf")  # ceil(5 * 0.9) = 5 of 4


def test_a_probe_is_read_as_it_was_written(tmp_path: Path) -> None:
    hidden_ND, right_N = made(400, seed=0)
    probe = train_probe(hidden_ND, right_N, torch.arange(400) >= 200, LAYERS, CUES, "abc")
    write_probe(probe, tmp_path / "probe.safetensors")
    found = read_probe(tmp_path / "probe.safetensors")
    assert torch.equal(found.scores(hidden_ND), probe.scores(hidden_ND))
    assert (found.layers, found.cues, found.fingerprint) == (LAYERS, CUES, "abc")
    assert torch.equal(found.wrong_N, probe.wrong_N)


def test_what_is_no_probe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a probe")
    with pytest.raises(ValueError, match="no safetensors file"):
        read_probe(tmp_path / "text")
    with pytest.raises(ValueError, match="--train-lynx"):
        read_probe(tmp_path / "nothing")


def test_too_few_places_of_a_kind_train_nothing() -> None:
    hidden_ND, _ = made(200, seed=0)
    with pytest.raises(ValueError, match="Of the places for training, 0 wrong: at least 20"):
        train_probe(hidden_ND, torch.ones(200, dtype=torch.bool), torch.arange(200) >= 100, LAYERS, CUES)


def test_hidden_states_of_another_model_are_refused() -> None:
    hidden_ND, right_N = made(400, seed=0)
    probe = train_probe(hidden_ND, right_N, torch.arange(400) >= 200, LAYERS, CUES)
    with pytest.raises(ValueError, match="trained on another model"):
        probe.scores(torch.zeros(1, 9))


def test_a_problem_has_one_role_and_half_of_the_problems_train() -> None:
    problem_N = torch.arange(40).repeat_interleave(3)
    role_N = split(problem_N, seed=0)
    roles = [set(role_N[problem_N == problem].tolist()) for problem in range(40)]
    assert all(len(role) == 1 for role in roles)
    assert np.bincount([role.pop() for role in roles]).tolist() == [20, 10, 10]


def test_auc_counts_pairs() -> None:
    scores_N, right_N = torch.tensor([0.9, 0.5, 0.5, 0.1]), torch.tensor([True, True, False, False])
    assert auc(scores_N, right_N) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert auc(scores_N, torch.ones(4, dtype=torch.bool)) is None


def test_layers_are_the_published_ones_or_the_quarters() -> None:
    assert published_layers(28) == (9, 16, -1)
    assert published_layers(4) == (1, 2, 3)
    assert published_layers(1) == (1,)
