"""What `concise-rl check --gpus` says of a recipe on given GPUs."""

from concise_rl.named import mapping
from concise_rl.recipe.findings import Findings
from concise_rl.recipe.fit.facts import habit_of
from concise_rl.recipe.fit.hardware import NAMES, Gpus
from concise_rl.recipe.fit.memory import (
    ASLEEP,
    ENGINE,
    GIB,
    RESERVE,
    STEP,
    cache_of,
    fits_alone,
    fits_beside_sleeping,
    weights_of_vllm,
)
from concise_rl.recipe.fit.setup import Setup
from concise_rl.recipe.precision import keeps_float32, loaded_dtype, refuse_half_weights
from concise_rl.recipe.preflight import is_installed, prompts_a_step, room_beside_cap

FEWEST = 2
"""Whole sequences that vLLM must hold at a time."""
LONG_PROMPTS = {"agentica-org/DeepScaleR-Preview-Dataset": 3137}
"""Tokens of the longest prompt of well-known data sets, by Qwen's tokenizer and with a sentence of instruction."""
SERVER_SHARE = 0.92
"""Of a GPU, for a server's vLLM: its own default (vllm/config/cache.py:103)."""
FAR_BELOW = 0.5
"""Caps below this share of what a model uses cut most of its hard problems."""


def report_fit(setup: Setup, written_for: Gpus | None, findings: Findings) -> None:
    """Add what a recipe takes of given GPUs, and what of it cannot work.

    Args:
        setup: the recipe on them.
        written_for: the GPUs that the recipe's own header names.
        findings: facts, hints and faults go there.
    """
    findings.add("hardware", str(setup.gpus))
    findings.add("strategy", f"{NAMES[setup.launch.strategy.kind]} ({setup.launch.said})")
    _model(setup, findings)
    if setup.recipe.stage == "rl":
        _batch(setup, written_for, findings)
        _lengths(setup, findings)
        _ratio(setup, findings)
    _precision(setup, findings)
    _trainer(setup, findings)
    if setup.samples:
        _vllm(setup, findings)
    elif setup.recipe.stage == "rl":
        _elsewhere(setup, findings)


def gib(size: float) -> str:
    """Bytes as GiB."""
    return f"{size / GIB:.1f}"


def _model(setup: Setup, findings: Findings) -> None:
    shape, adapters = setup.shape, setup.training.adapter_parameters
    tied = ", head tied" if shape.tied else ""
    lora = f", {adapters / 1e6:.1f}M of them in adapters trained" if adapters else ""
    findings.add(
        "sizes",
        f"{shape.parameters / 1e9:.3f}B parameters{lora}{tied}, context {setup.facts.context:,} ({setup.facts.source})",
    )


def _batch(setup: Setup, written_for: Gpus | None, findings: Findings) -> None:
    config, count = setup.config, setup.gpus.count
    device, turns = config.per_device_train_batch_size, config.steps_per_generation
    prompts, group = prompts_a_step(config), config.num_generations
    gpus = "1 GPU" if count == 1 else f"{count} GPUs"
    rollouts = f"{count * setup.rows:,} rollouts, {prompts} prompts x {group}"
    findings.add("batch", f"{gpus} x {device} x {turns} micro-batches = {rollouts}")
    if written_for and written_for.count != count:
        same = turns * written_for.count / count
        way = f": gradient_accumulation_steps {same:g} keeps that" if same == int(same) else ""
        there = prompts * written_for.count / count
        findings.hints.append(
            f"The recipe is written for {written_for.count} GPUs, where a step has {there:g} prompts, and here "
            f"{prompts}{way}."
        )


def _lengths(setup: Setup, findings: Findings) -> None:
    config, recipe = setup.config, setup.recipe
    room = room_beside_cap(recipe)
    assert room is not None, "the model's facts are known"
    findings.add("lengths", f"prompt up to {room:,} + completion up to {config.max_completion_length:,} tokens")
    longest = LONG_PROMPTS.get(recipe.data.dataset, 0)
    if longest > room:
        both = longest + config.max_completion_length
        findings.hints.append(
            f"{recipe.data.dataset} has prompts of up to {longest:,} tokens, and there is room for {room:,} beside the "
            f"cap: a vllm_max_model_length of {both} takes them all."
        )
    habit = habit_of(recipe.model_name)
    if habit:
        findings.add("", f"{recipe.model_name} takes {habit.tokens:,} tokens on {habit.on} ({habit.source})")
    if habit and config.max_completion_length < FAR_BELOW * habit.tokens:
        findings.hints.append(
            f"The cap of {config.max_completion_length:,} tokens is far below the {habit.tokens:,} that "
            f"{recipe.model_name} takes on {habit.on}: most rollouts of such problems will be cut."
        )


