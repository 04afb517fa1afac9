"""Scope of a dedup index: everything in a recipe that decides which documents are duplicates."""

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

from smollm3_mix.recipe.curriculum import AnyRecipe, Curriculum, overview
from smollm3_mix.recipe.fingerprint import canonical, compare_deciding, deciding
from smollm3_mix.recipe.parsing import plain

_NOT_OF_RECIPE = {"seed", "lanes", "weigh_by", "order", "block", "shuffle", "tokens", "holdout", "on_exhausted"}
_NOT_OF_RECIPE |= {"weighted", "dedup", "stages"}
_NOT_OF_SOURCE = {"weight", "max_passes", "tokens_per_byte", "tokens_field", "keep", "unavailable"}
_NOT_OF_ROWS = {"id", "name", "config", "data_dir", "data_files", "revision", "split"}
"""Keys that select files and do not change how rows are processed."""


def index_scope(recipe: AnyRecipe) -> dict[str, Any]:
    """Return the scope of a recipe in JSON's types.

    Included are the active sources in order, with revision, columns, cleaning and filters. So are exclusion,
    decontamination and the definition of a duplicate. Weights, seed, lanes, limits, holdout and stages are left out.
    """
    values = deciding(plain(overview(recipe)))
    read = {source.id for source in recipe.active}
    sources = [
        {key: value for key, value in source.items() if key not in _NOT_OF_SOURCE}
        for source in values["sources"]
        if source["id"] in read
    ]
    chosen = {key: value for key, value in values.items() if key not in _NOT_OF_RECIPE}
    what = {key: value for key, value in values["dedup"].items() if key in ("exact", "near")}
    return chosen | {"dedup": what, "sources": sources}


def disagreements(recipe: AnyRecipe) -> list[str]:
    """Return a line for each source that stages clean or filter differently. Empty for a single recipe.

    Such a source has different documents in each stage, so one index cannot list its duplicates.
    """
    if not isinstance(recipe, Curriculum):
        return []
    stages = [(stage.name, index_scope(stage.recipe)["sources"]) for stage in recipe.stages]
    lines = []
    for source in recipe.active:
        read = [(name, each) for name, sources in stages for each in sources if each["id"] == source.id]
        for (one, before), (other, after) in itertools.pairwise(read):
            if differ := compare_deciding({"sources": [before]}, {"sources": [after]}):
                details = "; ".join(line.removeprefix(f"sources.{source.id}.") for line in differ)
                lines.append(
                    f"dedup.index: stages {one!r} and {other!r} read source {source.id!r} differently ({details}), so "
                    "its documents differ. Make the rules equal, or give one of them another id"
                )
    return lines


def index_scope_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return a line for each value that differs between two scopes. Empty for equal scopes."""
    return compare_deciding(old, new)


def index_scope_digest(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of a value, 64 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def of_rows(scope: Mapping[str, Any], source: str) -> list[Any]:
    """Return the part of a scope that decides how rows of one source are processed, in any of its files."""
    mine = next(each for each in scope["sources"] if each["id"] == source)
    common = {key: value for key, value in scope.items() if key != "sources"}
    return [common, {key: value for key, value in mine.items() if key not in _NOT_OF_ROWS}]
