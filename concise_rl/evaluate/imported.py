"""Declare how samples came about that another tool drew and counted, as far as its log says."""

from pydantic import BaseModel, ConfigDict, Field


class ImportedMeasurement(BaseModel):
    """Hold what a log says of its samples. What it does not say is None: nothing is assumed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    imported_from: str
    """What wrote the log: a name in `concise_rl.evaluate.exchange.formats.FORMATS`."""
    task: str
    """What the log calls its task."""
    samples: int = Field(ge=1)
    """Samples of each problem."""
    scorer: str | None
    """Whose verdicts of the log count; None where `verifier` graded the answers again."""
    verifier: str | None
    """What graded the answers again; None where the verdicts are the log's own."""
    think_end: str | None
    """Text that closes the thinking; None where no sample holds any."""
    tokenizer: str | None
    """What read the log's token ids, or counted the tokens of its texts; None where the log's own counts were taken."""
    max_tokens: int | None = Field(ge=1)
    """Cap on completion tokens."""
    temperature: float | None = Field(ge=0, allow_inf_nan=False)
    top_p: float | None = Field(gt=0, le=1)
    top_k: int | None
    judge: str | None = None
    """Who read the thinking of right samples; None for nobody."""
    keep_shortest: None = None
    """Samples count each by itself."""

    @property
    def unit(self) -> str:
        """Return what counts as one."""
        return "sample"

    def differing_fields(self, other: BaseModel) -> list[str]:
        """Return the fields by which two logs are not of samples that were drawn and counted alike."""
        if not isinstance(other, ImportedMeasurement):
            return ["imported_from"]
        return [name for name in type(self).model_fields if getattr(self, name) != getattr(other, name)]
