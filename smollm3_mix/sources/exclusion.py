"""A recipe's list of what must not come out, read once, from this machine or from the Hub."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from smollm3_mix.errors import RecipeError
from smollm3_mix.exclude import Excluded, digest, excluded
from smollm3_mix.recipe.filters import listed, located
from smollm3_mix.recipe.values import Faults
from smollm3_mix.sources.listing import unreachable
from smollm3_mix.sources.patience import failures
from smollm3_mix.sources.plan import Token

if TYPE_CHECKING:
    from smollm3_mix.recipe import Recipe

ON_THE_HUB = re.compile(r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/(?P<file>.+)")


def local_copy(place: str, token: Token) -> str:
    """`place` itself, or the path of a local copy where it is the URL of a file on the Hub (cached by its commit).

    Raises:
        RecipeError: it is another kind of URL.
        One of `sources.patience.failures()`: the Hub refuses, or cannot be reached.
    """
    if "://" not in place:
        return place
    from huggingface_hub import hf_hub_download

    found = ON_THE_HUB.fullmatch(place)
    if found is None:
        raise RecipeError(place, ["expected hf://datasets/<owner>/<name>[@<revision>]/<path>, a path, or a name"])
    repository, revision, file = found["repository"], found["revision"], found["file"]
    revision = revision and unquote(revision)
    return hf_hub_download(repository, file, repo_type="dataset", revision=revision, token=token)


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
