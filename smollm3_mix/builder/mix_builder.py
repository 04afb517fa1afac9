"""`SmolLM3Mix`, the builder.

`datasets` patches `open`, `os.path` and `Path` in this module, so nothing here uses files.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import datasets

from smollm3_mix.builder.examples_iterable import FEATURES, MixExamples
from smollm3_mix.builder.mix_config import SmolLM3MixConfig, check_fields
from smollm3_mix.builder.prepared_cache import link_prepared, newest_prepared, plain_cache_id
from smollm3_mix.compat.hf_builder import BuilderBase
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.index_scope import index_scope_digest
from smollm3_mix.recipe.shipped import list_recipes
from smollm3_mix.sources.evaluation_texts import evaluation_sources
from smollm3_mix.sources.hub_files.commits import commits
from smollm3_mix.version import __version__

log = logging.getLogger("smollm3_mix")

NAME = "smollm3_mix"

PREPARED_ROWS = 1000
"""Number of records per batch of the Arrow files in the cache, as in `datasets`."""


class _ClassProperty:
    """Property of a class, as `datasets` reads the configs of a builder.

    Args:
        function: Function that returns the value for a class.
    """

    def __init__(self, function: Callable[[Any], dict[str, SmolLM3MixConfig]]) -> None:
        self._function = function

    def __get__(self, instance: Any, owner: type) -> dict[str, SmolLM3MixConfig]:
        return self._function(owner)


def _configs_by_name(builder: Any) -> dict[str, SmolLM3MixConfig]:
    """Return the configs of a builder. Every recipe of a folder that `load_dataset` opens is a config."""
    return {each.name: each for config in builder.BUILDER_CONFIGS for each in config.split_by_recipe()}


class SmolLM3Mix(BuilderBase):
    """Builder of SmolLM3's pretraining mixture, with one config per shipped recipe, and of any other recipe.

        SmolLM3Mix(config_name="stage2", seed=1).as_streaming_dataset("train")
        SmolLM3Mix(recipe="mine.yaml", max_tokens=10**9).download_and_prepare(num_proc=4)

    The splits are `train`, and `validation` if the recipe has a holdout. Lanes are the shards: `num_proc`,
    `split_dataset_by_node` and workers of a `DataLoader` get complete lanes. Building reads the recipe only. The
    sources are listed, and their commits pinned, when a dataset is requested.

    Attributes:
        recipe: Recipe with the seed and lanes of the config.
    """

    VERSION = datasets.Version(__version__)
    BUILDER_CONFIG_CLASS = SmolLM3MixConfig
    BUILDER_CONFIGS: ClassVar[list[SmolLM3MixConfig]] = [SmolLM3MixConfig(name=name) for name in list_recipes()]

    builder_configs = _ClassProperty(_configs_by_name)

    recipe: AnyRecipe

    def __init__(self, cache_dir: str | None = None, dataset_name: str | None = None, **kwargs: Any) -> None:
        super().__init__(cache_dir=cache_dir, dataset_name=dataset_name or NAME, **kwargs)

    def _make_config(
        self, config_name: str | None, custom_features: Any, **kwargs: Any
    ) -> tuple[SmolLM3MixConfig, str]:
        """Return the config with these options, and its id in the cache."""
        check_fields(kwargs.keys() - {"config_id"})
        self.BUILDER_CONFIGS = list(self.builder_configs.values())  # type: ignore[misc]  # this instance's only
        if config_name is None and not kwargs.keys() & {"recipe", "data_files"}:
            # without other arguments, `datasets` takes the default config, or asks for a name and lists them all
            config_name = super()._make_config(None, None)[0].name
        config, _ = super()._make_config(config_name, custom_features, **kwargs)
        self.recipe = config.read(self.token)
        cache_id = kwargs.get("config_id") or config.cache_id(self.recipe, custom_features)
        self._requested = self.recipe, cache_id
        self._plain_id = plain_cache_id(config.name, kwargs, custom_features)
        return config, cache_id

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(description=self.recipe.description, features=FEATURES)

    def download_and_prepare(self, output_dir: str | None = None, **kwargs: Any) -> None:
        """Prepare the mix in the cache, from the current commits of its sources.

        As with data repositories in `datasets`, mixes of other commits stay in the cache. If the Hub is unreachable,
        the newest of them is used and logged.
        """
        if output_dir is None:
            self._pin_commits()
        super().download_and_prepare(output_dir, **kwargs)
        if output_dir is None and self.repo_id is not None:
            link_prepared(self.cache_dir, self._plain_id)

    def _pin_commits(self) -> None:
        """Pin the recipe to the current commits of its sources, and set the cache folder."""
        recipe, cache_id = self._requested
        found = commits(recipe, recipe.active, self.token)
        texts = commits(recipe, evaluation_sources(recipe), self.token)
        if found is None or texts is None:
            before = newest_prepared(self.cache_dir, cache_id)
            if before is not None:
                log.warning("The Hub is unreachable. Using the cached dataset at %s.", before)
                cache_id = before
        elif found or texts:
            self.recipe, cache_id = recipe.pin(found), f"{cache_id}-{index_scope_digest([found, texts])[:8]}"
        self._move_cache(cache_id)

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:  # noqa: ARG002
        config = self.config
        train = open_mix(
            self.recipe,
            max_samples=config.max_samples,
            max_tokens=config.max_tokens,
            max_bytes=config.max_bytes,
            continue_from=config.continue_from,
            dedup_state_dir=config.dedup_state_dir,
            skip_unreadable=config.skip_unreadable,
            accept_terms=config.accept_terms,
            token=self.token,
        )
        mixes = [train]
        if self.recipe.holdout.fraction > 0:
            mixes.append(replace(train, split="validation", start=None))  # the sources are resolved once
        return [
            datasets.SplitGenerator(name=mix.split, gen_kwargs={"mix": mix, "lanes": list(range(mix.num_lanes))})
            for mix in mixes
        ]

    def _split_examples(self, **options: Any) -> MixExamples:
        """Return the examples of a split."""
        return MixExamples(**options)

    def _generate_examples(self, mix: Mix, lanes: list[int]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield keys and records lane by lane, so that the order is the same for any number of processes."""
        for lane in lanes:
            for number, (_, record) in enumerate(MixExamples(mix, [lane])):
                yield f"{lane}-{number}", record

    def _generate_tables(self, mix: Mix, lanes: list[int]) -> Iterator[tuple[str, Any]]:
        """Yield keys and Arrow tables lane by lane."""
        for lane in lanes:
            for number, table in MixExamples(mix, [lane], table_rows=PREPARED_ROWS).iter_arrow():
                yield f"{lane}-{number}", table
