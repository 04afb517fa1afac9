"""SmolLM3's pretraining mixture as a Hugging Face dataset: exact token shares after filters and dedup, at every prefix.

    import smollm3_mix
    for record in smollm3_mix.load("stage2", seed=1): ...

Importing it imports neither `datasets` nor numpy; names are looked up when they are used. It also lets `load_dataset`
read recipe folders (see `register`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from smollm3_mix.compat import register
from smollm3_mix.version import __version__

if TYPE_CHECKING:
    from smollm3_mix.builder.load import load
    from smollm3_mix.builder.mix_builder import SmolLM3Mix
    from smollm3_mix.builder.mix_config import SmolLM3MixConfig
    from smollm3_mix.dedup_index.build_index import build_index
    from smollm3_mix.errors import (
        MissingExtraError,
        MixError,
        OutputError,
        RecipeError,
        SourceError,
        SourceExhaustedError,
        StateError,
        UnreadableSourcesError,
    )
    from smollm3_mix.hub.push_mix import push_to_hub
    from smollm3_mix.hub.push_recipes import push_recipes_to_hub
    from smollm3_mix.merge_datasets.dataset_merger import DatasetMerger
    from smollm3_mix.mix.open_mix import open_mix
    from smollm3_mix.mix.recipe_mix import Mix
    from smollm3_mix.mix.state.merge_states import merge_states
    from smollm3_mix.mix.stream import Stream
    from smollm3_mix.packing.packed_mix import PackedMix, open_packed
    from smollm3_mix.packing.window_stream import WindowStream
    from smollm3_mix.recipe.recipe import Recipe
    from smollm3_mix.schema import RECORD_SCHEMA
    from smollm3_mix.text.token_windows import cu_seqlens
    from smollm3_mix.torch_loader.mix_loader import MixLoader


_MODULES = {
    "builder.load": ("load",),
    "builder.mix_builder": ("SmolLM3Mix",),
    "builder.mix_config": ("SmolLM3MixConfig",),
    "dedup_index.build_index": ("build_index",),
    "errors": (
        "MissingExtraError",
        "MixError",
        "OutputError",
        "RecipeError",
        "SourceError",
        "SourceExhaustedError",
        "StateError",
        "UnreadableSourcesError",
    ),
    "hub.push_mix": ("push_to_hub",),
    "hub.push_recipes": ("push_recipes_to_hub",),
    "torch_loader.mix_loader": ("MixLoader",),
    "merge_datasets.dataset_merger": ("DatasetMerger",),
    "mix.open_mix": ("open_mix",),
    "mix.recipe_mix": ("Mix",),
    "mix.state.merge_states": ("merge_states",),
    "mix.stream": ("Stream",),
    "packing.packed_mix": ("PackedMix", "open_packed"),
    "packing.window_stream": ("WindowStream",),
    "recipe.recipe": ("Recipe",),
    "schema": ("RECORD_SCHEMA",),
    "text.token_windows": ("cu_seqlens",),
}

__all__ = [
    "RECORD_SCHEMA",
    "DatasetMerger",
    "MissingExtraError",
    "Mix",
    "MixError",
    "MixLoader",
    "OutputError",
    "PackedMix",
    "Recipe",
    "RecipeError",
    "SmolLM3Mix",
    "SmolLM3MixConfig",
    "SourceError",
    "SourceExhaustedError",
    "StateError",
    "Stream",
    "UnreadableSourcesError",
    "WindowStream",
    "__version__",
    "build_index",
    "cu_seqlens",
    "load",
    "merge_states",
    "open_mix",
    "open_packed",
    "push_recipes_to_hub",
    "push_to_hub",
]

_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, from the module that defines it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'smollm3_mix' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f"smollm3_mix.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register.install()
