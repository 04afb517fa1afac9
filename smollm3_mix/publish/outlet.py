"""Where a mix goes on the Hub: at once, or part by part while it is written."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from smollm3_mix.publish.access import make_ready
from smollm3_mix.publish.repository import Repository
from smollm3_mix.publish.target import Target
from smollm3_mix.recipe import Recipe


class Outlet:
    """One config of a repository, for `write(…, outlet=Outlet(recipe, "owner/name"))`.

    Args:
        recipe: what will be written.
        repository: `owner/name`; made if it is not there.
        config_name, private, revision, replace, public_despite, api: as for `push`.

    Raises:
        OutputError: as for `push`; no source has been read by then.
    """

    def __init__(
        self,
        recipe: Recipe,
        repository: str,
        *,
        config_name: str | None = None,
        private: bool = False,
        revision: str | None = None,
        replace: bool = False,
        public_despite: Collection[str] = (),
        api: HfApi | None = None,
    ) -> None:
        self._target = Target(Repository(repository, revision, api), config_name or recipe.name)
        self._replace = replace
        make_ready(self._target.repository, recipe.active, private=private, despite=public_despite)
        self._target.refuse_recipes()

    @property
    def name(self) -> str:
        """Repository, branch and config."""
        repository = self._target.repository
        return f"{repository.name}@{repository.revision}/{self._target.config}"

    @property
    def url(self) -> str:
        """Page of the repository."""
        return self._target.repository.url

    def begin(self, recipe: bytes, request: Mapping[str, Any]) -> None:
        """Nothing; the config is this recipe's, and its recipe is there."""
        self._target.claim(recipe, request, replace=self._replace)

    def send(self, files: Mapping[str, Path]) -> None:
        """Nothing; the parts are in the repository."""
        self._target.send(files)

    def finish(self, recipe: Recipe, summary: Mapping[str, Any], rest: list[Path]) -> None:
        """Nothing; card and tally are in the repository."""
        self._target.finish(recipe, summary, rest)
