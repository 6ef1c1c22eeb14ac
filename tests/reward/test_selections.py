"""What offline methods choose from the samples of an evaluation."""

from collections.abc import Sequence
from typing import Any

import pytest

from reward import AdaR1, ShortestRight, SolveRate

RIGHT, WRONG, UNFINISHED, UNJUDGED = (1, True), (0, True), (1, False), (None, False)


def sample(verdict: tuple[int | None, bool], length: int, prompt: str = "1 + 1", file: int = 0) -> dict[str, Any]:
    """A stored sample; its text says which it is."""
    correct, finished = verdict
    return {
        "prompt": prompt,
        "prompt_hash": f"hash of {prompt}",
        "text": f"{length} of file {file}",
        "completion_ids": [7] * length,
        "length": length,
        "finished": finished,
        "correct": correct,
        "file": file,
    }


def group(lengths: Sequence[int], verdict: tuple[int | None, bool] = RIGHT, **more: Any) -> list[dict[str, Any]]:
    return [sample(verdict, length, **more) for length in lengths]


def lengths(rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Of the preferred and the rejected completion of each row."""
    return [(len(row["answer_ids"]), len(row["rejected_ids"])) for row in rows]


def test_the_shortest_right_sample_of_each_prompt_is_a_row_with_its_tokens() -> None:
    samples = [sample(RIGHT, 9), sample(RIGHT, 4), sample(WRONG, 2), sample(RIGHT, 6, "2 + 2")]
    assert ShortestRight().select(samples) == [
        {"prompt": "1 + 1", "answer": "4 of file 0", "answer_ids": [7] * 4, "prompt_hash": "hash of 1 + 1"},
        {"prompt": "2 + 2", "answer": "6 of file 0", "answer_ids": [7] * 6, "prompt_hash": "hash of 2 + 2"},
    ]


@pytest.mark.parametrize("verdict", [WRONG, UNFINISHED, UNJUDGED])
def test_a_prompt_without_a_right_sample_that_ended_gives_no_row(verdict: tuple[int | None, bool]) -> None:
    assert ShortestRight().select(group([3, 5], verdict)) == []


def two_models(long: list[dict[str, Any]], short: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*long, *({**one, "file": 1, "text": f"{one['length']} of file 1"} for one in short)]


def styles(rows: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """From which file the two completions of each row are."""
    return {(row["answer"][-1], row["rejected"][-1]) for row in rows}


def test_the_short_style_is_preferred_where_the_long_one_is_not_more_accurate() -> None:
    rows = AdaR1(inner_pairs=0).select(two_models(group([20, 30]), group([5, 6])))
    assert styles(rows) == {("1", "0")} and len(rows) == 4


def test_the_long_style_is_preferred_where_it_is_more_accurate_by_more_than_half_a_sample() -> None:
    short = [sample(RIGHT, 5), sample(WRONG, 6)]
    assert styles(AdaR1(inner_pairs=0).select(two_models(group([20, 30]), short))) == {("0", "1")}


def test_right_samples_of_the_better_style_are_paired_with_wrong_ones_of_the_other() -> None:
    long = [sample(WRONG, 20), sample(RIGHT, 30)]
    short = [sample(RIGHT, 5), sample(WRONG, 6)]
    assert lengths(AdaR1(inner_pairs=0).select(two_models(long, short))) == [(5, 20)]


def test_only_so_many_pairs_of_the_styles_are_drawn_and_the_same_each_time() -> None:
    samples = two_models(group(range(20, 26)), group(range(5, 11)))
    drawn = [lengths(AdaR1(group_pairs=4, inner_pairs=0).select(samples)) for _ in range(2)]
    assert len(set(drawn[0])) == 4 and drawn[0] == drawn[1]


def test_within_the_better_style_the_shortest_is_preferred_to_the_longest() -> None:
    samples = two_models(group([20]), group([9, 5, 7, 8]))
    assert lengths(AdaR1(group_pairs=0).select(samples)) == [(5, 8), (5, 9)]
    assert lengths(AdaR1(group_pairs=0, inner_pairs=9).select(samples)) == [(5, 7), (5, 8), (5, 9)]
    assert AdaR1(group_pairs=0, inner_pairs=0).select(samples) == []


def test_a_completion_is_never_preferred_to_one_as_short() -> None:
    assert AdaR1(group_pairs=0).select(two_models(group([20]), group([5, 5]))) == []
    assert AdaR1(group_pairs=0).select(two_models(group([20]), group([5]))) == []


def test_a_prompt_on_which_both_styles_are_wrong_gives_no_row() -> None:
    assert AdaR1().select(two_models(group([20], WRONG), group([5], WRONG))) == []


def test_a_prompt_that_lacks_a_style_gives_no_row() -> None:
    samples = two_models(group([20, 30]), group([5, 6], prompt="2 + 2"))
    assert AdaR1().select(samples) == []


def test_samples_of_one_model_are_divided_by_length() -> None:
    samples = [sample(RIGHT, 9), sample(RIGHT, 3), sample(WRONG, 30), sample(RIGHT, 4), sample(RIGHT, 20)]
    assert set(lengths(AdaR1().select(samples))) == {(3, 30), (4, 30), (3, 4)}


def test_what_was_given_up_counts_for_no_style() -> None:
    samples = [*group([3, 9]), sample(UNJUDGED, 1), sample(UNJUDGED, 99)]
    assert lengths(AdaR1().select(samples)) == [(3, 9)]


def test_the_prompts_of_a_pair_are_written_alike() -> None:
    (row,) = AdaR1(inner_pairs=0).select(group([3, 9]))
    assert row["prompt"] == "1 + 1" and row["prompt_hash"] == "hash of 1 + 1"


def test_samples_of_more_than_two_models_are_refused() -> None:
    with pytest.raises(ValueError, match="adar1 compares two styles"):
        AdaR1().select(group([3], file=2))


def solve_rates(*verdicts: tuple[int | None, bool]) -> list[dict[str, Any]]:
    return SolveRate().select([{**sample(verdict, 5), "gold": "2"} for verdict in verdicts])


def test_a_prompt_has_its_problem_its_answer_and_how_often_it_was_solved() -> None:
    assert solve_rates(RIGHT, WRONG, RIGHT, RIGHT) == [{"prompt": "1 + 1", "answer": "2", "ref_accuracy": 0.75}]


def test_a_sample_that_did_not_end_is_not_solved_and_one_without_a_verdict_does_not_count() -> None:
    assert [row["ref_accuracy"] for row in solve_rates(RIGHT, UNFINISHED, UNJUDGED)] == [0.5]
