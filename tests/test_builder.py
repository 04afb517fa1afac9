"""The builder: streamed and prepared datasets, and their ids. Runs on every supported `datasets`."""

import ast
import dataclasses
import multiprocessing
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from datasets import load_dataset_builder
from datasets.distributed import split_dataset_by_node
from doors import LANES, stream, write_recipe, write_sources

import smollm3_mix
import smollm3_mix.version
from smollm3_mix.builder import mix_builder
from smollm3_mix.builder.load import load
from smollm3_mix.builder.mix_builder import SmolLM3Mix
from smollm3_mix.builder.mix_config import SmolLM3MixConfig, refuse_functions
from smollm3_mix.compat import hf_builder
from smollm3_mix.errors import RecipeError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.recipe.curriculum import Curriculum, Stage
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.shipped import list_recipes
from smollm3_mix.schema import RECORD_SCHEMA


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("builder")
    write_sources(folder / "sources")
    write_recipe(folder / "mine.yaml", folder / "sources")
    return folder


@pytest.fixture(scope="module")
def recipe(folder: Path) -> Path:
    return folder / "mine.yaml"


@pytest.fixture(scope="module")
def records(recipe: Path) -> list[dict[str, Any]]:
    """Records of the mix itself."""
    return list(open_mix(recipe).stream())


def ids(examples: Any) -> list[str]:
    return [example["id"] for example in examples]


# Streaming


def test_load_streams_the_records_of_the_mix(recipe: Path, records: list[dict[str, Any]]) -> None:
    assert len(records) > 400
    assert list(load(recipe, cache_dir=str(recipe.parent / "cache"))) == records


def test_dataset_declares_columns_and_has_lanes_as_shards(recipe: Path) -> None:
    dataset = stream(recipe)
    assert dataset.features.arrow_schema.names == RECORD_SCHEMA.names
    assert [field.type for field in dataset.features.arrow_schema] == RECORD_SCHEMA.types
    assert dataset.num_shards == LANES


def test_dataset_repeats_its_records(recipe: Path, records: list[dict[str, Any]]) -> None:
    dataset = stream(recipe)
    assert ids(dataset.take(5)) == ids(records[:5])
    assert ids(dataset) == ids(dataset) == ids(records)


@pytest.mark.parametrize("format_type", ["arrow", "numpy"])
def test_formats_yield_the_same_records(recipe: Path, records: list[dict[str, Any]], format_type: str) -> None:
    batches = list(stream(recipe).with_format(format_type).iter(batch_size=100))
    found = [
        str(one) for batch in batches for one in (batch["id"].to_pylist() if format_type == "arrow" else batch["id"])
    ]
    assert found == ids(records)


def test_batched_map_reads_arrow_tables(recipe: Path, records: list[dict[str, Any]]) -> None:
    arrow = stream(recipe).with_format("arrow")
    mapped = arrow.map(lambda table: table.select(["id", "tokens"]), batched=True, batch_size=64)
    assert [one for table in mapped.iter(batch_size=64) for one in table["id"].to_pylist()] == ids(records)
    lengths = stream(recipe).map(lambda batch: {"length": [len(text) for text in batch["text"]]}, batched=True)
    assert [one["length"] for one in lengths] == [len(one["text"]) for one in records]


def test_epoch_and_shuffle_keep_the_order_of_lanes(recipe: Path, records: list[dict[str, Any]]) -> None:
    dataset = stream(recipe)
    dataset.set_epoch(3)
    assert ids(dataset) == ids(records)
    assert ids(stream(recipe).shuffle(seed=1, buffer_size=1)) == ids(records)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_nodes_get_complete_lanes(recipe: Path, records: list[dict[str, Any]], world: int) -> None:
    parts = [ids(split_dataset_by_node(stream(recipe), rank=rank, world_size=world)) for rank in range(world)]
    assert sorted(one for part in parts for one in part) == sorted(ids(records))
    mix = open_mix(recipe)
    assert parts[0] == ids(mix.stream(range(0, LANES, world)))


def test_nodes_read_each_record_once_when_lanes_are_not_divisible(recipe: Path, records: list[dict[str, Any]]) -> None:
    parts = [ids(split_dataset_by_node(stream(recipe), rank=rank, world_size=3)) for rank in range(3)]
    assert sorted(one for part in parts for one in part) == sorted(ids(records))


def test_mixes_interleave(recipe: Path, records: list[dict[str, Any]]) -> None:
    both = datasets.interleave_datasets([stream(recipe), stream(recipe, seed=8)])
    assert ids(both.take(20))[::2] == ids(records[:10])


def _ids_of_shard(pickled: bytes, index: int) -> list[str]:
    return ids(pickle.loads(pickled).shard(LANES, index))


