"""`load_dataset` loads recipe folders, and other folders as before. Runs on every supported `datasets`."""

import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import get_dataset_config_names, load_dataset
from doors import run, write_recipe, write_sources
from hub import hub

from smollm3_mix.builder.load import load
from smollm3_mix.compat import register
from smollm3_mix.errors import RecipeError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipe folder without a card: two recipes in configs/."""
    root = tmp_path_factory.mktemp("register")
    write_sources(root / "sources")
    for name, seed in (("one", 1), ("two", 2)):
        write_recipe(root / f"folder/configs/{name}.smollm3_mix.yaml", root / "sources", seed=seed)
    return root / "folder"


@pytest.mark.parametrize(
    "beside, hidden",
    [("test.smollm3_mix.yaml", "test"), ("a.jsonl b.jsonl", "default"), ("other.smollm3_mix.yaml", None)],
)
def test_card_lists_recipes_that_datasets_does_not_find(tmp_path: Path, beside: str, hidden: str | None) -> None:
    write_sources(tmp_path / "sources", rows=60)
    recipe = write_recipe(tmp_path / "folder/mine.smollm3_mix.yaml", tmp_path / "sources")
    for name in beside.split():
        content = recipe.read_text() if name.endswith(".yaml") else '{"text": "a"}\n'
        (tmp_path / "folder" / name).write_text(content)
    assert get_dataset_config_names(str(tmp_path / "folder")) == ([hidden] if hidden else ["mine", "other"])
    (tmp_path / "folder/README.md").write_text(
        "---\nconfigs:\n  - {config_name: mine, data_files: mine.smollm3_mix.yaml}\n---\n"
    )
    found = load_dataset(str(tmp_path / "folder"), "mine", split="train", streaming=True, cache_dir=str(tmp_path / "c"))
    assert ids(found) == ids(load(recipe, cache_dir=str(tmp_path / "c")))


def ids(examples: Any) -> list[str]:
    return [example["id"] for example in examples]


def test_load_dataset_streams_recipe_folder(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        dataset = load_dataset(str(folder), name, split="train", streaming=True, cache_dir=str(tmp_path))
        direct = load(folder / f"configs/{name}.smollm3_mix.yaml", cache_dir=str(tmp_path))
        assert list(dataset.take(1000)) == list(direct.take(1000))


def test_each_recipe_of_a_folder_is_a_config(folder: Path) -> None:
    assert get_dataset_config_names(str(folder)) == ["one", "two"]


def test_load_dataset_passes_options(folder: Path, tmp_path: Path) -> None:
    options = {"seed": 9, "max_samples": 8, "lanes": 2}
    dataset = load_dataset(str(folder), "two", split="train", streaming=True, cache_dir=str(tmp_path), **options)
    assert dataset.num_shards == 2
    direct = load(folder / "configs/two.smollm3_mix.yaml", cache_dir=str(tmp_path), **options)
    assert len(ids(direct)) == 8
    assert ids(dataset) == ids(direct)


def test_load_dataset_prepares_recipe_folder(folder: Path, tmp_path: Path) -> None:
    prepared = load_dataset(str(folder), "one", split="train", cache_dir=str(tmp_path), max_samples=20, num_proc=2)
    direct = load(folder / "configs/one.smollm3_mix.yaml", cache_dir=str(tmp_path), max_samples=20)
    assert sorted(ids(prepared)) == sorted(ids(direct))


def test_load_dataset_requires_name_for_several_recipes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Config name is missing\.\nPlease pick one among .*\['one', 'two'\]"):
        load_dataset(str(folder), streaming=True, cache_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"BuilderConfig 'three' not found\. Available: \['one', 'two'\]"):
        load_dataset(str(folder), "three", streaming=True, cache_dir=str(tmp_path))


def test_load_dataset_requires_name_when_options_are_passed(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Config name is missing\.\nPlease pick one among .*\['one', 'two'\]"):
        load_dataset(str(folder), streaming=True, cache_dir=str(tmp_path), seed=3)


def test_load_dataset_rejects_several_recipes_as_data_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        load_dataset("smollm3_mix", data_files=str(folder / "configs/*"), streaming=True, cache_dir=str(tmp_path))
    assert str(error.value) == "default: none of the 2 recipes has this name. Choose one of one, two"


def test_only_recipe_needs_no_name(folder: Path, tmp_path: Path) -> None:
    write_recipe(tmp_path / "only/mine.smollm3_mix.yaml", folder.parent / "sources", seed=1)
    dataset = load_dataset(str(tmp_path / "only"), split="train", streaming=True, cache_dir=str(tmp_path))
    assert ids(dataset.take(9)) == ids(load(folder / "configs/one.smollm3_mix.yaml", cache_dir=str(tmp_path)).take(9))


def test_card_names_configs(folder: Path, tmp_path: Path) -> None:
    card = tmp_path / "carded"
    for name, seed in (("one", 1), ("two", 2)):
        write_recipe(card / f"configs/{name}.smollm3_mix.yaml", folder.parent / "sources", seed=seed)
    (card / "requirements.txt").write_text("smollm3_mix\n")
    (card / "README.md").write_text(
        "---\nconfigs:\n"
        "- {config_name: small, data_files: configs/one.smollm3_mix.yaml, max_samples: 12}\n"
        "- {config_name: two, data_files: configs/two.smollm3_mix.yaml, default: true}\n---\n# A mix\n"
    )
    assert get_dataset_config_names(str(card)) == ["small", "two"]
    small = load_dataset(str(card), "small", split="train", streaming=True, cache_dir=str(tmp_path))
    assert len(ids(small)) == 12
    default = load_dataset(str(card), split="train", streaming=True, cache_dir=str(tmp_path))
    assert ids(default.take(9)) == ids(load(card / "configs/two.smollm3_mix.yaml", cache_dir=str(tmp_path)).take(9))


@pytest.mark.parametrize("where", ["folder", "smollm3_mix"])
def test_recipe_can_be_a_data_file(folder: Path, tmp_path: Path, where: str) -> None:
    file = folder / "configs/two.smollm3_mix.yaml"
    path = str(folder) if where == "folder" else where
    dataset = load_dataset(path, data_files=str(file), split="train", streaming=True, cache_dir=str(tmp_path))
    assert ids(dataset.take(9)) == ids(load(file, cache_dir=str(tmp_path)).take(9))


STREAM = """
from datasets import load_dataset
from datasets import packaged_modules as tables
record = next(iter(load_dataset(folder, "two", split="train", streaming=True)))
loaders = [type(tables.__loader__).__name__, type(tables.__spec__.loader).__name__]
print(json.dumps({"id": record["id"], "early": early, "loaders": loaders}))
"""


def test_package_can_be_imported_before_or_after_datasets(folder: Path, tmp_path: Path) -> None:
    before = run("import smollm3_mix, sys\nearly = 'datasets' in sys.modules\n" + STREAM, tmp_path, folder=folder)
    after = run("import datasets, smollm3_mix\nearly = None\n" + STREAM, tmp_path, folder=folder)
    first = next(iter(load(folder / "configs/two.smollm3_mix.yaml", cache_dir=str(tmp_path))))["id"]
    loaders = ["SourceFileLoader"] * 2  # the hook leaves no trace in the module
    assert before == {"id": first, "early": False, "loaders": loaders}
    assert after == {"id": first, "early": None, "loaders": loaders}


HUB = """
import smollm3_mix
from datasets import get_dataset_config_names, load_dataset
dataset = load_dataset("org/smollm3_mix", "two", split="train", streaming=True, seed=9)
ours = smollm3_mix.load("hf://datasets/org/smollm3_mix/configs/two.smollm3_mix.yaml", seed=9)
prepared = load_dataset("org/smollm3_mix", "two", split="train", max_samples=12)
print(json.dumps({
    "configs": get_dataset_config_names("org/smollm3_mix"),
    "ids": [record["id"] for record in dataset],
    "same": list(dataset) == list(ours),
    "prepared": len(prepared),
}))
"""


def test_load_dataset_streams_recipe_repository(folder: Path, tmp_path: Path) -> None:
    with hub("org/smollm3_mix", folder) as endpoint:
        found = run(HUB, tmp_path, endpoint)
    direct = load(folder / "configs/two.smollm3_mix.yaml", cache_dir=str(tmp_path), seed=9)
    assert found == {"configs": ["one", "two"], "ids": ids(direct), "same": True, "prepared": 12}


OTHERS = """
from datasets.load import dataset_module_factory
def modules():
    found = {}
    for name in names:
        module = dataset_module_factory(folder + "/" + name)
        found[name] = [module.module_path, str(module.builder_kwargs), module.hash]
    return found
