"""How well the engine follows the trainer: log-probabilities of both after every hand-over of the weights.

    python -m tests.bench.sync [--steps 20] [--out DIR]

Trains the embedded reasoner with vLLM beside the trainer: all weights, with LoRA, and under DeepSpeed ZeRO-3 in two
processes; and all weights again with vLLM in a server. The learning rate is high, so that an engine left behind shows:
`moved` is how far the policy ends from where it began.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from concise_rl.models.resolve import resolve_model
from concise_rl.tasks.tiny import load_traces
from tests.serving import ROOT, serving

SETTINGS = {
    "use_vllm": "true",
    "num_rows": 64,
    "per_device_train_batch_size": 16,
    "max_completion_length": 160,
    "learning_rate": 1e-3,
    "save_strategy": "no",
    "disable_tqdm": "true",
}
LORA = {"use_peft": "true", "lora_r": 8, "lora_alpha": 64, "lora_target_modules": "all-linear"}
LAUNCH = [sys.executable, "-m"]
ZERO_3 = [*LAUNCH, "accelerate.commands.launch", "--config_file", "launch/accelerate/cpu_zero3.yaml", "-m"]


def train(command: list[str], settings: dict[str, object], folder: Path) -> list[dict[str, float]]:
    """Run, and read the metrics of each step."""
    words = [str(word) for key, value in settings.items() for word in (f"--{key}", value)]
    recipe = ["concise_rl.train", "--config", "recipes/tiny/grpo.yaml", "--output_dir", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *recipe, *words], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "sync/difference" in line]


@torch.no_grad()
def moved(folder: Path) -> float:
    """Mean absolute difference of log-probabilities between the trained and the first policy, on a reference trace."""
    row = load_traces(1)[0]
    path = resolve_model("tiny:base")
    ids = torch.tensor([AutoTokenizer.from_pretrained(path).encode(row["answer"])])
    loader = AutoPeftModelForCausalLM if (folder / "adapter_config.json").exists() else AutoModelForCausalLM
    scores = [
        model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
        for model in (AutoModelForCausalLM.from_pretrained(path), loader.from_pretrained(folder))
    ]
    return (scores[1] - scores[0]).abs().mean().item()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=None, help="keep the runs here")
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp())
    settings = SETTINGS | {"max_steps": args.steps}
    print(f"{args.steps} steps, nats a token; probe: the mean over one prompt, sampled: over all sampled tokens")
    ways: dict[str, tuple[list[str], dict[str, object]]] = {
        "all weights": (LAUNCH, settings),
        "LoRA": (LAUNCH, settings | LORA),
        "ZeRO-3, 2 processes": (ZERO_3, settings | {"per_device_train_batch_size": 8}),
    }
    with serving("tiny:base") as server:
        of_server = {"vllm_mode": "server", "vllm_server_base_url": server.url}
        ways["all weights, server"] = (LAUNCH, settings | of_server)
        for number, (name, (command, own)) in enumerate(ways.items()):
            folder = out / str(number)
            report(name, train(command, own, folder), folder)


def report(name: str, steps: list[dict[str, float]], folder: Path) -> None:
    """One line."""
    probe = [step["sync/difference"] for step in steps]
    sampled = [step["sampling/sampling_logp_difference/mean"] for step in steps]
    print(
        f"{name:20} {len(steps)} hand-overs   probe: mean {statistics.mean(probe):.1e}, largest {max(probe):.1e}   "
        f"sampled: mean {statistics.mean(sampled):.1e}, largest {max(sampled):.1e}   moved {moved(folder):.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