def test_spawned_workers_read_their_lanes_without_listing_files(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    write_sources(tmp_path / "sources")
    path = write_recipe(tmp_path / "mine.yaml", tmp_path / "sources")
    dataset = load(path, cache_dir=str(tmp_path))
    path.unlink()  # a worker that reads the recipe again would fail
    (tmp_path / "sources/alpha/1.parquet").write_bytes(b"not Parquet, so a worker that lists files would fail")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        shards = [pool.apply_async(_ids_of_shard, (pickle.dumps(dataset), index)) for index in (1, 3)]
        assert [shard.get(120) for shard in shards] == [ids(dataset.shard(LANES, index)) for index in (1, 3)]


def test_holdout_is_the_validation_split(tmp_path: Path, folder: Path) -> None:
    path = write_recipe(tmp_path / "holdout.yaml", folder / "sources", holdout={"fraction": 0.2, "tokens": 500})
    splits = load(path, split=None, cache_dir=str(tmp_path))
    assert list(splits) == ["train", "validation"]
    train, validation = set(ids(splits["train"])), ids(splits["validation"])
    assert validation
    assert not train & set(validation)


def test_load_refuses_a_missing_split(recipe: Path) -> None:
    with pytest.raises(ValueError, match=r"Bad split: validation\. Available splits: \['train'\]"):
        stream(recipe, split="validation")


# Configs


def test_every_shipped_recipe_is_a_config() -> None:
    assert list(SmolLM3Mix.builder_configs) == list_recipes()


def test_config_options_change_the_recipe(recipe: Path, tmp_path: Path) -> None:
    builder = SmolLM3Mix(recipe=recipe, seed=1, lanes=2, cache_dir=str(tmp_path))
    assert (builder.recipe.seed, builder.recipe.lanes) == (1, 2)
    assert builder.config.name == "mine"
    assert builder.info.description == "Three local sources."
    dataset = builder.as_streaming_dataset("train")
    assert dataset.num_shards == 2
    assert ids(dataset) == ids(open_mix(recipe, seed=1, lanes=2).stream())


def test_limit_applies_to_the_whole_mix(recipe: Path) -> None:
    assert len(list(stream(recipe, max_samples=10))) == 10


@pytest.mark.parametrize("limit", [{"max_bytes": 2000}, {"max_bytes": "2kB"}, {"max_tokens": "1k"}])
def test_load_takes_the_limits_of_open_mix(recipe: Path, limit: dict[str, Any]) -> None:
    found = ids(stream(recipe, **limit))
    assert found == ids(open_mix(recipe, **limit).stream())
    assert 0 < len(found) < 300


def test_load_takes_a_recipe_object(recipe: Path, tmp_path: Path) -> None:
    changed = load_recipe(recipe).replace(seed=3)
    assert ids(load(changed, cache_dir=str(tmp_path)).take(9)) == ids(stream(recipe, seed=3).take(9))


def test_unknown_names_are_refused(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"BuilderConfig 'stage9' not found\. Available: \["):
        SmolLM3Mix(config_name="stage9", cache_dir=str(tmp_path))
    with pytest.raises(RecipeError, match="stage9"):
        load("stage9", cache_dir=str(tmp_path))
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'sede'\. Did you mean 'seed'\?"):
        load(recipe, sede=1, cache_dir=str(tmp_path))


@pytest.mark.parametrize("build", [SmolLM3MixConfig, SmolLM3Mix, partial(load_dataset_builder, "smollm3_mix")])
def test_config_refuses_unknown_fields_with_the_nearest_name(build: Any) -> None:
    with pytest.raises(TypeError) as error:
        build(max_token=5)
    assert str(error.value) == "SmolLM3MixConfig got an unexpected field 'max_token'. Did you mean 'max_tokens'?"


def test_load_takes_a_curriculum_object(recipe: Path, tmp_path: Path) -> None:
    one = load_recipe(recipe)
    assert isinstance(one, Recipe)
    curriculum = Curriculum(
        (Stage("first", 500, one), Stage("second", 500, one.replace(description="Again."))), "two.yaml"
    )
    assert ids(load(curriculum, cache_dir=str(tmp_path))) == ids(open_mix(curriculum).stream())


@pytest.mark.parametrize("value", [{"datasets": []}, None])
def test_load_refuses_other_types(value: Any) -> None:
    with pytest.raises(TypeError) as error:
        load(value)
    assert str(error.value) == (
        f"recipe must be a name, a path or a Recipe, got {type(value).__name__}. "
        "Use smollm3_mix.Recipe.from_dict() to build one."
    )


# The prepared dataset


def test_prepared_records_do_not_depend_on_num_proc(recipe: Path, tmp_path: Path) -> None:
    mix = open_mix(recipe)
    by_lane = [record for lane in range(mix.num_lanes) for record in mix.stream([lane])]
    one = load(recipe, streaming=False, cache_dir=str(tmp_path / "one"))
    assert one.to_list() == by_lane
    two = load(recipe, streaming=False, cache_dir=str(tmp_path / "two"), num_proc=2)
    assert two.to_list() == by_lane


def test_builder_prepares_parquet(recipe: Path, tmp_path: Path) -> None:
    builder = SmolLM3Mix(recipe=recipe, cache_dir=str(tmp_path / "cache"))
    builder.download_and_prepare(str(tmp_path / "out"), file_format="parquet", max_shard_size=20_000)
    files = sorted(str(file) for file in (tmp_path / "out").glob("*.parquet"))
    assert len(files) > 1
    assert ids(datasets.Dataset.from_parquet(files, cache_dir=str(tmp_path / "load_recipe"))) == [
        one for lane in range(LANES) for one in ids(open_mix(recipe).stream([lane]))
    ]


def test_generated_examples_have_unique_keys(recipe: Path, tmp_path: Path) -> None:
    builder = SmolLM3Mix(recipe=recipe, cache_dir=str(tmp_path))
    (split,) = builder._split_generators(None)
    keys, examples = zip(*builder._generate_examples(**split.gen_kwargs), strict=True)
    assert len(set(keys)) == len(keys)
    assert list(examples) == [
        example for table in builder._generate_tables(**split.gen_kwargs) for example in table[1].to_pylist()
    ]


def test_edited_recipe_has_another_cache_folder(folder: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "edited.yaml", folder / "sources")
    first = load(path, streaming=False, cache_dir=str(tmp_path / "cache"), max_samples=20)
    write_recipe(path, folder / "sources", seed=8)
    second = load(path, streaming=False, cache_dir=str(tmp_path / "cache"), max_samples=20)
    assert ids(first) != ids(second)


def test_options_are_part_of_the_cache_id(recipe: Path, tmp_path: Path) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"lanes": 2},
        {"max_samples": 5},
        {"max_tokens": 5},
        {"max_bytes": 5},
        {"skip_unreadable": True},
    ]
    found = [SmolLM3Mix(recipe=recipe, cache_dir=str(tmp_path), **each).cache_dir for each in options]
    assert len(set(found)) == len(options)
    assert SmolLM3Mix(recipe=recipe, cache_dir=str(tmp_path)).cache_dir == found[0]
    assert Path(found[0]).relative_to(tmp_path).parts[0] == "smollm3_mix"
    assert Path(found[0]).name == smollm3_mix.version.__version__


