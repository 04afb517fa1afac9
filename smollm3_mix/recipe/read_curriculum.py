"""Curricula out of files and dicts, strictly: every fault of one file in one error."""

from collections.abc import Callable, Mapping
from typing import Any

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.curriculum import Curriculum, Stage
from smollm3_mix.recipe.model import KEYS, Recipe
from smollm3_mix.recipe.parsing import BAD, FieldPath, at_least, read_value, show, unknown

DESCRIPTIVE_TOP = (
    *("name", "version", "author", "authors", "license", "url", "homepage", "citation", "source", "comment", "note"),
    *("notes", "verified", "categories", "tags"),
)
"""Keys at the top of a file that are accepted and not read: they decide nothing."""

TOP_KEYS = ("stages", *KEYS)
STAGE_KEYS = ("recipe", "tokens", "name")
_SYNONYMS = {
    **dict.fromkeys(("path", "file", "config", "mix", "stage"), "recipe"),
    **dict.fromkeys(("max_tokens", "token_budget", "budget", "length", "size", "weight"), "tokens"),
    "id": "name",
}


def read_curriculum(
    given: Mapping[str, Any],
    file: str,
    folder: str,
    *,
    named: Callable[[str], Recipe],
    inline: Callable[[Mapping[str, Any]], Recipe],
) -> Curriculum:
    """The curriculum that a mapping with `stages` means.

    Args:
        given: what the file holds.
        file: its name, for messages.
        folder: of the recipes that are written out in it.
        named: gives the recipe of a name.
        inline: gives the recipe that a mapping means, its `file` and `folder` among the keys.

    Raises:
        RecipeError: every fault of the file, and of the recipes it names.
    """
    problems = [_unknown(key) for key in given if key not in (*TOP_KEYS, *DESCRIPTIVE_TOP)]
    description = read_value(str, given.get("description", ""), FieldPath(keys="description"), problems)
    common = {key: given[key] for key in KEYS if key in given and key != "description"}
    entries = given["stages"]
    if not isinstance(entries, list | tuple):
        raise RecipeError(file, [*problems, f"stages: expected a list of stages, got {show(entries)}"])
    stages = []
    for index, entry in enumerate(entries):
        stage = _stage(entry, FieldPath(keys=f"stages[{index}]"), problems)
        if stage is None:
            continue
        recipe, tokens, name = stage
        try:
            if isinstance(recipe, str):
                found = named(recipe)
            else:
                found = inline({"file": f"{file}, stages[{index}]", "folder": folder} | dict(recipe))
            found = found.replace(**common)
        except RecipeError as error:
            problems += [f"stages[{index}]: {error.file}: {fault}" for fault in error.problems]
            continue
        if isinstance(found, Curriculum):
            problems.append(f"stages[{index}]: {show(recipe)} is a curriculum itself; list its stages here")
            continue
        stages.append(Stage(name or found.name, tokens, found))
    if problems:
        raise RecipeError(file, list(dict.fromkeys(problems)))
    return Curriculum.of(stages, file=file, description=description)


def _unknown(key: Any) -> str:
    if key in ("clean", "filters", "datasets"):
        return f"{key}: stands in the recipe of each stage, not beside `stages`"
    return unknown(key, TOP_KEYS, DESCRIPTIVE_TOP)


def _stage(entry: Any, place: FieldPath, problems: list[str]) -> tuple[str | Mapping[str, Any], int, str | None] | None:
    """Recipe (its name or itself), tokens and name of one entry; None after its faults are added."""
    if not isinstance(entry, Mapping):
        problems.append(place.fault(f"expected a mapping such as {{recipe: stage1, tokens: 8T}}, got {show(entry)}"))
        return None
    before = len(problems)
    problems += [place.fault(unknown(key, STAGE_KEYS, synonyms=_SYNONYMS)) for key in entry if key not in STAGE_KEYS]
    recipe = entry.get("recipe")
    if "recipe" not in entry:
        problems.append(place.fault("missing key 'recipe' (a recipe file, the name of a shipped one, or a recipe)"))
    elif not isinstance(recipe, str | Mapping):
        problems.append(place.key("recipe").fault(f"expected a name or a mapping, got {show(recipe)}"))
    tokens: Any = BAD
    if "tokens" not in entry:
        problems.append(place.fault("missing key 'tokens' (of the whole mix, such as 8.1T or 500M)"))
    else:
        tokens = read_value(int, entry["tokens"], place.key("tokens"), problems)
        if tokens is not BAD:
            problems += [place.fault(fault) for fault in at_least("tokens", tokens, 1)]
    name = read_value(str | None, entry.get("name"), place.key("name"), problems)
    return None if len(problems) > before or recipe is None else (recipe, tokens, name)
