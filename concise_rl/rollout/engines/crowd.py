"""Many requests under way at once, over one server or several."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import httpx

from concise_rl.rollout.engine import Progress
from concise_rl.rollout.engines.http import Http

UNDER_WAY = 1024
"""Requests that a server has at once; more than vLLM takes in, so that it never waits."""
SLACK = 1.25
"""How much busier than the idlest a server may be and still get a request whose beginning it has seen."""
MOST_HOMES = 1_000_000
"""Beginnings that are remembered: some hundred megabytes."""
T = TypeVar("T")


class Sent(Protocol):
    """What is sent to a server."""

    @property
    def prompt_ids(self) -> Sequence[int]:
        """Tokens that the model reads."""
        ...


class Server(Protocol):
    """What a crowd of requests has to know of a server."""

    http: Http
    rollout_timeout: float


Item = TypeVar("Item", bound=Sent)
Of = TypeVar("Of", bound=Server)
Ask = Callable[[Of, httpx.AsyncClient, Item], Awaitable[T]]


@dataclass
class Balance:
    """Chooses a server for each request: the least busy one, or one that has the request's beginning in its cache and
    is not much busier.

    Attributes:
        load: requests under way at each server.
        homes: by hashes of beginnings, the server that last saw them.
    """

    load: list[int]
    homes: dict[int, int] = field(default_factory=dict)

    @contextmanager
    def server_for(self, ids: Sequence[int]) -> Generator[int]:
        """Choose a server for a prompt, by number, and count it as busy meanwhile."""
        chosen = self._choose(ids) if len(self.load) > 1 else 0
        self.load[chosen] += 1
        try:
            yield chosen
        finally:
            self.load[chosen] -= 1

    def _choose(self, ids: Sequence[int]) -> int:
        idlest = min(range(len(self.load)), key=self.load.__getitem__)
        known = (self.homes[key] for key in reversed(list(_beginnings(ids))) if key in self.homes)
        home = next(known, idlest)
        return home if self.load[home] <= SLACK * self.load[idlest] + 1 else idlest

    def note(self, ids: Sequence[int], server: int) -> None:
        """Remember where a sequence was computed."""
        if len(self.load) > 1:
            if len(self.homes) > MOST_HOMES:
                self.homes.clear()
            self.homes |= dict.fromkeys(_beginnings(ids), server)


def _beginnings(ids: Sequence[int]) -> Iterator[int]:
    """Hashes of the first 16, 32, 64, ... tokens: whole blocks of vLLM's cache."""
    length = 16
    while length <= len(ids):
        yield hash(tuple(ids[:length]))
        length *= 2


async def ask_all(
    servers: Sequence[Of],
    balance: Balance,
    items: Sequence[Item],
    ask: Ask[Of, Item, T],
    progress: Progress | None = None,
    landed: Callable[[int, T], None] | None = None,
) -> list[T]:
    """Send all items. When one fails, or none ends for too long, the others are cancelled.

    Args:
        servers: one at least.
        balance: over them.
        items: what is sent.
        ask: sends one.
        progress: told of those that end.
        landed: handed the place of an item and its answer, when that is there.

    Raises:
        EngineError: when a server fails or hangs, naming it.
    """
    gate = asyncio.Semaphore(min(UNDER_WAY * len(servers), _most_connections()))
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(server.http.async_client()) for server in servers]

        async def send(place: int, item: Item) -> tuple[int, T]:
            async with gate:
                with balance.server_for(item.prompt_ids) as chosen:
                    answer = await ask(servers[chosen], clients[chosen], item)
            balance.note([*item.prompt_ids, *getattr(answer, "ids", ())], chosen)
            return place, answer

        tasks = [asyncio.create_task(send(*pair)) for pair in enumerate(items)]
        try:
            for ended in asyncio.as_completed(tasks):
                place, answer = await asyncio.wait_for(ended, max(server.rollout_timeout for server in servers))
                if progress:
                    progress(1)
                if landed:
                    landed(place, answer)
        except TimeoutError:
            busiest = max(range(len(servers)), key=balance.load.__getitem__)
            raise servers[busiest].http.hangs("has not ended a completion") from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return [task.result()[1] for task in tasks]


def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Run it, in a thread of its own where this one has an event loop already, as a notebook's has."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work)).result()


def _most_connections() -> int:
    """How many requests may be under way: each takes a file descriptor, and others are needed besides."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 4096 if allowed == resource.RLIM_INFINITY else min(4096, allowed // 2)
