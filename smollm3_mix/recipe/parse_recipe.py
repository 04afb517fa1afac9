"""Recipes from plain values, strictly: every problem of one recipe in one error."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, get_type_hints

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.display_names import default_source_id
from smollm3_mix.recipe.merge_config import LISTS, MERGE_KEYS, merge_settings
from smollm3_mix.recipe.model import KEYS, Kind, R, RecipeDescription, Source
from smollm3_mix.recipe.parsing import BAD, FieldPath, Problems, read_dataclass, read_value, show, unknown
from smollm3_mix.recipe.sections import pin_sections
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.filters.filter_options import FilterOptions

DESCRIPTIVE_TOP = (
    *("name", "version", "author", "authors", "license", "url", "homepage", "citation", "source", "comment", "note"),
    *("notes", "verified", "categories", "tags"),
)
"""Top-level keys of a file that are accepted and not read."""

TOP_KEYS = ("datasets", *KEYS, "clean", "filters")

DESCRIPTIVE = (
    *("description", "categories", "category", "verified", "source", "streaming", "comment", "note", "notes", "url"),
    *("docs", "tokens", "tags", "homepage", "citation", "official_name"),
)
"""Keys of a source that are accepted and not used."""

_NONE_IS_DEFAULT = ("id", "config", "subset", "kind", "clean", "filters")

_SYNONYMS = {
    **dict.fromkeys(("repo", "repo_id", "path", "dataset", "hub_repo", "hub_id"), "name"),
    **dict.fromkeys(("config_name",), "config"),
    **dict.fromkeys(("text", "text_column", "text_key", "column", "columns", "field", "content_field"), "text_field"),
    **dict.fromkeys(("probability", "proportion", "share", "ratio", "percentage", "fraction"), "weight"),
    **dict.fromkeys(("epochs", "passes", "repeat"), "max_passes"),
    **dict.fromkeys(("filter",), "where"),
    **dict.fromkeys(("judge", "quality", "filtering"), "filters"),
    **dict.fromkeys(("lang", "language"), "kind"),
    **dict.fromkeys(("commit", "sha"), "revision"),
    **dict.fromkeys(("sources", "mixture", "dataset_mixer"), "datasets"),
    **dict.fromkeys(("stopping_strategy",), "on_exhausted"),
    **dict.fromkeys(("num_shards", "shards", "num_lanes"), "lanes"),
    **dict.fromkeys(("validation", "val", "test_size"), "holdout"),
}


def parse_recipe(cls: type[R], content: Any, file: str, folder: str) -> R:
    """Return the recipe of the class `cls` that plain values describe.

    Args:
        cls: Class of the result.
        content: Content of a recipe file.
        file: Name of the file, for messages.
        folder: Folder in which relative paths are tried first.

    Raises:
        RecipeError: If the values are invalid. The error lists every problem.
    """
    if content is None:
        raise RecipeError(file, ["is empty. A recipe needs `datasets:` with at least one source"])
    if not isinstance(content, Mapping):
        raise RecipeError(file, [f"expected a mapping with the key `datasets`, got {show(content)}"])
    problems = [
        unknown(key, TOP_KEYS, (*MERGE_KEYS, *DESCRIPTIVE_TOP), _SYNONYMS)
        for key in content
        if key not in (*TOP_KEYS, *MERGE_KEYS, *DESCRIPTIVE_TOP)
    ]
    top, ignored = merge_settings(content, problems)
    lists = [key for key in LISTS if key in content]
    if lists and "datasets" in content:
        problems.append(f"has both `datasets` and `{lists[0]}`. Put every source under `datasets`, with a weight")
    elif not lists and "datasets" not in content:
        problems.append("missing key 'datasets' (a list of sources)")
    weighted = read_value(bool, top.get("weighted", not lists), FieldPath(keys="weighted"), problems) is not False
    if lists and weighted:
        problems.append(f"weighted: {lists[0]} has no weights. List its sources under `datasets:` with a `weight` each")
        weighted = False
    clean, filters = _default(Cleaning, "clean", top, problems), _default(FilterOptions, "filters", top, problems)
    of_sources: list[str] = []
    sources: list[Source] = []
    for key in lists or ["datasets"]:
        common = _Common(weighted, clean, filters or FilterOptions(), LISTS.get(key))
        entries = content.get(key)
        if entries is not None and not isinstance(entries, list | tuple):
            problems.append(f"{key}: expected a list of sources, got {show(entries)}")
            entries = None
        elif entries is None and key == "datasets" and key in content:
            problems.append(f"{key}: expected a list of sources, got nothing")
        for index, entry in enumerate(entries or ()):
            sources.append(_source(entry, f"{key}[{index}]", common, of_sources))
    if not sources and (problems or of_sources):
        sources = [_placeholder("?")]
    values = {key: top[key] for key in KEYS if key in top}
    values |= {"sources": sources, "file": file, "folder": folder, "weighted": weighted, "ignored": ignored}
    recipe: R = _with_list(read_dataclass(cls, values, FieldPath(), problems), problems)
    if problems or of_sources:
        raise RecipeError(file, problems + of_sources)
    return recipe


def parse_saved_recipe(cls: type[R], content: Mapping[str, Any]) -> R:
    """Return the recipe that `to_dict` was called on, with its file, folder and ignored settings.

    Raises:
        RecipeError: If the values are not a result of `to_dict`.
    """
    rest, problems = dict(content), list[str]()
    file = read_value(str, rest.pop("file", "a dict"), FieldPath(keys="file"), problems)
    folder = read_value(str, rest.pop("folder", ""), FieldPath(keys="folder"), problems)
    ignored = read_value(tuple[str, ...], rest.pop("ignored", ()), FieldPath(keys="ignored"), problems)
    if problems:
        raise RecipeError("a dict", problems)
    recipe = parse_recipe(cls, rest, file, folder)
    return dataclasses.replace(recipe, ignored=ignored + recipe.ignored)


def change_recipe(recipe: R, changes: Mapping[str, Any]) -> R:
    """Return a copy with other values of top-level keys; see `Recipe.replace`."""
    hints, problems, values = get_type_hints(RecipeDescription), list[str](), dict[str, Any]()
    for key, value in changes.items():
        if key not in (*KEYS, "sources"):
            problems.append(unknown(key, KEYS, synonyms=_SYNONYMS))
        elif value is not None:
            values[key] = read_value(hints[key], value, FieldPath(keys=key), problems)
    kept = {key: value for key, value in values.items() if value is not BAD}
    new = recipe
    try:
        new = _with_list(dataclasses.replace(recipe, **kept), problems)
    except Problems as error:
        problems.extend(error.args)
    if problems:
        raise RecipeError(recipe.file, problems)
    return new


def change_source(recipe: R, source_id: str, changes: Mapping[str, Any]) -> R:
    """Return a copy of a recipe in which one source has other values, as objects or as in a file.

    Raises:
        KeyError: If the recipe has no such source.
        RecipeError: If a file could not have the key or the value.
    """
    if all(source.id != source_id for source in recipe.sources):
        raise KeyError(f"{recipe.file} has no source {source_id!r}. Sources: {', '.join(s.id for s in recipe.sources)}")
    position, problems, sources = FieldPath(f"source {source_id!r}"), list[str](), list[Source]()
    for source in recipe.sources:
        if source.id != source_id:
            sources.append(source)
            continue
        values = {field.name: getattr(source, field.name) for field in dataclasses.fields(Source)}
        changed = read_dataclass(Source, values | dict(changes), position, problems, synonyms=_SYNONYMS)
        sources.append(source if changed is BAD else changed)
    new = recipe
    try:
        new = dataclasses.replace(recipe, sources=tuple(sources))
    except Problems as error:
        problems.extend(error.args)
    if problems:
        raise RecipeError(recipe.file, problems)
    return new


def _with_list(recipe: Any, problems: list[str]) -> Any:
    """Return the recipe with the digest of a local exclusion list, or BAD for BAD."""
    if recipe is BAD:
        return BAD
    try:
        return dataclasses.replace(recipe, exclude=pin_sections(recipe.exclude, recipe.folder))
    except Problems as error:
        problems.extend(error.args)
        return recipe


def _default(cls: type[Any], key: str, top: Mapping[str, Any], problems: list[str]) -> Any:
    """Return the recipe's value for sources without their own, or None."""
    if top.get(key) is None:
        return None
    value = read_value(cls, top[key], FieldPath(keys=key), problems)
    return None if value is BAD else value


