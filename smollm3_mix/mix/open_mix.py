"""A recipe made ready to be read: its sources found and pinned, once."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from smollm3_mix.mix.curriculum_mix import CurriculumMix
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.mix.state import continuation
from smollm3_mix.mix.state.merge_states import find_stream_state
from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.curriculum import Curriculum
from smollm3_mix.recipe.model import Recipe
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.sources.resolve import resolve
from smollm3_mix.tokenizer import recipe_tokenizer

log = logging.getLogger("smollm3_mix")


def open_mix(
    recipe: Recipe | str | os.PathLike[str],
    *,
    split: str = "train",
    seed: int | None = None,
    lanes: int | None = None,
    max_samples: int | None = None,
    max_tokens: int | None = None,
    max_bytes: int | None = None,
    dedup_state_dir: str | os.PathLike[str] | None = None,
    total_tokens: int | None = None,
    continue_from: Mapping[str, Any] | None = None,
    skip_unreadable: bool = False,
    token: Token = None,
    accept_terms: Sequence[str] | str | None = None,
) -> Mix | CurriculumMix:
    """The mix of a recipe: its sources are found and pinned, nothing of them is read.

    Args:
        recipe: a `Recipe`, a path, or the name of a shipped stage.
        split: train or validation.
        seed: in place of the recipe's.
        lanes: in place of the recipe's.
        max_samples: records of the whole mix; default: no limit.
        max_tokens: tokens of the whole mix; default: no limit.
        max_bytes: UTF-8 bytes of text of the whole mix; default: no limit.
        dedup_state_dir: folder for what dedup remembers, beside a run's checkpoints; default: states carry it themselves.
        total_tokens: what the stages of a curriculum take together, each the part it takes in the recipe.
        continue_from: state of another recipe, of any kind that `merge_states` takes. Sources of the same id go on at
            the place and revision they have there, others start or stop, nothing comes twice. Limits count from there.
        skip_unreadable: go on over the sources that can be read; the rest are logged and stand in `plan.skipped`.
        token: of the Hub; default: the one that is logged in.
        accept_terms: terms that you accept, such as `"softwareheritage"`, which sources of blob ids ask for.

    Raises:
        RecipeError: the recipe is missing or has faults; or total_tokens are asked of one that is no curriculum.
        MissingExtraError: it counts with a tokenizer, and `tokenizers` is not installed.
        SourceError: its tokenizer cannot be read.
        StateError: the mix cannot go on from the state; the message says why.
        ValueError: there are no terms of that name.
        UnreadableSourcesError: sources cannot be read; the message lists them all, with their shares.
    """
    opened = (recipe if isinstance(recipe, Recipe) else load_recipe(recipe)).replace(seed=seed, lanes=lanes)
    opened = opened if total_tokens is None else opened.scale(total_tokens)
    start: Mapping[str, Any] | None = None if continue_from is None else find_stream_state(continue_from)
    if start is not None:
        start = _settle(start, dedup_state_dir, token, accept_terms)
        opened = continuation.pin_recipe(opened, start)
    plan = resolve(
        recipe_tokenizer.pin_tokenizer(opened, token),
        skip_unreadable=skip_unreadable,
        token=token,
        accept_terms=accept_terms,
    )
    for statement in plan.recipe.warnings:
        log.warning("%s: %s", opened.name, statement)
    kind = CurriculumMix if isinstance(plan.recipe, Curriculum) else Mix
    folder = None if dedup_state_dir is None else os.fspath(dedup_state_dir)
    return kind(plan, split, max_samples, max_tokens, max_bytes, folder, start=start)


def _settle(
    state: Mapping[str, Any],
    dedup_state_dir: str | os.PathLike[str] | None,
    token: Token,
    accept_terms: Sequence[str] | str | None,
) -> Mapping[str, Any]:
    """The state with every lane in it as it stands: what was to be made again is made, by the recipe that saved it."""
    if continuation.is_complete(state):
        return state
    recipe = Recipe.from_dict(state["recipe"])
    stream = open_mix(
        recipe,
        split=state["split"],
        dedup_state_dir=dedup_state_dir,
        token=token,
        accept_terms=accept_terms,
        **state["limits"],
    ).stream()
    try:
        stream.load_state_dict(state)
        return stream.state_dict()
    finally:
        stream.close()
