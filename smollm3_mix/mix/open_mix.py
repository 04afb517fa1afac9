"""Open a mix: resolve the sources of a recipe once."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from smollm3_mix.mix.curriculum_mix import CurriculumMix
from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.options import Split, check_options, requested_recipe
from smollm3_mix.mix.recipe_mix import RecipeMix
from smollm3_mix.mix.state import continuation
from smollm3_mix.mix.state.merge_states import find_stream_state
from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.curriculum import AnyRecipe, Curriculum, RecipeLike
from smollm3_mix.recipe.read_recipe import recipe_from_dict
from smollm3_mix.sizes import ByteSize, Count
from smollm3_mix.sources.resolve import resolve
from smollm3_mix.tokenizer import recipe_tokenizer

log = logging.getLogger("smollm3_mix")


def open_mix(
    recipe: RecipeLike,
    *,
    split: Split = "train",
    seed: int | None = None,
    lanes: int | None = None,
    max_samples: Count | None = None,
    max_tokens: Count | None = None,
    max_bytes: ByteSize | None = None,
    total_tokens: Count | None = None,
    continue_from: Mapping[str, Any] | None = None,
    dedup_state_dir: str | os.PathLike[str] | None = None,
    skip_unreadable: bool = False,
    accept_terms: str | Sequence[str] | None = None,
    token: Token = None,
    **_unknown: NoReturn,
) -> Mix:
    """Resolve a recipe's sources and return a mix. Pins every revision and reads no data.

    Args:
        recipe: Recipe or curriculum, or its path, URL or shipped name.
        split: Split to read, `"train"` or `"validation"`.
        seed: Seed of the order. Defaults to the recipe's seed.
        lanes: Number of lanes. Defaults to the recipe's number.
        max_samples: Maximum number of records in the whole mix. No limit by default.
        max_tokens: Maximum number of tokens in the whole mix, such as `"10M"`. No limit by default.
        max_bytes: Maximum number of UTF-8 bytes of text in the whole mix, such as `"64MiB"`. No limit by default.
        total_tokens: Total number of tokens of a curriculum. Every stage keeps its proportion. Defaults to the
            curriculum's own number.
        continue_from: State of another recipe, of any kind that `merge_states` accepts. Sources with the same id
            continue at their position and revision there. No record is repeated. Limits count from the state on.
        dedup_state_dir: Folder for the dedup state, next to the checkpoints of a run. By default, every state contains
            the dedup state itself.
        skip_unreadable: Skip sources that cannot be read. The mix lists them in `skipped`.
        accept_terms: Names of the terms of use to accept, for example `"softwareheritage"`. Required by sources that
            fetch text from Software Heritage.
        token: Hugging Face access token. Defaults to the saved login.

    Raises:
        RecipeError: If the recipe is missing or invalid, or `total_tokens` is given for a recipe without stages.
        UnreadableSourcesError: If sources cannot be read. The message lists them with their shares.
        SourceError: If the tokenizer of the recipe cannot be read.
        StateError: If the mix cannot continue from the state.
        MissingExtraError: If the recipe counts with a tokenizer and `tokenizers` is not installed.
        TypeError: If an argument is unknown or has the wrong type.
        ValueError: If a limit is not positive, or the split or the terms are unknown.
    """
    check_options("open_mix", _unknown)
    limits = Limits.parse(max_samples, max_tokens, max_bytes)
    opened = requested_recipe(recipe, seed, lanes, total_tokens)
    start = None if continue_from is None else find_stream_state(continue_from)
    if start is not None:
        start = _complete_state(start, dedup_state_dir, token, accept_terms)
        opened = continuation.pin_recipe(opened, start)
    opened = recipe_tokenizer.pin_tokenizer(opened, token)
    resolved = resolve(opened, skip_unreadable=skip_unreadable, token=token, accept_terms=accept_terms)
    _log_warnings(resolved.recipe)
    mix_class = CurriculumMix if isinstance(resolved.recipe, Curriculum) else RecipeMix
    state_dir = None if dedup_state_dir is None else os.fspath(dedup_state_dir)
    return mix_class(resolved, split, limits, state_dir, start=start)


def _log_warnings(recipe: AnyRecipe) -> None:
    for warning in recipe.warnings:
        log.warning("%s: %s", recipe.name, warning)


def _complete_state(
    state: dict[str, Any],
    dedup_state_dir: str | os.PathLike[str] | None,
    token: Token,
    accept_terms: str | Sequence[str] | None,
) -> dict[str, Any]:
    """Return the state with the exact position of every lane. Its own recipe repeats the records that it lacks."""
    if continuation.is_complete(state):
        return state
    recipe = recipe_from_dict(state["recipe"])
    mix = open_mix(
        recipe,
        split=state["split"],
        dedup_state_dir=dedup_state_dir,
        token=token,
        accept_terms=accept_terms,
        **state["limits"],
    )
    with mix.stream() as stream:
        stream.load_state_dict(state)
        return stream.state_dict()
