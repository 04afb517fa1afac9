"""What can be packed: a recipe, an opened mix, or a folder that `write` made."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smollm3_mix.clean import Cleaning
from smollm3_mix.dedup import Dedup
from smollm3_mix.errors import OutputError, RecipeError
from smollm3_mix.mix import Mix, open_mix
from smollm3_mix.pack import Tokens
from smollm3_mix.packing.stream import Windows
from smollm3_mix.recipe import Counting, Recipe, Source, read
from smollm3_mix.tokenizer import ending, pinned
from smollm3_mix.write import layout

EOS = "auto"
"""Stands for the one token of the vocabulary that is known to end a document (`tokenizer.ENDS`)."""


@dataclass(frozen=True)
class Packed:
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

    def stream(self, lanes: Sequence[int] | None = None) -> Windows:
        """The windows of some lanes, one of each in turn; all lanes by default."""
        return Windows(self.mix, range(self.num_lanes) if lanes is None else lanes, self.sequence_length)

    def __iter__(self) -> Iterator[dict[str, Tokens]]:
        """Windows of all lanes, as those of `stream()`."""
        windows = self.stream()
        try:
            yield from windows
        finally:
            windows.close()


def packed(
    source: Recipe | Mix | str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] | None = None,
    sequence_length: int = 4096,
    bos: str | None = None,
    eos: str | None = EOS,
    split: str = "train",
    seed: int | None = None,
    lanes: int | None = None,
    max_samples: int | None = None,
    max_tokens: int | None = None,
    max_bytes: int | None = None,
    skip_unreadable: bool = False,
    token: str | bool | None = None,
) -> Packed:
    """The windows of a recipe, an opened mix, or a folder that `write` made.

    Tokens are counted by the tokenizer, `bos` and `eos` included; so the shares of a recipe that weighs by tokens are
    exact on what is given out. Documents are tokenized where they are read, in a worker's process if there is one.

    Args:
        source: a `Recipe`, a path, the name of a shipped stage, a `Mix`, or a folder.
        tokenizer: file, folder or Hub repository, as `Counting.tokenizer`; default: the one the recipe counts with.
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

    Raises:
        MissingExtra: `tokenizers` is not installed.
        SourceError: the tokenizer cannot be read, or has no such token.
        RecipeError, Unreadable: as `open_mix` raises them.
        OutputError: the folder holds no finished mix of texts.
    """
    if isinstance(source, Mix):
        counting = encoded(source.recipe, tokenizer, bos, eos, token)
        plan = replace(source.plan, recipe=pinned(source.plan.recipe.with_(tokens=counting), token))
        return Packed(replace(source, plan=plan, ids=True), sequence_length)
    opened, split = _meant(source, split)
    opened = opened.with_(seed=seed, lanes=lanes, tokens=encoded(opened, tokenizer, bos, eos, token))
    mix = open_mix(
        opened,
        split=split,
        max_samples=max_samples,
        max_tokens=max_tokens,
        max_bytes=max_bytes,
        skip_unreadable=skip_unreadable,
        token=token,
    )
    return Packed(replace(mix, ids=True), sequence_length)


def encoded(
    recipe: Recipe, tokenizer: str | os.PathLike[str] | None, bos: str | None, eos: str | None, token: str | bool | None
) -> Counting:
    """How the tokens of a recipe's documents are made, with the tokens around each.

    Raises:
        RecipeError: no tokenizer is named anywhere.
        SourceError: `eos` is auto and the tokenizer has no token, or several, known to end a text.
    """
    counting = recipe.tokens
    if tokenizer is not None:
        counting = Counting(os.fspath(tokenizer))
    elif not isinstance(counting, Counting):
        fault = "names no tokenizer; give one: packed(…, tokenizer=FILE), or `tokens: {tokenizer: FILE}` in the recipe"
        raise RecipeError(recipe.file, [fault])
    if bos is not None:
        counting = replace(counting, bos=bos)
    if eos == EOS:
        return counting if counting.eos else replace(counting, eos=ending(counting, recipe.folder, token))
    return replace(counting, eos=eos)


def _meant(source: Recipe | str | os.PathLike[str], split: str) -> tuple[Recipe, str]:
    """The recipe that is meant, and the split it has."""
    if isinstance(source, Recipe):
        return source, split
    folder = Path(source)
    return _written(folder, split) if (folder / layout.TALLY).exists() else (read(source), split)


def _written(folder: Path, split: str) -> tuple[Recipe, str]:
    """A recipe over the records that were written in a folder, in their order, and the split it has them in."""
    if not layout.complete(folder):
        raise OutputError(f"{folder} is no finished mix. Run `smollm3-mix write` again to finish it.")
    form = json.loads((folder / layout.TALLY).read_bytes())["request"].get("format", "parquet")
    if form not in ("parquet", "by-source"):
        raise OutputError(
            f"{folder} holds {form} files, tokens already. Read it with that project, or write the mix as Parquet."
        )
    written = read(folder / layout.RECIPE)
    if form == "by-source":
        return written, split
    files = f"{layout.DATA}/{split}-*.parquet"
    names = [path.name for path in folder.glob(files)]
    if not names:
        raise OutputError(f"{folder} has no {files}. It has these: {', '.join(_splits(folder))}.")
    source = Source(
        id=written.name,
        weight=1.0,
        name=folder.resolve().name,
        data_files=(files,),
        content="records",
        clean=Cleaning("none"),
    )
    return Recipe(
        sources=(source,),
        file=str(folder),
        folder=str(folder.resolve().parent),
        lanes=max(int(name.split("-")[1]) for name in names) + 1,
        shuffle="none",
        dedup=Dedup(exact=False),
        on_exhausted="stop",
    ), "train"


def _splits(folder: Path) -> list[str]:
    return sorted({path.name.split("-")[0] for path in (folder / layout.DATA).iterdir()})
