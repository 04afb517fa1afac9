"""Read a recipe's exclusion list once, from this machine or from the Hub."""

from __future__ import annotations

import dataclasses

from smollm3_mix.errors import RecipeError
from smollm3_mix.network.retry import network_errors
from smollm3_mix.network.urls import Token, unreachable_message
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.exclusion_file import exclusions_digest
from smollm3_mix.recipe.parsing import Problems
from smollm3_mix.recipe.sections import locate, read_exclusion_file
from smollm3_mix.sources.url_files import local_copy
from smollm3_mix.text.exclusion import ExclusionList, build_exclusion_list


def read_entries(recipe: AnyRecipe, token: Token = None) -> list[str]:
    """Return the sorted, distinct entries of a recipe's exclusion list. Empty without a list.

    Raises:
        RecipeError: If the list is unreachable, empty, or differs from the pinned one.
    """
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    exclude = recipe.exclude
    if exclude is None:
        return []
    location = locate(exclude.file, recipe.folder)
    try:
        return read_exclusion_file(exclude, local_copy(location, token))
    except Problems as problems:
        raise RecipeError(recipe.file, list(problems.args)) from None
    except (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        problem = f"exclude: {location} is not on the Hub or is private. Fix the URL, or log in with `hf auth login`."
        raise RecipeError(recipe.file, [problem]) from error
    except network_errors() as error:
        raise RecipeError(recipe.file, [f"exclude: {location}: {unreachable_message(error)}"]) from error


def pin_exclusions(recipe: AnyRecipe, token: Token = None) -> tuple[AnyRecipe, ExclusionList | None]:
    """Return the recipe with the digest of its exclusion list, and the list ready for lookups.

    Raises:
        RecipeError: As in `read_entries`.
    """
    if recipe.exclude is None:
        return recipe, None
    found = read_entries(recipe, token)
    exclude = dataclasses.replace(recipe.exclude, sha256=exclusions_digest(found))
    return recipe.replace(exclude=exclude), build_exclusion_list(found)
