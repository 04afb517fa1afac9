"""Stages of a curriculum from plain values, strictly: every problem of one file in one error."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.model import KEYS
from smollm3_mix.recipe.parse_recipe import DESCRIPTIVE_TOP
from smollm3_mix.recipe.parsing import BAD, FieldPath, at_least, read_value, show, unknown
from smollm3_mix.recipe.recipe import Recipe

TOP_KEYS = ("stages", *KEYS)
STAGE_KEYS = ("recipe", "tokens", "name")
_SYNONYMS = {
    **dict.fromkeys(("path", "file", "config", "mix", "stage"), "recipe"),
    **dict.fromkeys(("max_tokens", "token_budget", "budget", "length", "size", "weight"), "tokens"),
    "id": "name",
}


class Replaceable(Protocol):
    """A recipe, or a curriculum, which `read_stages` rejects."""

    def replace(self, **changes: Any) -> "Replaceable":
        """Return a copy with other values of top-level keys."""


def read_stages(
    content: Mapping[str, Any],
    file: str,
    folder: str,
    *,
    named: Callable[[str], Replaceable],
    inline: Callable[[Mapping[str, Any]], Replaceable],
) -> tuple[list[tuple[str, int, Recipe]], str]:
    """Return name, tokens and recipe of each stage of a mapping with `stages`, and the description.

    Args:
        content: Content of the file.
        file: Name of the file, for messages.
        folder: Folder of the recipes that the file contains.
        named: Returns the recipe or curriculum of a name.
        inline: Returns the recipe or curriculum of a mapping, which includes `file` and `folder`.

    Raises:
        RecipeError: If the file or a recipe that it names is invalid. The error lists every problem.
    """
    problems = [_unknown(key) for key in content if key not in (*TOP_KEYS, *DESCRIPTIVE_TOP)]
    description = read_value(str, content.get("description", ""), FieldPath(keys="description"), problems)
    common = {key: content[key] for key in KEYS if key in content and key != "description"}
    entries = content["stages"]
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
            problems += [f"stages[{index}]: {error.file}: {problem}" for problem in error.problems]
            continue
        if not isinstance(found, Recipe):
            problems.append(f"stages[{index}]: {show(recipe)} is a curriculum. List its stages here")
            continue
        stages.append((name or found.name, tokens, found))
    if problems:
        raise RecipeError(file, list(dict.fromkeys(problems)))
    return stages, description


def _unknown(key: Any) -> str:
    if key in ("clean", "filters", "datasets"):
        return f"{key}: belongs to the recipe of each stage, not beside `stages`"
    return unknown(key, TOP_KEYS, DESCRIPTIVE_TOP)


def _stage(
    entry: Any, position: FieldPath, problems: list[str]
) -> tuple[str | Mapping[str, Any], int, str | None] | None:
    """Return recipe or recipe name, tokens and name of one entry. None after its problems are added."""
    if not isinstance(entry, Mapping):
        problems.append(
            position.problem(f"expected a mapping such as {{recipe: stage1, tokens: 8T}}, got {show(entry)}")
        )
        return None
    before = len(problems)
    problems += [
        position.problem(unknown(key, STAGE_KEYS, synonyms=_SYNONYMS)) for key in entry if key not in STAGE_KEYS
    ]
    recipe = entry.get("recipe")
    if "recipe" not in entry:
        problems.append(
            position.problem("missing key 'recipe' (a recipe file, the name of a shipped one, or a recipe)")
        )
    elif not isinstance(recipe, str | Mapping):
        problems.append(position.key("recipe").problem(f"expected a name or a mapping, got {show(recipe)}"))
    tokens: Any = BAD
    if "tokens" not in entry:
        problems.append(position.problem("missing key 'tokens' (of the whole mix, such as 8.1T or 500M)"))
    else:
        tokens = read_value(int, entry["tokens"], position.key("tokens"), problems)
        if tokens is not BAD:
            problems += [position.problem(each) for each in at_least("tokens", tokens, 1)]
    name = read_value(str | None, entry.get("name"), position.key("name"), problems)
    return None if len(problems) > before or recipe is None else (recipe, tokens, name)
