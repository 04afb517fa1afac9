"""Options of every function that opens a mix."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

from smollm3_mix.messages import listed, nearest
from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.curriculum import Curriculum
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sizes import ByteSize, Count

Split: TypeAlias = Literal["train", "validation"]

RecipeLike: TypeAlias = Recipe | Curriculum | str | os.PathLike[str]
"""A recipe, or its path, URL or shipped name."""


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