before = modules()
import smollm3_mix
print(json.dumps({"before": before, "after": modules()}))
"""


def test_folders_without_recipes_load_as_before(tmp_path: Path) -> None:
    data = datasets.Dataset.from_dict({"text": ["a", "b"]})
    files: dict[str, Any] = {
        "parquet": lambda path: data.to_parquet(path / "a.parquet"),
        "json": lambda path: data.to_json(path / "a.jsonl"),
        "csv": lambda path: data.to_csv(path / "a.csv"),
        "text": lambda path: (path / "a.txt").write_text("a\n"),
        "imagefolder": lambda path: (path / "a.png").write_bytes(b""),
        "yaml_beside": lambda path: [(path / "recipe.yaml").write_text("a: 1"), data.to_parquet(path / "a.parquet")],
        "splits": lambda path: [data.to_parquet(path / f"{split}.parquet") for split in ("train", "test")],
    }
    for name, write in files.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    found = run(OTHERS, tmp_path, folder=tmp_path, names=list(files))
    assert found["before"] == found["after"]
    assert found["after"]["imagefolder"][0] == "datasets.packaged_modules.imagefolder.imagefolder"


def test_install_is_idempotent() -> None:
    tables = sys.modules["datasets.packaged_modules"]
    allowed = getattr(tables, "_ALL_ALLOWED_EXTENSIONS", None) or datasets.load.ALL_ALLOWED_EXTENSIONS
    register.install()
    register.install()
    assert allowed.count(register.EXTENSION) == 1
    assert sys.meta_path.count(register._FINDER) == 1
