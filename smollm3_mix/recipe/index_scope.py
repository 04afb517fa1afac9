"""What of a recipe decides which documents are duplicates: what a dedup index is of."""

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

from smollm3_mix.recipe.curriculum import Curriculum
from smollm3_mix.recipe.fingerprint import canonical, compared, deciding
from smollm3_mix.recipe.model import Recipe

_NOT_OF_RECIPE = {"seed", "lanes", "weigh_by", "order", "block", "shuffle", "tokens", "holdout", "on_exhausted"}
_NOT_OF_RECIPE |= {"weighted", "dedup", "stages"}
_NOT_OF_SOURCE = {"weight", "max_passes", "tokens_per_byte", "tokens_field", "keep", "unavailable"}
_NOT_OF_ROWS = {"id", "name", "config", "data_dir", "data_files", "revision", "split"}
"""Keys that say which files are read, not what becomes of their rows."""


def index_scope(recipe: Recipe) -> dict[str, Any]:
    """In JSON's types: the sources that are read, in their order, with revision, columns, cleaning and rules; what the
    recipe keeps out; and what counts as a duplicate. Not weights, seed, lanes, limits or holdout; nor, of a curriculum,
    which stage reads what.
    """
    whole = deciding(recipe)
    read = {source.id for source in recipe.active}
    sources = [
        {key: value for key, value in source.items() if key not in _NOT_OF_SOURCE}
        for source in whole["sources"]
        if source["id"] in read
    ]
    chosen = {key: value for key, value in whole.items() if key not in _NOT_OF_RECIPE}
    what = {key: value for key, value in whole["dedup"].items() if key in ("exact", "near")}
    return chosen | {"dedup": what, "sources": sources}


def disagreements(recipe: Recipe) -> list[str]:
    """A line for each source that stages of a curriculum read with other cleaning or rules; empty for one recipe.

    Such a source has not one set of documents, so an index cannot say which of them are duplicates.
    """
    if not isinstance(recipe, Curriculum):
        return []
    stages = [(stage.name, index_scope(stage.recipe)["sources"]) for stage in recipe.stages]
    lines = []
    for source in recipe.active:
        read = [(name, each) for name, sources in stages for each in sources if each["id"] == source.id]
        for (one, before), (other, after) in itertools.pairwise(read):
            if differ := compared({"sources": [before]}, {"sources": [after]}):
                said = "; ".join(line.removeprefix(f"sources.{source.id}.") for line in differ)
                lines.append(
                    f"dedup.index: stages {one!r} and {other!r} read source {source.id!r} differently ({said}), so "
                    "it has not the same documents in both; make it so, or give one of them another id"
                )
    return lines


def index_scope_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A line for each value that differs between two scopes, old before new; empty for equal ones."""
    return compared(old, new)


def index_scope_digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, 64 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def of_rows(whole: Mapping[str, Any], source: str) -> list[Any]:
    """Of a scope, what decides on the rows of one source's file, whichever file it is."""
    mine = next(each for each in whole["sources"] if each["id"] == source)
    common = {key: value for key, value in whole.items() if key != "sources"}
    return [common, {key: value for key, value in mine.items() if key not in _NOT_OF_ROWS}]
