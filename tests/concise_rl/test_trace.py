"""How a completion is read from its token ids."""

import pytest

from concise_rl.tiny.model import build_tokenizer
from concise_rl.trace import Delimiters, StopReason, read_trace

END, EOS, EOS_TOO = 6, 1, 2
DELIMITERS = Delimiters(think_end=(END,), eos=frozenset({EOS, EOS_TOO}))


def test_thinking_ends_at_the_delimiter_and_the_answer_follows_it() -> None:
    trace = read_trace([10, 11, END, 12, 13, EOS], DELIMITERS)
    assert (trace.length, trace.think_length, trace.answer_ids, trace.finished) == (6, 2, (12, 13), True)


@pytest.mark.parametrize("eos", [EOS, EOS_TOO])
def test_any_eos_of_the_generation_config_finishes_a_completion(eos: int) -> None:
    assert read_trace([10, END, 12, eos], DELIMITERS).finished


def test_without_the_delimiter_there_is_no_answer_and_all_but_the_eos_is_thinking() -> None:
    trace = read_trace([10, 11, 12, EOS], DELIMITERS)
    assert trace.answer_ids is None and trace.think_length == 3


def test_two_delimiters_leave_no_answer() -> None:
    assert read_trace([10, END, 11, END, 12, EOS], DELIMITERS).answer_ids is None


def test_a_completion_cut_by_the_cap_is_unfinished() -> None:
    trace = read_trace([10, END, 12], DELIMITERS)
    assert not trace.finished and trace.answer_ids == (12,)


def test_an_empty_completion_is_unfinished_and_has_no_answer() -> None:
    trace = read_trace([], DELIMITERS)
    assert (trace.length, trace.think_length, trace.answer_ids, trace.finished) == (0, 0, None, False)


def test_an_eos_alone_is_finished_and_has_no_answer() -> None:
    trace = read_trace([EOS], DELIMITERS)
    assert trace.finished and trace.answer_ids is None and trace.length == 1


def test_an_empty_answer_is_an_answer() -> None:
    assert read_trace([10, END, EOS], DELIMITERS).answer_ids == ()


def test_a_delimiter_of_several_tokens_is_found_whole() -> None:
    delimiters = Delimiters(think_end=(7, 8), eos=frozenset({EOS}))
    trace = read_trace([7, 9, 7, 8, 12, EOS], delimiters)
    assert trace.think_length == 2 and trace.answer_ids == (12,)


def test_a_model_that_does_not_think_answers_from_the_first_token() -> None:
    trace = read_trace([10, 11, EOS], Delimiters(think_end=(), eos=frozenset({EOS})))
    assert trace.think_length == 0 and trace.answer_ids == (10, 11)


def test_the_delimiter_is_encoded_by_the_tokenizer() -> None:
    tokenizer = build_tokenizer()
    delimiters = Delimiters.of(tokenizer, [tokenizer.eos_token_id], "</think>")
    assert tokenizer.decode(delimiters.think_end) == "</think>"


def test_a_delimiter_that_cannot_be_encoded_is_an_error() -> None:
    with pytest.raises(ValueError, match="Set `think_end`"):
        Delimiters.of(build_tokenizer(), [1], "◁/think▷")


def test_stop_reasons_have_names_for_files_and_metrics() -> None:
    assert [reason.label for reason in StopReason] == [
        "eos", "length", "think_budget", "forced_exit", "aborted", "error", "stop_token"
    ]  # fmt: skip
