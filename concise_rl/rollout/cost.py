"""What stopping early costs: the tokens of looks into the thinking, under three ways to serve a model."""

from pydantic import BaseModel, ConfigDict, Field

BLOCK = 16
"""Tokens of a block of a prefix cache, as vLLM has it: a look computes the last one again where it is not full."""


class Cost(BaseModel):
    """Count what a sample cost besides its own text. Costs add up.

    LearnStop (https://hf.co/papers/2606.30852) tells three regimes apart. With a fork of the KV cache, a look costs its
    suffix and what it decodes. With a prefix cache the last block, if it is not full, is computed again. A black box
    computes the whole prefix again.

    Attributes:
        probes: looks.
        decoded: tokens that looks decoded. A look at the next token alone counts as one.
        suffix: tokens that were forced behind the thinking for looks, and prefilled there.
        blocks: tokens of last, partial blocks that looks compute again with a prefix cache.
        prefixes: tokens of whole prefixes that looks compute again without one, the prompt included.
        dropped: tokens that were sampled and thrown away: thinking behind the place where it was stopped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    probes: int = Field(0, ge=0)
    decoded: int = Field(0, ge=0)
    suffix: int = Field(0, ge=0)
    blocks: int = Field(0, ge=0)
    prefixes: int = Field(0, ge=0)
    dropped: int = Field(0, ge=0)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(**{name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields})

    @property
    def is_zero(self) -> bool:
        """Whether nothing was spent."""
        return self == Cost()


def cost_of_look(prefix: int, suffix: int, decoded: int) -> Cost:
    """Return what one look costs.

    Args:
        prefix: tokens of the prompt and of the thinking before the place.
        suffix: tokens forced behind them.
        decoded: tokens that came out; 0 for a look at the next token alone, which costs one.
    """
    return Cost(probes=1, decoded=max(1, decoded), suffix=suffix, blocks=prefix % BLOCK, prefixes=prefix)