def _placeholder(source_id: str) -> Source:
    """Return a placeholder for an invalid source, so that the rest of the file can be checked."""
    return Source(id=source_id, weight=1.0, name="?")


class _Common(NamedTuple):
    """Settings shared by the sources of one list."""

    weighted: bool
    clean: Cleaning | None
    filters: FilterOptions
    language: str | None


def _source(content: Any, position: str, common: _Common, problems: list[str]) -> Source:
    if not isinstance(content, Mapping):
        problems.append(f"{position}: expected a mapping such as {{name: …, weight: …}}, got {show(content)}")
        return _placeholder(position)
    before = len(problems)
    entry = {key: value for key, value in content.items() if value is not None or key not in _NONE_IS_DEFAULT}
    source_id = _id(entry)
    where = FieldPath(f"source {source_id!r}" if source_id else position)
    if source_id is None and "name" not in entry and entry.get("unavailable") is not None:
        problems.append(where.problem("missing key 'id' (a source without a name needs one)"))
    entry.setdefault("id", source_id or position)
    if "subset" in entry:  # the name of a config on the Hub's pages
        subset = entry.pop("subset")
        if entry.setdefault("config", subset) != subset:
            problems.append(
                where.problem(f"subset: means the same as `config`, which is {show(entry['config'])}. Leave it out")
            )
    if not common.weighted:
        if "weight" in entry:
            problems.append(
                where.problem("weight: this recipe has no weights. Leave it out, or list all under `datasets:`")
            )
        entry["weight"] = 1.0
    entry.setdefault("filters", common.filters)
    source = read_dataclass(Source, entry, where, problems, also=DESCRIPTIVE, synonyms=_SYNONYMS)
    if len(problems) > before:
        return _placeholder(source_id if source_id and source_id.isprintable() else position)
    if common.language and source.kind.language is None:
        source = dataclasses.replace(source, kind=Kind(source.kind.type, common.language))
    if "clean" not in entry:
        source = dataclasses.replace(source, clean=common.clean or source.kind.cleaning)
    return source


def _id(entry: Mapping[str, Any]) -> str | None:
    """Return the id of a source or its default. None without id and name."""
    source_id, name, config = entry.get("id"), entry.get("name"), entry.get("config", entry.get("subset"))
    if isinstance(source_id, str) and source_id:
        return source_id
    return default_source_id(name, config if isinstance(config, str) else None) if isinstance(name, str) else None
