"""Small files at URLs, fetched and pinned."""

from __future__ import annotations

from urllib.parse import unquote

from smollm3_mix.errors import RecipeError
from smollm3_mix.network.urls import ON_THE_HUB, Token


def local_copy(place: str, token: Token) -> str:
    """`place` itself, or the path of a local copy where it is the URL of a file on the Hub (cached by its commit).

    Raises:
        RecipeError: it is another kind of URL.
        One of `network.retry.failures()`: the Hub refuses, or cannot be reached.
    """
    if "://" not in place:
        return place
    from huggingface_hub import hf_hub_download

    found = ON_THE_HUB.fullmatch(place)
    if found is None:
        raise RecipeError(place, ["expected hf://datasets/<owner>/<name>[@<revision>]/<path>, a path, or a name"])
    repository, revision, file = found["repository"], found["revision"], found["file"]
    revision = revision and unquote(revision)
    return hf_hub_download(repository, file, repo_type="dataset", revision=revision, token=token)
