"""Recipes out of files and dicts, strictly: every fault of one file in one error."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe import read_curriculum
from smollm3_mix.recipe.curriculum import Curriculum
from smollm3_mix.recipe.display_names import default_source_id
from smollm3_mix.recipe.merge_config import LISTS, MERGE_KEYS, merge_settings
from smollm3_mix.recipe.model import KEYS, Kind, Recipe, Source
from smollm3_mix.recipe.parsing import BAD, FieldPath, Problems, read_dataclass, read_value, show, unknown
from smollm3_mix.recipe.read_curriculum import DESCRIPTIVE_TOP
from smollm3_mix.recipe.sections import pin_sections
from smollm3_mix.recipe.shipped import ENDING, UNWEIGHTED, find_recipe, list_recipes
from smollm3_mix.recipe.yaml_text import load
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.filters.filter_options import FilterOptions

TOP_KEYS = ("datasets", *KEYS, "clean", "filters")

DESCRIPTIVE = (
    *("description", "categories", "category", "verified", "source", "streaming", "comment", "note", "notes", "url"),
    *("docs", "tokens", "tags", "homepage", "citation", "official_name"),
)
"""Keys of a source that are accepted and not read: they decide nothing."""

_NONE_IS_DEFAULT = ("id", "config", "subset", "kind", "clean", "filters")

_SYNONYMS = {
    **dict.fromkeys(("repo", "repo_id", "path", "dataset", "hub_repo", "hub_id"), "name"),
    **dict.fromkeys(("config_name",), "config"),
    **dict.fromkeys(("text", "text_column", "text_key", "column", "columns", "field", "content_field"), "text_field"),
    **dict.fromkeys(("probability", "proportion", "share", "ratio", "percentage", "fraction"), "weight"),
    **dict.fromkeys(("epochs", "passes", "repeat"), "max_passes"),
    **dict.fromkeys(("filter", "filters"), "where"),
    **dict.fromkeys(("lang", "language"), "kind"),
    **dict.fromkeys(("commit", "sha"), "revision"),
    **dict.fromkeys(("sources", "mixture", "dataset_mixer"), "datasets"),
    **dict.fromkeys(("stopping_strategy",), "on_exhausted"),
    **dict.fromkeys(("num_shards", "shards", "num_lanes"), "lanes"),
    **dict.fromkeys(("validation", "val", "test_size"), "holdout"),
}


def load_recipe(
    path_or_name: str | os.PathLike[str],
    *,
    use_weights: bool | None = None,
    folder: str | None = None,
    **overrides: Any,
) -> Recipe:
    """The recipe of a file, of a shipped name or of one of the old tool's names (see `find`).

    Args:
        path_or_name: path, or name such as `stage1`.
        use_weights: True refuses a recipe without weights. False and None take any.
        folder: path or hf:// URL beside which relative paths are looked for; default: the file's own.
        overrides: other values for top-level keys, as for `Recipe.with_`; None leaves what the file says.

    Returns:
        A `Curriculum` for a file with `stages`.

    Raises:
        RecipeError: every fault of the file, in one error.
    """
    path = find_recipe(path_or_name)
    asked = Path(path_or_name)
    own = asked.expanduser().is_file()
    file = os.fspath(path_or_name) if own else path.name
    problems: list[str] = []
    given = load(path.read_bytes(), problems)
    if problems:
        raise RecipeError(file, problems)
    recipe = _recipe(given, file, folder or str(path.resolve().parent), path.resolve().parent)
    if not own and asked.name == UNWEIGHTED:
        sources = tuple(dataclasses.replace(source, weight=1.0) for source in recipe.sources)
        recipe = dataclasses.replace(recipe, file=UNWEIGHTED, sources=sources, weighted=False)
    if isinstance(recipe, Curriculum):
        return recipe.replace(**overrides)
    if use_weights and not recipe.weighted:
        weighted = ", ".join(name for name in list_recipes())
        need = "has no weights, so they cannot be used; list its sources under `datasets:` with a `weight` each"
        raise RecipeError(recipe.file, [f"{need}, leave --use-weights out, or take a shipped recipe: {weighted}"])
    return change_recipe(recipe, overrides)


def stage_files(path: str | os.PathLike[str]) -> list[str]:
    """Names of the files beside a curriculum that its stages are made of; none for any other recipe."""
    given = load(Path(path).read_bytes(), []) if Path(path).is_file() else None
    entries = given.get("stages") if isinstance(given, Mapping) else None
    named = [entry.get("recipe") for entry in entries or () if isinstance(entry, Mapping)]
    return [name for name in named if isinstance(name, str) and name not in list_recipes()]


def recipe_from_dict(given: Mapping[str, Any]) -> Recipe:
    """See `Recipe.from_dict`."""
    rest, problems = dict(given), list[str]()
    file = read_value(str, rest.pop("file", "a dict"), FieldPath(keys="file"), problems)
    folder = read_value(str, rest.pop("folder", ""), FieldPath(keys="folder"), problems)
    ignored = read_value(tuple[str, ...], rest.pop("ignored", ()), FieldPath(keys="ignored"), problems)
    if problems:
        raise RecipeError("a dict", problems)
    recipe = _recipe(rest, file, folder)
    return recipe if isinstance(recipe, Curriculum) else dataclasses.replace(recipe, ignored=ignored + recipe.ignored)


def change_recipe(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """See `Recipe.with_`."""
    hints, problems, values = get_type_hints(Recipe), list[str](), dict[str, Any]()
    for key, given in changes.items():
        if key not in (*KEYS, "sources"):
            problems.append(unknown(key, KEYS, synonyms=_SYNONYMS))
        elif given is not None:
            values[key] = read_value(hints[key], given, FieldPath(keys=key), problems)
    kept = {key: value for key, value in values.items() if value is not BAD}
    new = recipe
    try:
        new = _with_list(dataclasses.replace(recipe, **kept), problems)
    except Problems as error:
        problems.extend(error.args)
    if problems:
        raise RecipeError(recipe.file, problems)
    return new


def _recipe(given: Any, file: str, folder: str, beside: Path | None = None) -> Recipe:
    """The recipe a value means; stages' recipes are looked for in the folder `beside`."""
    if isinstance(given, Mapping) and "stages" in given:
        return read_curriculum.read_curriculum(
            given, file, folder, named=lambda name: _of_stage(name, beside, folder), inline=recipe_from_dict
        )
    if given is None:
        raise RecipeError(file, ["is empty; a recipe needs `datasets:` with at least one source"])
    if not isinstance(given, Mapping):
        raise RecipeError(file, [f"expected a mapping with the key `datasets`, got {show(given)}"])
    problems = [
        unknown(key, TOP_KEYS, (*MERGE_KEYS, *DESCRIPTIVE_TOP), _SYNONYMS)
        for key in given
        if key not in (*TOP_KEYS, *MERGE_KEYS, *DESCRIPTIVE_TOP)
    ]
    top, ignored = merge_settings(given, problems)
    lists = [key for key in LISTS if key in given]
    if lists and "datasets" in given:
        problems.append(f"has both `datasets` and `{lists[0]}`; put every source under `datasets`, with a weight")
    elif not lists and "datasets" not in given:
        problems.append("missing key 'datasets' (a list of sources)")
    weighted = read_value(bool, top.get("weighted", not lists), FieldPath(keys="weighted"), problems) is not False
    if lists and weighted:
        problems.append(f"weighted: {lists[0]} has no weights; list its sources under `datasets:` with a `weight` each")
        weighted = False
    clean, filters = _default(Cleaning, "clean", top, problems), _default(FilterOptions, "filters", top, problems)
    of_sources: list[str] = []
    sources: list[Source] = []
    for key in lists or ["datasets"]:
        common = _Common(weighted, clean, filters or FilterOptions(), LISTS.get(key))
        entries = given.get(key)
        if entries is not None and not isinstance(entries, list | tuple):
            problems.append(f"{key}: expected a list of sources, got {show(entries)}")
            entries = None
        elif entries is None and key == "datasets" and key in given:
            problems.append(f"{key}: expected a list of sources, got nothing")
        for index, entry in enumerate(entries or ()):
            sources.append(_source(entry, f"{key}[{index}]", common, of_sources))
    if not sources and (problems or of_sources):
        sources = [_stand_in("?")]
    values = {key: top[key] for key in KEYS if key in top}
    values |= {"sources": sources, "file": file, "folder": folder, "weighted": weighted, "ignored": ignored}
    recipe = _with_list(read_dataclass(Recipe, values, FieldPath(), problems), problems)
    if problems or of_sources:
        raise RecipeError(file, problems + of_sources)
    return recipe


