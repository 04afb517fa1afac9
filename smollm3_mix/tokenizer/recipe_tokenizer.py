"""Find, pin and load the tokenizer of a recipe."""

import functools
import hashlib
import os
from dataclasses import replace
from pathlib import Path

from smollm3_mix.errors import RecipeError, SourceError
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.sections import TokenCounting
from smollm3_mix.tokenizer.encoder import END_TOKENS, EOS, FILE, Tokenizer, read_encoder


def pin_tokenizer(recipe: AnyRecipe, token: str | bool | None = None) -> AnyRecipe:
    """Return the recipe with commit and digest of its tokenizer, unchanged if it counts without a tokenizer.

    Raises:
        SourceError: If the tokenizer is missing, or differs from the pinned digest.
    """
    counting = recipe.tokens
    if not isinstance(counting, TokenCounting):
        return recipe
    path, revision = find_tokenizer(counting, recipe.folder, token)
    return recipe.replace(tokens=replace(counting, sha256=_check_digest(path, counting.sha256), revision=revision))


def load_tokenizer(recipe: AnyRecipe, token: str | bool | None = None) -> Tokenizer | None:
    """Return the tokenizer of a pinned recipe, or None if it counts without one. Loaded once per process.

    Raises:
        MissingExtraError: If `tokenizers` is not installed.
        SourceError: If the tokenizer cannot be found or read.
    """
    counting = recipe.tokens
    if not isinstance(counting, TokenCounting):
        return None
    return _loaded(find_tokenizer(counting, recipe.folder, token)[0], counting.sha256, counting.bos, counting.eos)


def find_tokenizer(
    counting: TokenCounting, folder: str = "", token: str | bool | None = None
) -> tuple[str, str | None]:
    """Return the path of a tokenizer's file, and the commit of its repository (None for a local file).

    Local paths are looked up in `folder` first, then in the working directory, like those of sources.

    Raises:
        SourceError: If there is no such tokenizer.
    """
    name = Path(counting.tokenizer).expanduser()
    for candidate in (Path(folder) / name, name) if folder else (name,):
        if candidate.is_dir() and (candidate / FILE).is_file():
            return str((candidate / FILE).resolve()), None
        if candidate.is_file():
            return str(candidate.resolve()), None
    if counting.tokenizer.count("/") != 1 or name.suffix == ".json" or name.is_absolute():
        raise SourceError(
            f"no tokenizer found at {counting.tokenizer!r}. Pass a {FILE}, a folder that contains one, or a Hub "
            "repository as owner/name."
        )
    return _download(counting, token)


def end_token(counting: TokenCounting, folder: str = "", token: str | bool | None = None) -> str:
    """Return the only token of END_TOKENS in the tokenizer's vocabulary.

    Ignores the `eos_token` of tokenizer_config.json, because in chat models it ends a turn.

    Raises:
        SourceError: If the vocabulary has none or several of these tokens.
    """
    path = find_tokenizer(counting, folder, token)[0]
    encoder = read_encoder(path)
    found = [end for end in END_TOKENS if encoder.token_to_id(end) is not None]
    if len(found) != 1:
        tokens = f"several end-of-document tokens ({', '.join(found)})" if found else "no known end-of-document token"
        raise SourceError(f"tokenizer {counting.tokenizer} has {tokens}. Pass eos=… (--eos) with a token or `none`.")
    return found[0]


def token_counting(
    recipe: AnyRecipe,
    tokenizer: str | os.PathLike[str] | None,
    bos: str | None,
    eos: str | None,
    token: str | bool | None,
) -> TokenCounting:
    """Return how to tokenize the documents of a recipe, with the tokens around each.

    Raises:
        RecipeError: If neither the recipe nor `tokenizer` names a tokenizer.
        SourceError: If `eos` is auto and the vocabulary has none or several known end-of-document tokens.
    """
    counting = recipe.tokens
    if tokenizer is not None:
        counting = TokenCounting(os.fspath(tokenizer))
    elif not isinstance(counting, TokenCounting):
        problem = "names no tokenizer. Pass tokenizer=FILE (--tokenizer FILE), or add `tokens: {tokenizer: FILE}`."
        raise RecipeError(recipe.file, [problem])
    if bos is not None:
        counting = replace(counting, bos=bos)
    if eos == EOS:
        return counting if counting.eos else replace(counting, eos=end_token(counting, recipe.folder, token))
    return replace(counting, eos=eos)


@functools.lru_cache(maxsize=4)
def _loaded(path: str, digest: str | None, bos: str | None, eos: str | None) -> Tokenizer:
    _check_digest(path, digest)
    return Tokenizer(path, bos, eos)


def _check_digest(path: str, digest: str | None) -> str:
    """Return the digest of a file.

    Raises:
        SourceError: If the file differs from the pinned digest.
    """
    found = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    if digest not in (None, found):
        raise SourceError(
            f"tokenizer {path} has sha256 {found[:12]}…, but the recipe is pinned to {str(digest)[:12]}…. "
            "Restore the old file, or remove `sha256` from the recipe's `tokens`."
        )
    return found


def _download(counting: TokenCounting, token: str | bool | None) -> tuple[str, str | None]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = hf_hub_download(counting.tokenizer, FILE, revision=counting.revision, token=token)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        message = str(error).splitlines()[0].rstrip(".")
        raise SourceError(
            f"no local tokenizer {counting.tokenizer!r}, and it cannot be fetched from the Hub: {message}. "
            f"Pass a {FILE}, a folder that contains one, or a repository that you can read."
        ) from error
    commit = Path(path).parent.name  # snapshots/<commit>/tokenizer.json
    return path, counting.revision or commit
