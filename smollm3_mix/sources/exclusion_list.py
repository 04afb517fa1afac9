"""A recipe's list of what must not come out, read once, from this machine or from the Hub."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from smollm3_mix.errors import RecipeError
from smollm3_mix.network.retry import network_errors
from smollm3_mix.network.urls import Token, unreachable_message
from smollm3_mix.recipe.parsing import Problems
from smollm3_mix.recipe.sections import locate, read_exclusion_file
from smollm3_mix.sources.url_files import local_copy
from smollm3_mix.text.exclusion import ExclusionList, build_exclusion_list, exclusions_digest

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Recipe


def read_entries(recipe: Recipe, token: Token = None) -> list[str]:
    """What the recipe's list says, sorted, each entry once; nothing where it has no list.

    Raises:
        RecipeError: it cannot be had, lists nothing, or is not the one the recipe is pinned to.
    """
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    exclude = recipe.exclude
    if exclude is None:
        return []
    place = locate(exclude.file, recipe.folder)
    try:
        return read_exclusion_file(exclude, local_copy(place, token))
    except Problems as fault:
        raise RecipeError(recipe.file, list(fault.args)) from None
    except (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        said = f"exclude: {place} is not on the Hub, or it is private; mend it, or log in with `hf auth login`"
        raise RecipeError(recipe.file, [said]) from error
    except network_errors() as error:
        raise RecipeError(recipe.file, [f"exclude: {place}: {unreachable_message(error)}"]) from error


def pin_exclusions(recipe: Recipe, token: Token = None) -> tuple[Recipe, ExclusionList | None]:
    """The recipe with its list's digest in it, and the list ready to be looked things up in.

    Raises:
        RecipeError: as `entries_of`.
    """
    if recipe.exclude is None:
        return recipe, None
    found = read_entries(recipe, token)
    exclude = dataclasses.replace(recipe.exclude, sha256=exclusions_digest(found))
    return recipe.replace(exclude=exclude), build_exclusion_list(found)
