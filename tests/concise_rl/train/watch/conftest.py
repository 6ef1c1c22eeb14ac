"""One short training, which the tests of what it leaves share."""

from pathlib import Path
from typing import Any

import pytest

from reward import Decs
from tests.concise_rl.train.test_trainer import trainer_of


def train(folder: Path, **settings: Any) -> Path:
    """Two steps of a method that pays by token. Some rollouts are cut, and that is warned of."""
    trainer_of(folder, Decs(), max_completion_length=144, truncation_warning=0.0, **settings).train()
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was shown and recorded at every step."""
    return train(tmp_path_factory.mktemp("trained"), page_every=1, record_groups=1)
