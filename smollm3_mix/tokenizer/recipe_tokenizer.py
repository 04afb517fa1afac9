"""Find, pin and load the tokenizer of a recipe."""

import functools
import hashlib
import os
from dataclasses import replace
from pathlib import Path

from smollm3_mix.errors import RecipeError, SourceError
from smollm3_mix.recipe.model import Recipe
from smollm3_mix.recipe.sections import Counting
from smollm3_mix.tokenizer.encoder import ENDS, EOS, FILE, Tokenizer, read_encoder


def pinned(recipe: Recipe, token: str | bool | None = None) -> Recipe:
    """The recipe with commit and digest of its tokenizer; itself where it counts without one.

    Raises:
        SourceError: there is no such tokenizer, or its file is not the one that the recipe names by its digest.
    """
    counting = recipe.tokens
    if not isinstance(counting, Counting):
        return recipe
    path, revision = find_tokenizer(counting, recipe.folder, token)
    return recipe.with_(tokens=replace(counting, sha256=_same(path, counting.sha256), revision=revision))


def load(recipe: Recipe, token: str | bool | None = None) -> Tokenizer | None:
    """The tokenizer of a pinned recipe, None where it counts without one; read once in a process.

    Raises:
        MissingExtra: `tokenizers` is not installed.
        SourceError: the tokenizer cannot be found or read.
    """
    counting = recipe.tokens
    if not isinstance(counting, Counting):
        return None
    return _loaded(find_tokenizer(counting, recipe.folder, token)[0], counting.sha256, counting.bos, counting.eos)


def find_tokenizer(counting: Counting, folder: str = "", token: str | bool | None = None) -> tuple[str, str | None]:
    """Path of a tokenizer's file, and the commit of its repository (None for a local file).

    Local paths are tried in `folder` first, then here, as those of sources are.

    Raises:
        SourceError: there is none.
    """
    name = Path(counting.tokenizer).expanduser()
    for place in (Path(folder) / name, name) if folder else (name,):
        if place.is_dir() and (place / FILE).is_file():
            return str((place / FILE).resolve()), None
        if place.is_file():
            return str(place.resolve()), None
    if counting.tokenizer.count("/") != 1 or name.suffix == ".json" or name.is_absolute():
        raise SourceError(
            f"there is no tokenizer {counting.tokenizer!r}: give a {FILE}, a folder that holds one, or a Hub "
            "repository as owner/name."
        )
    return _of_the_hub(counting, token)


def ending(counting: Counting, folder: str = "", token: str | bool | None = None) -> str:
    """The token that ends a document for this tokenizer: the one its vocabulary has of ENDS.

    The `eos_token` that a tokenizer_config.json names is not asked: for chat models it ends a turn.

    Raises:
        SourceError: it has none of them, or several.
    """
    path = find_tokenizer(counting, folder, token)[0]
    encoder = read_encoder(path)
    found = [end for end in ENDS if encoder.token_to_id(end) is not None]
    if len(found) != 1:
        which = f"several tokens that may end a document ({', '.join(found)})" if found else "no token known to end one"
        raise SourceError(f"tokenizer {counting.tokenizer}: it has {which}. Name it: eos=… (--eos), or `none`.")
    return found[0]


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
        fault = "names no tokenizer; give one: tokenizer=FILE (--tokenizer FILE), or `tokens: {tokenizer: FILE}` in it"
        raise RecipeError(recipe.file, [fault])
    if bos is not None:
        counting = replace(counting, bos=bos)
    if eos == EOS:
        return counting if counting.eos else replace(counting, eos=ending(counting, recipe.folder, token))
    return replace(counting, eos=eos)


@functools.lru_cache(maxsize=4)
def _loaded(path: str, digest: str | None, bos: str | None, eos: str | None) -> Tokenizer:
    _same(path, digest)
    return Tokenizer(path, bos, eos)


def _same(path: str, digest: str | None) -> str:
    """Digest of the file, which must be the one named, if one is.

    Raises:
        SourceError: it is another.
    """
    found = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    if digest not in (None, found):
        raise SourceError(
            f"tokenizer {path}: its file has sha256 {found[:12]}…, but the recipe names {str(digest)[:12]}…: it has "
            "changed since it was pinned. Put it back, or take `sha256` out of the recipe's `tokens`."
        )
    return found


def _of_the_hub(counting: Counting, token: str | bool | None) -> tuple[str, str | None]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = hf_hub_download(counting.tokenizer, FILE, revision=counting.revision, token=token)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise SourceError(
            f"tokenizer {counting.tokenizer!r} is no file here, and the Hub gives none: {said}. "
            f"Give a {FILE}, a folder that holds one, or a repository that you may read."
        ) from error
    commit = Path(path).parent.name  # snapshots/<commit>/tokenizer.json
    return path, counting.revision or commit
