"""What vLLM's workers are given beside their own methods."""

from typing import Any

import torch


def repack_heads(model: Any) -> None:
    """Pack output heads again after weights were loaded anew, on CPU.

    vLLM 0.31 packs a head's weights for its CPU kernel once. A head that is tied to the embedding is no weight of its
    own when others are loaded in place, so that it would go on with the packed old ones while the embedding is new.
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    if torch.cuda.is_available():
        return
    for layer in model.modules():
        if isinstance(layer, ParallelLMHead):
            layer.quant_method.process_weights_after_loading(layer)


class WorkerExtension:
    """Mixed into the workers of a server (`--worker-extension-cls`), to be called by name from outside."""

    model_runner: Any

    def repack_heads(self) -> None:
        """See the function."""
        repack_heads(self.model_runner.get_model())
