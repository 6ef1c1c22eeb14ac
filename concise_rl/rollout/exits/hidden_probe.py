"""A probe of hidden states, and the conformal sets that turn its scores into promises: what LYNX stops by.

LYNX (https://hf.co/papers/2512.05325; https://github.com/farukakgul/LYNX): hidden states of some layers side by side,
standardised, a network of 256 and 64 units; split-conformal prediction with a threshold for each class. Scores are
probabilities that the answer forced at a place is right.

Axes: N places, D numbers of the layers' hidden states.
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from concise_rl.files import write_atomically

EPOCHS, LEARNING_RATE, WEIGHT_DECAY = 300, 1e-3, 1e-2
UNITS = (256, 64)
LEAST = 20
"""Places of each class below which nothing is trained or calibrated."""
_FORMAT = "concise_rl hidden probe 1"


@dataclass(frozen=True)
class HiddenProbe:
    """A trained probe with its calibration.

    Attributes:
        network: from standardised hidden states (N, D) to logits (N, 1).
        mean_D, scale_D: that standardise.
        layers: whose hidden states stand side by side, as `HiddenEngine.hidden_states` counts them.
        cues: words, in lower case, at whose tokens it reads.
        right_N, wrong_N: calibration scores of places whose answers were right, and wrong; ascending.
        fingerprint: of the model's weights; empty where there was no folder to hash.
    """

    network: nn.Sequential
    mean_D: Tensor
    scale_D: Tensor
    layers: tuple[int, ...]
    cues: tuple[str, ...]
    right_N: Tensor
    wrong_N: Tensor
    fingerprint: str = ""

    @torch.no_grad()
    def scores(self, hidden_ND: Tensor) -> Tensor:
        """Return (N,) probabilities that the answers at these places are right.

        Raises:
            ValueError: for hidden states of another size.
        """
        if hidden_ND.shape[-1] != len(self.mean_D):
            raise ValueError(
                f"The probe reads {len(self.mean_D)} numbers of hidden states, the model gives {hidden_ND.shape[-1]}: "
                "it was trained on another model."
            )
        hidden_ND = (hidden_ND.float().cpu() - self.mean_D) / self.scale_D
        return self.network(hidden_ND)[:, 0].sigmoid()

    def is_surely_right(self, score: float, delta: float) -> bool:
        """Say whether the conformal set of a score is {right}.

        A class is in the set unless its own calibration scores make it too strange: among places that are wrong, at
        most the share `delta` loses "wrong" so, where places are exchangeable.
        """
        return self.holds_right(score, delta) and not self.holds_wrong(score, delta)

    def holds_right(self, score: float, delta: float) -> bool:
        """Say whether the conformal set of a score has "right"."""
        return 1 - score <= quantile(1 - self.right_N, delta)

    def holds_wrong(self, score: float, delta: float) -> bool:
        """Say whether the conformal set of a score has "wrong"."""
        return score <= quantile(self.wrong_N, delta)

    def least_delta(self) -> float:
        """Return the least `delta` at which "wrong" ever leaves a set: below it there are too few wrong places."""
        return 1 / (len(self.wrong_N) + 1)


def quantile(strangeness_N: Tensor, delta: float) -> float:
    """Return the ceil((n + 1)(1 - delta))-th smallest of n; infinity where there are fewer."""
    rank = math.ceil((len(strangeness_N) + 1) * (1 - delta) - 1e-9)
    return math.inf if rank > len(strangeness_N) else float(strangeness_N.sort().values[max(0, rank - 1)])


def train_probe(
    hidden_ND: Tensor,
    right_N: Tensor,
    calibrates_N: Tensor,
    layers: tuple[int, ...],
    cues: tuple[str, ...],
    fingerprint: str = "",
    seed: int = 0,
) -> HiddenProbe:
    """Train a probe on some places, and calibrate it on the others.

    Args:
        hidden_ND: of all of them.
        right_N: whether the answer forced there was right.
        calibrates_N: whether a place is for calibration. Keep all places of a problem on one side.
        layers, cues, fingerprint: see `HiddenProbe`.
        seed: of the network's first weights.

    Raises:
        ValueError: when a side has fewer than `LEAST` right or wrong places.
    """
    hidden_ND, right_N = hidden_ND.float().cpu(), right_N.bool()
    for side, name in ((~calibrates_N, "training"), (calibrates_N, "calibration")):
        found = {"right": int((right_N & side).sum()), "wrong": int((~right_N & side).sum())}
        if few := [f"{number} {kind}" for kind, number in found.items() if number < LEAST]:
            raise ValueError(
                f"Of the places for {name}, {' and '.join(few)}: at least {LEAST} of each are needed. Evaluate more "
                "problems or samples; a policy that learns has nothing to learn where all answers are alike."
            )
    training_ND = hidden_ND[~calibrates_N]
    mean_D, scale_D = training_ND.mean(dim=0), training_ND.std(dim=0).clamp(min=1e-6)
    network = _fit((training_ND - mean_D) / scale_D, right_N[~calibrates_N].float(), seed)
    none = torch.zeros(0)
    probe = HiddenProbe(network, mean_D, scale_D, layers, cues, none, none, fingerprint)
    scores_N = probe.scores(hidden_ND[calibrates_N]).sort().values
    order_N = probe.scores(hidden_ND[calibrates_N]).argsort()
    right_N = right_N[calibrates_N][order_N]
    return HiddenProbe(network, mean_D, scale_D, layers, cues, scores_N[right_N], scores_N[~right_N], fingerprint)


def _fit(hidden_ND: Tensor, right_N: Tensor, seed: int) -> nn.Sequential:
    """Train the network with both classes weighing the same, over the whole set at each step."""
    share = float(right_N.mean())
    weights_N = torch.where(right_N == 1, 0.5 / share, 0.5 / (1 - share))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _network(hidden_ND.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network(hidden_ND)[:, 0], right_N, weights_N)
        loss.backward()
        optimizer.step()
    return network.eval().requires_grad_(False)


def _network(width: int) -> nn.Sequential:
    first, second = UNITS
    return nn.Sequential(nn.Linear(width, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, 1))


def write_probe(probe: HiddenProbe, path: Path) -> None:
    """Write a probe as one safetensors file."""
    tensors = {f"network.{name}": tensor.contiguous() for name, tensor in probe.network.state_dict().items()}
    tensors |= {name: getattr(probe, name).contiguous() for name in ("mean_D", "scale_D", "right_N", "wrong_N")}
    facts = {
        "format": _FORMAT,
        "layers": " ".join(map(str, probe.layers)),
        "cues": " ".join(probe.cues),
        "fingerprint": probe.fingerprint,
    }
    write_atomically(path, save(tensors, metadata=facts))


def read_probe(path: Path) -> HiddenProbe:
    """Read a probe that `write_probe` wrote.

    Raises:
        ValueError: when there is none.
    """
    if not path.is_file():
        raise ValueError(f"There is no probe {path}: train one with `concise-rl exits DIR --train-lynx {path}`.")
    try:
        with safe_open(path, "pt") as file:
            names = file.keys()
            facts, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file ({error}): train a probe with --train-lynx.") from error
    if facts.get("format") != _FORMAT:
        raise ValueError(f"{path} holds no probe of hidden states: train one with --train-lynx.")
    network = _network(len(tensors["mean_D"]))
    network.load_state_dict({n.removeprefix("network."): t for n, t in tensors.items() if n.startswith("network.")})
    return HiddenProbe(
        network=network.eval().requires_grad_(False),
        mean_D=tensors["mean_D"],
        scale_D=tensors["scale_D"],
        layers=tuple(map(int, facts["layers"].split())),
        cues=tuple(facts["cues"].split()),
        right_N=tensors["right_N"],
        wrong_N=tensors["wrong_N"],
        fingerprint=facts["fingerprint"],
    )


@functools.lru_cache(maxsize=8)
def loaded_probe(path: str) -> HiddenProbe:
    """Return the probe in a file, read once.

    Raises:
        ValueError: see `read_probe`.
    """
    return read_probe(Path(path))


def published_layers(depth: int) -> tuple[int, ...]:
    """Return the layers that LYNX reads of a model of so many: its own for 28, 32, 36 and 64; else the quarters."""
    own = {28: (9, 16, -1), 32: (8, 16, 24), 36: (12, 18, 24, -1), 64: (16, 32, 48)}
    return own.get(depth) or tuple(dict.fromkeys(max(1, depth * quarter // 4) for quarter in (1, 2, 3)))
