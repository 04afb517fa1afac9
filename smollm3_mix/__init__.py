"""SmolLM3's pretraining mixture as a Hugging Face dataset: exact token shares after filters and dedup, at every prefix.

    import smollm3_mix
    for record in smollm3_mix.load("stage2", seed=1): ...

Importing it imports neither `datasets` nor numpy; names are looked up when they are used. It also lets `load_dataset`
read recipe folders (see `register`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from smollm3_mix import register

if TYPE_CHECKING:
    from smollm3_mix.builder import SmolLM3Mix, SmolLM3MixConfig, load
    from smollm3_mix.errors import (
        MissingExtra,
        MixError,
        OutputError,
        RecipeError,
        SourceError,
        SourceExhausted,
        StateError,
        Unreadable,
    )
    from smollm3_mix.index import build_index
    from smollm3_mix.legacy import DatasetMerger
    from smollm3_mix.loader import MixLoader, loader
    from smollm3_mix.mix import Mix, Stream, merge_states, open_mix
    from smollm3_mix.pack import cu_seqlens
    from smollm3_mix.packing import Packed, Windows, packed
    from smollm3_mix.publish import publish_recipe, push
    from smollm3_mix.recipe import Recipe
    from smollm3_mix.schema import RECORD

__version__ = "0.1.0"

_ROOMS = {
    "builder": ("SmolLM3Mix", "SmolLM3MixConfig", "load"),
    "errors": (
        "MissingExtra",
        "MixError",
        "OutputError",
        "RecipeError",
        "SourceError",
        "SourceExhausted",
        "StateError",
        "Unreadable",
    ),
    "index": ("build_index",),
    "legacy": ("DatasetMerger",),
    "loader": ("MixLoader", "loader"),
    "mix": ("Mix", "Stream", "merge_states", "open_mix"),
    "pack": ("cu_seqlens",),
    "packing": ("Packed", "Windows", "packed"),
    "publish": ("publish_recipe", "push"),
    "recipe": ("Recipe",),
    "schema": ("RECORD",),
}

__all__ = [
    "RECORD",
    "DatasetMerger",
    "MissingExtra",
    "Mix",
    "MixError",
    "MixLoader",
    "OutputError",
    "Packed",
    "Recipe",
    "RecipeError",
    "SmolLM3Mix",
    "SmolLM3MixConfig",
    "SourceError",
    "SourceExhausted",
    "StateError",
    "Stream",
    "Unreadable",
    "Windows",
    "__version__",
    "build_index",
    "cu_seqlens",
    "load",
    "loader",
    "merge_states",
    "open_mix",
    "packed",
    "publish_recipe",
    "push",
]

_HOMES = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, from the room it lives in (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'smollm3_mix' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f"smollm3_mix.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register.install()
