"""HTTP to a vLLM server, and the sentences in which its failures are told."""

import functools
import json
import logging
import operator
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from concise_rl.errors import EngineError

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 30.0
SILENCE = 30
"""Seconds without an answer of the kernel at the other end after which a connection counts as lost."""
QUOTED = 300
"""Characters of a server's message that are quoted."""


def keepalive() -> list[tuple[int, int, int]]:
    """Options of a socket: the kernels ask each other whether they live, also when nothing is sent for hours. Without
    them a machine or a network that is gone is never noticed by one who waits."""
    wanted = {
        "TCP_KEEPIDLE": 10,
        "TCP_KEEPINTVL": 5,
        "TCP_KEEPCNT": (SILENCE - 10) // 5,
        "TCP_USER_TIMEOUT": 1000 * SILENCE,
    }
    found = {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        *((socket.IPPROTO_TCP, name, value) for name, value in found.items()),
    ]


class Http:
    """A connection to one server."""

    def __init__(self, url: str, timeout: float) -> None:
        """
        Args:
            url: of the server.
            timeout: seconds to wait for an answer.

        Raises:
            ValueError: for what is no URL.
        """
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"The URL of a vLLM server begins with http:// or https://, not {url!r}.")
        self.url, self.timeout = url, timeout
        # A proxy of the environment is for the world outside, not for a server in the same cluster.
        self.client = httpx.Client(
            base_url=url,
            timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT_S),
            transport=httpx.HTTPTransport(trust_env=False, socket_options=keepalive()),
        )

    def async_client(self) -> httpx.AsyncClient:
        """A client that opens a connection for each request: one kept open may be closed by the server just when it is
        used again. Only the opening of a connection is tried again."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        return httpx.AsyncClient(
            base_url=self.url,
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
            transport=httpx.AsyncHTTPTransport(limits=limits, retries=2, trust_env=False, socket_options=keepalive()),
        )

    def wait_until_healthy(self, patience: float) -> None:
        """Wait for a server that is still starting, at most `patience` seconds.

        Raises:
            EngineError: when it does not answer in time.
        """
        deadline, told = time.monotonic() + patience, False
        while (problem := self.problem()) is not None:
            if time.monotonic() >= deadline:
                raise EngineError(
                    f"No vLLM server answers at {self.url} ({problem}; waited {patience:g} s): start one with "
                    "`concise-rl serve MODEL`, or correct the URL."
                )
            if not told:
                logger.warning(
                    "No vLLM server answers at %s yet (%s). Waiting at most %g s.", self.url, problem, patience
                )
                told = True
            time.sleep(0.5)

    def problem(self) -> str | None:
        """What keeps the server from serving now; None when it is up."""
        try:
            response = self.client.get("/health", timeout=5.0)
        except httpx.HTTPError as error:
            return _said(error)
        return None if response.status_code == httpx.codes.OK else f"HTTP {response.status_code}"

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """The answer to a request; None when it is empty."""
        return self.read(path, self.send(method, path, **arguments))

    def send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """The answer to a request, whatever it says."""
        began = time.monotonic()
        try:
            return self.client.request(method, path, **arguments)
        except httpx.ReadTimeout as error:
            raise self.silent(error, began, path, f"has not answered {path}") from None
        except httpx.HTTPError as error:
            raise self.lost(path, error) from error

    def read(self, path: str, response: httpx.Response) -> Any:
        """The content of an answer; None when it is empty."""
        if response.status_code != httpx.codes.OK:
            raise EngineError(
                f"The vLLM server at {self.url} answered {path} with HTTP {response.status_code}: {_message(response)} "
                "Its log says more."
            )
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise self.wrong(f"answered {path} with what is no JSON: {response.text[:QUOTED]!r}") from error

    def events(self, path: str, body: Mapping[str, Any]) -> Iterator[Any]:
        """The objects that an endpoint sends one after the other, as server-sent events.

        Raises:
            EngineError: when the server fails, breaks off, or sends nothing for `timeout` seconds.
        """
        heard = time.monotonic()
        try:
            with self.client.stream("POST", path, json=body) as response:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    self.read(path, response)  # raises
                for line in response.iter_lines():
                    heard = time.monotonic()
                    name, _, data = line.partition(":")
                    if name == "data" and data.strip() != "[DONE]":
                        yield self._event(path, data)
        except httpx.ReadTimeout as error:
            raise self.silent(error, heard, path, f"has sent nothing at {path}") from None
        except httpx.HTTPError as error:
            raise self.lost(path, error) from error

    def _event(self, path: str, data: str) -> Any:
        try:
            event = json.loads(data)
        except ValueError as error:
            raise self.wrong(f"sent at {path} what is no JSON: {data[:QUOTED]!r}") from error
        if isinstance(event, dict) and "error" in event:
            raise EngineError(f"The vLLM server at {self.url} broke off: {_words(event)} Its log says more.")
        return event

    def silent(self, error: httpx.ReadTimeout, since: float, path: str, what: str) -> EngineError:
        """The error for a wait that has ended without an answer.

        Args:
            error: of the wait.
            since: the time at which it began.
            path: of the request.
            what: it has not done.
        """
        if time.monotonic() - since < self.timeout:  # the kernel has given it up: nobody is there
            return self.lost(path, error)
        return self.hangs(what)

    def hangs(self, what: str) -> EngineError:
        """The error for an answer that does not come."""
        return EngineError(
            f"The vLLM server at {self.url} {what} for {self.timeout:g} s: it hangs (see its log), or it takes longer "
            "than that (raise rollout_timeout)."
        )

    def lost(self, path: str, error: httpx.HTTPError) -> EngineError:
        """The error for a connection that broke or could not be made."""
        return EngineError(
            f"The vLLM server at {self.url} is gone ({_said(error)}, at {path}): see its log, start it again with "
            "`concise-rl serve MODEL`, then give the same command again."
        )

    def wrong(self, what: str) -> EngineError:
        """The error for an answer that is not what was asked for."""
        return EngineError(
            f"The vLLM server at {self.url} {what}. Is it vLLM, started with `concise-rl serve MODEL`? See its log."
        )

    def dig(self, body: Any, *path: str | int) -> Any:
        """What stands in an answer at a path of keys."""
        try:
            found = functools.reduce(operator.getitem, path, body)
        except (KeyError, IndexError, TypeError):
            found = None
        if found is None:
            raise self.wrong(f"left {'.'.join(map(str, path))} out of an answer")
        return found


def _said(error: httpx.HTTPError) -> str:
    """httpx has errors without a message."""
    return str(error) or type(error).__name__


def _message(response: httpx.Response) -> str:
    """The server's own words, as one sentence."""
    try:
        return _words(response.json())
    except ValueError:
        return _words(response.text)


def _words(body: Any) -> str:
    """The message in an answer that tells of an error, as one sentence."""
    if isinstance(body, dict):
        body = body.get("error") or body.get("detail") or body
    if isinstance(body, dict):
        body = body.get("message") or body
    return f"{' '.join(str(body).split())[:QUOTED].rstrip('.')}."
