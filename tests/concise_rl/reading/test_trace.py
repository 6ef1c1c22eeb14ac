"""How a completion is read from its token ids."""

import itertools
from collections import Counter

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from concise_rl.reading.passages import ChunkTokens, chunk_spans, count_cues, line_spans, sentence_spans, token_texts
from concise_rl.reading.trace import Delimiters, StopReason, Trace, character_at, cut_parts, decode_parts, read_trace
from concise_rl.tasks.tiny.model import build_tokenizer

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
    with pytest.raises(ValueError, match="Set think_end"):
        Delimiters.of(build_tokenizer(), [1], "◁/think▷")


def test_a_delimiter_whose_end_merges_with_a_line_break_is_refused() -> None:
    characters = {character: i for i, character in enumerate("</think>\n")}
    for merges in ([], [(">", "\n")]):
        model = models.BPE(characters | {">\n": 20}, merges)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model))
        if not merges:
            assert len(Delimiters.of(tokenizer, [1], "</think>").think_end) == len("</think>")
            continue
        with pytest.raises(ValueError, match="Add it to the tokenizer as a token"):
            Delimiters.of(tokenizer, [1], "</think>")


def test_stop_reasons_have_names_for_files_and_metrics() -> None:
    assert [reason.label for reason in StopReason] == [
        "eos", "length", "think_budget", "forced_exit", "aborted", "error", "stop_token"
    ]  # fmt: skip


# Passages. In most tests tokens are named by their text, and their id is their place in this list.

TEXTS = ["x", "y", " ", "\n", "\n\n", ".\n", "Wait", " But", "</th", "ink>", ".", "?", " So", "3", "14", "!)", " \n"]
TOKENS = ChunkTokens(frozenset({6, 7}), frozenset({3, 4, 5}))
THINK_END = (8, 9)


def ids_of(*texts: str) -> list[int]:
    return [TEXTS.index(text) for text in texts]


def chunks(*texts: str, through_answer: bool = False) -> list[tuple[int, int]]:
    return chunk_spans(ids_of(*texts), TOKENS, THINK_END, through_answer)


