"""The commits that a recipe's sources are at now: one request for each repository, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from smollm3_mix.network.urls import Token
from smollm3_mix.sources import local_sources
from smollm3_mix.sources.hub_files.listing import FORMATS, NoAnswerFault, repository_info
from smollm3_mix.sources.source_files import SourceFault

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Recipe, Source

THREADS = 16
"""Repositories asked about at once."""

COMMIT = re.compile(r"[0-9a-f]{40}")
"""A revision that stays what it is."""


def commits(recipe: Recipe, sources: Iterable[Source], token: Token = None) -> dict[str, str] | None:
    """Commit by id of the sources on the Hub that name none; None where the Hub does not answer.

    A repository that is not there, or is not shown to this token, is left out: to open the mix says what is wrong.

    Args:
        recipe: whose sources they are.
        sources: the active ones, or others of its kind.
        token: for the Hub; None uses the saved login or `HF_TOKEN`.
    """
    wanted = {source.id: (source.name or "", source.revision) for source in sources if _moves(recipe, source)}
    repositories = list(dict.fromkeys(wanted.values()))

    def ask(repository: tuple[str, str | None]) -> str | None:
        try:
            return repository_info(*repository, token)[0]
        except NoAnswerFault:
            raise
        except SourceFault:
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            found = dict(zip(repositories, pool.map(ask, repositories), strict=True))
        except NoAnswerFault:
            return None
    return {id_: commit for id_, repository in wanted.items() if (commit := found[repository]) is not None}


def _moves(recipe: Recipe, source: Source) -> bool:
    """Whether a source is a repository of the Hub that may be at another commit tomorrow."""
    if COMMIT.fullmatch(source.revision or "") or (source.name in FORMATS and source.data_files):
        return False
    return local_sources.find_local(recipe, source) is None
