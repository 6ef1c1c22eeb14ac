"""What is read of a reply."""

from collections.abc import Generator

import pytest

from concise_rl.evaluate.ask import wording
from concise_rl.evaluate.ask.listening import Listening
from concise_rl.evaluate.ask.question import Question, own_question, question_of_task
from concise_rl.evaluate.ask.reply import Reader, Reply
from concise_rl.evaluate.drawing import Drawing
from concise_rl.evaluate.problems import Problem
from concise_rl.evaluate.spec import Measurement
from concise_rl.labels.judges import build_judge
from concise_rl.reading.trace import Delimiters, StopReason
from concise_rl.rollout.engine import Completion, Request, Sampling
from concise_rl.rollout.engines.transformers import load_engine
from concise_rl.rollout.plans.plan import as_rollout
from concise_rl.tasks.tiny.model import build_tokenizer
from concise_rl.verify.pool import VerifierPool
from tests.concise_rl.evaluate.fabric import ScriptedEngine

TOKENIZER = build_tokenizer()
EOS = TOKENIZER.eos_token_id
DELIMITERS = Delimiters.of(TOKENIZER, [EOS], "</think>")
PASS, CHECK = "<think>\n4 - 5 = -1\n-1 + 2 = 1\nSo 1.\n", "Wait, let me check.\n4 - 5 = -1\n-1 + 2 = 1\nYes, 1.\n"
RIGHT, WRONG = f"{PASS}{CHECK}</think>\n1", f"{PASS}{CHECK}</think>\n2"
KNOWN, UNKNOWN = (own_question("4 - 5 + 2", gold, knows_sums=False) for gold in ("1", None))


@pytest.fixture(scope="module")
def reader() -> Generator[Reader]:
    with VerifierPool("math") as pool:
        yield Reader.of(TOKENIZER, DELIMITERS, pool)


def count(text: str) -> int:
    return len(TOKENIZER.encode(text, add_special_tokens=False))


def reply_to(reader: Reader, text: str, question: Question = KNOWN, ended: bool = True) -> Reply:
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    completion = Completion([*ids, EOS], StopReason.EOS) if ended else Completion(ids, StopReason.LENGTH)
    return reader.read("a model", question, completion, 1.0)


def kinds(reply: Reply) -> list[tuple[str, str]]:
    return [(part.kind, part.text) for part in reply.parts]


def test_a_right_reply_is_redundant_behind_the_first_passage_that_states_the_answer(reader: Reader) -> None:
    reply = reply_to(reader, RIGHT)
    assert kinds(reply) == [
        ("thinking", PASS),
        ("redundant", CHECK),
        ("delimiter", "</think>"),
        ("answer", "\n1"),
    ]
    assert (reply.verdict, reply.stated_at, reply.redundant) == (1.0, count(PASS), count(CHECK))


def test_redundant_tokens_are_those_of_an_evaluation(reader: Reader) -> None:
    judge = build_judge("rule", None, reader.pool)
    drawing = Drawing.of(ScriptedEngine(), Measurement(task="tiny:sums"), reader.pool, judge)
    for text in (RIGHT, f"{PASS}</think>\n1", f"<think>\nHmm.\n{CHECK}{CHECK}</think>\n1"):
        reply = reply_to(reader, text)
        rollout = as_rollout(Completion(list(reply.ids), StopReason.EOS))
        problem = Problem(0, KNOWN.row, [1], "hash", None)
        (sample,) = drawing.read([(problem, 0)], [rollout])
        assert sample.labels is not None
        assert (sample.labels.redundant, sample.correct) == (reply.redundant, reply.verdict)


def test_a_wrong_reply_has_nothing_redundant_and_says_where_it_was_right(reader: Reader) -> None:
    reply = reply_to(reader, WRONG)
    assert [kind for kind, _ in kinds(reply)] == ["thinking", "thinking", "delimiter", "answer"]
    assert (reply.verdict, reply.stated_at, reply.redundant) == (0.0, count(PASS), None)
    assert wording.verdict(reply) == "wrong: the right answer is 1"
    assert wording.statement(reply) == f"right answer stated after {count(PASS)} tokens, and left again"


