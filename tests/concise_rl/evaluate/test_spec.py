from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from concise_rl.evaluate.claim import claim_folder
from concise_rl.evaluate.spec import (
    EvalSpec,
    Manifest,
    Measurement,
    ModelRun,
    fingerprint,
    installed_versions,
    model_runs,
    read_manifest,
)


def manifest(models: tuple[ModelRun, ...] = (ModelRun(label="a", model="runs/a"),), **measurement: Any) -> Manifest:
    return Manifest(
        measurement=Measurement(task="tiny:sums", **measurement),
        models=models,
        baseline=ModelRun(label="baseline", model="tiny:base"),
        num_problems=4,
        num_dropped=0,
        versions={"torch": "2.13.0"},
    )


def begin(folder: Path, wanted: Manifest) -> None:
    """Claim a folder, and draw the first samples."""
    claim_folder(folder, wanted)
    (folder / "samples").mkdir(exist_ok=True)


def test_the_same_measurement_may_go_on_in_its_folder(tmp_path: Path) -> None:
    begin(tmp_path, manifest())
    assert claim_folder(tmp_path, manifest()) == manifest() == read_manifest(tmp_path)


def test_another_measurement_is_refused_naming_each_differing_field(tmp_path: Path) -> None:
    begin(tmp_path, manifest())
    before = (tmp_path / "eval.json").read_bytes()
    with pytest.raises(ValueError, match=r"temperature: 1\.0 there, 0\.6 now; seed: 0 there, 3 now"):
        claim_folder(tmp_path, manifest(temperature=0.6, seed=3))
    assert (tmp_path / "eval.json").read_bytes() == before


def test_a_model_trained_again_in_the_same_place_is_refused(tmp_path: Path) -> None:
    begin(tmp_path, manifest((ModelRun(label="a", model="runs/a", fingerprint="old"),)))
    with pytest.raises(ValueError, match=r"a\.0: runs/a@old there, runs/a@new now"):
        claim_folder(tmp_path, manifest((ModelRun(label="a", model="runs/a", fingerprint="new"),)))


def test_another_model_is_added_behind_those_there(tmp_path: Path) -> None:
    begin(tmp_path, manifest())
    both = claim_folder(tmp_path, manifest((ModelRun(label="b", model="runs/b"),)))
    assert [run.label for run in both.runs] == ["baseline", "a", "b"]


