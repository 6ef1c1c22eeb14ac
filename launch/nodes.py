"""Train on several machines: one `accelerate launch` on each, and vLLM servers on some. See `launch/nodes.sh --help`.

Each machine's command runs under concise_rl/sweep/keeper.py, which holds it by the standard input of its ssh: when that
closes, because this process has ended, say, what it has started there ends, too.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

AGAIN = 75
"""Exit code of a training that a signal has stopped and that has saved a checkpoint: concise_rl/errors.py."""
GRACE = 15.0
"""Seconds that the other machines have to say why they end, after one has ended."""
SERVER_PORT = 8000
HANDED_ON = (
    "NCCL_",
    "GLOO_",
    "VLLM_",
    "CUDA_",
    "OMP_",
    "TORCH_",
    "TRANSFORMERS_",
    "TOKENIZERS_",
    "HF_HOME",
    "HF_HUB_OFFLINE",
)
"""Variables that go over ssh, by their beginnings: no tokens, which every user of a machine would see."""
EPILOG = """\
The first host is the trainers' main one. Each host is one that ssh reaches without a password, and that the others
reach by the same name. It has this checkout under the same path, with .venv made by
`bash launch/setup.sh vllm deepspeed`, and sees the output folder; on disks of their own give --save_on_each_node true.

When one machine's part fails, or its ssh, all end, and the exit status is not 0. Give the same command again, with
another host in place of the broken one, and the run goes on from its last complete checkpoint.
At SIGUSR1 or SIGTERM the step that runs is made and a checkpoint written; the exit status is 75, which says that the
same command goes on. A second SIGTERM, or Ctrl-C, ends all at once.

NETWORK_INTERFACE  that which joins the machines, as `ip addr` names it: ib0, say. Give it where a machine has several,
                   or where its own name means 127.0.0.1: then NCCL, gloo and vLLM use it. (Default: each takes one.)
