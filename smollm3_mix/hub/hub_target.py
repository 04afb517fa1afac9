"""Where a mix goes on the Hub: at once, or part by part while it is written."""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from smollm3_mix.hub.access import make_ready
from smollm3_mix.hub.config_folder import ConfigFolder
from smollm3_mix.hub.repository import Repository
from smollm3_mix.output import output_layout
from smollm3_mix.output.card.dataset_card import dataset_card
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.public_paths import is_local, public_recipe, redact_paths
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.storage import atomic_files

log = logging.getLogger("smollm3_mix")


class HubTarget:
    """One config of a repository, for `write(…, outlet=Outlet(recipe, "owner/name"))`.

    Args:
        recipe: what will be written.
        repository: `owner/name`; made if it is not there.
        config_name, private, revision, replace, allow_public, api: as for `push`.

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
        allow_public: Collection[str] = (),
        api: HfApi | None = None,
    ) -> None:
        self._target = ConfigFolder(Repository(repository, revision, api), config_name or recipe.name)
        self._replace = replace
        make_ready(self._target.repository, recipe.active, private=private, despite=allow_public)
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

    def begin(self, recipe: Recipe, file: bytes, request: Mapping[str, Any]) -> None:
        """Nothing; the config is this recipe's, and its recipe is there: its file, unless that names paths of here."""
        public = public_recipe(recipe)
        if local := [source for source in recipe.active if is_local(source)]:
            log.warning("%s", _only_here(local, self._target.repository.name))
        self._target.claim(file if public is recipe else public.to_yaml().encode(), request, replace=self._replace)

    def send(self, files: Mapping[str, Path]) -> None:
        """Nothing; the parts are in the repository."""
        self._target.send(files)

    def finish(self, recipe: Recipe, summary: Mapping[str, Any], rest: list[Path]) -> None:
        """Nothing; card and tally are in the repository, with no path of this machine in them."""
        content: dict[str, Path | bytes] = {path.name: path for path in rest}
        public = public_recipe(recipe)
        if public is not recipe:
            summary = {**summary, "skipped": {id_: redact_paths(why) for id_, why in summary["skipped"].items()}}
            content |= {
                output_layout.STATS: atomic_files.as_json(summary),
                output_layout.CARD: dataset_card(public, summary).encode(),
            }
        self._target.finish(public, summary, content)


def _only_here(local: Sequence[Source], repository: str) -> str:
    """What a user should know who pushes texts of their own files."""
    named = [source.id + (f" ({source.name})" if source.id != source.name else "") for source in local[:5]]
    more = f" and {len(local) - 5} more" if len(local) > 5 else ""
    one = len(local) == 1
    return (
        f"{', '.join(named)}{more} {'is' if one else 'are'} read from files of this machine. {repository} gets the "
        "texts that were mixed, and no folder above them; nobody without these files can write the mix again."
    )