def test_equal_recipes_in_other_folders_have_other_cache_folders(tmp_path: Path) -> None:
    folders = []
    for name in ("first", "second"):
        write_sources(tmp_path / name / "data", rows=40)
        sources = [{"id": "alpha", "name": "data/alpha", "weight": 1}]
        path = write_recipe(tmp_path / name / "mine.yaml", tmp_path, datasets=sources)
        folders.append(SmolLM3Mix(recipe=path, cache_dir=str(tmp_path / "cache")).cache_dir)
    assert folders[0] != folders[1]


def test_edited_source_file_changes_the_cache_folder(tmp_path: Path) -> None:
    write_sources(tmp_path / "sources", rows=40)
    path = write_recipe(tmp_path / "mine.yaml", tmp_path / "sources")
    before = SmolLM3Mix(recipe=path, cache_dir=str(tmp_path / "cache")).cache_dir
    write_sources(tmp_path / "sources", rows=44)
    assert SmolLM3Mix(recipe=path, cache_dir=str(tmp_path / "cache")).cache_dir != before


def test_load_dataset_builder_passes_config_options(recipe: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "a.smollm3_mix.yaml", recipe.parent / "sources")
    builder = load_dataset_builder("smollm3_mix", data_files=str(path), seed=5, cache_dir=str(tmp_path))
    assert (builder.config.name, builder.recipe.seed) == ("a", 5)


def test_builder_asks_for_a_missing_config_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Config name is missing\.\nPlease pick one among the available configs: \["):
        SmolLM3Mix(seed=1, cache_dir=str(tmp_path))


# Rules of builder modules


@pytest.mark.parametrize("module", [mix_builder, hf_builder])
def test_builder_modules_open_no_files(module: Any) -> None:
    # `datasets` replaces these names in them by functions that open URLs
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not imported & {"os", "pathlib", "glob", "gzip", "io", "shutil"}
    assert not used & {"open", "Path", "os"}


def test_config_fields_have_defaults() -> None:
    assert all(hasattr(SmolLM3MixConfig, field.name) for field in dataclasses.fields(SmolLM3MixConfig))


def test_recipe_from_the_hub_with_a_function_is_refused(recipe: Path, tmp_path: Path) -> None:
    own = yaml.safe_load(recipe.read_text()) | {"filters": {"python": "evil:run"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    url = "hf://datasets/someone/mix/configs/own.smollm3_mix.yaml"
    with pytest.raises(RecipeError) as error:
        refuse_functions(url, load_recipe(tmp_path / "own.yaml"))
    assert error.value.problems[0].endswith(
        f"would run 'evil:run'. Read the recipe, then use smollm3_mix.load(\"{url}\", trust_remote_code=True) "
        "or a local copy"
    )
    refuse_functions(url, load_recipe(recipe))
