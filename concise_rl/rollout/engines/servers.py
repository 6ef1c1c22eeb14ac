"""Several vLLM servers of one model as one engine: each request goes to one of them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from transformers import PretrainedConfig

from concise_rl.rollout.engine import Asked, Completion, Heard, Peek, Peeked, Request, Sampling
from concise_rl.rollout.engines.crowd import Balance
from concise_rl.rollout.engines.server import VllmServer, generate_over, peek_over


class Servers:
    """A `StreamingEngine` that peeks, over one server or several. Draws depend on seeds alone, so that any number of
    servers draws the same."""

    def __init__(self, servers: Sequence[VllmServer]) -> None:
        """
        Args:
            servers: one at least.
        """
        self.servers = list(servers)
        self.max_model_len = min(server.max_model_len for server in servers)
        self.balance = Balance([0] * len(self.servers))

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`, and `VllmServer.generate`."""
        for server in self.servers:
            server.check([request.most_tokens for request in asked.requests], asked.sampling)
        return generate_over(self.servers, self.balance, asked)

    def peek(self, peeks: Sequence[Peek]) -> list[Peeked]:
        """See `PeekingEngine.peek`. A look goes to the server that has what stands before it in its cache."""
        for server in self.servers:
            server.check([len(peek.prompt_ids) + 1 for peek in peeks])
        return peek_over(self.servers, self.balance, peeks)

    def stream(self, request: Request, sampling: Sampling, heard: Heard) -> Completion:
        """See `StreamingEngine.stream`."""
        return self.servers[0].stream(request, sampling, heard)

    def score(self, prompt_ids: Sequence[int]) -> list[list[float]]:
        """See `VllmServer.score`: of each server, in order."""
        return [server.score(prompt_ids) for server in self.servers]

    def load_weights(self, folder: Path) -> None:
        """See `VllmServer.load_weights`. All servers read at a time."""
        with ThreadPoolExecutor(len(self.servers)) as pool:
            list(pool.map(lambda server: server.load_weights(folder), self.servers))

    def check_model(self, config: PretrainedConfig) -> None:
        """See `VllmServer.check_model`."""
        for server in self.servers:
            server.check_model(config)

    def close(self) -> None:
        """Let go of the connections; the servers stay."""
        for server in self.servers:
            server.close()
