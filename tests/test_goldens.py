import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.goldens import COMPARISONS, DEFAULT_DIR, difference, main, tolerance


def write_golden(
    folder: Path, name: str, inputs: dict[str, Any], params: dict[str, Any], output: dict[str, Any]
) -> None:
    case = {"id": f"{name}-000", "kind": "mixed", "inputs": inputs, "params": params, "output": output}
    (folder / f"{name}.json").write_text(json.dumps({"tolerance": "1e-9", "cases": [case]}))


def write_aes(folder: Path, expected: float) -> None:
    inputs = {"base_acc": 0.5, "base_tokens": 100, "acc": 0.5, "tokens": 40}
    write_golden(folder, "aes", inputs, {"up": 3.0, "down": 5.0}, {"aes": expected})


@pytest.mark.skipif(not DEFAULT_DIR.is_dir(), reason="the recorded cases are not beside this checkout")
def test_every_recorded_case_of_a_method_that_exists_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    output = capsys.readouterr().out
    for name in COMPARISONS:
        assert f"\n{name}" in f"\n{output}"
    assert "DIFFERS" not in output


def test_a_difference_beyond_the_tolerance_is_named_and_exits_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_aes(tmp_path, expected=0.61)
    assert main([str(tmp_path)]) == 1
    assert "DIFFERS (tolerance 1e-09) in aes-000" in capsys.readouterr().out


def test_a_file_without_a_method_is_named_and_is_no_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_aes(tmp_path, expected=0.6)
    (tmp_path / "unheard_of.json").write_text("{}")
    assert main([str(tmp_path)]) == 0
    assert "No method yet for 1: unheard_of" in capsys.readouterr().out


def test_a_folder_without_goldens_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path)])
    assert "no JSON files" in capsys.readouterr().err


def test_groups_may_be_of_any_size_and_their_members_apart(tmp_path: Path) -> None:
    inputs = {"reward": [1.0, 5.0, 0.0, 3.0, 2.0, 2.0], "length": [1] * 6, "group": [7, 1, 7, 1, 99, 1]}
    output = {"advantage": [0.5, 5 / 3, -0.5, -1 / 3, 2.0, -4 / 3]}
    write_golden(tmp_path, "verl_drgrpo", inputs, {"eps": 1e-6}, output)
    assert main([str(tmp_path)]) == 0


def test_groups_of_grpo_lambda_may_be_of_different_sizes(tmp_path: Path) -> None:
    groups = [{"correct": [1, 0, 1], "length": [9, 9, 9]}, {"correct": [1, 0], "length": [4, 8]}]
    params = {"top_fraction": 0.5, "alpha": 0.4, "eps": 0.0}
    advantages = [[3**-0.5, -2 * 3**-0.5, 3**-0.5], [2**-0.5, -(2**-0.5)]]
    output = {"top_groups": [0], "reward": [[0.8, 0, 0.8], [1, 0]], "advantage": advantages}
    write_golden(tmp_path, "grpo_lambda", {"groups": groups}, params, output)
    assert main([str(tmp_path)]) == 0


SIGMOID_1 = 1 / (1 + math.exp(-1))
LENGTH = [(17 / 3 - last) / 6.0001 for last in (3, 6, 8)]
"""The length term of LC-R1 less its mean, for EOS at these places."""

