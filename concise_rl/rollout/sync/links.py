"""How a trainer reaches its engine, and how its weights get there."""

import gc
import logging
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from trl.generation.vllm_generation import VLLMGeneration
from trl.models import unwrap_model_for_generation

from concise_rl.models.policy import hub_settings
from concise_rl.rollout.engine import Asked, Completion, Engine, stop_reason
from concise_rl.rollout.engines.sampler import check_context, sampler
from concise_rl.rollout.engines.server import VllmServer
from concise_rl.rollout.engines.servers import Servers
from concise_rl.rollout.engines.transformers import TransformersEngine
from concise_rl.rollout.engines.vllm import VllmEngine
from concise_rl.rollout.plans.plan import Parallel, Plan
from concise_rl.rollout.sync.main_rank import OnMainRank
from concise_rl.rollout.sync.probe import Probe
from concise_rl.rollout.sync.refused import cannot_hand_over
from concise_rl.rollout.sync.weights import drop_old, folder_of, write_weights

logger = logging.getLogger(__name__)

WEIGHTS_FOLDER = "_engine-weights"
"""In the output folder. `push_to_hub` of transformers leaves out what begins with an underscore."""


class Link(Engine, Protocol):
    """An engine that follows a trainer's weights.

    Attributes:
        weights_gone: whether it has slept and lost the weights that it was handed.
    """

    weights_gone: bool

    def awake(self) -> AbstractContextManager[None]:
        """Around all that the engine is asked for a batch, the handing over of weights included. An engine that sleeps
        beside the trainer holds memory inside, and none outside."""
        ...

    def sync_weights(self) -> float | None:
        """Hand the trainer's weights to the engine. Every rank calls it.

        Returns:
            Mean absolute difference between the engine's and the trainer's log-probabilities of a probe afterwards, in
            nats; None where engine and trainer share one model.
        """
        ...


class NeverSleeps:
    """What a link has in common with others whose engine keeps its memory."""

    weights_gone = False

    def awake(self) -> AbstractContextManager[None]:
        """See `Link.awake`. Nothing to do."""
        return nullcontext()


