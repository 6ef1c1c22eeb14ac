"""A folder of adapters where a model is wanted."""

from pathlib import Path
from types import ModuleType

import peft
import pytest
import transformers
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from concise_rl.models.resolve import resolve_model
from concise_rl.recipe.parse import parse_recipe
from concise_rl.recipe.preflight import preflight
from concise_rl.rollout.engines.transformers import load_engine

TINY = Path(__file__).parents[4] / "recipes/tiny/grpo.yaml"


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, base = tmp_path_factory.mktemp("run") / "adapters", resolve_model("tiny:base")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=2, target_modules="all-linear"))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def test_a_folder_of_adapters_is_refused_with_the_line_that_merges_it(adapters: Path) -> None:
    with pytest.raises(ValueError, match="holds adapters, not a model") as refused:
        resolve_model(str(adapters))
    program = str(refused.value).split('python -c "')[1].rstrip('"')
    modules: dict[str, ModuleType] = {"peft": peft, "transformers": transformers}
    exec(program, modules)
    merged = f"{adapters}-merged"
    assert resolve_model(merged) == merged
    preflight(parse_recipe(TINY, ["--model_name_or_path", merged]))


def test_evaluation_with_transformers_loads_adapters(adapters: Path) -> None:
    assert load_engine(str(adapters)).eos_token_ids
