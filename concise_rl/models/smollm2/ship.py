"""Put the adapters of a run where they ship: `python -m concise_rl.models.smollm2.ship RUN smollm2:NAME`.

launch/smollm2_cpu.sh does so after each training.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from concise_rl.files import write_atomically
from concise_rl.models.smollm2 import WEIGHTS

WEIGHTS_FILE, CONFIG_FILE = "adapter_model.safetensors", "adapter_config.json"


def ship(run: Path, name: str) -> None:
    """Write a run's adapters in float16, half of what training keeps, and their configuration without the machine's
    paths."""
    folder = WEIGHTS / name.removeprefix("smollm2:")
    folder.mkdir(parents=True, exist_ok=True)
    weights = load_file(run / WEIGHTS_FILE)
    save_file({key: value.to(torch.float16) for key, value in weights.items()}, folder / WEIGHTS_FILE)
    (folder / WEIGHTS_FILE).chmod(0o644)  # which it leaves to the owner alone
    below = {"smollm2:start": "HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2:base": "smollm2:start"}
    config = json.loads((run / CONFIG_FILE).read_text())
    config["base_model_name_or_path"] = below.get(name, "smollm2:base")
    write_atomically(folder / CONFIG_FILE, json.dumps(config, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    ship(Path(sys.argv[1]), sys.argv[2])
