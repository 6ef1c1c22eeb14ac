"""From completions to verdicts."""

import pytest

from concise_rl.reading.trace import Delimiters, read_trace
from concise_rl.tasks.tiny.model import build_tokenizer
from concise_rl.verify.grade import answer_text, earned

TOKENIZER = build_tokenizer()


def ids(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


def test_special_tokens_do_not_vanish_between_digits() -> None:
    pad = TOKENIZER.pad_token_id
    assert answer_text([*ids("4"), pad, *ids("2")], TOKENIZER) == "4 2"
    assert answer_text([pad, *ids("42"), pad], TOKENIZER) == "42"
    assert answer_text([], TOKENIZER) == ""


@pytest.mark.parametrize(("ended", "wanted"), [(True, 1.0), (False, 0.0)])
def test_a_rollout_is_right_only_if_it_ended(ended: bool, wanted: float) -> None:
    eos = TOKENIZER.eos_token_id
    delimiters = Delimiters.of(TOKENIZER, [eos], "</think>")
    trace = read_trace([*ids("7</think>7"), *([eos] if ended else [])], delimiters)
    assert earned(1.0, trace) == wanted
    assert earned(None, trace) == (None if ended else 0.0)
