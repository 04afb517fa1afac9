"""What can be packed: a recipe, an opened mix, or a folder that `write` made."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.options import Split
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.output import output_layout
from smollm3_mix.packing.window_stream import WindowStream
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.dedup.dedup_options import Dedup
from smollm3_mix.text.token_windows import Tokens
from smollm3_mix.tokenizer.encoder import EOS
from smollm3_mix.tokenizer.recipe_tokenizer import pin_tokenizer, token_counting


@dataclass(frozen=True)
class PackedMix:
    """A mix as windows of tokens. Picklable, like `Mix`: whoever holds it may read any lane.

    Attributes:
        mix: what is packed; its records carry token ids, and count as many tokens as they have ids.
        sequence_length: inputs of a window.
    """

    mix: Mix
    sequence_length: int = 4096

    def __post_init__(self) -> None:
        length = self.sequence_length
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            raise ValueError(f"sequence_length must be a whole number above 0, got {length!r}")

    @property
    def num_lanes(self) -> int:
        """Lanes, each a line of windows of its own."""
        return self.mix.num_lanes

    def stream(self, lanes: Sequence[int] | None = None) -> WindowStream:
        """The windows of some lanes, one of each in turn; all lanes by default."""
        return WindowStream(self.mix, range(self.num_lanes) if lanes is None else lanes, self.sequence_length)

    def __iter__(self) -> Iterator[dict[str, Tokens]]:
        """Windows of all lanes, as those of `stream()`."""
        windows = self.stream()
        try:
            yield from windows
        finally:
            windows.close()


def open_packed(
    source: Recipe | Mix | str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] | None = None,
    sequence_length: int = 4096,
    bos: str | None = None,
    eos: str | None = EOS,
    split: Split = "train",
    seed: int | None = None,
    lanes: int | None = None,
    max_samples: int | None = None,
    max_tokens: int | None = None,
    max_bytes: int | None = None,
    skip_unreadable: bool = False,
    token: str | bool | None = None,
    accept_terms: Sequence[str] | str | None = None,
) -> PackedMix:
    """The windows of a recipe, an opened mix, or a folder that `write` made.

    The tokenizer counts the tokens, `bos` and `eos` included, so shares of tokens are exact on what is given out.

    Args:
        source: a `Recipe`, a path, the name of a shipped stage, a `Mix`, or a folder.
        tokenizer: file, folder or Hub repository; default: the one the recipe counts with.
        sequence_length: inputs of a window; it has one token more, the last target.
        bos: token put before each document; default: none, as SmolLM3 trained.
        eos: token put after each document; default: the one of the vocabulary that ends a text; None for none.
        split: train or validation.
        seed: in place of the recipe's.
        lanes: in place of the recipe's.
        max_samples: documents of the whole mix; default: no limit.
        max_tokens: tokens of the whole mix.
        max_bytes: UTF-8 bytes of text of the whole mix.
        skip_unreadable: go on over the sources that can be read.
        token: of the Hub; default: the one that is logged in.
        accept_terms: terms that you accept; see `open_mix`.

    Raises:
        MissingExtraError: `tokenizers` is not installed.
        SourceError: the tokenizer cannot be read, or has no such token.
        RecipeError, UnreadableSourcesError: as `open_mix` raises them.
        OutputError: the folder holds no finished mix of texts.
    """
    if isinstance(source, Mix):
        counting = token_counting(source.recipe, tokenizer, bos, eos, token)
        plan = replace(source.plan, recipe=pin_tokenizer(source.plan.recipe.replace(tokens=counting), token))
        return PackedMix(replace(source, plan=plan, ids=True), sequence_length)
    opened, split = _meant(source, split)
    opened = opened.replace(seed=seed, lanes=lanes, tokens=token_counting(opened, tokenizer, bos, eos, token))
    mix = open_mix(
        opened,
        split=split,
        max_samples=max_samples,
        max_tokens=max_tokens,
        max_bytes=max_bytes,
        skip_unreadable=skip_unreadable,
        token=token,
        accept_terms=accept_terms,
    )
    return PackedMix(replace(mix, ids=True), sequence_length)


def _meant(source: Recipe | str | os.PathLike[str], split: Split) -> tuple[Recipe, Split]:
    """The recipe that is meant, and the split it has."""
    if isinstance(source, Recipe):
        return source, split
    folder = Path(source)
    return _written(folder, split) if (folder / output_layout.STATS).exists() else (load_recipe(source), split)


def _written(folder: Path, split: Split) -> tuple[Recipe, Split]:
    """A recipe over the records that were written in a folder, in their order, and the split it has them in."""
    if fault := output_layout.unfinished_reason(folder):
        raise OutputError(fault)
    form = output_layout.written_format(json.loads((folder / output_layout.STATS).read_bytes()))
    if form not in ("parquet", "by-source"):
        raise OutputError(
            f"{folder} holds {form} files, tokens already. Read it with that project, or write the mix as Parquet."
        )
    written = load_recipe(folder / output_layout.RECIPE)
    if form == "by-source":
        return written, split
    names = output_layout.data_files(folder / output_layout.DATA)
    files = tuple(f"{output_layout.DATA}/{each}" for each in output_layout.patterns(split, names))
    if not files:
        splits = sorted({output_layout.shard_base(name).split("-")[0] for name in names})
        raise OutputError(f"{folder} has no {output_layout.DATA}/{split}-*.parquet. It has these: {', '.join(splits)}.")
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
