"""Options of every function that opens a mix."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

from smollm3_mix.errors import RecipeError
from smollm3_mix.messages import listed, nearest
from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.curriculum import AnyRecipe, Curriculum, RecipeLike
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.sizes import ByteSize, Count, parse_count

Split: TypeAlias = Literal["train", "validation"]


class LoadOptions(TypedDict, total=False):
    """Options of every function that opens a mix, except `split`. `open_mix` describes them."""

    seed: int | None
    lanes: int | None
    max_samples: Count | None
    max_tokens: Count | None
    max_bytes: ByteSize | None
    total_tokens: Count | None
    continue_from: Mapping[str, Any] | None
    dedup_state_dir: str | os.PathLike[str] | None
    skip_unreadable: bool
    accept_terms: str | Sequence[str] | None
    token: Token


class MixOptions(LoadOptions, total=False):
    """Options of every function that opens a mix. `open_mix` describes them."""

    split: Split


OPTION_NAMES: tuple[str, ...] = tuple(MixOptions.__annotations__)


def check_options(function: str, options: Iterable[str], also: Iterable[str] = ()) -> None:
    """Raise TypeError if one of the names is not a mix option.

    Args:
        function: Name of the function that was called.
        options: Names of the keyword arguments that it received as mix options.
        also: Names of its other arguments. The message may suggest them.

    Raises:
        TypeError: If a name is unknown. The message has the nearest name.
    """
    known = [*OPTION_NAMES, *also]
    for name in options:
        if name not in OPTION_NAMES:
            near = nearest(name, known)
            hint = f"Did you mean {near!r}?" if near else f"Its keyword arguments are {listed(known)}."
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}. {hint}")


def requested_recipe(
    recipe: RecipeLike, seed: int | None = None, lanes: int | None = None, total_tokens: Count | None = None
) -> AnyRecipe:
    """Return the recipe or curriculum of an argument, with the requested seed, lanes and number of tokens.

    Args:
        recipe: Recipe or curriculum, or its path, URL or shipped name.
        seed: Seed of the order. Defaults to the recipe's seed.
        lanes: Number of lanes. Defaults to the recipe's number.
        total_tokens: Total number of tokens of a curriculum.

    Raises:
        RecipeError: If the recipe is missing or invalid, or `total_tokens` is given for a recipe without stages.
        ValueError: If `total_tokens` is not positive.
    """
    loaded = load_recipe(recipe, seed=seed, lanes=lanes)
    if total_tokens is None:
        return loaded
    if not isinstance(loaded, Curriculum):
        count = parse_count(total_tokens, "total_tokens")
        problem = f"total_tokens: {count:,} needs a curriculum, but this recipe has no stages. Use max_tokens"
        raise RecipeError(loaded.file, [problem])
    return loaded.scale(total_tokens)
