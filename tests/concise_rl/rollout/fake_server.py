"""A server that answers as vLLM's does, or fails in a way that is asked for."""

import json
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

EOS = 1
MODEL_LENGTH = 64
INSPECTION = """\
LlamaForCausalLM()(
  (model): LlamaModel()(
    (embed_tokens): VocabParallelEmbedding(num_embeddings=156, embedding_dim=128, org_vocab_size=156, tp_size=1)
    (layers): ModuleList()(
      (0, 2-3): 3 x LlamaDecoderLayer()(
        (mlp): LlamaMLP()
      )
      (1): LlamaDecoderLayer()(
        (mlp): OtherMLP()
      )
    )
  )
)"""


def answer_to(prompt: list[int], max_tokens: int) -> list[int]:
    """What a good server completes: the prompt backwards, then EOS."""
    return [*prompt[::-1], EOS][:max_tokens]


class FakeServer:
    """In a thread of this process, reached from any.

    Attributes:
        behaviour: `good`, or what is wrong with completions (`bad_request`, `error`, `hang`, `reset`, `cut_body`,
            `cut_json`, `no_choices`, `no_ids`, `empty`, `unfinished`, `no_logprobs`, `few_logprobs`; of a stream
            `error_event`, `hang`, `cut_body`, `no_ids`, `unfinished` after its first token), with the weights
            (`reload_dies`, `keeps_cache`) or the start (`sick`, `no_dev_mode`, `raw_logprobs`, `no_extension`).
        good: completions that come well before the behaviour shows.
        seen: path and content of every request, but for /health.
        left: requests whose client went away before it had its answer.
    """

    def __init__(self, behaviour: str = "good", good: int = 0) -> None:
        self.behaviour, self.good = behaviour, good
        self.seen: list[tuple[str, Any]] = []
        self.left = 0
        self.lock = threading.Lock()
        self._server = _Listener(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order; methods that were called by name stand for themselves."""
        return [body["method"] if path == "/collective_rpc" else path for path, body in self.seen]


class _Listener(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True
    fake: FakeServer

    def handle_error(self, *_: object) -> None:
        """Nothing: connections end badly here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: _Listener

    @property
    def fake(self) -> FakeServer:
        return self.server.fake

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/health":
            return self.answer({}, 503 if self.fake.behaviour == "sick" else 200)
        self.note(path, None)
        if path == "/v1/models":
            return self.answer({"data": [{"id": "fake", "max_model_len": MODEL_LENGTH}]})
        if self.fake.behaviour == "no_dev_mode":
            return self.answer({"detail": "Not Found"}, 404)
        raw, bare = self.fake.behaviour == "raw_logprobs", self.fake.behaviour == "no_extension"
        config = {
            "model_config": {"logprobs_mode": "raw_logprobs" if raw else "processed_logprobs"},
            "parallel_config": {"worker_extension_cls": "" if bare else "a.b.C"},
        }
        return self.answer({"vllm_config": config})

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        content = self.rfile.read(int(self.headers["content-length"] or 0))
        body = json.loads(content) if content else None
        self.note(self.path, body)
        if path == "/v1/completions":
            return self.complete(body)
        if path == "/collective_rpc":
            if body["method"] == "reload_weights" and self.fake.behaviour == "reload_dies":
                return self.reset()
            return self.answer({"results": [INSPECTION if body["method"] == "get_model_inspection" else None]})
        return self.answer({"success": self.fake.behaviour != "keeps_cache"})

    def note(self, path: str, body: Any) -> None:
        with self.fake.lock:
            self.fake.seen.append((path, body))

    def complete(self, body: dict[str, Any]) -> None:
        ids = answer_to(body["prompt"], body["max_tokens"])
        choice: dict[str, Any] = {"token_ids": ids, "finish_reason": "stop"}
        if body.get("prompt_logprobs") is not None:
            choice["prompt_logprobs"] = [
                None,
                *({str(token): {"logprob": -float(token)}} for token in body["prompt"][1:]),
            ]
        if body.get("logprobs") is not None:
            choice["logprobs"] = {"token_logprobs": [-0.5] * len(ids)}
        with self.fake.lock:
            self.fake.good -= 1
            behaviour = "good" if self.fake.good >= 0 else self.fake.behaviour
        if body.get("stream") and behaviour not in ("bad_request", "error", "reset"):
            return self.stream(behaviour, ids)
        self.fail(behaviour, choice) if behaviour != "good" else self.answer({"choices": [choice]})

    def stream(self, behaviour: str, ids: list[int]) -> None:
        """An event for each token, then what ends a stream; or something that is wrong after the first token."""
        choices: list[dict[str, Any]] = [{"token_ids": [token], "finish_reason": None} for token in ids]
        if behaviour == "no_ids":
            choices[1] = {"text": "fine"}
        events: list[Any] = [{"choices": [choice]} for choice in choices]
        if behaviour == "unfinished":
            events[1:] = []
        if behaviour == "error_event":
            events[1:] = [{"error": {"message": "EngineCore encountered an issue", "code": 500}}]
        lines = "".join(f"data: {json.dumps(event)}\n\n" for event in [*events, {"choices": []}])
        content = f"{lines}data: [DONE]\n\n".encode()
        if behaviour in ("hang", "cut_body"):
            self.send(content[:60], len(content))
            return self.wait_for_the_client_to_leave() if behaviour == "hang" else None
        return self.send(content, len(content))

    def fail(self, behaviour: str, choice: dict[str, Any]) -> None:
        bodies: dict[str, Any] = {
            "no_choices": {"choices": []},
            "no_ids": {"choices": [{"text": "fine"}]},
            "empty": {"choices": [{"token_ids": []}]},
            "unfinished": {"choices": [{"token_ids": choice["token_ids"][:1], "finish_reason": "abort"}]},
            "no_logprobs": {"choices": [{**choice, "logprobs": None}]},
            "few_logprobs": {"choices": [{**choice, "logprobs": {"token_logprobs": [-0.5]}}]},
        }
        if behaviour in bodies:
            self.answer(bodies[behaviour])
        elif behaviour == "hang":
            self.wait_for_the_client_to_leave()
        elif behaviour == "reset":
            self.reset()
        elif behaviour in ("cut_body", "cut_json"):
            self.cut({"choices": [choice]}, honest=behaviour == "cut_json")
        else:
            code = {"bad_request": 400, "error": 500}[behaviour]
            self.answer({"error": {"message": "EngineCore encountered an issue", "code": code}}, code)

    def answer(self, body: dict[str, Any], code: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send(content, len(content), code)

    def cut(self, body: dict[str, Any], honest: bool) -> None:
        """Half a body, under its own length or that of the whole."""
        content = json.dumps(body).encode()
        half = content[: len(content) // 2]
        self.send(half, len(half) if honest else len(content))

    def send(self, content: bytes, length: int, code: int = 200) -> None:
        self.send_response(code)
        self.send_header("content-length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def wait_for_the_client_to_leave(self) -> None:
        self.connection.recv(1)
        with self.fake.lock:
            self.fake.left += 1

    def reset(self) -> None:
        """End the connection as a process does that is killed."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
