"""A recipe as text: a header that says what it is, and each key with the reason for its value in front of it."""

import shlex
import textwrap
from pathlib import Path
from typing import Any

import yaml

from concise_rl.data.sources import GENERATED
from concise_rl.evaluate.probe.findings import Measured
from concise_rl.evaluate.probe.outline import Outline
from concise_rl.evaluate.probe.settings import Key, Wanted
from concise_rl.evaluate.spec import Measurement
from concise_rl.evaluate.text import between, percent, tokens
from reward import objective_class

WIDTH = 120
LABEL = 10
"""Characters of a header's label, its mark and the space behind it not counted."""
ROWS = 4096
"""Problems that a generated source makes for a run."""
BENCHMARK = "HuggingFaceH4/MATH-500"
"""What measures a model that was trained on mathematics; its answers are in the column `answer`."""
AS_PUT = ("prompt_template", "system_prompt", "chat_template_kwargs")
"""Fields of a measurement that a recipe repeats where they are given."""

Section = tuple[str, list[Key]]


def render(outline: Outline) -> str:
    """Write the recipe."""
    sections = (_model(outline), _data(outline), _method(outline), _rollouts(outline), _training(outline))
    parts = [f"# {title}\n{''.join(map(render_key, keys))}" for title, keys in sections]
    return "\n".join([_header(outline), *parts])


def render_key(key: Key) -> str:
    """Write a key with its value; its reason goes behind it where that fits, else above."""
    body = yaml.dump({key.name: key.value}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    if not key.why:
        return body
    line = body.rstrip("\n")
    if "\n" not in line and len(line) + len(key.why) + 4 <= WIDTH:
        return f"{line}  # {key.why}\n"
    return (
        textwrap.fill(key.why[0].upper() + key.why[1:], WIDTH, initial_indent="# ", subsequent_indent="# ")
        + f"\n{body}"
    )


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: lists in a line, text that needs it in double quotes, floats that YAML reads as such."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    plain = text.replace("/", "").replace("_", "").replace("-", "").replace(".", "").replace(":", "").isalnum()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    text = f"{value:.1e}".replace("e-0", "e-") if 0 < abs(value) < 1e-3 else repr(value)
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _represent_list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(float, _represent_float)
_Dumper.add_representer(list, _represent_list)


def _header(outline: Outline) -> str:
    r, m = outline.measured.rollouts, outline.measured.measurement
    paper = objective_class(outline.method).paper
    what = (
        f"{outline.method} ({paper}) on {outline.measured.model}, from a probe of {r.problems} problems x {m.samples} "
        f"of {m.task}, split {m.split}, under a cap of {r.cap:,} tokens at temperature {m.temperature:g}."
    )
    doubt = "" if outline.advice.verdict == "train" else f" {outline.advice.headline}"
    found = (
        f"{percent(r.accuracy.value)} right {between(r.accuracy.ci95)}, {tokens(r.tokens.value)} tokens; "
        f"{percent(r.redundant.value)} of the thinking of right samples comes after the answer "
        f"{between(r.redundant.ci95)}.{doubt}"
    )
    expect = (
        f"stopping there would save {percent(r.saved.value)} of the tokens {between(r.saved.ci95)}, right samples "
        "staying right. That is computed from the probe; no training was measured."
    )
    lines = [
        _entry("What", what),
        _entry("Probe", found),
        _entry("Hardware", _hardware(outline)),
        _command("Command", _train_words(outline)),
        _command("Evaluate", _eval_words(outline)),
        _entry("Expect", expect),
    ]
    return "\n".join(lines) + "\n"


def _entry(label: str, text: str) -> str:
    first = f"# {label + ':':<{LABEL}}"
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent="#" + " " * (LABEL + 1))


def _command(label: str, words: list[str]) -> str:
    """Write a command over several lines, each of which the shell goes on from."""
    return f"# {label + ':':<{LABEL}}" + f" \\\n#{' ' * (LABEL + 3)}".join(words)


def _hardware(outline: Outline) -> str:
    if outline.gpus is None:
        return "1 or 2 CPU cores, 3 GB of memory"
    names = {"zero2.yaml": "DeepSpeed ZeRO-2, ", "zero3.yaml": "DeepSpeed ZeRO-3, "}
    strategy = next((text for name, text in names.items() if (outline.accelerate or "").endswith(name)), "")
    count = f"{outline.gpus.count} GPU{'s' if outline.gpus.count > 1 else ''}"
    whose = "the same GPUs" if outline.gpus.count > 1 else "it, too"
    return f"{count} of {outline.gpus.gigabytes:g} GB ({strategy}vLLM on {whose})"


def _train_words(outline: Outline) -> list[str]:
    path, gpus = shlex.quote(str(outline.path)), outline.gpus
    if gpus is None or outline.accelerate is None:
        return [f"concise-rl train {path}"]
    launch = f"accelerate launch --config_file {outline.accelerate} --num_processes {gpus.count}"
    return [launch, f"-m concise_rl.train --config {path}"]


def train_command(outline: Outline) -> str:
    """Write the command that trains by a recipe, in a line."""
    return " ".join(_train_words(outline))


def _eval_words(outline: Outline) -> list[str]:
    engine = "" if outline.gpus is None else " --engine vllm"
    models = f"--baseline {outline.measured.model} --model {outline.method}={outline.output_dir}"
    return [
        f"concise-rl eval {' '.join(_held_out(outline.measured))}{engine}",
        *_as_put(outline.measured.measurement),
        f"--samples 4 {models} --out runs/eval/{outline.path.stem}",
    ]


