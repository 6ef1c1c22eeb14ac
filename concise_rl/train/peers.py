"""End all ranks when one of them has gone, and say which.

A collective waits for a machine that is gone for `ddp_timeout`, which has to be longer than the longest rollouts: for
hours, and then says nothing of who is missing. So each rank keeps a connection to the first one beside it, over which
nothing is sent but a last word. The kernels at both ends ask each other whether they live (TCP keepalive), whatever
their processes are busy with. A process that is killed closes its connection; a machine or a network that is gone
leaves the questions unanswered for `SILENCE` seconds.
"""

import json
import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from concise_rl.errors import EngineError, Interrupted, PeerError
from concise_rl.rollout.engines.http import SILENCE, keepalive

logger = logging.getLogger(__name__)

PATIENCE = 20.0
"""Seconds in which ranks have to reach the first one, when a run starts."""
GRACE = 5.0
"""Seconds that a rank has to end by itself after another has gone: it may have an error of its own to tell."""
COLLECTIVE = ("gloo", "nccl", "processgroup", "connection closed by peer", "connection reset by peer")
"""What stands in the errors of collectives, in small letters."""
GO_ON = "Every rank ends. Give the same command again: the run goes on from its last complete checkpoint."


class Peers:
    """The other ranks, as far as this one is connected to them: the first one to all, the others to the first."""

    def __init__(self, me: str) -> None:
        """
        Args:
            me: this rank, in the words of `called`.
        """
        self.me, self.links = me, list[socket.socket]()
        self.lost: str | None = None
        self._lock, self._known, self._left = threading.Lock(), threading.Event(), False

    def watch(self, link: socket.socket, who: str) -> None:
        """Listen to another rank from now on, in a thread."""
        for option in keepalive():
            link.setsockopt(*option)
        link.settimeout(None)
        self.links.append(link)
        threading.Thread(target=self._listen, args=(link, who), daemon=True).start()

    def _listen(self, link: socket.socket, who: str) -> None:
        try:
            words = link.makefile().readline()
        except ConnectionError:
            words = ""
        except OSError as error:  # a time-out, or no way there any more
            return self._lose(
                f"{who} has not answered for {SILENCE} s ({error.strerror}): its machine or network is gone"
            )
        said = json.loads(words) if words.endswith("\n") else f"{who} is gone: its process was killed"
        if said is not None:
            self._lose(said)

    def _lose(self, said: str) -> None:
        """Tell this process's main thread and the other ranks; end this process unless it does so by itself."""
        with self._lock:
            if self.lost or self._left:
                return
            self.lost = said
        self._known.set()
        self._tell(said)
        time.sleep(GRACE)
        if not self._left:
            print(f"error: {said}. {GO_ON}", file=sys.stderr, flush=True)
            os._exit(1)

    def _tell(self, said: str | None) -> None:
        for link in self.links:
            with suppress(OSError):  # it is gone, too
                link.sendall(json.dumps(said).encode() + b"\n")

    def leave(self, error: BaseException | None = None) -> None:
        """Say the last word: what this rank has ended with, or that it is done."""
        with self._lock:
            self._left = True
        if not self.lost:
            kind = "" if isinstance(error, ValueError | EngineError) else f"{type(error).__name__}: "
            told = f"{self.me} has ended: {kind}{' '.join(str(error).split())}".rstrip(".: ")
            self._tell(None if error is None else told)
        for link in self.links:
            with suppress(OSError):  # the other one was faster
                link.shutdown(socket.SHUT_RDWR)
            link.close()

    def explain(self, error: BaseException) -> str | None:
        """What became of the others, where a collective has failed; it may do so before that is known."""
        if not isinstance(error, dist.DistError) and not any(word in str(error).lower() for word in COLLECTIVE):
            return None
        self._known.wait(GRACE)
        return self.lost


def called(rank: int, address: str = "") -> str:
    """A rank, and the machine that it runs on."""
    return f"Rank {rank} on {socket.gethostname()}{f' ({address})' if address else ''}"


@contextmanager
def with_peers() -> Generator[None]:
    """Around the work of a run, on every rank: when another rank ends, this one ends, too.

    Raises:
        PeerError: when a collective has failed because of that.
    """
    state = PartialState()
    if state.num_processes == 1:
        yield
        return
    peers = connect(state)
    try:
        yield
        state.wait_for_everyone()
    except Interrupted:  # every rank comes here, in its own time
        state.wait_for_everyone()
        peers.leave()
        raise
    except BaseException as error:
        lost = peers.explain(error)
        peers.leave(error)
        if lost is None:
            raise
        raise PeerError(f"{lost}. {GO_ON}") from error
    peers.leave()


def connect(state: PartialState) -> Peers:
    """Connect this rank. Where ranks cannot reach each other beside the collectives, there is a warning."""
    peers, door, token = Peers(called(state.process_index)), None, ""
    if state.is_main_process:
        door, token = socket.create_server(("", 0), backlog=state.num_processes), secrets.token_hex(16)
    (port, token) = broadcast_object_list([door.getsockname()[1] if door else 0, token])
    if door:
        reached = _let_in(peers, door, token, state.num_processes - 1)
    else:
        reached = _knock(peers, state.process_index, port, token)
    if not all(gather_object([reached])):
        peers.leave()
        peers.links.clear()
        if state.is_main_process:
            logger.warning(
                "Ranks cannot connect to port %d of the first one's machine (a firewall?). A machine that goes is "
                "noticed only after ddp_timeout.",
                port,
            )
    return peers


def _let_in(peers: Peers, door: socket.socket, token: str, count: int) -> bool:
    """Wait for so many ranks. Others who connect are turned away."""
    deadline = time.monotonic() + PATIENCE
    with door:
        while len(peers.links) < count and (left := deadline - time.monotonic()) > 0:
            door.settimeout(left)
            try:
                link, (address, _) = door.accept()
                link.settimeout(left)
                shown, rank, host = json.loads(link.makefile().readline() or "[0, 0, 0]")
            except (OSError, TypeError, ValueError):  # somebody else's knock
                continue
            if shown == token:
                peers.watch(link, f"Rank {rank} on {host} ({address})")
    return len(peers.links) == count


def _knock(peers: Peers, rank: int, port: int, token: str) -> bool:
    """Connect to the first rank."""
    address = os.environ["MASTER_ADDR"]
    try:
        link = socket.create_connection((address, port), PATIENCE)
        link.sendall(json.dumps([token, rank, socket.gethostname()]).encode() + b"\n")
    except OSError:
        return False
    peers.watch(link, f"Rank 0 at {address}")
    return True