def _with_list(recipe: Any, problems: list[str]) -> Any:
    """The recipe with its list's digest, if the list lies on this machine; BAD stays BAD."""
    if recipe is BAD:
        return BAD
    try:
        return dataclasses.replace(recipe, exclude=pin_sections(recipe.exclude, recipe.folder))
    except Problems as error:
        problems.extend(error.args)
        return recipe


def _of_stage(name: str, beside: Path | None, folder: str) -> Recipe:
    """The recipe a stage names: a file in the curriculum's folder, or what `read` finds."""
    near = None if beside is None else beside / Path(name).expanduser()
    for place in () if near is None else (near, near.with_name(near.name + ENDING)):
        if place.is_file():
            return load_recipe(place, folder=folder if place.parent == beside else None)
    return load_recipe(name)


def _default(cls: type[Any], key: str, top: Mapping[str, Any], problems: list[str]) -> Any:
    """The recipe-wide value for sources that name none, or None where the recipe names none either."""
    if top.get(key) is None:
        return None
    value = read_value(cls, top[key], FieldPath(keys=key), problems)
    return None if value is BAD else value


def _stand_in(source_id: str) -> Source:
    """In place of a source with faults, so that the rest of the file is judged too."""
    return Source(id=source_id, weight=1.0, name="?")


