"""Recipes as dicts in JSON's types and as YAML text."""

import dataclasses
from collections import Counter
from typing import Any

from smollm3_mix.recipe.display_names import default_source_id
from smollm3_mix.recipe.model import RecipeDescription, Source
from smollm3_mix.recipe.parsing import plain
from smollm3_mix.recipe.yaml_text import Block, dump
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.filters.filter_options import FilterOptions

_TOP = ("description", "seed", "lanes", "weigh_by", "order", "block", "shuffle", "tokens")
_TOP_AFTER_DEFAULTS = ("dedup", "holdout", "on_exhausted")
_TOP_WHERE_USED = ("exclude", "decontaminate")


def recipe_to_dict(recipe: RecipeDescription) -> dict[str, Any]:
    """Return the recipe in JSON's types; see `Recipe.to_dict`."""
    values: dict[str, Any] = plain(recipe)
    sources = values.pop("sources")
    if not recipe.weighted:
        for source in sources:
            del source["weight"]
    return values | {"datasets": sources}


def recipe_to_yaml(recipe: RecipeDescription) -> str:
    """Return the recipe as YAML text; see `Recipe.to_yaml`."""
    return f"# smollm3_mix recipe; fingerprint {recipe.fingerprint}\n{dump(recipe_block(recipe))}"


def recipe_block(recipe: RecipeDescription) -> Block:
    """Return the mapping of a recipe file, without `file`, `folder`, `ignored` and most defaults."""
    # The filters that most sources share, except for a language taken from their kind.
    filters = Counter(_without_language(source) for source in recipe.sources).most_common(1)[0][0]
    top = Block({key: plain(getattr(recipe, key)) for key in _TOP})
    top["filters"] = _filters(filters)
    top |= {key: plain(getattr(recipe, key)) for key in _TOP_AFTER_DEFAULTS}
    if recipe.dedup.index is None:
        del top["dedup"]["index"]
    top |= {key: plain(value) for key in _TOP_WHERE_USED if (value := getattr(recipe, key)) is not None}
    if not recipe.weighted:
        top["weighted"] = False
    top["datasets"] = [_source(source, recipe.weighted, filters) for source in recipe.sources]
    return top


def _source(source: Source, weighted: bool, filters: FilterOptions) -> Block:
    short = plain(source, defaults=False)
    first = {"name": source.name} if source.name is not None else {}
    if source.name is None or source.id != default_source_id(source.name, source.config):
        first["id"] = source.id
    written = Block(first)
    if weighted:
        written["weight"] = source.weight
    written |= {k: v for k, v in short.items() if k not in ("name", "id", "weight", "clean", "filters")}
    if source.clean != source.kind.cleaning:
        written["clean"] = _clean(source.clean)
    if source.filters != dataclasses.replace(source, filters=filters).filters:
        written["filters"] = _filters(source.filters)
    return written


def _without_language(source: Source) -> FilterOptions:
    own = source.filters.language != source.kind.language
    return source.filters if own else dataclasses.replace(source.filters, language=None)


def _clean(clean: Cleaning) -> Any:
    short = plain(clean, defaults=False)
    return clean.profile if short is True or set(short) == {"profile"} else short


def _filters(filters: FilterOptions) -> Any:
    short = plain(filters, defaults=False)
    return {} if short is True else short
