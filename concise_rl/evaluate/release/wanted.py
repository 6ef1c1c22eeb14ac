"""What a release is to be."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from concise_rl.models.resolve import ships


@dataclass(frozen=True)
class Wanted:
    """What a release is to be.

    Attributes:
        reports: folders of evaluations of the model.
        name: hub id, or the folder's name, or that of a model which ships with this package.
        recipe: of a model whose run is gone; None for a run.
        about: sentences about the model for its page.
        adapter_alone: whether adapters stay adapters.
        dtype: that adapters are rounded to, `float16` say; None leaves them as they were trained.
        base_model: hub id of what was trained; None for what the recipe says.
        licence: None for the base model's own.
        samples: whether the samples of the first report are released.
        check: whether the released model is loaded afresh and held against the run's.
    """

    reports: Sequence[Path]
    name: str
    recipe: Path | None = None
    about: str = ""
    adapter_alone: bool = False
    dtype: str | None = None
    base_model: str | None = None
    licence: str | None = None
    samples: bool = False
    check: bool = True

    @property
    def ships(self) -> bool:
        """Say whether the release comes with this package, which loads it by its name."""
        return ships(self.name)
