"""Asking: one question to one model after the other, each heard token by token."""

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from concise_rl.evaluate.ask.listening import Listening
from concise_rl.evaluate.ask.question import Question
from concise_rl.evaluate.ask.reply import Reader, Reply
from concise_rl.evaluate.drawing import sampling_of, seed_of
from concise_rl.evaluate.engines import EvalEngine, context_of, open_engine
from concise_rl.evaluate.problems import encode_problems
from concise_rl.evaluate.spec import Measurement, is_url
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import Delimiters
from concise_rl.rollout.engine import Request
from concise_rl.rollout.engines.http import Http
from concise_rl.verify.pool import VerifierPool

logger = logging.getLogger(__name__)

PATIENCE_S = 5.0
"""How long a server may take to say that it is there: who asks one question waits for none to start."""


@dataclass(frozen=True)
class Asked:
    """A model, and what samples it.

    Attributes:
        title: as it is shown.
        model: `tiny:base`, a folder or a hub id.
        engine: as `Measurement.engine`.
    """

    title: str
    model: str
    engine: str


class View(Protocol):
    """Who is told what happens."""

    def loads(self, title: str) -> None:
        """Hear that a model is being loaded."""
        ...

    def listens(self, listening: Listening) -> None:
        """Hear that it begins to reply."""
        ...

    def has(self, reply: Reply) -> None:
        """Hear that it has replied."""
        ...


def find_model(name: str, engine: str) -> Asked:
    """Find a model by its name, or by the URL of the server that holds it.

    Raises:
        ValueError: for a model that is not there, and for a URL beside another engine.
        EngineError: when no server answers there.
    """
    if not is_url(name):
        resolve_model(name, adapters=True)  # says so at once where there is none
        return Asked(name, name, engine)
    if engine != "transformers" and not is_url(engine):  # the default, or another server
        raise ValueError(f"{name} is a server already: leave --engine {engine} out.")
    return Asked(name, _served_at(name), name)


def _served_at(url: str) -> str:
    """Return the model that a server holds, as it calls it.

    Raises:
        ValueError: when no tokenizer is found by that name.
        EngineError: when no server answers there.
    """
    http = Http(url.rstrip("/"), PATIENCE_S)
    with closing(http.client):
        http.wait_until_healthy(PATIENCE_S)
        served = str(http.dig(http.call("GET", "/v1/models"), "data", 0, "id"))
    try:
        resolve_model(served)
    except ValueError as error:
        raise ValueError(
            f"The server at {url} calls its model {served!r}, and no tokenizer is found by that name: "
            "`concise-rl serve MODEL` names it by its folder or hub id."
        ) from error
    return served


def ask(
    models: Sequence[Asked],
    question: Question,
    measurement: Measurement,
    max_tokens: int | None,
    pool: VerifierPool,
    view: View,
) -> list[Reply]:
    """Ask each model; one is gone before the next is loaded.

    Args:
        models: in the order in which they are asked.
        question: what they are asked.
        measurement: how; its `max_tokens` is the cap where the user gave none and the context has room for it.
        max_tokens: the cap that the user gave, if any.
        pool: the verifier.
        view: is told.

    Raises:
        ValueError: when a model is not there, or cannot take the question.
        EngineError: when a server is not there, or fails.
    """
    replies = []
    for asked in models:
        view.loads(asked.title)
        how = measurement.model_copy(update={"engine": asked.engine})
        with open_engine(asked.model, how, patience=PATIENCE_S) as engine:
            reply = _ask_one(engine, asked, question, how, max_tokens, pool, view)
        replies.append(reply)
        view.has(reply)
    return replies


def _ask_one(
    engine: EvalEngine,
    asked: Asked,
    question: Question,
    measurement: Measurement,
    max_tokens: int | None,
    pool: VerifierPool,
    view: View,
) -> Reply:
    (problem,) = encode_problems(question.rows, engine.tokenizer, measurement)
    _warn_of_unknown(engine, asked, problem.prompt_ids)
    prompt, context = len(problem.prompt_ids), context_of(engine)
    cap = _cap(asked, prompt, context, measurement.max_tokens, max_tokens)
    delimiters = Delimiters.of(engine.tokenizer, engine.eos_token_ids, measurement.think_end)
    reader = Reader.of(engine.tokenizer, delimiters, pool)
    listening = Listening(reader, question)
    request = Request(problem.prompt_ids, cap, seed_of(measurement, question.index, 0))
    view.listens(listening)
    began = time.perf_counter()
    completion = engine.stream(request, sampling_of(measurement), listening.heard)
    seconds = time.perf_counter() - began
    return reader.read(asked.title, question, completion, seconds, prompt + len(completion.ids) == context)


def _cap(asked: Asked, prompt: int, context: int | None, default: int, given: int | None) -> int:
    """Return the cap on completion tokens: the one that is given or set by default, the latter as far as there is room
    for it.

    Raises:
        ValueError: when the context has no room.
    """
    room = None if context is None else context - prompt
    if room is None or (1 if given is None else given) <= room:
        return default if room is None else min(default, room)
    what = f"The question takes {prompt} tokens, and {asked.title} has a context of {context}"
    if room < 1:
        raise ValueError(f"{what}: ask a shorter one.")
    raise ValueError(f"{what}: lower --max-tokens from {given} to {room}.")


def _warn_of_unknown(engine: EvalEngine, asked: Asked, prompt_ids: Sequence[int]) -> None:
    """Say so when the model cannot read all of the question."""
    count = list(prompt_ids).count(engine.tokenizer.unk_token_id)  # None, where there is no such token, is never there
    if count:
        message = "%s has no token for %d places of the question: it reads %s there."
        logger.warning(message, asked.title, count, engine.tokenizer.unk_token)
