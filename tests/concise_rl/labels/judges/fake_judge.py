"""A server of a judge: it answers as vLLM's does, in the embedded reasoner's tokens, or fails as is asked for."""

from collections.abc import Callable
from typing import Any

from concise_rl.models.resolve import resolve_model
from concise_rl.tasks.tiny.model import build_tokenizer
from tests.concise_rl.rollout.fake_server import FakeServer, _Handler

TOKENIZER = build_tokenizer()


class FakeJudge(FakeServer):
    """Serves `tiny:base` as a judge.

    Attributes:
        reply: what it says, from the text of the question.
    """

    def __init__(self, reply: Callable[[str], str], behaviour: str = "good", context: int = 1024) -> None:
        super().__init__(behaviour)
        self.reply, self.context = reply, context
        self._server.RequestHandlerClass = _JudgeHandler

    @property
    def questions(self) -> list[str]:
        """What it was asked."""
        return [TOKENIZER.decode(body["prompt"]) for path, body in self.seen if path == "/v1/completions"]


class _JudgeHandler(_Handler):
    def do_GET(self) -> None:
        if self.path == "/v1/models":
            return self.answer({"data": [{"id": resolve_model("tiny:base"), "max_model_len": self.fake.context}]})
        return super().do_GET()

    def complete(self, body: dict[str, Any]) -> None:
        behaviour = self.fake.behaviour
        text = self.fake.reply(TOKENIZER.decode(body["prompt"]))
        ids = [*TOKENIZER.encode(text, add_special_tokens=False), TOKENIZER.eos_token_id][: body["max_tokens"]]
        choice = {"token_ids": ids, "finish_reason": "stop"}
        self.fail(behaviour, choice) if behaviour != "good" else self.answer({"choices": [choice]})
