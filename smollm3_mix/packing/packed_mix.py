"""Packed mixes: fixed-length token windows of a recipe, an open mix, or a written mix."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.options import MixOptions, Split, check_options
from smollm3_mix.output import output_layout
from smollm3_mix.packing.window_stream import WindowStream
from smollm3_mix.recipe.curriculum import AnyRecipe, RecipeLike
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.dedup.dedup_options import Dedup
from smollm3_mix.text.token_windows import Tokens
from smollm3_mix.tokenizer.encoder import EOS
from smollm3_mix.tokenizer.recipe_tokenizer import pin_tokenizer, token_counting

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True, repr=False)
class PackedMix:
    """A mix as fixed-length token windows. Picklable, like `Mix`.

    Attributes:
        mix: Mix with token ids. It counts as many tokens as its records have ids.
        sequence_length: Number of input tokens per window.
    """

    mix: Mix
    sequence_length: int = 4096

    def __post_init__(self) -> None:
        length = self.sequence_length
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            raise ValueError(f"sequence_length must be a whole number above 0, got {length!r}")

    @property
    def num_lanes(self) -> int:
        """Number of lanes. Each lane has its own windows."""
        return self.mix.num_lanes

    def stream(self, lanes: Sequence[int] | None = None) -> WindowStream:
        """Return the windows of some or all lanes, interleaved round-robin."""
        return WindowStream(self.mix, range(self.num_lanes) if lanes is None else lanes, self.sequence_length)

    def __iter__(self) -> Iterator[dict[str, Tokens]]:
        """Yield windows as dicts of `input_ids` and `position_ids`, each int32[sequence_length + 1]."""
        windows = self.stream()
        try:
            yield from windows
        finally:
            windows.close()

    def __repr__(self) -> str:
        return f"PackedMix({self.mix!r}, sequence_length={self.sequence_length:,})"


def open_packed(
    mix: Mix | RecipeLike,
    *,
    tokenizer: str | os.PathLike[str] | None = None,
    sequence_length: int = 4096,
    bos: str | None = None,
    eos: str | None = EOS,
    **options: Unpack[MixOptions],
) -> PackedMix:
    """Return a mix as fixed-length token windows. Also accepts a folder made by `write`.

    The tokenizer counts the tokens, including `bos` and `eos`, so token shares are exact for the emitted tokens.

    Args:
        mix: Recipe or curriculum, or its path, URL or shipped name, or an open mix, or the folder of a written mix.
        tokenizer: File, folder or Hub repository of the tokenizer. Defaults to the recipe's tokenizer.
        sequence_length: Number of input tokens per window. A window has one more token, the last target.
        bos: Token before each document. None by default, as in the training of SmolLM3.
        eos: Token after each document. By default the end-of-document token of the tokenizer. None for no token.
        **options: Options of `open_mix`, for a mix that is not open yet.

    Raises:
        MissingExtraError: If `tokenizers` is not installed.
        SourceError: If the tokenizer cannot be read or lacks a token.
        RecipeError: If the recipe is missing or invalid.
        UnreadableSourcesError: If sources cannot be read.
        OutputError: If a folder has no finished mix of texts.
        TypeError: If an option is unknown, or there are options for a mix that is already open.
        ValueError: If `sequence_length` or a limit is not positive.
    """
    check_options("open_packed", options, ("tokenizer", "sequence_length", "bos", "eos"))
    token = options.get("token")
    if isinstance(mix, Mix):
        if options:
            names = ", ".join(options)
            raise TypeError(
                f"Cannot override {names} of a mix that is already open. Pass {names} to open_mix() instead."
            )
        counting = token_counting(mix.recipe, tokenizer, bos, eos, token)
        resolved = replace(mix.resolved, recipe=pin_tokenizer(mix.resolved.recipe.replace(tokens=counting), token))
        return PackedMix(replace(mix, resolved=resolved, ids=True), sequence_length)
    recipe, split = _recipe_and_split(mix, options.get("split", "train"))
    recipe = recipe.replace(tokens=token_counting(recipe, tokenizer, bos, eos, token))
    options["split"] = split
    return PackedMix(replace(open_mix(recipe, **options), ids=True), sequence_length)


def _recipe_and_split(mix: RecipeLike, split: Split) -> tuple[AnyRecipe, Split]:
    """Return the recipe and its split. A written mix has a recipe over its records."""
    if isinstance(mix, AnyRecipe):
        return mix, split
    folder = Path(mix)
    return _written_recipe(folder, split) if (folder / output_layout.STATS).exists() else (load_recipe(mix), split)


def _written_recipe(folder: Path, split: Split) -> tuple[AnyRecipe, Split]:
    """Return a recipe over the records of a written mix in their order, and the split that has them."""
    if problem := output_layout.unfinished_reason(folder):
        raise OutputError(problem)
    format_name = output_layout.written_format(json.loads((folder / output_layout.STATS).read_bytes()))
    if format_name not in ("parquet", "by-source"):
        raise OutputError(
            f"{folder} has {format_name} files, which are tokens already. Read it with {format_name}, or write the mix "
            "as Parquet."
        )
    written = load_recipe(folder / output_layout.RECIPE)
    if format_name == "by-source":
        return written, split
    names = output_layout.data_files(folder / output_layout.DATA)
    files = tuple(f"{output_layout.DATA}/{each}" for each in output_layout.patterns(split, names))
    if not files:
        splits = sorted({output_layout.shard_base(name).split("-")[0] for name in names})
        raise OutputError(f"{folder} has no split {split!r}. Its splits are {', '.join(splits)}.")
    source = Source(
        id=written.name,
        weight=1.0,
        name=folder.resolve().name,
        data_files=files,
        content="records",
        clean=Cleaning("none"),
    )
    return Recipe(
        sources=(source,),
        file=str(folder),
        folder=str(folder.resolve().parent),
        lanes=max(
            int(n.split("-")[1]) for name in names if (n := output_layout.shard_base(name)).startswith(f"{split}-")
        )
        + 1,
        shuffle="none",
        dedup=Dedup(exact=False),
        on_exhausted="stop",
    ), "train"