NCCL_*, GLOO_*, VLLM_*, HF_HOME and their like are handed on. --ddp_timeout has to be longer than the longest sampling
of a batch takes, in seconds. Servers listen at port 8000 of all addresses: on a trusted network only.
"""
# What only the machine itself knows: its address.
PREPARE = """\
if [[ -n ${NETWORK_INTERFACE:-} ]]; then
    read -r _ _ _ address _ < <(ip -4 -o addr show dev "$NETWORK_INTERFACE") ||
        { echo "$(hostname) has no address on NETWORK_INTERFACE=$NETWORK_INTERFACE." >&2; exit 2; }
    export NCCL_SOCKET_IFNAME=$NETWORK_INTERFACE GLOO_SOCKET_IFNAME=$NETWORK_INTERFACE VLLM_HOST_IP=${address%/*}
fi
"""


@dataclass
class Part:
    """What runs on one host.

    Attributes:
        host: its name.
        what: `trainer` or `server`.
        process: of this machine, which holds that on the other.
    """

    host: str
    what: str
    process: subprocess.Popen

    def tell(self) -> None:
        """Let it stop in order."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it is ending, and the loop hears of it
            self.process.stdin.write(b"stop\n")
            self.process.stdin.flush()

    def let_go(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended
            self.process.stdin.close()


def read_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line; what stands behind -- is the recipe and settings laid over it."""
    parser = argparse.ArgumentParser(
        prog="bash launch/nodes.sh",
        usage="bash launch/nodes.sh [OPTIONS] HOST HOST ... -- RECIPE [--key value ...]",
        description="Train on several machines: one `accelerate launch` on each, and vLLM servers on some.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("hosts", nargs="+", metavar="HOST", help="a machine")
    parser.add_argument(
        "--servers",
        type=int,
        default=0,
        help="so many of the last hosts run a vLLM server each, which the trainers use (%(default)s)",
    )
    parser.add_argument(
        "--server-flags",
        default="",
        help="for these servers; all GPUs of a host make one server unless it says otherwise",
    )
    parser.add_argument("--gpus", type=int, default=8, help="GPUs of each host (%(default)s)")
    parser.add_argument("--config", default="zero3", help="a file of launch/accelerate/ (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=29500, help="where the trainers meet on the first host (%(default)s)"
    )
    parser.add_argument("--srun", action="store_true", help="reach the hosts by srun, inside a job, in place of ssh")
    at = argv.index("--") if "--" in argv else len(argv)
    args = parser.parse_args(argv[:at])
    args.recipe = list(argv[at + 1 :])
    if not args.recipe:
        parser.error("say which recipe to run, behind the hosts: -- RECIPE [--key value ...]")
    if not 0 <= args.servers < len(args.hosts):
        parser.error(f"--servers {args.servers} of {len(args.hosts)} hosts leaves none to train on")
    for needed in (args.recipe[0], f"launch/accelerate/{args.config}.yaml"):
        if not Path(needed).is_file():
            parser.error(f"there is no {needed} in {Path.cwd()}")
    return args


def trainer_command(args: argparse.Namespace, rank: int) -> list[str]:
    """The part of a host that trains."""
    trainers, servers = split(args)
    urls = ",".join(f"http://{host}:{SERVER_PORT}" for host in servers)
    served = ["--use_vllm", "true", "--vllm_mode", "server", "--vllm_server_base_url", urls] if servers else []
    count = len(trainers)
    several = ["--main_process_ip", trainers[0], "--main_process_port", str(args.port)]
    return [
        *(".venv/bin/accelerate", "launch", "--config_file", f"launch/accelerate/{args.config}.yaml"),
        *("--num_machines", str(count), "--machine_rank", str(rank), "--num_processes", str(count * args.gpus)),
        *several,
        *("-m", "concise_rl.train", "--config", *args.recipe, *served),
    ]


def server_command(args: argparse.Namespace) -> list[str]:
    """The part of a host that samples."""
    flags = shlex.split(args.server_flags)
    whole = [] if "--tensor-parallel-size" in flags else ["--tensor-parallel-size", str(args.gpus)]
    own = ["--host", "0.0.0.0", "--port", str(SERVER_PORT)]
    return [".venv/bin/concise-rl", "serve", *own, model_of(args.recipe), *whole, *flags]


def model_of(recipe: Sequence[str]) -> str:
    """The model that a recipe trains, or a setting laid over it."""
    name, settings = "--model_name_or_path", list(recipe[1:])
    if name in settings[:-1]:
        return settings[settings.index(name) + 1]
    return yaml.safe_load(Path(recipe[0]).read_text())[name.removeprefix("--")]


def split(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Hosts that train, and hosts that serve."""
    at = len(args.hosts) - args.servers
    return args.hosts[:at], args.hosts[at:]


def start(args: argparse.Namespace, host: str, what: str, command: Sequence[str]) -> Part:
    """Start the part of a host, in the folder that this process is in."""
    names = [name for name in os.environ if name.startswith(HANDED_ON) or name == "NETWORK_INTERFACE"]
    exports = "".join(f"export {name}={shlex.quote(os.environ[name])}\n" for name in names)
    run = shlex.join([".venv/bin/python", "concise_rl/sweep/keeper.py", *command])
    script = f"cd {shlex.quote(str(Path.cwd()))} || exit 2\n{exports}{PREPARE}exec {run}"
    ours = ["bash", "-c", script]
    alive = ("-o", "BatchMode=yes", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3")
    through = ["srun", "--overlap", "--cpu-bind=none", "--nodes=1", "--ntasks=1", f"--nodelist={host}", *ours]
    words = through if args.srun else ["ssh", *alive, host, shlex.join(ours)]
    # A session of its own: Ctrl-C is for this process, which ends the parts in order.
    return Part(host, what, subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True))


def supervise(parts: Sequence[Part], told: list[int]) -> int:
    """Wait for the trainers; end all when a part fails. Returns the exit status.

    Args:
        parts: of all hosts.
        told: signals that have come.
    """
    trainers = [part for part in parts if part.what == "trainer"]
    heard, ended = 0, None
    while ended is None and any(part.process.poll() is None for part in trainers):
        if len(told) > heard:
            heard = len(told)
            if signal.SIGINT in told or told.count(signal.SIGTERM) > 1:
                ended = 128 + told[-1]
            for part in trainers if ended is None else ():
                part.tell()
        ended = ended or failure(parts)
        time.sleep(0.2)
    deadline = time.monotonic() + GRACE
    while ended and time.monotonic() < deadline and any(part.process.poll() is None for part in trainers):
        time.sleep(0.2)  # the others hear of it by themselves, and say so
    for part in parts:
        part.let_go()
    statuses = [part.process.wait() for part in parts if part.what == "trainer"]
    return AGAIN if AGAIN in statuses else ended or next((status for status in statuses if status), 0)


def failure(parts: Sequence[Part]) -> int | None:
    """The exit status of a part that has failed; a server that has ended at all has."""
    for part in parts:
        status = part.process.poll()
        if status is not None and (status or part.what == "server") and status != AGAIN:
            say(f"the {part.what} on {part.host} has ended with status {status}: all end")
            return status or 1
    return None


def say(text: str) -> None:
    """Tell it with the time."""
    print(f"{time.strftime('%F %T')} nodes: {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str]) -> int:
    """Start the parts, and wait for them. Returns the exit status."""
    args = read_arguments(argv)
    trainers, servers = split(args)
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, lambda number, _: told.append(number))
    say(f"trainers on {' '.join(trainers)}, servers on {' '.join(servers) or 'none'}: {shlex.join(args.recipe)}")
    parts = [start(args, host, "server", server_command(args)) for host in servers]
    parts += [start(args, host, "trainer", trainer_command(args, rank)) for rank, host in enumerate(trainers)]
    status = supervise(parts, told)
    say(f"ended with status {status}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
