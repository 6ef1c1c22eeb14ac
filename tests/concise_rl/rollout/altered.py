"""The embedded reasoner with another configuration."""

import json
import shutil
from pathlib import Path
from typing import Any

from concise_rl.models.resolve import resolve_model

NEWLINE = 8
"""The token of a line break, which the reasoner writes often."""
OPINIONS: dict[str, Any] = {
    "no_repeat_ngram_size": 2,
    "suppress_tokens": [10],
    "begin_suppress_tokens": [5],
    "min_new_tokens": 50,
    "min_length": 90,
    "forced_eos_token_id": NEWLINE,
    "forced_bos_token_id": 9,
    "bad_words_ids": [[NEWLINE]],
    "sequence_bias": [[[NEWLINE], -10.0]],
    "repetition_penalty": 1.5,
    "exponential_decay_length_penalty": [2, 1.5],
    "temperature": 0.3,
    "top_k": 1,
    "typical_p": 0.5,
    "epsilon_cutoff": 0.1,
    "guidance_scale": 2.0,
    "penalty_alpha": 0.6,
    "num_beams": 3,
    "num_return_sequences": 2,
    "dola_layers": "high",
    "prompt_lookup_num_tokens": 3,
    "cache_implementation": "static",
    "use_cache": False,
    "max_new_tokens": 7,
    "max_time": 0.01,
    "stop_strings": ["1"],
}
"""What a generation config may ask for, each of which changes what comes out, or ends in an error."""


def altered(folder: Path, file: str, drop: tuple[str, ...] = (), **settings: Any) -> str:
    """A copy of the reasoner, with settings added to one of its JSON files and others dropped."""
    shutil.copytree(resolve_model("tiny:base"), folder, dirs_exist_ok=True)
    found = json.loads((folder / file).read_text()) | settings
    (folder / file).write_text(json.dumps({key: value for key, value in found.items() if key not in drop}))
    return str(folder)