# Cases derived by hand: name, inputs, parameters, output.
DERIVED: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (
        "gfpo",
        {"correct": [1, 0, 1, 1], "length": [40, 10, 20, 30]},
        {"k": 2, "metric": "length", "std": "unbiased", "eps": 0.0},
        {"kept": [1, 2], "advantage": [0, -(0.5**0.5), 0.5**0.5, 0]},
    ),
    (
        "dot",  # group b is cut at 30 + 0.5 * 20; group a is not right throughout
        {
            "correct": [1, 1, 1, 1, 0],
            "length": [10, 30, 50, 9, 90],
            "group": ["b", "b", "b", "a", "a"],
            "answer_end": [9, 29, 49, 8, 89],
        },
        {"std_multiplier": 0.5, "min_margin": 10, "success_threshold": 1.0},
        {"kept_length": [10, 30, 40, 9, 90], "reward_after": [1, 1, 0, 1, 0], "tokens_truncated": 10},
    ),
    (
        "dot_oversample",
        {"steps": [{"sampled": 10, "passed": 3}, {"sampled": 10, "passed": 5}, {"sampled": 10, "passed": 5}]},
        {"window": 2, "initial": 1.5, "min_factor": 1.2, "max_factor": 3.0},
        {"factor": [1.5, 3.0, 1.1 / 0.4, 2.0]},
    ),
    (
        "elastic_rollout",
        {"think_stream": [5, 6, 8, 9], "answer_stream": [7, 7, 1]},
        {"think_budget": 2, "answer_budget": 2, "think_end_id": 9, "eos_id": 1},
        {"response": [5, 6, 9, 7, 7], "think_part": [5, 6, 9], "forced": 1, "second_prompt_suffix": [5, 6, 9]},
    ),
    (
        "s_grpo",  # the exits are listed from the last to the first; the one that is wrong uses up no step
        {"exit_position": [30, 20, 10], "exit_correct": [1, 0, 1], "full_correct": 1},
        {"decay": 2.0, "divide_by_std": False},
        {"reward": [0.5, 0, 1, 0.25], "advantage": [0.0625, -0.4375, 0.5625, -0.1875]},
    ),
    (
        "jet",
        {"correct": [1, 0, 1, 1, 0], "boxed": [1, 1, 1, 1, 0], "length": [10, 5, 20, 30, 40]},
        {"format_weight": 0.2, "alpha": 1.0, "delta": 0.1, "eps": 0.0},
        {"reward": [2.0, 0.2, 1.55, 1.1, 0]},
    ),
    (
        "conciser_lgrpo",
        {"correct": [1, 1, 1], "length": [10, 20, 40], "max_length": 40},
        {"coef": 0.5},
        {"reward": [1.375, 1.25, 1]},
    ),
    (
        "conciser_lgrpo",
        {"correct": [1, 0, 1], "length": [10, 20, 40], "max_length": 40},
        {"coef": 0.5},
        {"reward": [1, 0, 1]},
    ),
    (
        "ddca",  # two right ones are one deviation from their mean, on either side
        {"correct": [1, 1, 0, 0], "length": [10, 30, 70, 1]},
        {"beta": 0.4, "estimator": "grpo", "dynamic": True, "eps": 1e-12},
        {"advantage": [1 + 0.2 * (SIGMOID_1 - 0.5), 1 - 0.2 * (SIGMOID_1 - 0.5), -1, -1]},
    ),
    (
        "ddca",
        {"correct": [1, 1, 0, 0], "length": [10, 30, 70, 1]},
        {"beta": 0.4, "estimator": "rloo", "dynamic": False, "eps": 1e-12},
        {"advantage": [2 / 3 + 0.8 * (SIGMOID_1 - 0.5), 2 / 3 - 0.8 * (SIGMOID_1 - 0.5), -2 / 3, -2 / 3]},
    ),
    (
        "decs_advantage",  # of two right ones one is redundant at 1, the other has ended by then; a group of one
        {
            "correct": [1, 1, 1],
            "length": [3, 1, 2],
            "group": ["a", "a", "b"],
            "redundant_span": [[1, 2], None, [0, 1]],
            "width": 4,
        },
        {"beta": 0.1, "eps": 1e-12},
        {
            "rewards": [[1.1, 1.025, 1.1, 1.1], [1.1] * 4, [1.05, 1.1, 1.1, 1.1]],
            "advantages": [[0, -(0.5**0.5), 0, 0], [0] * 4, [1.05, 1.1, 0, 0]],
        },
    ),
    (
        "decs_advantage_paper",
        {"correct": [1, 0], "length": [3, 2], "redundant_span": [[1, 2], None], "width": 4},
        {"r_plus": 1.1, "r_zero": 1.0, "eps": 1e-12, "variant": "paper"},
        {
            "rewards": [[1.1, 0.925, 1.1, 1.1], [0] * 4],
            "advantages": [[0.5**0.5, 0.5**0.5, 0.5**0.5, 0], [-(0.5**0.5), -(0.5**0.5), 0, 0]],
        },
    ),
    (
        "lc_r1",  # 3 of 4 thinking tokens are taken out of the first; the second never states its answer
        {
            "correct": [1, 1, 0],
            "format_ok": [1, 1, 1],
            "eos_index": [3, 6, 8],
            "think_end_index": [4, 4, 5],
            "cut_index": [1, 0, 2],
            "think_end_index_after": [1, 4, 5],
            "length_after": [4, 7, 9],
            "width": 9,
        },
        {"len_coef": 1.0, "think_end_coef": 0.5},
        {
            "length_after": [4, 7, 9],
            "seq_advantage": [1 / 3 + LENGTH[0], 1 / 3 + LENGTH[1], -2 / 3 + LENGTH[2]],
            "think_end_bonus": [0.5 * (1 - 1 / 4.0001), -0.5, 0],
            "advantages": [
                [1 / 3 + LENGTH[0] + 0.5 * (1 - 1 / 4.0001) * (t == 1) for t in range(9)],
                [1 / 3 + LENGTH[1] - 0.5 * (t == 4) for t in range(9)],
                [-2 / 3 + LENGTH[2]] * 9,
            ],
        },
    ),
    (
        "thinkprune",
        {"correct": [1, 1, 0, 1], "length": [80, 90, 30, 20], "answer_end": [50, 51, 29, 20], "limit": 50},
        {"eps": 0.0},
        {
            "kept_length": [50, 50, 30, 20],
            "reward": [1, 0, 0, 1],
            "advantage": [0.75**0.5, -(0.75**0.5), -(0.75**0.5), 0.75**0.5],
        },
    ),
]


