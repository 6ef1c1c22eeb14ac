"""One engine for all ranks, held by the main process."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch.distributed as dist
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list, gather_object

from concise_rl.rollout.engine import Asked, Completion
from concise_rl.rollout.engines.server import VllmServer
from concise_rl.rollout.engines.servers import Servers

T = TypeVar("T")


def leave_process_group() -> None:
    """Close the connections of this rank when all ranks have come here. Call it last, on every rank.

    torch (2.13) joins the thread of gloo while it holds the interpreter's lock. That thread wants the lock to drop its
    last reference to the barrier, so that a rank which goes on at once may wait for ever.
    """
    PartialState().wait_for_everyone()  # a rank that leaves early may abort one that still closes its connections
    if dist.is_available() and dist.is_initialized():
        time.sleep(1)  # without the lock
        dist.destroy_process_group()


class OnMainRank:
    """An `Engine` over the main process's engine. Every rank calls each method, at the same time.

    What fails on the main process is raised on all ranks: none is left waiting. They wait, in a broadcast, for as long
    as the main process takes: `ddp_timeout` has to be longer than the longest rollouts.
    """

    def __init__(self, engine: VllmServer | Servers | None, accelerator: Accelerator) -> None:
        """
        Args:
            engine: on the main process; None on the others.
            accelerator: says who is who.
        """
        assert (engine is not None) == accelerator.is_main_process, "the main process holds the engine, and no other"
        self._engine, self.accelerator = engine, accelerator

    @classmethod
    def start(cls, start: Callable[[], VllmServer | Servers], accelerator: Accelerator) -> "OnMainRank":
        """Let the main process connect to a server.

        Raises:
            Exception: what `start` raised on the main process.
        """
        engines: list[VllmServer | Servers] = []
        _on_main(accelerator, lambda: engines.append(start()))
        return cls(engines[0] if engines else None, accelerator)

    @property
    def engine(self) -> VllmServer | Servers:
        """On the main process."""
        assert self._engine is not None, "only the main process has it"
        return self._engine

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`. Ranks may differ in how many requests they have. The main process's `sampling` counts,
        `progress` is told at the end, and `give_up` is not used: it knows positions on one rank only."""
        by_rank = gather_object([list(asked.requests)])
        everything = Asked([request for requests in by_rank for request in requests], asked.sampling)
        completions = _on_main(self.accelerator, lambda: self.engine.generate(everything))
        first = sum(map(len, by_rank[: self.accelerator.process_index]))
        if asked.progress and asked.requests:
            asked.progress(len(asked.requests))
        return completions[first : first + len(asked.requests)]

    def is_wanted(self, wanted: bool) -> bool:
        """See `Shared.is_wanted`."""
        return any(gather_object([wanted]))

    def score(self, prompt_ids: Sequence[int]) -> list[float] | list[list[float]]:
        """See `VllmServer.score`. The ids are the same on all ranks."""
        return _on_main(self.accelerator, lambda: self.engine.score(prompt_ids))

    def load_weights(self, folder: Path) -> None:
        """See `VllmServer.load_weights`. The folder has to be written before the main process calls this."""
        _on_main(self.accelerator, lambda: self.engine.load_weights(folder))


def _on_main(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """What `work` returns on the main process, on every rank; or what it raised there."""
    outcome: list[T | Exception | None] = [None]
    if accelerator.is_main_process:
        try:
            outcome = [work()]
        except Exception as error:  # whatever it is: the other ranks would wait for it for good
            outcome = [error]
    (result,) = broadcast_object_list(outcome)
    if isinstance(result, Exception):
        raise result
    return result
