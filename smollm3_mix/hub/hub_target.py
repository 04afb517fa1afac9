"""Upload target on the Hub: one config of a dataset repository, filled at once or while a mix is written."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from smollm3_mix.errors import OutputError
from smollm3_mix.hub.access import prepare_repository
from smollm3_mix.hub.config_folder import ConfigFolder
from smollm3_mix.hub.repository import Repository
from smollm3_mix.network.urls import Token
from smollm3_mix.output import output_layout
from smollm3_mix.output.card.dataset_card import dataset_card
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.public_paths import is_local, public_recipe, redact_paths
from smollm3_mix.storage import atomic_files

log = logging.getLogger("smollm3_mix")


@dataclass(frozen=True)
class HubTarget:
    """One config of a dataset repository, for `push_to_hub` and `write(…, push_to=HubTarget("me/mix"))`.

    Attributes:
        repo_id: Dataset repository as `owner/name`. Created if it does not exist.
        config_name: Name of the config. Defaults to the recipe's name.
        private: Whether to require a private repository. By default, a new repository is public only if every license
            allows sharing, and an existing repository stays as it is.
        revision: Branch to push to. Defaults to `main`.
        replace: Whether to replace a different mix of the same config name.
        allow_public: Ids of sources that may be public although their license is unknown or restrictive.
        commit_message: Title of the commits.
        create_pr: Whether to open a pull request in place of pushing to a branch.
        token: Hugging Face access token. Defaults to the saved login.
    """

    repo_id: str
    config_name: str | None = None
    private: bool | None = None
    revision: str | None = None
    replace: bool = False
    allow_public: tuple[str, ...] = ()
    commit_message: str | None = None
    create_pr: bool = False
    token: Token = field(default=None, repr=False)
    _opened: list[ConfigFolder] = field(default_factory=list, init=False, repr=False, compare=False)

    def check(self, recipe: AnyRecipe) -> None:
        """Prepare the repository for a mix of a recipe. Uploads nothing.

        Raises:
            HubError: If the Hub refuses or is unreachable.
            OutputError: If the repository or its name is unsuitable, or must not be public.
        """
        api = HfApi(token=self.token)
        repository = Repository(self.repo_id, self.revision, api)
        folder = ConfigFolder(repository, self.config_name or recipe.name, self.commit_message)
        prepare_repository(repository, recipe.active, private=self.private, allow_public=self.allow_public)
        folder.refuse_recipes()
        if self.create_pr:
            repository.open_pull_request(self.commit_message or f"Add the mix {folder.config}")
        self._opened[:] = [folder]

    @property
    def name(self) -> str:
        """Repository, branch and config."""
        repository = self._folder.repository
        return f"{repository.name}@{repository.revision}/{self._folder.config}"

    @property
    def url(self) -> str:
        """URL of the repository or pull request."""
        return self._folder.repository.url

    def begin(self, recipe: AnyRecipe, file: bytes, request: Mapping[str, Any]) -> None:
        """Reserve the config for a recipe and upload its file. The uploaded recipe has no local folders.

        Raises:
            HubError: If the Hub refuses or is unreachable.
            OutputError: If the config has a different mix and `replace` is not set.
        """
        public = public_recipe(recipe)
        if local := [source for source in recipe.active if is_local(source)]:
            log.warning("%s", _local_files_warning(local, self.repo_id))
        self._folder.claim(file if public is recipe else public.to_yaml().encode(), request, replace=self.replace)

    def send(self, files: Mapping[str, Path]) -> None:
        """Upload data files by their paths below `data`."""
        self._folder.send(files)

    def finish(self, recipe: AnyRecipe, summary: Mapping[str, Any], other_files: list[Path]) -> None:
        """Upload card and statistics, without local paths."""
        content: dict[str, Path | bytes] = {path.name: path for path in other_files}
        public = public_recipe(recipe)
        if public is not recipe:
            skipped = {source: redact_paths(reason) for source, reason in summary["skipped"].items()}
            summary = {**summary, "skipped": skipped}
            content |= {
                output_layout.STATS: atomic_files.as_json(summary),
                output_layout.CARD: dataset_card(public, summary).encode(),
            }
        self._folder.finish(public, summary, content)

    @property
    def _folder(self) -> ConfigFolder:
        if not self._opened:
            raise OutputError(f"{self.repo_id} was not checked. Call check() first.")
        return self._opened[0]


def _local_files_warning(local: Sequence[Source], repo_id: str) -> str:
    listed = [source.id + (f" ({source.name})" if source.id != source.name else "") for source in local[:5]]
    more = f" and {len(local) - 5} more" if len(local) > 5 else ""
    return (
        f"Sources with local files: {', '.join(listed)}{more}. {repo_id} gets the mixed texts without folder names. "
        "The mix cannot be written again without these files."
    )