def _ratio(setup: Setup, findings: Findings) -> None:
    config = setup.config
    if config.use_vllm:
        mode = config.vllm_importance_sampling_mode if config.vllm_importance_sampling_correction else "off"
        findings.add("ratio", f"vLLM to trainer: {mode}")


def _precision(setup: Setup, findings: Findings) -> None:
    training = setup.training
    attention = mapping(setup.config.model_init_kwargs).get("attn_implementation") or "the model's default"
    computes = "16 bits" if training.autocast else "32 bits"
    master = ", fp32 weights behind them" if keeps_float32(setup.strategy, training.autocast) else ""
    findings.add("precision", f"computes in {computes}, weights of {training.weight_bytes:g} bytes{master}")
    findings.add("attention", str(attention))
    dtype = loaded_dtype(mapping(setup.config.model_init_kwargs), setup.facts.config)
    if dtype is not None:
        with findings.collecting():
            adapters = bool(training.adapter_parameters)
            refuse_half_weights(dtype, setup.strategy, mixed_precision=training.autocast, adapters=adapters)
    if setup.strategy == "deepspeed" and not is_installed("deepspeed"):
        findings.hints.append('DeepSpeed is not installed here: pip install -e ".[deepspeed]".')


def _trainer(setup: Setup, findings: Findings) -> None:
    trainer, memory = setup.trainer, setup.gpus.memory
    saved = "" if setup.training.checkpointing else " (no gradient checkpointing)"
    late = f" - {gib(trainer.late)} of gradients that come as activations go" if trainer.late else ""
    findings.add(
        "trainer",
        f"{gib(trainer.states)} GiB of states + {gib(trainer.activations)} of activations{saved} + "
        f"{gib(trainer.head)} of the head{late} = {gib(trainer.peak)} on each GPU",
    )
    if not fits_alone(trainer, memory):
        findings.faults.append(
            f"The trainer does not fit: it needs {gib(trainer.peak + RESERVE)} GiB on each GPU, which has "
            f"{gib(memory)}. {_ways(setup)}"
        )


def _ways(setup: Setup) -> str:
    """What makes a trainer smaller, and has not been done."""
    training, strategy = setup.training, setup.launch.strategy
    ways = [
        ("gradient_checkpointing: true", not training.checkpointing),
        ("per_device_train_batch_size smaller", setup.config.per_device_train_batch_size > 1),
        ("launch/accelerate/zero3.yaml", strategy.kind not in ("zero3", "fsdp") and strategy.gpus > 1),
        ("more GPUs", True),
        ("adapters (use_peft: true)", not training.adapter_parameters),
    ]
    return f"Take {', or '.join(way for way, helps in ways if helps)}."


def _vllm(setup: Setup, findings: Findings) -> None:
    """vLLM beside the trainer: what its share holds, and which share would be right."""
    config, memory = setup.config, setup.gpus.memory
    share = config.vllm_gpu_memory_utilization
    weights = weights_of_vllm(setup.shape, 2 if setup.training.autocast else 4, setup.tensor_parallel)
    sleeps = "sleeps while the model is trained, " if config.vllm_enable_sleep_mode else ""
    findings.add(
        "vLLM",
        f"{sleeps}share {share:.2f} = {gib(share * memory)} GiB: {gib(weights)} of weights, {gib(ENGINE)} of its own, "
        f"{gib(share * memory - weights - ENGINE)} for keys ({setup.shape.key_bytes / 1024:.0f} KiB a token)",
    )
    findings.add("", f"holds {_holding(setup, share)}; a batch has {setup.rows} on each GPU")
    for sleep in (False, True):
        best = setup.share(sleep)
        text = f"a share up to {best:.2f} fits, and holds {_holding(setup, best)}" if best else "no share fits"
        findings.add("", f"{'with' if sleep else 'without'} vllm_enable_sleep_mode {text}")
    _check_share(setup, findings)


def _holding(setup: Setup, share: float) -> str:
    cache = setup.cache(share)
    if cache.tokens <= 0:
        return "not even its weights"
    return f"{cache.tokens / 1000:,.0f}k tokens, {cache.sequences:.1f} full sequences at a time"


