"""The loading script for `datasets` < 4, which newer versions refuse. Runs on every supported `datasets`."""

import importlib.util
from pathlib import Path

import datasets
import pytest
from doors import ROOT, run, write_recipe, write_sources

import smollm3_mix
import smollm3_mix.builder.mix_builder

SCRIPT = ROOT / "smollm3_mix.py"
scripts = pytest.mark.skipif(int(datasets.__version__.split(".")[0]) >= 4, reason="datasets 4 and later run no scripts")
no_scripts = pytest.mark.skipif(int(datasets.__version__.split(".")[0]) < 4, reason="datasets 3 runs scripts")


def test_script_has_the_builder_of_the_package() -> None:
    spec = importlib.util.spec_from_file_location("a_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.SmolLM3Mix is smollm3_mix.SmolLM3Mix


def test_import_finds_the_package_and_not_the_script() -> None:
    assert str(smollm3_mix.__file__).endswith("__init__.py")


LOAD = """
from datasets import load_dataset
import smollm3_mix
dataset = load_dataset(script, recipe=recipe, split="train", streaming=True, trust_remote_code=True, seed=3)
ours = smollm3_mix.load(recipe, seed=3)
prepared = load_dataset(script, recipe=recipe, split="train", trust_remote_code=True, max_samples=10)
print(json.dumps({
    "same": list(dataset.take(1000)) == list(ours.take(1000)),
    "shards": dataset.num_shards,
    "prepared": len(prepared),
    "cache": prepared.cache_files[0]["filename"],
}))
"""


@scripts
def test_script_streams_the_records_of_load(tmp_path: Path) -> None:
    write_sources(tmp_path / "sources")
    recipe = write_recipe(tmp_path / "mine.yaml", tmp_path / "sources")
    found = run(LOAD, tmp_path, script=SCRIPT, recipe=recipe)
    cache = Path(found.pop("cache")).relative_to(tmp_path / "datasets")
    assert found == {"same": True, "shards": 4, "prepared": 10}
    assert cache.parts[0] == "smollm3_mix"


@scripts
def test_script_has_the_shipped_recipes(tmp_path: Path) -> None:
    code = "import datasets\nprint(json.dumps(datasets.get_dataset_config_names(script, trust_remote_code=True)))"
    assert run(code, tmp_path, script=SCRIPT) == list(smollm3_mix.SmolLM3Mix.builder_configs)


@no_scripts
def test_datasets_4_refuses_the_script() -> None:
    with pytest.raises(RuntimeError, match=r"Dataset scripts are no longer supported, but found smollm3_mix\.py"):
        datasets.load_dataset(str(SCRIPT), "stage1", streaming=True)
