"""A checkout whose programs only say how they were called, and stand-ins for what starts them on other machines."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

TRAIN = """
import os, sys
names = ("RANK", "WORLD_SIZE", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_DEEPSPEED_CONFIG_FILE")
names += ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "VLLM_HOST_IP")
line = "rank {} of {}, deepspeed {}, settings {}, network {} {} {}".format(*map(os.environ.get, names))
os.write(1, f"{line} {sys.argv[1:]}\\n".encode())  # in one piece: two nodes write to one pipe
sys.exit(3 if "--fail" in sys.argv and os.environ["RANK"] == "1" else 0)
"""
"""Where the real `accelerate` starts it: says its rank."""
WORKER = """
import os, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))
os.write(1, b"at work\\n")
time.sleep(60)
"""
"""Below an `accelerate` that is none: stops at SIGUSR1, as the trainer does."""
# Behind their options: a host's name (ssh alone), and what to run.
SSH = 'echo "ssh $*" >> "$CALLS"; while [[ $1 == -* ]]; do shift 2; done; exec bash -c "$2"'
SRUN = 'echo "srun $*" >> "$CALLS"; while [[ $1 == -* ]]; do shift; done; exec "$@"'


def write_script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@dataclass
class Checkout:
    """See the module. Each host is this machine."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("launch", "concise_rl/sweep"):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).symlink_to(ROOT / name)
        (self.folder / "concise_rl/train").mkdir()
        for name in ("__init__.py", "train/__init__.py"):
            (self.folder / "concise_rl" / name).touch()
        (self.folder / "concise_rl/train/__main__.py").write_text(TRAIN)
        (self.folder / "recipe.yaml").write_text("model_name_or_path: some/model\n")
        self.program("python", f'exec {sys.executable} "$@"')
        self.program("accelerate", f'exec {sys.executable} -m accelerate.commands.accelerate_cli "$@"')
        self.program("concise-rl", f'echo "concise-rl $*"; exec {sys.executable} -c "import time; time.sleep(60)"')
        for name, text in (("ssh", SSH), ("srun", SRUN), ("scontrol", 'echo "scontrol $*" >> "$CALLS"; ' + HOSTNAMES)):
            write_script(self.folder / "bin" / name, text)
        write_script(self.folder / "bin/ip", '[[ $* == *" lo" ]] && echo "1: lo    inet 127.0.0.1/8 scope host lo"')

    def program(self, name: str, text: str) -> None:
        """Put a program into its .venv."""
        write_script(self.folder / ".venv/bin" / name, text)

    def works_until_told(self) -> None:
        """Let its `accelerate` start one process that goes on until SIGUSR1, and make 1 of its status."""
        (self.folder / "worker.py").write_text(WORKER)
        self.program("accelerate", f'echo "accelerate $*"; {sys.executable} worker.py || exit 1')

    @property
    def calls(self) -> str:
        """How the stand-ins were called."""
        file = self.folder / "calls"
        return file.read_text() if file.exists() else ""

    def start(self, *command: str, **env: str) -> subprocess.Popen[str]:
        """Start a command in it."""
        path = f"{self.folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
        names = {"PATH": path, "CALLS": str(self.folder / "calls"), "NETWORK_INTERFACE": "lo"}
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | names | env
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )


HOSTNAMES = '[[ $1 == requeue ]] || printf "%s\\n" ${NODES:-127.0.0.1 127.0.0.1}'
"""What `scontrol show hostnames` says."""


def ended(process: subprocess.Popen[str], timeout: float = 180) -> subprocess.CompletedProcess[str]:
    """What a command has said, and how it has ended."""
    stdout, stderr = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def read_until(process: subprocess.Popen[str], words: str, times: int = 1) -> str:
    """What a command says until it has said something so many times."""
    assert process.stdout is not None
    said = ""
    while said.count(words) < times:
        line = process.stdout.readline()
        assert line, said
        said += line
    return said
