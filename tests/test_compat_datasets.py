"""The private names of `datasets` exist in the installed version and behave as this package expects."""

import importlib
import inspect
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import datasets
import pytest

from smollm3_mix.compat import hf_builder, hf_datasets, register
from smollm3_mix.compat.moved_names import find_name


@pytest.mark.parametrize(("module", "name"), hf_datasets.NAMES)
def test_names_exist(module: str, name: str) -> None:
    assert getattr(importlib.import_module(module), name, None) is not None


@pytest.mark.parametrize("name", hf_builder.BUILDER_HOOKS)
def test_builder_hooks_exist(name: str) -> None:
    assert callable(getattr(datasets.GeneratorBasedBuilder, name))


@pytest.mark.parametrize("name", hf_builder.ITERABLE_HOOKS)
def test_members_of_examples_iterables_exist(name: str) -> None:
    assert hasattr(hf_datasets.examples_iterable(), name)


def test_builder_hooks_take_the_arguments_that_are_passed() -> None:
    hooks = datasets.ArrowBasedBuilder
    tables = [*inspect.signature(hooks._prepare_split_single).parameters]
    assert tables[1:6] == ["gen_kwargs", "fpath", "file_format", "max_shard_size", "job_id"]
    examples = [*inspect.signature(datasets.GeneratorBasedBuilder._prepare_split_single).parameters]
    assert set(tables) < set(examples)
    assert [*inspect.signature(hooks._get_examples_iterable_for_split).parameters] == ["self", "split_generator"]
    config = inspect.signature(hooks._create_builder_config)
    config.bind(None, "name", None, seed=1)
    assert [*inspect.signature(hooks._build_cache_dir).parameters] == ["self"]


def test_builder_keeps_its_cache_folder_in_the_attributes_that_are_set(tmp_path: Path) -> None:
    class Builder(datasets.GeneratorBasedBuilder):  # type: ignore[misc]
        def _info(self) -> datasets.DatasetInfo:
            return datasets.DatasetInfo()

    builder = Builder(cache_dir=str(tmp_path))
    assert [getattr(builder, name) for name in hf_builder.BUILDER_ATTRIBUTES] == [builder.cache_dir] * 2
    builder.config_id = "another"
    assert "another" in Path(builder._build_cache_dir()).parts


def test_dataset_copies_and_loads_the_state_that_an_iterable_creates() -> None:
    class Examples(hf_builder.ExamplesBase):
        iter_arrow = None

        def new_state(self) -> dict[str, Any]:
            return {"smollm3_mix": None}

        def __iter__(self) -> Any:
            for number in range(3):
                self.current_state["smollm3_mix"] = number
                yield str(number), {"id": number}

    examples = Examples()
    assert examples.current_state is None
    dataset = datasets.IterableDataset(examples)
    iterator = iter(dataset)
    next(iterator)
    next(iterator)
    saved = dataset.state_dict()
    assert saved["examples_iterable"] == {"smollm3_mix": 1}
    assert hf_datasets.is_dataset_state(saved)
    dataset.load_state_dict({**saved, "examples_iterable": {"smollm3_mix": 0}})
    next(iter(dataset))
    assert not hf_datasets.is_dataset_state({"epoch": 0})


def test_packaged_module_is_named_for_builders_of_datasets(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    builder = datasets.load_dataset_builder("json", data_files=str(tmp_path / "a.jsonl"), cache_dir=str(tmp_path))
    assert hf_datasets.packaged_module(builder) == "json"
    assert hf_datasets.resolved_files(builder.config.data_files) == [str(tmp_path / "a.jsonl")]
    assert hf_datasets.packaged_module(SimpleNamespace()) is None
    assert hf_datasets.resolved_files({"train": ["a.jsonl"]}) == []


def test_cache_builder_is_a_packaged_module() -> None:
    found = importlib.import_module("datasets.packaged_modules.cache.cache").Cache
    assert hf_datasets.packaged_module(found.__new__(found)) == "cache"


def test_endpoint_is_that_of_the_file_systems_of_datasets() -> None:
    assert hf_datasets.endpoint() == datasets.config.HF_ENDPOINT


def test_progress_bars_have_one_lock() -> None:
    hf_datasets.lock_progress_bars()
    assert datasets.utils.tqdm._lock is datasets.utils.tqdm.get_lock()


@pytest.mark.parametrize("name", register.NAMES)
def test_tables_of_packaged_modules_exist(name: str) -> None:
    assert isinstance(getattr(importlib.import_module("datasets.packaged_modules"), name), dict)


def test_missing_name_raises_with_the_installed_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.iterable_dataset._BaseExamplesIterable", None)
    with pytest.raises(ImportError) as error:
        hf_datasets.examples_iterable()
    assert str(error.value) == (
        f"datasets {datasets.__version__} has no iterable_dataset._BaseExamplesIterable. smollm3_mix was tested with "
        "versions 3.6 to 5.x. Install one of them: pip install 'datasets>=3.6,!=4.0.1,<6'"
    )


def test_missing_module_raises_the_same_error() -> None:
    with pytest.raises(ImportError, match=r"has no gone\.Name\. smollm3_mix was tested with versions 3\.6 to 5\.x\."):
        find_name("datasets.gone", "Name", tested=hf_datasets.TESTED, requirement=hf_datasets.REQUIREMENT)


def test_missing_package_is_not_reported_as_moved() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_package'"):
        find_name("no_such_package", "Name", tested="1.x", requirement="no_such_package<2")


def test_missing_tables_are_reported_with_the_tested_versions() -> None:
    with pytest.warns(RuntimeWarning) as caught:
        register.add_rows(ModuleType("datasets.packaged_modules"))
    assert str(caught[0].message) == (
        f"load_dataset() cannot find recipes: datasets {datasets.__version__} has no _PACKAGED_DATASETS_MODULES, "
        "_EXTENSION_TO_MODULE, _MODULE_TO_EXTENSIONS, _MODULE_TO_METADATA_FILE_NAMES in packaged_modules. smollm3_mix "
        "was tested with versions 3.6 to 5.x. Install one of them: pip install 'datasets>=3.6,!=4.0.1,<6'. Until then, "
        "use smollm3_mix.load()."
    )
