"""SmolLM3's pretraining mixture as a Hugging Face dataset: exact token shares after filters and dedup, at every prefix.

    import smollm3_mix
    for record in smollm3_mix.load("stage2", seed=1): ...

The import loads the standard library only. A name loads what it needs when it is used. The import also registers recipe
folders with `load_dataset` (see `compat.register`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from smollm3_mix.compat import register
from smollm3_mix.messages import nearest
from smollm3_mix.version import __version__

if TYPE_CHECKING:
    from smollm3_mix.builder.load import load
    from smollm3_mix.builder.mix_builder import SmolLM3Mix
    from smollm3_mix.builder.mix_config import SmolLM3MixConfig
    from smollm3_mix.dedup_index.build_index import IndexBuild, IndexCounts, build_index
    from smollm3_mix.dedup_index.index_workers import IndexProgress
    from smollm3_mix.errors import (
        HubError,
        MissingExtraError,
        MixError,
        OutputError,
        RecipeError,
        SourceError,
        SourceExhaustedError,
        StateError,
        UnreadableSourcesError,
    )
    from smollm3_mix.executors.protocol import Executor
    from smollm3_mix.executors.ray_executor import RayExecutor
    from smollm3_mix.hub.hub_target import HubTarget
    from smollm3_mix.hub.push_mix import push_to_hub
    from smollm3_mix.hub.push_recipes import push_recipes_to_hub
    from smollm3_mix.merge_datasets.dataset_merger import DatasetMerger
    from smollm3_mix.mix.limits import Limits
    from smollm3_mix.mix.mix import Mix
    from smollm3_mix.mix.mix_stats import MixStats, SourceStats
    from smollm3_mix.mix.open_mix import open_mix
    from smollm3_mix.mix.options import MixOptions, Split
    from smollm3_mix.mix.state.merge_states import merge_states
    from smollm3_mix.mix.stream import Stream
    from smollm3_mix.network.urls import Token
    from smollm3_mix.output.finish import finish
    from smollm3_mix.output.lane_pool import Progress
    from smollm3_mix.output.uploads import UploadTarget
    from smollm3_mix.output.write_mix import write
    from smollm3_mix.output.written_mix import WrittenMix, open_written
    from smollm3_mix.packing.packed_mix import PackedMix, open_packed
    from smollm3_mix.packing.window_stream import WindowStream
    from smollm3_mix.recipe.curriculum import Curriculum, RecipeLike
    from smollm3_mix.recipe.model import Block, Holdout, Kind, Source
    from smollm3_mix.recipe.read_recipe import check_recipe, load_recipe
    from smollm3_mix.recipe.recipe import Recipe
    from smollm3_mix.recipe.sections import Decontaminate, Exclude, TokenCounting
    from smollm3_mix.recipe.shipped import list_recipes
    from smollm3_mix.recipe.stages import Stage
    from smollm3_mix.report.calibration import Calibration, TokenRatio, calibrate
    from smollm3_mix.report.mix_plan import MixPlan, plan
    from smollm3_mix.report.plan_rows import PlanRow
    from smollm3_mix.schema import RECORD_SCHEMA
    from smollm3_mix.sizes import ByteSize, Count
    from smollm3_mix.text.clean.cleaning_options import Cleaning
    from smollm3_mix.text.dedup.dedup_options import Dedup, IndexRef, Near
    from smollm3_mix.text.filters.filter_options import FilterOptions
    from smollm3_mix.text.filters.thresholds import C4, Code, FineWeb, GopherQuality, GopherRepetition
    from smollm3_mix.text.token_windows import cu_seqlens
    from smollm3_mix.torch_loader.mix_loader import MixLoader
    from smollm3_mix.verification.verification_report import VerificationReport
    from smollm3_mix.verification.verify_mix import verify

_MODULES = {
    "builder.load": ("load",),
    "builder.mix_builder": ("SmolLM3Mix",),
    "builder.mix_config": ("SmolLM3MixConfig",),
    "dedup_index.build_index": ("IndexBuild", "IndexCounts", "build_index"),
    "dedup_index.index_workers": ("IndexProgress",),
    "errors": (
        "HubError",
        "MissingExtraError",
        "MixError",
        "OutputError",
        "RecipeError",
        "SourceError",
        "SourceExhaustedError",
        "StateError",
        "UnreadableSourcesError",
    ),
    "executors.protocol": ("Executor",),
    "executors.ray_executor": ("RayExecutor",),
    "hub.hub_target": ("HubTarget",),
    "hub.push_mix": ("push_to_hub",),
    "hub.push_recipes": ("push_recipes_to_hub",),
    "merge_datasets.dataset_merger": ("DatasetMerger",),
    "mix.limits": ("Limits",),
    "mix.mix": ("Mix",),
    "mix.mix_stats": ("MixStats", "SourceStats"),
    "mix.open_mix": ("open_mix",),
    "mix.options": ("MixOptions", "Split"),
    "mix.state.merge_states": ("merge_states",),
    "mix.stream": ("Stream",),
    "network.urls": ("Token",),
    "output.finish": ("finish",),
    "output.lane_pool": ("Progress",),
    "output.uploads": ("UploadTarget",),
    "output.write_mix": ("write",),
    "output.written_mix": ("WrittenMix", "open_written"),
    "packing.packed_mix": ("PackedMix", "open_packed"),
    "packing.window_stream": ("WindowStream",),
    "recipe.curriculum": ("Curriculum", "RecipeLike"),
    "recipe.model": ("Block", "Holdout", "Kind", "Source"),
    "recipe.read_recipe": ("check_recipe", "load_recipe"),
    "recipe.recipe": ("Recipe",),
    "recipe.sections": ("Decontaminate", "Exclude", "TokenCounting"),
    "recipe.shipped": ("list_recipes",),
    "recipe.stages": ("Stage",),
    "report.calibration": ("Calibration", "TokenRatio", "calibrate"),
    "report.mix_plan": ("MixPlan", "plan"),
    "report.plan_rows": ("PlanRow",),
    "schema": ("RECORD_SCHEMA",),
    "sizes": ("ByteSize", "Count"),
    "text.clean.cleaning_options": ("Cleaning",),
    "text.dedup.dedup_options": ("Dedup", "IndexRef", "Near"),
    "text.filters.filter_options": ("FilterOptions",),
    "text.filters.thresholds": ("C4", "Code", "FineWeb", "GopherQuality", "GopherRepetition"),
    "text.token_windows": ("cu_seqlens",),
    "torch_loader.mix_loader": ("MixLoader",),
    "verification.verification_report": ("VerificationReport",),
    "verification.verify_mix": ("verify",),
}

__all__ = [
    "C4",
    "RECORD_SCHEMA",
    "Block",
    "ByteSize",
    "Calibration",
    "Cleaning",
    "Code",
    "Count",
    "Curriculum",
    "DatasetMerger",
    "Decontaminate",
    "Dedup",
    "Exclude",
    "Executor",
    "FilterOptions",
    "FineWeb",
    "GopherQuality",
    "GopherRepetition",
    "Holdout",
    "HubError",
    "HubTarget",
    "IndexBuild",
    "IndexCounts",
    "IndexProgress",
    "IndexRef",
    "Kind",
    "Limits",
    "MissingExtraError",
    "Mix",
    "MixError",
    "MixLoader",
    "MixOptions",
    "MixPlan",
    "MixStats",
    "Near",
    "OutputError",
    "PackedMix",
    "PlanRow",
    "Progress",
    "RayExecutor",
    "Recipe",
    "RecipeError",
    "RecipeLike",
    "SmolLM3Mix",
    "SmolLM3MixConfig",
    "Source",
    "SourceError",
    "SourceExhaustedError",
    "SourceStats",
    "Split",
    "Stage",
    "StateError",
    "Stream",
    "Token",
    "TokenCounting",
    "TokenRatio",
    "UnreadableSourcesError",
    "UploadTarget",
    "VerificationReport",
    "WindowStream",
    "WrittenMix",
    "__version__",
    "build_index",
    "calibrate",
    "check_recipe",
    "cu_seqlens",
    "finish",
    "list_recipes",
    "load",
    "load_recipe",
    "merge_states",
    "open_mix",
    "open_packed",
    "open_written",
    "plan",
    "push_recipes_to_hub",
    "push_to_hub",
    "verify",
    "write",
]

_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Return a public name from the module that defines it (PEP 562)."""
    if name not in _HOMES:
        near = nearest(name, __all__)
        hint = f"Did you mean {near!r}?" if near else "dir(smollm3_mix) lists the public names."
        raise AttributeError(f"module 'smollm3_mix' has no attribute {name!r}. {hint}")
    value = getattr(import_module(f"smollm3_mix.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register.install()