def test_where_the_right_answer_is_not_known_the_own_one_is_looked_for_and_named_so(reader: Reader) -> None:
    reply = reply_to(reader, RIGHT, UNKNOWN)
    assert (reply.verdict, reply.reference, reply.redundant) == (None, "1", count(CHECK))
    assert wording.verdict(reply).startswith("not graded")
    assert (
        wording.statement(reply) == f"own answer (1) stated after {count(PASS)} tokens; if right, the rest is redundant"
    )
    assert reply.to_json(0)["reference"] == "own answer"


@pytest.mark.parametrize(
    ("text", "ended", "said"),
    [
        (f"{PASS}{CHECK}", False, "no answer: the cap of 46 tokens (--max-tokens) cut its thinking off"),
        (f"{PASS}{CHECK}", True, "no answer: it ended without closing its thinking (--think-end"),
        (f"{RIGHT}</think>1", True, "no answer: it closed its thinking more than once"),
        (RIGHT, False, "wrong: the cap of 49 tokens (--max-tokens) cut its answer off"),
    ],
)
def test_why_there_is_no_answer_is_said(reader: Reader, text: str, ended: bool, said: str) -> None:
    reply = reply_to(reader, text, ended=ended)
    assert wording.verdict(reply).startswith(said)
    assert reply.verdict == 0.0


def test_a_reply_that_fills_the_context_says_so(reader: Reader) -> None:
    completion = Completion(TOKENIZER.encode(PASS, add_special_tokens=False), StopReason.LENGTH)
    reply = reader.read("a model", KNOWN, completion, 1.0, context_ended=True)
    said = f"no answer: the end of its context, {count(PASS)} tokens behind the question, cut its thinking off"
    assert wording.verdict(reply) == said


def test_a_model_that_does_not_think_has_an_answer_alone(reader: Reader) -> None:
    plain = Reader.of(TOKENIZER, Delimiters.of(TOKENIZER, [EOS], None), reader.pool)
    reply = reply_to(plain, "1")
    assert kinds(reply) == [("answer", "1")] and reply.verdict == 1.0
    assert (wording.split(reply), wording.statement(reply)) == ("", "")


def test_the_parts_make_up_the_text_and_the_tokens_but_the_eos(reader: Reader) -> None:
    told = reply_to(reader, RIGHT).to_json(seed=7)
    assert told["text"] == RIGHT == "".join(part["text"] for part in told["parts"])
    assert sum(part["tokens"] for part in told["parts"]) + 1 == told["tokens"]["total"]
    assert (told["seed"], told["correct"], told["reference"]) == (7, True, "gold")


def test_a_bar_is_drawn_to_scale_in_the_order_of_the_tokens(reader: Reader) -> None:
    reply = reply_to(reader, RIGHT)
    drawn = wording.bar(reply, reply.trace.length, reply.trace.length)
    assert drawn == "█" * count(PASS) + "░" * count(CHECK) + "█" * 4


def test_two_replies_are_compared_and_a_wrong_one_is_called_so(reader: Reader) -> None:
    right, wrong = reply_to(reader, RIGHT), reply_to(reader, f"{PASS}</think>\n2")
    assert (
        wording.comparison([right, wrong])
        == "a model takes 52 % fewer tokens than a model here, but its answer is wrong."
    )
    cut = reply_to(reader, RIGHT[:-1], ended=False)
    assert "takes at least" in wording.comparison([wrong, cut])
    assert wording.comparison([right, right]) == "Both take 50 tokens."


def test_what_is_marked_while_it_streams_is_what_is_marked_in_the_end() -> None:
    engine = load_engine("tiny:base")
    measurement = Measurement(task="tiny:sums", verifier="reasoning_gym")
    with VerifierPool("reasoning_gym") as pool:
        reader = Reader.of(engine.tokenizer, Delimiters.of(engine.tokenizer, engine.eos_token_ids, "</think>"), pool)
        for index in range(2):
            question = question_of_task(measurement, index)
            listening = Listening(reader, question)
            marks = []

            def heard(ids: list[int], listening: Listening = listening, marks: list = marks) -> None:
                listening.heard(ids)
                listening.look()
                marks.append(listening.stated_at)

            prompt = engine.tokenizer.apply_chat_template(
                [{"role": "user", "content": question.text}], add_generation_prompt=True
            )["input_ids"]
            completion = engine.stream(Request(prompt, 300, index), Sampling(), heard)
            reply = reader.read("tiny:base", question, completion, 1.0)
            assert listening.stated_at == reply.stated_at is not None
            assert marks.index(reply.stated_at) == reply.stated_at, "said with the first token behind it"