class OwnModel(NeverSleeps):
    """The embedded engine over the trainer's own model."""

    def __init__(self, trainer: Any, segment: int = 48) -> None:
        """
        Args:
            trainer: whose model generates.
            segment: tokens between two removals of rows that have ended.
        """
        self.trainer, self.segment = trainer, segment

    def sync_weights(self) -> None:
        """Nothing to do."""

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`."""
        trainer = self.trainer
        with unwrap_model_for_generation(
            trainer.model_wrapped,
            trainer.accelerator,
            gradient_checkpointing_kwargs=trainer.args.gradient_checkpointing_kwargs,
        ) as model:
            rows = max(1, len(asked.requests))
            engine = TransformersEngine(model, trainer._tokenizer, trainer.eos_token_ids, rows, self.segment)
            return engine.generate(asked)


class OfTrl(OwnModel):
    """TRL's own generation: for sharded models without vLLM, and for settings that only `generate` knows."""

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`. Seeds are not used, and nothing is given up.

        Raises:
            ValueError: for a cap that is not `max_completion_length`, stop tokens, or a prompt and its completion that
                might not fit in the model's context.
        """
        trainer = self.trainer
        check_context(asked.requests, trainer.model.config)
        if asked.sampling.stop_ids or any(r.max_tokens != trainer.args.max_completion_length for r in asked.requests):
            raise self.cannot_cap()
        # Every rank of a sharded model has to make the call: one that wants nothing asks for something to drop.
        prompts = [list(request.prompt_ids) for request in asked.requests] or [[trainer.eos_token_ids[0]]]
        with sampler(trainer.accelerator.unwrap_model(trainer.model_wrapped)):
            ids, _ = trainer._generate_single_turn(prompts, None, {}, trainer.num_generations)
        return [Completion(row, stop_reason(row, trainer.eos_token_ids, ())) for row in ids[: len(asked.requests)]]

    def cannot_cap(self) -> ValueError:
        """What to say of a method that caps a rollout, or parts of it, by itself."""
        settings = ", ".join(_settings_of_generate(self.trainer.args))
        way_out = f"remove {settings}" if settings else "set use_vllm: true for a sharded model"
        return ValueError(
            f"This method caps parts of a rollout by themselves, which TRL's generation cannot: {way_out}."
        )


class Parameters(VLLMGeneration):
    """TRL's walk over a trainer's parameters (gathered from ZeRO-3 and FSDP, adapters merged), without its engine."""

    def _init_vllm(self) -> None:
        pass

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """Names as in the checkpoint. Each tensor lives until the next is asked for; every rank must iterate."""
        return self._iter_named_params()


class WithVllm(NeverSleeps):
    """A vLLM engine that is handed the trainer's weights."""

    def __init__(self, trainer: Any, engine: VllmEngine | OnMainRank) -> None:
        """
        Args:
            trainer: whose weights they are.
            engine: its vLLM.
        """
        self.trainer, self.engine, self.probe = trainer, engine, Probe(trainer)
        self.parameters = Parameters(trainer.model, trainer.accelerator, trainer.processing_class)

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`."""
        return self.engine.generate(asked)


class Colocated(WithVllm):
    """vLLM in each training process, on that process's own rollouts. With `vllm_enable_sleep_mode` it sleeps while the
    trainer trains; that has not been run on CUDA."""

    engine: VllmEngine

    def __init__(self, trainer: Any) -> None:
        """
        Raises:
            ValueError: when vLLM is not installed or cannot start.
        """
        super().__init__(trainer, start_beside(trainer))
        self.naps = trainer.args.vllm_enable_sleep_mode
        if self.naps:  # before the optimizer makes its states
            self._sleep()

    @contextmanager
    def awake(self) -> Generator[None]:
        """See `Link.awake`. Wakes the weights, which `sync_weights` then loads; it wakes the keys. The engine sleeps
        again however the block ends."""
        if not self.naps:
            yield
            return
        gc.collect()
        torch.cuda.empty_cache()  # what the trainer has freed and keeps
        try:
            self.engine.wake("weights")
            yield
        finally:
            self._sleep()

    def _sleep(self) -> None:
        self.weights_gone = True
        self.engine.sleep()

    def sync_weights(self) -> float:
        """See `Link.sync_weights`. To be called inside `awake`."""
        self.engine.load_weights(self.parameters)
        self.weights_gone = False
        if self.engine.sleeps:
            self.engine.wake("kv_cache")
        return self.probe.compare(self.engine.score)


class Remote(WithVllm):
    """vLLM in servers of their own, asked by the main process, which hands the weights over as a checkpoint folder."""

    engine: OnMainRank

    def __init__(self, trainer: Any) -> None:
        """
        Raises:
            ValueError: when the server holds another model.
            EngineError: when there is no server.
        """
        super().__init__(trainer, OnMainRank.start(lambda: connect(trainer), trainer.accelerator))
        self.folder = Path(trainer.args.folder).resolve() / WEIGHTS_FOLDER

    def is_wanted(self, wanted: bool) -> bool:
        """See `Shared.is_wanted`."""
        return self.engine.is_wanted(wanted)

    def sync_weights(self) -> float:
        """See `Link.sync_weights`."""
        step = self.trainer.state.global_step
        folder = folder_of(self.folder, step)
        is_main = self.trainer.accelerator.is_main_process
        write_weights(folder, self.parameters, self.trainer.model.config, write=is_main)
        self.engine.load_weights(folder)
        if is_main:
            drop_old(self.folder, step)
        return self.probe.compare(self.engine.score)


def connect(trainer: Any) -> VllmServer | Servers:
    """The server that the configuration names, or the several that it names with commas between them.

    Raises:
        ValueError: when one holds another model.
        EngineError: when one is not there.
    """
    args = trainer.args
    urls = args.vllm_server_base_url or f"http://{args.vllm_server_host}:{args.vllm_server_port}"
    servers = [
        VllmServer(url.strip(), trainer.eos_token_ids, args.vllm_server_timeout, args.rollout_timeout)
        for url in urls.split(",")
    ]
    engine = servers[0] if len(servers) == 1 else Servers(servers)
    engine.check_model(trainer.model.config)
    return engine


def start_beside(trainer: Any) -> VllmEngine:
    """A vLLM of this process's own, in the precision of the training.

    Raises:
        ValueError: when vLLM is not installed or cannot start.
    """
    args = trainer.args
    dtype = "bfloat16" if args.bf16 else "float16" if args.fp16 else str(trainer.model.dtype).removeprefix("torch.")
    engine = VllmEngine(
        trainer.model.name_or_path,
        trainer._tokenizer,
        trainer.eos_token_ids,
        max_model_length=args.vllm_max_model_length,
        dtype=dtype,
        gpu_memory_utilization=args.vllm_gpu_memory_utilization,
        model_impl=args.vllm_model_impl,
        max_num_seqs=args.per_device_train_batch_size * args.steps_per_generation,
        **hub_settings(args),
        # vLLM refuses it on a platform that has none.
        **({"enable_sleep_mode": True} if args.vllm_enable_sleep_mode and torch.cuda.is_available() else {}),
        # Its profiler reserves memory for this many tokens; TRL has the same number.
        **({"max_num_batched_tokens": 4096} if torch.cuda.is_available() else {}),
        **({"distributed_executor_backend": "external_launcher"} if trainer.accelerator.num_processes > 1 else {}),
    )
    trainer.accelerator.wait_for_everyone()
    return engine


def link_to_engine(trainer: Any, use_vllm: bool) -> Link:
    """The link that the configuration asks for.

    Raises:
        ValueError: for settings that the engine does not have.
        EngineError: when there is no server.
    """
    if use_vllm:
        if getattr(trainer.model.config, "quantization_config", None):
            raise cannot_hand_over()
        return Remote(trainer) if trainer.args.vllm_mode == "server" else Colocated(trainer)
    return OwnModel(trainer) if _generates_plainly(trainer) else OfTrl(trainer)


def _generates_plainly(trainer: Any) -> bool:
    """Whether the embedded engine can do what the configuration asks for."""
    sharded = trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled
    return not (sharded or _settings_of_generate(trainer.args))


def _settings_of_generate(args: Any) -> list[str]:
    """Names of the settings in use that only transformers' `generate` knows."""
    names = ["generation_kwargs", "cache_implementation", "use_transformers_continuous_batching"]
    penalty = ["repetition_penalty"] if args.repetition_penalty != 1.0 else []
    return [name for name in names if getattr(args, name)] + penalty


def refuse_plan(link: Link, plan: Plan) -> None:
    """
    Raises:
        ValueError: for a plan of several parts where TRL's own generation samples.
    """
    if isinstance(link, OfTrl) and not isinstance(plan, Parallel):
        raise link.cannot_cap()
