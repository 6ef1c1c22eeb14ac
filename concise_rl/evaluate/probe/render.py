"""A recipe as text: a header that says what it is, and each key with the reason for its value in front of it."""

import shlex
import textwrap
from typing import Any

import yaml

from concise_rl.evaluate.probe.plan import Plan
from concise_rl.evaluate.probe.settings import Key, Wanted
from concise_rl.evaluate.spec import Measurement
from concise_rl.evaluate.text import between, percent, tokens
from concise_rl.objective import objective_class
from concise_rl.sources import GENERATED

WIDTH = 120
LABEL = 10
"""Characters of a header's label, its mark and the space behind it not counted."""
ROWS = 4096
"""Problems that a generated source makes for a run."""
NOT_SAID = ("prompt_template", "system_prompt", "chat_template_kwargs")
"""Fields of a measurement that a recipe repeats where they are given."""

Section = tuple[str, list[Key]]


def render(plan: Plan) -> str:
    """The recipe."""
    sections = (_model(plan), _data(plan), _method(plan), _rollouts(plan), _training(plan))
    parts = [f"# {title}\n{''.join(map(render_key, keys))}" for title, keys in sections]
    return "\n".join([_header(plan), *parts])


def render_key(key: Key) -> str:
    """A key with its value; its reason goes behind it where that fits, else above."""
    body = yaml.dump({key.name: key.value}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    if not key.why:
        return body
    line = body.rstrip("\n")
    if "\n" not in line and len(line) + len(key.why) + 4 <= WIDTH:
        return f"{line}  # {key.why}\n"
    return textwrap.fill(key.why, WIDTH, initial_indent="# ", subsequent_indent="# ") + f"\n{body}"


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


def _header(plan: Plan) -> str:
    r, m = plan.measured.rollouts, plan.measured.measurement
    paper = objective_class(plan.method).paper
    what = (
        f"{plan.method} ({paper}) on {plan.measured.model}, from a probe of {r.problems} problems x {m.samples} of "
        f"{plan.measured.task}, split {m.split}, under a cap of {r.cap:,} tokens at temperature {m.temperature:g}."
    )
    found = (
        f"{percent(r.accuracy.value)} right {between(r.accuracy.ci95)}, {tokens(r.tokens.value)} tokens; "
        f"{percent(r.redundant.value)} of the thinking of right samples comes after the answer "
        f"{between(r.redundant.ci95)}. {plan.advice.headline}"
    )
    expect = (
        f"stopping there would save {percent(r.saved.value)} of the tokens {between(r.saved.ci95)}, right samples "
        "staying right. That is computed from the probe; no training was measured."
    )
    lines = [
        _entry("What", what), _entry("Probe", found), _entry("Hardware", _hardware(plan)),
        _command("Command", _train_words(plan)), _command("Evaluate", _eval_words(plan)), _entry("Expect", expect),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _entry(label: str, text: str) -> str:
    first = f"# {label + ':':<{LABEL}}"
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent="#" + " " * (LABEL + 1))


def _command(label: str, words: list[str]) -> str:
    """A command over several lines, each of which the shell goes on from."""
    return f"# {label + ':':<{LABEL}}" + f" \\\n#{' ' * (LABEL + 3)}".join(words)


def _hardware(plan: Plan) -> str:
    if plan.gpus is None:
        return "1 or 2 CPU cores, 3 GB of memory"
    names = {"zero2.yaml": "DeepSpeed ZeRO-2, ", "zero3.yaml": "DeepSpeed ZeRO-3, "}
    strategy = next((text for name, text in names.items() if (plan.accelerate or "").endswith(name)), "")
    count = f"{plan.gpus.count} GPU{'s' if plan.gpus.count > 1 else ''}"
    whose = "the same GPUs" if plan.gpus.count > 1 else "it, too"
    return f"{count} of {plan.gpus.gigabytes:g} GB ({strategy}vLLM on {whose})"


def _train_words(plan: Plan) -> list[str]:
    if plan.accelerate is None:
        return [f"concise-rl train {shlex.quote(str(plan.path))}"]
    return [
        f"accelerate launch --config_file {plan.accelerate} --num_processes {plan.gpus.count if plan.gpus else 1}",
        f"-m concise_rl.train --config {shlex.quote(str(plan.path))}",
    ]


def _eval_words(plan: Plan) -> list[str]:
    m, name = plan.measured.measurement, plan.method
    split = "" if plan.measured.task.startswith(GENERATED) else f" --split {m.split}"
    more = [
        f"--{field.replace('_', '-')} {shlex.quote(_as_word(getattr(m, field)))}"
        for field in (*NOT_SAID, "prompt_column", "answer_column")
        if getattr(m, field) != Measurement.model_fields[field].default
    ]
    engine = "" if plan.gpus is None else " --engine vllm"
    return [
        f"concise-rl eval --task {shlex.quote(plan.measured.task)}{split} --problems 256 --samples 4{engine}",
        *more,
        f"--baseline {plan.measured.model} --model {name}={plan.output_dir} --out runs/eval/{plan.path.stem}",
    ]


def _as_word(value: Any) -> str:
    return value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True).strip().replace("'", '"')


