"""What of a recipe decides which documents are duplicates: what a dedup index is of."""

import hashlib
from collections.abc import Mapping
from typing import Any

from smollm3_mix.recipe.fingerprint import canonical, compared, deciding
from smollm3_mix.recipe.model import Recipe

_NOT_OF_RECIPE = {"seed", "lanes", "weigh_by", "order", "block", "shuffle", "tokens", "holdout", "on_exhausted"}
_NOT_OF_RECIPE |= {"weighted", "dedup"}
_NOT_OF_SOURCE = {"weight", "max_passes", "tokens_per_byte", "tokens_field", "keep", "unavailable"}
_NOT_OF_ROWS = {"id", "name", "config", "data_dir", "data_files", "revision", "split"}
"""Keys that say which files are read, not what becomes of their rows."""


def scope(recipe: Recipe) -> dict[str, Any]:
    """In JSON's types: the sources that are read, in their order, with revision, columns, cleaning and rules; what the
    recipe keeps out; and what counts as a duplicate. Not weights, seed, lanes, limits or holdout.
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


def scope_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A line for each value that differs between two scopes, old before new; empty for equal ones."""
    return compared(old, new)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, 64 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def of_rows(whole: Mapping[str, Any], source: str) -> list[Any]:
    """Of a scope, what decides on the rows of one source's file, whichever file it is."""
    mine = next(each for each in whole["sources"] if each["id"] == source)
    common = {key: value for key, value in whole.items() if key != "sources"}
    return [common, {key: value for key, value in mine.items() if key not in _NOT_OF_ROWS}]
