"""Find the current commits of a recipe's sources, with one request per repository."""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.model import Source
from smollm3_mix.sources import local_sources
from smollm3_mix.sources.hub_files.listing import FORMATS, NoAnswerFault, repository_info
from smollm3_mix.sources.source_files import SourceFault

THREADS = 16
"""Number of repositories to look up at once."""

COMMIT = re.compile(r"[0-9a-f]{40}")
"""A revision that never changes."""


def commits(recipe: AnyRecipe, sources: Iterable[Source], token: Token = None) -> dict[str, str] | None:
    """Return the commit of each source on the Hub without a pinned commit, by id. None if the Hub is unreachable.

    A repository that does not exist or is hidden from this token is left out. Opening the mix explains the problem.

    Args:
        recipe: Recipe of the sources.
        sources: Sources to look up.
        token: Hugging Face access token. Defaults to the saved login or `HF_TOKEN`.
    """
    wanted = {source.id: (source.name or "", source.revision) for source in sources if _is_unpinned(recipe, source)}
    repositories = list(dict.fromkeys(wanted.values()))

    def commit_of(repository: tuple[str, str | None]) -> str | None:
        try:
            return repository_info(*repository, token)[0]
        except NoAnswerFault:
            raise
        except SourceFault:
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            found = dict(zip(repositories, pool.map(commit_of, repositories), strict=True))
        except NoAnswerFault:
            return None
    return {id_: commit for id_, repository in wanted.items() if (commit := found[repository]) is not None}


def _is_unpinned(recipe: AnyRecipe, source: Source) -> bool:
    """Return True for a repository on the Hub whose commit may change."""
    if COMMIT.fullmatch(source.revision or "") or (source.name in FORMATS and source.data_files):
        return False
    return local_sources.find_local(recipe, source) is None