def _check_share(setup: Setup, findings: Findings) -> None:
    config, memory, trainer = setup.config, setup.gpus.memory, setup.trainer
    share, sleep = config.vllm_gpu_memory_utilization, config.vllm_enable_sleep_mode
    best = setup.share(sleep)
    beside = trainer.states if sleep else trainer.peak
    too_large = beside + RESERVE + share * memory > memory
    too_little = sleep and not fits_beside_sleeping(trainer, memory)
    few = setup.cache(share).sequences < FEWEST
    if not fits_alone(trainer, memory):
        return
    if too_little:
        needed = gib(trainer.peak + RESERVE + ASLEEP)
        findings.faults.append(
            f"The trainer beside a sleeping vLLM needs {needed} GiB of {gib(memory)}. {_ways(setup)}"
        )
    elif too_large or few:
        what = (
            f"takes {gib(share * memory)} GiB beside the trainer's {gib(beside + RESERVE)} of {gib(memory)}"
            if too_large
            else f"holds {setup.cache(share).sequences:.1f} full sequences of {setup.engine_sequence:,} tokens"
        )
        findings.faults.append(f"vllm_gpu_memory_utilization: {share:g} {what}: {_remedy(setup)}")
    elif best - share >= STEP - 1e-9 and setup.cache(share).sequences < setup.rows:
        findings.hints.append(
            f"vllm_gpu_memory_utilization: {best:.2f} fits, and holds {setup.cache(best).sequences:.1f} full sequences "
            f"at a time, where {share:g} holds {setup.cache(share).sequences:.1f}."
        )


def _remedy(setup: Setup) -> str:
    """A share that works, or what else to do."""
    sleep = setup.config.vllm_enable_sleep_mode
    best, asleep = setup.share(sleep), setup.share(True)
    if setup.cache(best).sequences >= FEWEST:
        return f"set it to {best:.2f}."
    if setup.cache(asleep).sequences >= FEWEST and not sleep:
        return f"set vllm_enable_sleep_mode: true and {asleep:.2f}."
    return f"no share holds {FEWEST}. Take vllm_mode: server, a smaller vllm_max_model_length, or more GPUs."


def _elsewhere(setup: Setup, findings: Findings) -> None:
    """Rollouts that no vLLM beside the trainer makes."""
    if setup.gpus.servers:
        _served(setup, findings)
        return
    if setup.config.use_vllm:
        findings.add("vLLM", "in a server on other GPUs (concise-rl serve): none of these is needed for it")
        return
    keys = setup.rows * setup.sequence * setup.shape.key_bytes
    findings.add("rollouts", f"by transformers: keys of {setup.rows} full sequences take {gib(keys)} GiB on each GPU")
    if setup.trainer.states + keys + RESERVE > setup.gpus.memory:
        findings.hints.append("Full rollouts of a batch would not fit while they are sampled: set use_vllm: true.")


def _served(setup: Setup, findings: Findings) -> None:
    """vLLM servers on machines of their own, each over all GPUs of one."""
    servers, t, memory = setup.gpus.servers, setup.gpus.on_node or 1, setup.gpus.memory
    text, weight_bytes = setup.facts.config.get_text_config(), 2 if setup.training.autocast else 4
    cache = cache_of(setup.shape, SERVER_SHARE, memory, setup.engine_sequence, weight_bytes, t)
    weights, held = weights_of_vllm(setup.shape, weight_bytes, t), t * cache.sequences
    findings.add(
        "vLLM",
        f"{servers} servers, each over {t} GPUs: share {SERVER_SHARE:.2f} = {gib(SERVER_SHARE * memory)} GiB on each "
        f"GPU, {gib(weights)} of them weights",
    )
    rollouts = setup.gpus.count * setup.rows
    findings.add("", f"each holds {held:.0f} full sequences at a time; a batch has {rollouts / servers:.0f} for each")
    written = gib(weight_bytes * setup.shape.parameters)
    findings.add("sync", f"{written} GiB of weights go through the output folder before each batch, to every server")
    if text.num_attention_heads % t:
        findings.faults.append(
            f"{text.num_attention_heads} heads cannot be split over the {t} GPUs of a server: give its nodes another "
            "--tensor-parallel-size."
        )
    if held < FEWEST:
        findings.faults.append(f"A server on {t} GPUs holds {held:.1f} full sequences: take larger or more of them.")


def unknown_model(name: str) -> ValueError:
    """What to say where a model's sizes are not to be had."""
    return ValueError(
        f"The sizes of {name} are not known here: `hf download {name} config.json` once, where there is a network."
    )