def _model(plan: Plan) -> Section:
    keys = [Key("model_name_or_path", plan.measured.model)]
    if plan.measured.measurement.revision:
        keys.append(Key("model_revision", plan.measured.measurement.revision))
    if plan.measured.measurement.trust_remote_code:
        keys.append(Key("trust_remote_code", True))
    if plan.gpus:
        keys += [Key("dtype", "bfloat16"), Key("attn_implementation", "sdpa")]
    return "Model", keys


def _data(plan: Plan) -> Section:
    m, t, r = plan.measured.measurement, plan.measured.tokens, plan.measured.rollouts
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
    keys += [Key(name, getattr(m, name)) for name in NOT_SAID if getattr(m, name) is not None]
    judged = f"judged {r.samples - r.unjudged:,} of {r.samples:,} samples"
    closing = f"{percent(r.closed.value)} of the samples that ended have it exactly once"
    title = f"Data: prompts have up to {t.prompts[100]:,} tokens, half of them up to {t.prompts[50]:,}"
    return title, [*keys, Key("verifier", m.verifier, judged), Key("think_end", m.think_end, closing)]


def _method(plan: Plan) -> Section:
    wanted = Wanted(plan.measured, plan.gpus is None, plan.cap, plan.prompts)
    why = next((fit.why for fit in plan.advice.methods if fit.name == plan.method), "")
    return "Method", [Key("objective", plan.method, why), *plan.settings.method(wanted)]


def _rollouts(plan: Plan) -> Section:
    cap, lower = plan.advice.cap, plan.cap < plan.advice.cap.value
    why = f"{cap.why}; {plan.room:,} of the context are kept for the prompt" if lower else cap.why
    keys = [
        Key("num_generations", plan.group.value, plan.group.why),
        Key("max_completion_length", plan.cap, why),
        Key(
            "temperature",
            plan.measured.measurement.temperature,
            "as probed: what is measured above is of these rollouts",
        ),
    ]
    title = f"Rollouts: {plan.prompts} prompts x {plan.group.value}"
    return (title, keys) if plan.gpus is None else (title, [*keys, *_vllm(plan)])


def _vllm(plan: Plan) -> list[Key]:
    return [
        Key("use_vllm", True),
        Key("vllm_mode", "colocate"),
        Key("vllm_enable_sleep_mode", True),
        Key("vllm_gpu_memory_utilization", plan.share, "the most that fits beside the sleeping trainer, computed"),
        Key("vllm_max_model_length", plan.cap + plan.room, f"the cap, and {plan.room:,} tokens for a prompt"),
    ]


def _training(plan: Plan) -> Section:
    keys = [Key("output_dir", plan.output_dir), *(_on_cpu(plan) if plan.gpus is None else _on_gpus(plan))]
    keys += [Key("beta", 0.0), Key("save_total_limit", 2), Key("logging_steps", 1), Key("seed", 0)]
    return "Training", keys


def _on_cpu(plan: Plan) -> list[Key]:
    steps = f"as recipes/tiny/{plan.method}.yaml, where they are measured on the embedded reasoner"
    return [
        Key("max_steps", plan.settings.steps, steps),
        Key("per_device_train_batch_size", plan.device_rows),
        Key("learning_rate", 5e-5),
        Key("lr_scheduler_type", "constant_with_warmup"),
        Key("warmup_steps", 5),
        Key("max_grad_norm", 1.0),
        Key("bf16", False),
        Key("use_cpu", True),
        Key("gradient_checkpointing", False),
        Key("save_steps", 40),
    ]


def _on_gpus(plan: Plan) -> list[Key]:
    rows = "a whole group, of which the model sees the common path once" if plan.settings.ordered else "no padding"
    common = [
        Key("per_device_train_batch_size", plan.device_rows, rows),
        Key("gradient_accumulation_steps", plan.accumulation),
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
    return list({key.name: key for key in (*common, *plan.settings.training)}.values())
