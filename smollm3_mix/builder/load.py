"""Load a mix as a Hugging Face dataset."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, overload

from smollm3_mix.builder.mix_builder import SmolLM3Mix
from smollm3_mix.mix.options import LoadOptions, Split, check_options
from smollm3_mix.recipe.curriculum import AnyRecipe, RecipeLike

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
    from typing_extensions import Unpack

ARGUMENTS = ("streaming", "cache_dir", "num_proc", "trust_remote_code")
"""Keyword arguments of `load` other than the mix options."""


@overload
def load(
    recipe: RecipeLike,
    split: Split = "train",
    *,
    streaming: Literal[True] = True,
    cache_dir: str | None = None,
    num_proc: int | None = None,
    trust_remote_code: bool = False,
    **options: Unpack[LoadOptions],
) -> IterableDataset: ...
@overload
def load(
    recipe: RecipeLike,
    split: Split = "train",
    *,
    streaming: Literal[False],
    cache_dir: str | None = None,
    num_proc: int | None = None,
    trust_remote_code: bool = False,
    **options: Unpack[LoadOptions],
) -> Dataset: ...
@overload
def load(
    recipe: RecipeLike,
    split: None,
    *,
    streaming: Literal[True] = True,
    cache_dir: str | None = None,
    num_proc: int | None = None,
    trust_remote_code: bool = False,
    **options: Unpack[LoadOptions],
) -> IterableDatasetDict: ...
@overload
def load(
    recipe: RecipeLike,
    split: None,
    *,
    streaming: Literal[False],
    cache_dir: str | None = None,
    num_proc: int | None = None,
    trust_remote_code: bool = False,
    **options: Unpack[LoadOptions],
) -> DatasetDict: ...
def load(
    recipe: RecipeLike,
    split: Split | None = "train",
    *,
    streaming: bool = True,
    cache_dir: str | None = None,
    num_proc: int | None = None,
    trust_remote_code: bool = False,
    **options: Any,
) -> IterableDataset | Dataset | IterableDatasetDict | DatasetDict:
    """Load a mix as a Hugging Face dataset. Streams by default. `streaming=False` prepares it in the cache.

    Args:
        recipe: Recipe or curriculum, or its path, URL or shipped name.
        split: Split to load. None loads a dict of all splits.
        streaming: Whether to stream. False prepares the whole mix in the cache first.
        cache_dir: Cache folder. Defaults to the cache of `datasets`.
        num_proc: Number of processes that prepare the mix. The result does not depend on it.
        trust_remote_code: Whether a recipe from the Hub may name a Python function (`filters: {python: …}`).
        **options: Options of `open_mix`.

    Raises:
        TypeError: If the recipe has another type, or an option is unknown.
        RecipeError: If the recipe is missing or invalid.
        UnreadableSourcesError: If sources cannot be read.
        ValueError: If a limit or the split is invalid.
    """
    if not isinstance(recipe, str | PathLike | AnyRecipe):
        raise TypeError(
            f"recipe must be a name, a path or a Recipe, got {type(recipe).__name__}. "
            "Use smollm3_mix.Recipe.from_dict() to build one."
        )
    check_options("load", options, ARGUMENTS)
    token = options.pop("token", None)
    known = isinstance(recipe, str) and recipe in SmolLM3Mix.builder_configs
    selection: dict[str, Any] = {"config_name": recipe} if known else {"recipe": recipe}
    builder = SmolLM3Mix(cache_dir=cache_dir, token=token, trust_remote_code=trust_remote_code, **selection, **options)
    if streaming:
        return builder.as_streaming_dataset(split)
    builder.download_and_prepare(num_proc=num_proc)
    return builder.as_dataset(split)