def _held_out(measured: Measured) -> list[str]:
    """Name problems that the recipe does not train on."""
    task, m = shlex.quote(measured.task), measured.measurement
    if measured.task.startswith(GENERATED):
        return ["--task", task, "--problems", "256"]
    if m.verifier == "math":
        return ["--task", BENCHMARK, "--prompt-column", "problem"]
    if Path(measured.task).exists():
        return ["--task", "HELD_OUT.jsonl", f"--verifier {m.verifier}"]
    return ["--task", task, "--split", "test", f"--verifier {m.verifier}"]


def _as_put(measurement: Measurement) -> list[str]:
    """Repeat how the problems are put, as far as a recipe says it, too."""
    given = {name: getattr(measurement, name) for name in AS_PUT}
    return [f"--{name.replace('_', '-')} {shlex.quote(_as_word(v))}" for name, v in given.items() if v is not None]


def _as_word(value: Any) -> str:
    return value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True).strip().replace("'", '"')


def _model(outline: Outline) -> Section:
    keys = [Key("model_name_or_path", outline.measured.model)]
    if outline.measured.measurement.revision:
        keys.append(Key("model_revision", outline.measured.measurement.revision))
    if outline.measured.measurement.trust_remote_code:
        keys.append(Key("trust_remote_code", True))
    if outline.gpus:
        keys += [Key("dtype", "bfloat16"), Key("attn_implementation", "sdpa")]
    return "Model", keys


def _data(outline: Outline) -> Section:
    m, t, r = outline.measured.measurement, outline.measured.tokens, outline.measured.rollouts
    keys = [Key("dataset", m.task)]
    if m.split != "train":
        keys.append(Key("dataset_split", m.split, "the split that was probed: do not evaluate on it"))
    if m.task.startswith(GENERATED):
        keys.append(Key("num_rows", ROWS))
    keys += [
        Key(name, getattr(m, name))
        for name in ("prompt_column", "answer_column")
        if getattr(m, name) != name.partition("_")[0]
    ]
    keys += [Key(name, getattr(m, name)) for name in AS_PUT if getattr(m, name) is not None]
    graded = f"graded {r.samples - r.unjudged:,} of {r.samples:,} samples"
    closing = f"{percent(r.closed.value)} of the samples that ended have it exactly once"
    title = f"Data: prompts have up to {t.prompts[100]:,} tokens, half of them up to {t.prompts[50]:,}"
    return title, [*keys, Key("verifier", m.verifier, graded), Key("think_end", m.think_end, closing)]


def _method(outline: Outline) -> Section:
    wanted = Wanted(outline.measured, outline.gpus is None, outline.cap, outline.prompts)
    why = next((fit.why for fit in outline.advice.methods if fit.name == outline.method), "")
    return "Method", [Key("objective", outline.method, why), *outline.settings.method(wanted)]


def _rollouts(outline: Outline) -> Section:
    cap, lower = outline.advice.cap, outline.cap < outline.advice.cap.value
    why = f"{cap.why}; {outline.room:,} of the context are kept for the prompt" if lower else cap.why
    keys = [
        Key("num_generations", outline.group.value, outline.group.why),
        Key("max_completion_length", outline.cap, why),
        Key(
            "temperature",
            outline.measured.measurement.temperature,
            "as probed: what is measured above is of these rollouts",
        ),
    ]
    title = f"Rollouts: {outline.prompts} prompts x {outline.group.value}"
    return (title, keys) if outline.gpus is None else (title, [*keys, *_vllm(outline)])


def _vllm(outline: Outline) -> list[Key]:
    return [
        Key("use_vllm", True),
        Key("vllm_mode", "colocate"),
        Key("vllm_enable_sleep_mode", True),
        Key("vllm_gpu_memory_utilization", outline.share, "the most that fits beside the trainer's states, computed"),
        Key("vllm_max_model_length", outline.cap + outline.room, f"the cap, and {outline.room:,} tokens for a prompt"),
    ]


def _training(outline: Outline) -> Section:
    keys = [Key("output_dir", outline.output_dir), *(_on_cpu(outline) if outline.gpus is None else _on_gpus(outline))]
    keys += [Key("beta", 0.0), Key("save_total_limit", 2), Key("logging_steps", 1), Key("seed", 0)]
    return "Training", keys


def _on_cpu(outline: Outline) -> list[Key]:
    steps = f"as recipes/tiny/{outline.method}.yaml, where they are measured on the embedded reasoner"
    return [
        Key("max_steps", outline.settings.steps, steps),
        Key("per_device_train_batch_size", outline.device_rows),
        Key("learning_rate", 5e-5),
        Key("lr_scheduler_type", "constant_with_warmup"),
        Key("warmup_steps", 5),
        Key("max_grad_norm", 1.0),
        Key("bf16", False),
        Key("use_cpu", True),
        Key("gradient_checkpointing", False),
        Key("save_steps", 40),
    ]


def _on_gpus(outline: Outline) -> list[Key]:
    rows = "a whole group, of which the model sees the common path once" if outline.settings.ordered else "no padding"
    common = [
        Key("per_device_train_batch_size", outline.device_rows, rows),
        Key("gradient_accumulation_steps", outline.accumulation),
        Key("loss_type", "dapo", "mean over all tokens"),
        Key("learning_rate", 1e-6),
        Key("lr_scheduler_type", "constant"),
        Key("max_steps", 200, "ours: look at an evaluation of the last checkpoint before going on"),
        Key("bf16", True),
        Key("ddp_timeout", 7200, "seconds that a rank waits for the rollouts of the slowest"),
        Key("gradient_checkpointing", True),
        Key("save_steps", 20),
        Key("log_completions", True),
        Key("num_completions_to_print", 0),
    ]
    return list({key.name: key for key in (*common, *outline.settings.training)}.values())
