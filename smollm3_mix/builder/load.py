"""Load a mix as a Hugging Face dataset."""

from os import PathLike
from typing import Any

from smollm3_mix.builder.mix_builder import SmolLM3Mix
from smollm3_mix.recipe.recipe import Recipe


def load(
    recipe: str | PathLike[str] | Recipe,
    split: str | None = "train",
    *,
    streaming: bool = True,
    cache_dir: str | None = None,
    num_proc: int | None = None,
    token: str | bool | None = None,
    **fields: Any,
) -> Any:
    """The mix as `load_dataset` would give it: an `IterableDataset`, or a `Dataset` where `streaming` is false.

    Args:
        recipe: name of a shipped stage (`"stage2"`), path or `hf://datasets/…` URL of a recipe, or a `Recipe`.
        split: `train`, `validation` (where the recipe holds out a fraction), or None for a dict of all.
        streaming: False prepares the whole mix in the cache first.
        cache_dir: in place of the cache of `datasets`.
        num_proc: processes that prepare; lanes are dealt to them, the result is the same.
        token: of the Hub; default: the one that is logged in.
        **fields: of `SmolLM3MixConfig`: seed, lanes, max_samples, max_tokens, total_tokens, continue_from,
            dedup_state_dir,
            skip_unreadable, accept_terms.

    Raises:
        TypeError: the recipe is none of these.
        RecipeError: the recipe is missing or has faults.
        UnreadableSourcesError: sources cannot be read; the message lists them all.
    """
    if not isinstance(recipe, str | PathLike | Recipe):
        raise TypeError(
            f"recipe: expected a name, a path or a Recipe, got {type(recipe).__name__}; "
            "smollm3_mix.Recipe.from_dict makes one of a dict"
        )
    known = isinstance(recipe, str) and recipe in SmolLM3Mix.builder_configs
    meant: dict[str, Any] = {"config_name": recipe} if known else {"recipe": recipe}
    builder = SmolLM3Mix(cache_dir=cache_dir, token=token, **meant, **fields)
    if streaming:
        return builder.as_streaming_dataset(split)
    builder.download_and_prepare(num_proc=num_proc)
    return builder.as_dataset(split)
