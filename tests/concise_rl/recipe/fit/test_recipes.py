"""Every recipe fits the hardware that its header names."""

from pathlib import Path

import pytest

from concise_rl.recipe.check import check_recipe
from concise_rl.recipe.fit.hardware import Gpus
from concise_rl.recipe.parse import read_recipe

ROOT = Path(__file__).parents[4]
RECIPES = [path for path in sorted((ROOT / "recipes").rglob("*.yaml")) if Gpus.of_header(path.read_text())]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_recipe_fits_the_gpus_that_its_header_names(path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    gpus = Gpus.of_header(path.read_text())
    assert gpus
    # A recipe that goes on from another has that one's output folder for a model, which is of the same sizes.
    goes_on = str(read_recipe(path)["model_name_or_path"]).startswith("runs/smollm2")
    model = ["--model_name_or_path", "HuggingFaceTB/SmolLM2-135M-Instruct"] if goes_on else []
    check_recipe(str(path), [*model, "--dataset", "nobody/nowhere"], gpus=gpus.option)
    assert "is fine" in capsys.readouterr().out
