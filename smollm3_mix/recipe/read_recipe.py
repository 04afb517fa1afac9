"""Read recipes and curricula strictly: every problem of one file in one error."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.curriculum import AnyRecipe, Curriculum, RecipeLike
from smollm3_mix.recipe.parse_recipe import parse_recipe
from smollm3_mix.recipe.parsing import FieldPath, read_value
from smollm3_mix.recipe.read_curriculum import read_stages
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.shipped import ENDING, UNWEIGHTED, find_recipe, list_recipes
from smollm3_mix.recipe.stages import Stage
from smollm3_mix.recipe.yaml_text import load


def load_recipe(
    recipe: RecipeLike,
    *,
    use_weights: bool | None = None,
    folder: str | None = None,
    **changes: Any,
) -> AnyRecipe:
    """Read and validate a recipe. Report every problem of the file in one RecipeError.

    Args:
        recipe: Path, or name of a shipped recipe such as `stage1` (see `find_recipe`). An object is not read again.
        use_weights: True rejects a recipe without weights. False and None accept every recipe.
        folder: Path or hf:// URL in which relative paths are tried first. The folder of the file by default.
        **changes: Other values of top-level keys, as in `Recipe.replace`. None keeps the value of the file.

    Returns:
        A `Curriculum` if the file has `stages`, else a `Recipe`.

    Raises:
        RecipeError: If the file is missing or invalid. The error lists every problem.
    """
    loaded = recipe if isinstance(recipe, AnyRecipe) else _read(recipe, folder)
    if use_weights and isinstance(loaded, Recipe) and not loaded.weighted:
        need = "has no weights to use. List its sources under `datasets:` with a `weight` each"
        remedy = f"remove --use-weights, or use a shipped recipe: {', '.join(list_recipes())}"
        raise RecipeError(loaded.file, [f"{need}, {remedy}"])
    return loaded.replace(**changes)


def _read(path_or_name: str | os.PathLike[str], folder: str | None) -> AnyRecipe:
    """Return the recipe or curriculum of a file."""
    path = find_recipe(path_or_name)
    requested = Path(path_or_name)
    own = requested.expanduser().is_file()
    file = os.fspath(path_or_name) if own else path.name
    problems: list[str] = []
    content = load(path.read_bytes(), problems)
    if problems:
        raise RecipeError(file, problems)
    recipe = _recipe(content, file, folder or str(path.resolve().parent), path.resolve().parent)
    if not own and requested.name == UNWEIGHTED and isinstance(recipe, Recipe):
        sources = tuple(dataclasses.replace(source, weight=1.0) for source in recipe.sources)
        recipe = dataclasses.replace(recipe, file=UNWEIGHTED, sources=sources, weighted=False)
    return recipe


def check_recipe(recipe: str | os.PathLike[str] | Mapping[str, Any]) -> list[str]:
    """Return every problem of a recipe, or an empty list. Opens no source.

    Args:
        recipe: Path, name of a shipped recipe, or content of a recipe file.
    """
    try:
        if isinstance(recipe, Mapping):
            _recipe(recipe, "a dict", "")
        else:
            load_recipe(recipe)
    except RecipeError as error:
        return list(error.problems)
    return []


def stage_files(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the recipe files that a curriculum file refers to. Empty for other recipes."""
    content = load(Path(path).read_bytes(), []) if Path(path).is_file() else None
    entries = content.get("stages") if isinstance(content, Mapping) else None
    named = [entry.get("recipe") for entry in entries or () if isinstance(entry, Mapping)]
    return [name for name in named if isinstance(name, str) and name not in list_recipes()]


def recipe_from_dict(content: Mapping[str, Any]) -> AnyRecipe:
    """Return the recipe or curriculum that `to_dict` was called on.

    Raises:
        RecipeError: If the values are not a result of `to_dict`.
    """
    if "stages" not in content:
        return Recipe.from_dict(content)
    rest, problems = dict(content), list[str]()
    file = read_value(str, rest.pop("file", "a dict"), FieldPath(keys="file"), problems)
    folder = read_value(str, rest.pop("folder", ""), FieldPath(keys="folder"), problems)
    if problems:
        raise RecipeError("a dict", problems)
    return _recipe(rest, file, folder)


def _recipe(content: Any, file: str, folder: str, beside: Path | None = None) -> AnyRecipe:
    """Return the recipe or curriculum that plain values describe. Recipes of stages are also tried in `beside`."""
    if isinstance(content, Mapping) and "stages" in content:
        stages, description = read_stages(
            content, file, folder, named=lambda name: _stage_recipe(name, beside, folder), inline=recipe_from_dict
        )
        return Curriculum(tuple(Stage(*stage) for stage in stages), file, description)
    return parse_recipe(Recipe, content, file, folder)


def _stage_recipe(name: str, beside: Path | None, folder: str) -> AnyRecipe:
    """Return the recipe of a stage: a file in the folder of the curriculum, or the result of `load_recipe`."""
    near = None if beside is None else beside / Path(name).expanduser()
    for path in () if near is None else (near, near.with_name(near.name + ENDING)):
        if path.is_file():
            return load_recipe(path, folder=folder if path.parent == beside else None)
    return load_recipe(name)
