"""NoWait: the words that turn thinking back on itself are never drawn.

NoWait (https://hf.co/papers/2506.08343) found the most frequent of them in 32 answers of QwQ-32B to AIME25, and bans
every token whose text contains one, less what was then taken off by hand. Here a token is banned where it is one of the
words and nothing else, with space around it at most: `know` holds *now*, `many` holds *any*, and neither is a turn.
The paper reports -16 to -31 % of tokens on QwQ-32B, and lost accuracy on distilled Qwen3 models of 4B to 14B.
"""

from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from concise_rl.reading.trace import Delimiters
from concise_rl.rollout.engine import Asked, Engine
from concise_rl.rollout.plans.plan import Parallel, Plan, Rollout

WORDS = (
    *("wait", "alternatively", "hmm", "but", "however", "alternative", "another", "check", "double-check", "oh"),
    *("maybe", "verify", "other", "again", "now", "ah", "any"),
)
"""The paper's list."""


@dataclass(frozen=True)
class NoWait(Plan):
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


def banned_ids(
    tokenizer: PreTrainedTokenizerBase, delimiters: Delimiters, words: tuple[str, ...] = WORDS
) -> tuple[int, ...]:
    """Find the tokens that are one of the words, whatever their case and the space around them.

    Tokens of the closing delimiter and those that end a completion are never among them.

    Raises:
        ValueError: when the tokenizer has none: words of several tokens cannot be banned one token at a time.
    """
    wanted, kept = {word.lower() for word in words}, {*delimiters.think_end, *delimiters.eos}
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    found = tuple(i for i, text in enumerate(texts) if text.strip().lower() in wanted and i not in kept)
    if not found:
        raise ValueError(
            f"The tokenizer has no token that is one of {', '.join(words)}: nowait has nothing to ban. Name other "
            "words."
        )
    return found
