"""A recipe's list of what must not come out, read once, from this machine or from the Hub."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from smollm3_mix.errors import RecipeError
from smollm3_mix.network.retry import failures
from smollm3_mix.network.urls import Token, unreachable
from smollm3_mix.recipe.parsing import Faults
from smollm3_mix.recipe.sections import listed, located
from smollm3_mix.sources.url_files import local_copy
from smollm3_mix.text.exclusion import Excluded, digest, excluded

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Recipe


def entries_of(recipe: Recipe, token: Token = None) -> list[str]:
    """What the recipe's list says, sorted, each entry once; nothing where it has no list.

    Raises:
        RecipeError: it cannot be had, lists nothing, or is not the one the recipe is pinned to.
    """
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    exclude = recipe.exclude
    if exclude is None:
        return []
    place = located(exclude.file, recipe.folder)
    try:
        return listed(exclude, local_copy(place, token))
    except Faults as fault:
        raise RecipeError(recipe.file, list(fault.args)) from None
    except (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        said = f"exclude: {place} is not on the Hub, or it is private; mend it, or log in with `hf auth login`"
        raise RecipeError(recipe.file, [said]) from error
    except failures() as error:
        raise RecipeError(recipe.file, [f"exclude: {place}: {unreachable(error)}"]) from error


def pin(recipe: Recipe, token: Token = None) -> tuple[Recipe, Excluded | None]:
    """The recipe with its list's digest in it, and the list ready to be looked things up in.

    Raises:
        RecipeError: as `entries_of`.
    """
    if recipe.exclude is None:
        return recipe, None
    found = entries_of(recipe, token)
    exclude = dataclasses.replace(recipe.exclude, sha256=digest(found))
    return recipe.with_(exclude=exclude), excluded(found)
