"""NoWait: the words that turn thinking back on itself are never drawn.

NoWait (https://hf.co/papers/2506.08343) found the most frequent of them in 32 answers of QwQ-32B to AIME25, and bans
every token whose text contains one, less what was then taken off by hand. Here a token is banned where it is one of the
words and nothing else, with space around it at most: `know` holds *now*, `many` holds *any*, and neither is a turn.
The paper reports -16 to -31 % of tokens on QwQ-32B, and lost accuracy on distilled Qwen3 models of 4B to 14B.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from concise_rl.rollout.engine import Asked, Engine
from concise_rl.rollout.exits.policy import LiveExit, Texts
from concise_rl.rollout.exits.tools import ExitTools, word_tokens
from concise_rl.rollout.plans.plan import Parallel, Plan, Rollout

WORDS = (
    *("wait", "alternatively", "hmm", "but", "however", "alternative", "another", "check", "double-check", "oh"),
    *("maybe", "verify", "other", "again", "now", "ah", "any"),
)
"""The paper's list."""


class NoWait(LiveExit):
    """Never draw a token that is one of 17 words of doubt (https://hf.co/papers/2506.08343).

    - Case, and space around the word, do not matter. Tokens that hold more than the word stay: the paper bans every one
      whose text contains a word, less some taken off by hand.
    - Tokens of the closing delimiter, and those that end a completion, are never banned.

    On the answer, too, the tokens are banned. Only a live run shows what this does: it changes the thinking.
    """

    words: Texts = WORDS
    """What is not drawn."""

    def plan(self, tools: ExitTools) -> Plan:
        """See `LiveExit.plan`."""
        return WithoutTokens(banned_ids(tools, self.words))

    def note(self, tools: ExitTools) -> str:
        """Say which tokens are banned, for a report."""
        ids = banned_ids(tools, self.words)
        return f"{len(ids)} tokens are banned: {', '.join(f'{i} {tools.text_of(i)!r}' for i in ids)}."


@dataclass(frozen=True)
class WithoutTokens(Plan):
    """Plain sampling without some tokens.

    Attributes:
        banned_ids: of those tokens.
    """

    banned_ids: tuple[int, ...]

    def check_cap(self, max_tokens: int) -> None:
        """See `Plan.check_cap`. Any cap will do."""

    def rollouts(self, engine: Engine, asked: Asked) -> list[Rollout]:
        """See `Plan.rollouts`."""
        banned = (*asked.sampling.banned_ids, *self.banned_ids)
        return Parallel().rollouts(engine, replace(asked, sampling=replace(asked.sampling, banned_ids=banned)))


def banned_ids(tools: ExitTools, words: Sequence[str] = WORDS) -> tuple[int, ...]:
    """Find the tokens that are one of the words, whatever their case and the space around them.

    Raises:
        ValueError: when the tokenizer has none: words of several tokens cannot be banned one token at a time.
    """
    kept = {*tools.delimiters.think_end, *tools.delimiters.eos}
    found = tuple(token for token in word_tokens(tools, words) if token not in kept)
    if not found:
        raise ValueError(f"The tokenizer has no token that is one of {', '.join(words)}: name words that it has.")
    return found