@pytest.mark.parametrize("case", DERIVED, ids=lambda case: case[0])
def test_cases_derived_by_hand_agree(tmp_path: Path, case: tuple[str, dict, dict, dict]) -> None:
    write_golden(tmp_path, *case)
    assert main([str(tmp_path)]) == 0


@pytest.mark.parametrize("case", DERIVED, ids=lambda case: case[0])
def test_every_output_of_a_case_is_compared(tmp_path: Path, case: tuple[str, dict, dict, dict]) -> None:
    name, inputs, params, output = case
    for key in output:
        write_golden(tmp_path, name, inputs, params, {key: "something else"})
        assert main([str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("expected", "got"),
    [("nan", math.nan), ("-inf", -math.inf), ([[1, 2.0], []], [[1.0, 2], []]), ({"a": "text"}, {"a": "text", "b": 1})],
)
def test_equal_outputs_differ_by_nothing(expected: Any, got: Any) -> None:
    assert difference(expected, got) == 0.0


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ("nan", 0.0),
        (0.0, math.nan),
        ("inf", 1e300),
        (1.0, math.inf),
        ([1, 2], [1]),
        ({"a": 1}, {}),
        ("a", "b"),
        (1, None),
    ],
)
def test_outputs_of_another_shape_or_not_finite_differ_infinitely(expected: Any, got: Any) -> None:
    assert difference(expected, got) == math.inf


def test_a_difference_is_absolute_up_to_1_and_relative_above() -> None:
    assert difference(0.001, 0.002) == pytest.approx(0.001)
    assert difference([100.0], [101.0]) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-9", 1e-9), ("1e-5 relative/absolute", 1e-5), ("exact", 0.0), ("kept_length exact; advantage 1e-5", 1e-5)],
)
def test_a_tolerance_is_the_first_number_of_its_text(text: str, value: float) -> None:
    assert tolerance(text) == value
