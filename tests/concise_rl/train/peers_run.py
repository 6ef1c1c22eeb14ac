"""Two ranks, of which the second ends in some way while the first waits for it. Started by test_peers."""

import os
import signal
import sys
import time

import torch
from accelerate import PartialState

from concise_rl.errors import PeerError
from concise_rl.train.peers import with_peers


def main(how: str) -> None:
    """Be one of the ranks."""
    state = PartialState(cpu=True)
    with with_peers():
        if state.process_index == 1:
            time.sleep(1)
            if how == "error":
                raise ValueError("no such thing")
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
        if how == "killed":  # in a collective, which fails by itself
            torch.distributed.barrier()
        elif how == "error" and state.process_index == 0:  # elsewhere: nothing fails
            time.sleep(60)
    print(f"rank {state.process_index} is done", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except PeerError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(1)
