"""Base classes of a builder and its examples. They give private hooks of `datasets` 3.6 to 5.x public names.

`datasets` patches `open`, `os.path` and `Path` in this module, so nothing here uses files.
"""

from collections.abc import Iterator
from typing import Any

import datasets

from smollm3_mix.compat import hf_datasets

BUILDER_HOOKS = (
    "_build_cache_dir",
    "_create_builder_config",
    "_get_examples_iterable_for_split",
    "_prepare_split_single",
)
"""Private methods of `datasets.GeneratorBasedBuilder` that this module overrides or calls."""

BUILDER_ATTRIBUTES = ("_cache_dir", "_output_dir")
"""Private attributes of a builder that this module sets."""

ITERABLE_HOOKS = (
    "_init_state_dict",
    "features",
    "is_typed",
    "iter_arrow",
    "num_shards",
    "shard_data_sources",
    "shuffle_data_sources",
    "split_shard_indices_by_worker",
)
"""Undocumented members of `_BaseExamplesIterable` that this module or its subclasses override."""

_ExamplesIterable: Any = hf_datasets.examples_iterable()


class BuilderBase(datasets.GeneratorBasedBuilder):  # type: ignore[misc]  # datasets carries no types
    """Builder that creates its configs and examples itself, and writes its cache from tables.

    Subclasses override `_make_config` and `_split_examples`, and define `_generate_tables`.
    """

    def _make_config(
        self, config_name: str | None, custom_features: Any, **options: Any
    ) -> tuple[datasets.BuilderConfig, str]:
        """Return the config with these options, and its id."""
        config, config_id = super()._create_builder_config(config_name, custom_features, **options)
        return config, config_id

    def _split_examples(self, **options: Any) -> Any:
        """Return the examples iterable of a split, from the `gen_kwargs` of its generator."""
        raise NotImplementedError

    def _move_cache(self, config_id: str) -> None:
        """Prepare the dataset in the cache folder of another config id."""
        self.config_id = config_id
        self._cache_dir = self._output_dir = self._build_cache_dir()

    def _create_builder_config(
        self, config_name: str | None = None, custom_features: Any = None, **options: Any
    ) -> tuple[datasets.BuilderConfig, str]:
        return self._make_config(config_name, custom_features, **options)

    def _get_examples_iterable_for_split(self, split_generator: datasets.SplitGenerator) -> Any:
        return self._split_examples(**split_generator.gen_kwargs)

    def _prepare_split_single(
        self, gen_kwargs: dict[str, Any], fpath: str, file_format: str, max_shard_size: int, job_id: int, **_: Any
    ) -> Iterator[tuple[int, bool, Any]]:
        """Write tables directly. `GeneratorBasedBuilder` would write record by record."""
        yield from datasets.ArrowBasedBuilder._prepare_split_single(
            self, gen_kwargs, fpath, file_format, max_shard_size, job_id
        )


class ExamplesBase(_ExamplesIterable):  # type: ignore[misc]  # datasets carries no types
    """Examples of an `IterableDataset` that keep their own state. Subclasses define `new_state` and `arrow_tables`."""

    _sleep_on_threads_shutdown = False  # read by datasets ≥ 5 when it interleaves

    def new_state(self) -> Any:
        """Return the state at the start."""
        raise NotImplementedError

    def arrow_tables(self) -> Iterator[tuple[str, Any]]:
        """Yield keys and Arrow tables."""
        raise NotImplementedError

    @property
    def iter_arrow(self) -> Any:
        """Method that yields keys and tables. `datasets` reads the property, then calls the method."""
        return self._iter_arrow

    def _iter_arrow(self) -> Iterator[tuple[str, Any]]:
        return self.arrow_tables()

    @property
    def current_state(self) -> Any:
        """State that `datasets` copies and loads. None if no state was requested."""
        return self._state_dict

    def _init_state_dict(self) -> Any:
        self._state_dict = self.new_state()
        return self._state_dict