class _Common(NamedTuple):
    """What the sources of one list have in common."""

    weighted: bool
    clean: Cleaning | None
    filters: FilterOptions
    language: str | None


def _source(given: Any, place: str, common: _Common, problems: list[str]) -> Source:
    if not isinstance(given, Mapping):
        problems.append(f"{place}: expected a mapping such as {{name: …, weight: …}}, got {show(given)}")
        return _stand_in(place)
    before = len(problems)
    entry = {key: value for key, value in given.items() if value is not None or key not in _NONE_IS_DEFAULT}
    source_id = _id(entry)
    where = FieldPath(f"source {source_id!r}" if source_id else place)
    if source_id is None and "name" not in entry and entry.get("unavailable") is not None:
        problems.append(where.fault("missing key 'id' (a source without a name needs one)"))
    entry.setdefault("id", source_id or place)
    if "subset" in entry:  # what the Hub's pages call a config
        subset = entry.pop("subset")
        if entry.setdefault("config", subset) != subset:
            problems.append(
                where.fault(f"subset: means the same as `config`, which is {show(entry['config'])}; leave it out")
            )
    if not common.weighted:
        if "weight" in entry:
            problems.append(
                where.fault("weight: this recipe has no weights; leave it out, or list all under `datasets:`")
            )
        entry["weight"] = 1.0
    entry.setdefault("filters", common.filters)
    source = read_dataclass(Source, entry, where, problems, also=DESCRIPTIVE, synonyms=_SYNONYMS)
    if len(problems) > before:
        return _stand_in(source_id if source_id and source_id.isprintable() else place)
    if common.language and source.kind.language is None:
        source = dataclasses.replace(source, kind=Kind(source.kind.type, common.language))
    if "clean" not in entry:
        source = dataclasses.replace(source, clean=common.clean or source.kind.cleaning)
    return source


def _id(entry: Mapping[str, Any]) -> str | None:
    """The id a source has or would have; None where it has neither id nor name."""
    source_id, name, config = entry.get("id"), entry.get("name"), entry.get("config", entry.get("subset"))
    if isinstance(source_id, str) and source_id:
        return source_id
    return default_source_id(name, config if isinstance(config, str) else None) if isinstance(name, str) else None
