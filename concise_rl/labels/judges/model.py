"""A language model that is asked whether a passage states the answer, by the transformers engine or a vLLM server."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator
from transformers import AutoTokenizer
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from concise_rl.labels.judges import JudgeOptions, Passage, problem_of
from concise_rl.models.eos import eos_ids_of
from concise_rl.models.resolve import resolve_model
from concise_rl.rollout.engine import Asked, Engine, Request, Sampling
from concise_rl.rollout.engines.server import VllmServer
from concise_rl.rollout.engines.transformers import load_engine
from concise_rl.verify.pool import VerifierPool

PLACES = ("{problem}", "{passage}", "{answer}")
PROMPTS = Path(__file__).parent / "prompts"
"""Where the prompts lie; the README there says whose they are."""
DETECTOR = "pixas/DECS_NRP_DETECTOR"
_PLACE = re.compile("|".join(map(re.escape, PLACES)))
_NO = re.compile(r"\bno\b")


class ModelJudge:
    r"""Asks a language model for `\boxed{yes}` or `\boxed{no}`, greedily, passage by passage: it sees nothing in front.

    This is DECS's way of finding the necessary prefix (https://hf.co/papers/2509.25827). `pixas/DECS_NRP_DETECTOR` is
    its published judge, which is asked in the published words; any other model in ours. A reply with a `yes` is yes,
    one with a `no` is no, and another is neither: the judge cannot tell. A passage that does not fit is taken for one
    without the answer, as published. A server that fails ends the run: nothing goes unlabelled.
    """

    columns = ()

    class Options(JudgeOptions):
        """What can be set."""

        model: str = DETECTOR
        """The judge: a folder or a hub id. With a server, the model that it serves."""
        server: str | None = None
        """URL of a vLLM server. null: the model is loaded into each training process."""
        prompt: str | None = None
        """What it is asked, or a file with that: {problem}, {passage} and {answer} stand where those go. null: the
        published words for a model that is called DECS_NRP_DETECTOR, ours for any other."""
        chat_template_kwargs: dict[str, Any] = Field({"enable_thinking": False})
        """What its chat template gets: a judge that began to think would not reply within its few tokens."""
        max_new_tokens: int = Field(5, ge=1)
        """Most tokens of a reply."""
        max_input_tokens: int = Field(17_990, ge=1)
        """Longest question, in tokens; less where the model's own limit is."""
        timeout: float = Field(600.0, gt=0, allow_inf_nan=False)
        """Seconds in which a server must end at least one reply."""
        start_timeout: float = Field(240.0, ge=0, allow_inf_nan=False)
        """Seconds to wait for a server that is still starting."""
        batch_size: int = Field(64, ge=1)
        """Passages judged together without a server."""

        @model_validator(mode="after")
        def _has_places(self) -> Self:
            if missing := [place for place in PLACES if place not in prompt_of(self)]:
                raise ValueError(f"the judge would not be told {', '.join(missing)}: put that into the prompt")
            return self

    def __init__(self, options: Options, verifier: VerifierPool) -> None:
        """Load the model, or find its server.

        Args:
            options: see `Options`.
            verifier: not used.

        Raises:
            ValueError: when the model is not there, or the server holds another.
            EngineError: when no server answers.
        """
        self.options, self.prompt = options, prompt_of(options)
        self.counters: Counter[str] = Counter(too_long=0, unclear=0)
        self.engine, self.tokenizer, context = _served(options) if options.server else _loaded(options)
        self.max_input_tokens = min(options.max_input_tokens, context - options.max_new_tokens)

    def states(self, passages: Sequence[Passage]) -> list[bool | None]:
        """See `Judge.states`. The same question is asked once."""
        questions = [tuple(self._question(passage)) for passage in passages]
        distinct = list(dict.fromkeys(ids for ids in questions if len(ids) <= self.max_input_tokens))
        # A seed, for greedy as it is: without one the engine would draw it from the trainer's generator.
        requests = [Request(ids, self.options.max_new_tokens, seed=0) for ids in distinct]
        replies = self.engine.generate(Asked(requests, Sampling(temperature=0.0))) if requests else []
        said = {ids: self._read(reply.ids) for ids, reply in zip(distinct, replies, strict=True)}
        states = [said.get(ids, False) for ids in questions]
        self.counters["too_long"] += sum(ids not in said for ids in questions)
        self.counters["unclear"] += states.count(None)
        return states

    def close(self) -> None:
        """Let go of the model, or of the connection."""
        if isinstance(self.engine, VllmServer):
            self.engine.close()
        del self.engine

    def _question(self, passage: Passage) -> list[int]:
        parts = {"{problem}": problem_of(passage.row), "{passage}": passage.text, "{answer}": passage.row["answer"]}
        text = _PLACE.sub(lambda place: parts[place[0]], self.prompt)
        if not self.tokenizer.chat_template:
            return self.tokenizer.encode(text)
        message = {"role": "user", "content": text}
        settings = self.options.chat_template_kwargs
        return self.tokenizer.apply_chat_template([message], add_generation_prompt=True, **settings)["input_ids"]

    def _read(self, ids: Sequence[int]) -> bool | None:
        """What a reply says."""
        reply = str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).lower()
        if "yes" in reply:
            return True
        return False if _NO.search(reply) else None


def prompt_of(options: ModelJudge.Options) -> str:
    """What a judge is asked.

    Raises:
        ValueError: for the name of a file that is not there.
    """
    if options.prompt is None:
        published = Path(options.model).name == Path(DETECTOR).name
        return (PROMPTS / ("decs.txt" if published else "instruct.txt")).read_text()
    if "{" in options.prompt or "\n" in options.prompt:
        return options.prompt
    if not Path(options.prompt).is_file():
        raise ValueError(f"there is no prompt file {options.prompt!r}, and as a prompt it lacks {', '.join(PLACES)}")
    return Path(options.prompt).read_text()


def _loaded(options: ModelJudge.Options) -> tuple[Engine, Any, int]:
    """The model in this process, its tokenizer, and how many tokens it can take.

    Raises:
        ValueError: under ZeRO-3, which would take the judge's weights apart, too.
    """
    if is_deepspeed_zero3_enabled():
        raise ValueError(
            "A judge cannot be loaded beside a model that DeepSpeed ZeRO-3 shards. Serve it, on a GPU of its own: "
            f"`vllm serve {options.model}`, and set the judge's option `server` to where it answers."
        )
    engine = load_engine(options.model, batch_size=options.batch_size)
    return engine, engine.tokenizer, engine.model.config.get_text_config().max_position_embeddings


def _served(options: ModelJudge.Options) -> tuple[Engine, Any, int]:
    """The same with a server.

    Raises:
        ValueError: when it serves another model.
        EngineError: when it does not answer.
    """
    assert options.server
    path = resolve_model(options.model)
    tokenizer: Any = AutoTokenizer.from_pretrained(path)
    server = VllmServer(options.server, eos_ids_of(path, tokenizer), options.start_timeout, options.timeout)
    if server.model != options.model and Path(server.model).resolve() != Path(path).resolve():
        server.close()
        raise ValueError(
            f"The server at {options.server} holds {server.model!r}, and the judge is {options.model!r}: set the "
            "judge's option `model` to what is served."
        )
    return server, tokenizer, server.max_model_len
