"""One server for two ranks. Started by test_distributed, by torchrun; each rank writes down what it got."""

import json
import sys
import time
from pathlib import Path

from accelerate import Accelerator

from concise_rl.rollout.engine import Asked, Request, Sampling
from concise_rl.rollout.engines.server import VllmServer
from concise_rl.rollout.sync.main_rank import OnMainRank, leave_process_group


def main(url: str, folder: Path, weights: Path, start_timeout: float) -> None:
    """Ranks 0, 1, ... have 2, 3, ... requests, of a prompt that begins with 10 times the rank."""
    accelerator = Accelerator(cpu=True)  # gloo; without it torchrun gives two worlds of one
    rank = accelerator.process_index
    result: dict = {"world": accelerator.num_processes, "ended": 0}
    began = time.monotonic()
    try:
        engine = OnMainRank.start(lambda: VllmServer(url, [1], start_timeout=start_timeout), accelerator)
        requests = [Request([10 * (rank + 1), 30 + i], 8) for i in range(2 + rank)]

        def progress(count: int) -> None:
            result["ended"] += count

        result["ids"] = [c.ids for c in engine.generate(Asked(requests, Sampling(), progress))]
        engine.load_weights(weights)
        result["score"] = engine.score([5, 6, 7])
    except Exception as error:
        result["error"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        result["seconds"] = time.monotonic() - began
        (folder / f"rank-{rank}.json").write_text(json.dumps(result))
    # Together: a rank that is gone while the other still closes its connections makes that one end badly.
    accelerator.wait_for_everyone()
    leave_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
