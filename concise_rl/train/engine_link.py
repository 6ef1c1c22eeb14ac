"""The part of the trainer that samples: the link to the engine, and the weights of each step.

Private parts of TRL in use here and in `rollout/sync/links.py`, read at TRL 1.16: `_tokenize_prompts`,
`_generate_single_turn`, `_last_loaded_step`, `VLLMGeneration._iter_named_params`.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from trl import GRPOTrainer

from concise_rl.recipe.config import ConciseConfig
from concise_rl.rollout.sync.links import Colocated, Remote, link_to_engine
from concise_rl.rollout.sync.refused import refuse_unsupported
from concise_rl.train.clock import Clock


@contextmanager
def trl_without_vllm(args: ConciseConfig) -> Generator[None]:
    """Hide `use_vllm` from TRL while it is set up: vLLM is started here. TRL's own would give no seed to a request and
    could not give one up.

    Raises:
        ValueError: for settings of TRL's vLLM that would be passed over in silence.
    """
    if args.use_vllm:
        refuse_unsupported(args)
    use_vllm, args.use_vllm = args.use_vllm, False
    try:
        yield
    finally:
        args.use_vllm = use_vllm


class EngineLink(GRPOTrainer):
    """Links the engine, and gives it the weights of each step."""

    args: ConciseConfig
    clock: Clock

    def link_engine(self) -> None:
        """Link to whatever samples."""
        self.link = self.vllm_generation = link_to_engine(self, self.use_vllm)
        self._last_loaded_step = -1

    def _sync_engine(self, inputs: list[dict[str, Any]]) -> None:
        """Give the engine the weights of this step, once, and again where it has slept."""
        if self.state.global_step == self._last_loaded_step and not self.link.weights_gone:
            return
        with self.clock.timed("sync"):
            if isinstance(self.link, Colocated | Remote):
                self.link.probe.choose(self._tokenize(inputs[:1])[0])
            difference = self.link.sync_weights()
        if difference is not None:
            assert self.model is not None
            self._metrics["train" if self.model.training else "eval"]["sync/difference"].append(difference)
        self._last_loaded_step = self.state.global_step

    def _tokenize(self, rows: Sequence[Any]) -> list[list[int]]:
        return self._tokenize_prompts([row["prompt"] for row in rows])[0]