def words_of(tokenizer: PreTrainedTokenizerFast, text: str, cut: str) -> list[str]:
    """The texts of the passages."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    text_of = token_texts(tokenizer)
    spans = {"sentence": sentence_spans, "line": line_spans}[cut](ids, text_of)
    return ["".join(map(text_of, ids[start:end])) for start, end in spans]


def wrapped(model: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=model, unk_token="<unk>", clean_up_tokenization_spaces=False)


def characters() -> PreTrainedTokenizerFast:
    """A token for each character."""
    alphabet = ["<unk>", *map(chr, range(32, 127)), "\n"]
    tokenizer = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(alphabet)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return wrapped(tokenizer)


def leading_spaces() -> PreTrainedTokenizerFast:
    """As SentencePiece writes: a space belongs to the word behind it and is dropped where a text begins."""
    pieces = ["<unk>", "\u2581a", "\u2581Wait", "\u2581is", "\u25813", ".", "14", "\u2581So", "\u2581\n"]
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Split(Regex("\\.|14"), "isolated")]
    )
    tokenizer.decoder = decoders.Metaspace()
    return wrapped(tokenizer)


def test_a_chunk_begins_before_each_split_word() -> None:
    assert chunks("x", "\n", "y", "Wait", "y", "\n", "x", " But", "y") == [(0, 3), (3, 7), (7, 9)]


def test_what_has_no_line_break_inside_is_glued_to_what_follows() -> None:
    assert chunks("x", "Wait", "y", "\n", " But", "x", "\n", "y", "Wait", "x") == [(0, 8), (8, 10)]


def test_the_last_chunk_stands_alone_without_a_line_break_too() -> None:
    assert chunks("x", "\n", "y", "Wait") == [(0, 3), (3, 4)]


def test_line_breaks_that_lead_or_trail_do_not_make_a_chunk_of_several_lines() -> None:
    assert chunks("\n", ".\n", "x", "Wait", "y", "\n", "\n\n", " But") == [(0, 8)]


def test_leading_and_trailing_line_breaks_together_do_as_in_the_published_code() -> None:
    assert chunks("\n", "x", "\n", "Wait") == [(0, 3), (3, 4)]


def test_thinking_is_cut_at_the_first_delimiter_before_it_is_split() -> None:
    completion = ("x", "\n", "y", "Wait", "</th", "ink>", "x", "Wait", "y", "</th", "ink>")
    assert chunks(*completion) == [(0, 3), (3, 4)]


def test_half_a_delimiter_does_not_end_the_thinking() -> None:
    assert chunks("x", "</th", "y", "ink>") == [(0, 4)]


def test_the_published_convention_splits_on_into_the_answer_and_cuts_the_last_chunk_alone() -> None:
    completion = ("x", "\n", "y", "</th", "ink>", "Wait", "\n", "y", "</th", "ink>", "x")
    assert chunks(*completion, through_answer=True) == [(0, 5), (5, 8)]
    assert chunks("</th", "ink>", "x", through_answer=True) == [(0, 0)]


def test_no_thinking_has_no_chunks() -> None:
    assert chunks() == [] and chunks("</th", "ink>", "Wait", "x") == []


def test_chunks_follow_on_each_other_from_the_first_token_to_the_last() -> None:
    spans = chunks("Wait", "Wait", "x", "\n", "y", "Wait", "\n", " But", "y", "\n\n", "x")
    assert spans[0][0] == 0 and spans[-1][1] == 11
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(spans))


def test_the_embedded_tokenizer_writes_every_split_word_with_and_without_a_space() -> None:
    tokenizer = build_tokenizer()
    tokens = ChunkTokens.of(tokenizer)
    words = {"Wait", "But", "Alternatively", "Hmm", "Let", "Therefore"}
    assert {tokenizer.decode([i]) for i in tokens.words} == words | {f" {word}" for word in words}
    assert {tokenizer.decode([i]) for i in tokens.newlines} == {"\n", "\n\n"}


def test_a_tokenizer_of_characters_splits_neither_at_spaces_nor_counts_full_stops_as_line_breaks() -> None:
    tokenizer = characters()
    tokens = ChunkTokens.of(tokenizer)
    assert {tokenizer.decode([i]) for i in tokens.words} == set("WBAHLT")
    assert {tokenizer.decode([i]) for i in tokens.newlines} == {"\n"}


def test_a_tokenizer_without_the_words_is_an_error() -> None:
    tokenizer = wrapped(Tokenizer(models.WordLevel({"<unk>": 0, "x": 1}, unk_token="<unk>")))
    with pytest.raises(ValueError, match="Take sentences or lines"):
        ChunkTokens.of(tokenizer)


def test_a_sentence_ends_at_a_mark_with_white_space_behind_it_or_at_a_line_break() -> None:
    text = "Is it 3.14? So. Go on\nby 2 !) Yes"
    assert words_of(characters(), text, "sentence") == ["Is it 3.14? ", "So. ", "Go on\n", "by 2 !) ", "Yes"]


def test_the_line_breaks_behind_a_sentence_belong_to_it() -> None:
    assert words_of(build_tokenizer(), "So 7.\n\nWait, go.\n", "sentence") == ["So 7.\n\n", "Wait, go.\n"]


def test_a_line_ends_with_its_line_breaks() -> None:
    assert words_of(build_tokenizer(), "So 7. Wait\n\n\n\n3 + 4\n", "line") == ["So 7. Wait\n\n\n\n", "3 + 4\n"]


def test_white_space_in_front_is_no_passage_of_its_own() -> None:
    assert words_of(characters(), "\n\n x. y", "sentence") == ["\n\n x. ", "y"]


def test_no_tokens_are_no_passages() -> None:
    assert sentence_spans([], str) == [] and line_spans([], str) == []


def test_a_tokenizer_that_drops_the_space_of_a_first_word_has_its_sentences() -> None:
    assert words_of(leading_spaces(), "a is 3.14. So is a. Wait", "sentence") == [" a is 3.14.", " So is a.", " Wait"]


def test_cues_are_counted_as_whole_words_in_any_case() -> None:
    text = "Wait, WAIT. Let me check again, but not the waiter's checkbook. Hmm..."
    assert count_cues(text) == Counter(wait=2, check=1, again=1, but=1, hmm=1)


@pytest.mark.parametrize(
    ("trace", "redundant", "parts"),
    [
        (Trace(10, 6, (7, 8), True), 4, "thinking 0-4 redundant 4-6 delimiter 6-7 answer 7-9 end 9-10"),
        (Trace(10, 6, (7, 8), True), None, "thinking 0-6 delimiter 6-7 answer 7-9 end 9-10"),
        (Trace(10, 10, None, False), None, "thinking 0-10"),
        (Trace(10, 9, None, True), None, "thinking 0-9 end 9-10"),
        (Trace(0, 0, None, False), None, ""),
    ],
)
def test_a_completion_is_cut_into_its_parts(trace: Trace, redundant: int | None, parts: str) -> None:
    found = cut_parts(trace, Delimiters((9,), frozenset()), redundant)
    assert " ".join(f"{name} {start}-{end}" for name, start, end in found) == parts


def test_a_model_that_does_not_think_only_answers() -> None:
    assert cut_parts(Trace(4, 0, (1, 2, 3), True), Delimiters((), frozenset())) == [("answer", 0, 3), ("end", 3, 4)]


def test_the_texts_of_the_parts_join_to_the_whole_though_a_part_alone_loses_its_space() -> None:
    tokenizer = leading_spaces()
    ids = tokenizer.encode("a is 3.14. So is a.", add_special_tokens=False)
    first, second = decode_parts(ids, [("thinking", 0, 4), ("answer", 4, len(ids))], tokenizer)
    assert first + second == tokenizer.decode(ids)


def test_a_token_is_found_in_the_text() -> None:
    tokenizer = build_tokenizer()
    ids = tokenizer.encode("<think>\n7\nWait, 7\n</think>\n7", add_special_tokens=False)
    text = str(tokenizer.decode(ids))
    wait = next(i for i, token in enumerate(ids) if str(tokenizer.decode([token])).strip() == "Wait")
    assert text[character_at(tokenizer, ids, wait, text) :].startswith("Wait")
    assert character_at(tokenizer, ids, len(ids), text) == len(text)


class SplitBytes:
    """Writes é as two tokens, of which the first alone is no character."""

    def decode(self, ids: list[int], **_: bool) -> str:
        return bytes(list(ids)).decode("utf-8", "replace")


def test_a_character_that_is_split_belongs_to_the_later_token() -> None:
    ids = list("aé".encode())
    assert character_at(SplitBytes(), ids, 2, "aé") == 1  # ty: ignore[invalid-argument-type]


def test_a_character_that_is_split_between_two_parts_is_not_lost() -> None:
    parts = [("thinking", 0, 2), ("answer", 2, 4)]
    ids = list("aéb".encode())
    assert decode_parts(ids, parts, SplitBytes()) == ["a", "éb"]  # ty: ignore[invalid-argument-type]