def test_overwriting_deletes_samples_and_reports_but_not_a_run_that_shares_the_folder(tmp_path: Path) -> None:
    begin(tmp_path, manifest())
    for name in ("samples/a.0.jsonl", "report.json", "plots/x.png", "checkpoint-5/model.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    claim_folder(tmp_path, manifest(seed=1), overwrite=True)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"eval.json", "checkpoint-5/model.safetensors"}


def test_a_measurement_without_samples_gives_way_to_another(tmp_path: Path) -> None:
    claim_folder(tmp_path, manifest())
    assert claim_folder(tmp_path, manifest(seed=1)) == manifest(seed=1) == read_manifest(tmp_path)


def test_a_file_is_no_folder_for_an_evaluation(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"notes\.txt is a file"):
        claim_folder(tmp_path / "notes.txt", manifest())


def test_samples_without_their_record_are_refused(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    with pytest.raises(ValueError, match=r"without its eval\.json"):
        claim_folder(tmp_path, manifest())


def test_a_folder_without_an_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no eval\.json"):
        read_manifest(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no folder .*nowhere"):
        read_manifest(tmp_path / "nowhere")


def test_a_record_of_another_version_names_both(tmp_path: Path) -> None:
    (tmp_path / "eval.json").write_text('{"measurement": {"colour": "red"}, "versions": {"concise_rl": "9.9.9"}}')
    with pytest.raises(ValueError, match=r"cannot be read .*: concise_rl 9\.9\.9 wrote it, and this is \d"):
        read_manifest(tmp_path)


def test_a_broken_record_is_named_with_its_field(tmp_path: Path) -> None:
    (tmp_path / "eval.json").write_text('{"measurement": {"task": 3}}')
    with pytest.raises(ValueError, match=r"eval\.json cannot be read \(.*measurement\.task"):
        read_manifest(tmp_path)


def test_a_fingerprint_follows_the_weights_and_not_the_place(tmp_path: Path) -> None:
    for name, weight in (("one", 1.0), ("same", 1.0), ("other", 2.0)):
        (tmp_path / name).mkdir()
        save_file({"weight": torch.tensor([weight])}, tmp_path / name / "model.safetensors")
        (tmp_path / name / "trainer_state.json").write_text(name)
        (tmp_path / name / "config.json").write_text("{}")
    one, same, other = (fingerprint(str(tmp_path / name)) for name in ("one", "same", "other"))
    assert one == same != other


def test_a_model_that_is_not_there_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No model at"):
        model_runs([("a", str(tmp_path / "nowhere"))])


def test_several_greedy_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="temperature 0"):
        Measurement(task="t", temperature=0, samples=2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"engine": "vlm"}, "engine"),
        ({"think_budget": 9}, "give both or neither"),
        ({"judge": "rule", "think_end": None}, "a judge reads the thinking"),
        ({"judge_options": {"x": 1}}, "judge_options are a judge's"),
        ({"answer_budget": 9}, "give both or neither"),
        ({"think_budget": 9, "answer_budget": 9, "think_end": None}, "needs think_end"),
        ({"think_budget": 9, "answer_budget": 9, "max_tokens": 18}, "the delimiter need 19 or more"),
        ({"keep_shortest": 8}, "less than the 8 samples"),
        ({"keep_shortest": 1, "samples": 6}, "a multiple of 6, 66 say"),
        ({"keep_shortest": 1, "engine": "http://here"}, "transformers or vllm, no server"),
        ({"keep_shortest": 1, "engine": "vllm", "data_parallel": 2}, "transformers or vllm, no server"),
        ({"engine": "http://here,there"}, "engine"),
        ({"engine": "http://here,http://here"}, "two of the URLs are the same"),
        ({"data_parallel": 2}, "set engine to vllm"),
        ({"engine": "http://here", "dtype": "float32"}, "start it with --dtype"),
        ({"dtype": "float8"}, "dtype"),
        ({"keep_shortest": 1, "think_budget": 9, "answer_budget": 9}, "leave one of them out"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Measurement(task="t", **settings)


def test_another_engine_is_another_measurement(tmp_path: Path) -> None:
    begin(tmp_path, manifest())
    with pytest.raises(ValueError, match="engine: 'transformers' there, 'vllm' now"):
        claim_folder(tmp_path, manifest(engine="vllm"))


def test_samples_of_a_folder_are_read_by_one_judge(tmp_path: Path) -> None:
    begin(tmp_path, manifest(judge="rule"))
    with pytest.raises(ValueError, match="judge: 'rule' there, 'oracle' now"):
        claim_folder(tmp_path, manifest(judge="oracle"))


def test_how_many_servers_share_the_samples_is_no_part_of_a_measurement(tmp_path: Path) -> None:
    begin(tmp_path / "urls", manifest(engine="http://one"))
    begin(tmp_path / "urls", manifest(engine="http://one,http://two"))
    begin(tmp_path / "own", manifest(engine="vllm"))
    begin(tmp_path / "own", manifest(engine="vllm", data_parallel=2))


def test_the_batch_size_is_part_of_a_measurement_only_where_draws_depend_on_it(tmp_path: Path) -> None:
    begin(tmp_path / "alone", manifest(engine="vllm"))
    begin(tmp_path / "alone", manifest(engine="vllm", batch_size=8))
    begin(tmp_path / "together", manifest())
    with pytest.raises(ValueError, match="batch_size: 64 there, 8 now"):
        claim_folder(tmp_path / "together", manifest(batch_size=8))


def test_the_record_has_the_version_of_vllm_where_vllm_samples() -> None:
    assert "vllm" in installed_versions("vllm")
    assert "vllm" not in installed_versions()


def test_the_label_of_the_baseline_is_its_own() -> None:
    run = ModelRun(label="baseline", model="m")
    with pytest.raises(ValueError, match="baseline's own"):
        EvalSpec(measurement=Measurement(task="t"), models=(run,), baseline=run)
