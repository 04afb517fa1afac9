"""Fill one config of a dataset repository with a written mix.

    README.md              the card with `configs:`, extended by the last commit
    {config}/recipe.yaml   the recipe, in the first commit
    {config}/data/…        data files with the names of `write`, at most 100 per commit
    {config}/stats.json, README.md, exclude.txt    in the last commit

Readers see a mix after it is complete. An interrupted push is recognized by its recipe and resumes.
"""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smollm3_mix.errors import HubError, OutputError
from smollm3_mix.hub.repo_card import merge_card, remove_config
from smollm3_mix.hub.repository import ConflictError, RemoteFile, Repository, batches
from smollm3_mix.output import output_layout
from smollm3_mix.output.card.dataset_card import Home
from smollm3_mix.output.write_request import differences
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.shipped import ENDING

log = logging.getLogger("smollm3_mix")

ATTEMPTS = 5
"""Number of times that the card is merged again after another commit."""


class ConfigFolder:
    """One config of a repository.

    Args:
        repository: Repository of the config.
        config: Name of the config.
        commit_message: Title of the commits. Defaults to what each commit does.

    Raises:
        OutputError: If the name is invalid.
    """

    def __init__(self, repository: Repository, config: str, commit_message: str | None = None) -> None:
        if not re.fullmatch(r"\w[\w.-]*", config):
            raise OutputError(
                f"{config!r} is not a valid config name. Use letters, digits, '-', '_' and '.' for --config-name."
            )
        self.repository, self.config, self._commit_message = repository, config, commit_message
        self._existing: dict[str, RemoteFile] = {}

    @property
    def data(self) -> str:
        """Folder of the data files in the repository, with a trailing slash."""
        return f"{self.config}/{output_layout.DATA}/"

    def refuse_recipes(self) -> None:
        """Raise OutputError if the repository has recipes.

        `datasets` uses one builder for all configs of a repository.
        """
        recipes = [path for path in self.repository.files("configs") if path.endswith(ENDING)]
        if recipes:
            raise OutputError(
                f"{self.repository.name} contains recipes ({recipes[0]}), but datasets uses one builder per "
                "repository. Push the mix to another repository.",
                path=self.repository.url,
            )

    def claim(self, recipe: bytes, request: Mapping[str, Any], *, replace: bool) -> None:
        """Reserve the folder of the config for a recipe, or resume an interrupted push of the same mix.

        Raises:
            OutputError: If the folder has something else and `replace` is not set.
        """
        self._existing = self.repository.files(self.config)
        name = f"{self.config}/{output_layout.RECIPE}"
        other = self._other_content(recipe, request)
        if other is not None and not replace:
            raise OutputError(
                f"{self.repository.name} already has a config {self.config!r}: {other}. Add --replace to replace it, "
                "or choose another --config-name.",
                path=self.repository.url,
            )
        if other is not None:
            self._empty()
        if name not in self._existing:
            self._commit(f"Add the recipe of {self.config}", {name: recipe})

    def _other_content(self, recipe: bytes, request: Mapping[str, Any]) -> str | None:
        """Return how the content of the folder differs from this mix, or None if it is of this mix."""
        if not self._existing:
            return None
        head = self.repository.head()
        existing = self.repository.read(f"{self.config}/{output_layout.RECIPE}", head)
        if existing is None:
            return f"its folder contains {sorted(self._existing)[0]} and no recipe"
        if existing != recipe:
            return f"it has another recipe (fingerprint {_fingerprint(existing)}, expected {_fingerprint(recipe)})"
        stats = self.repository.read(f"{self.config}/{output_layout.STATS}", head)
        other = None if stats is None else json.loads(stats)["request"]
        if other is not None and other != dict(request):
            return f"it was written with other options ({differences(other, request)})"
        return None

    def _empty(self) -> None:
        head = self.repository.head()
        card = remove_config(self.config, self._reader(head))
        changed = {} if card is None else {"README.md": card.encode()}
        log.info("Removing config %s of %s to replace it", self.config, self.repository.name)
        self._commit(f"Remove {self.config}", changed, remove=[f"{self.config}/"], parent=head)
        self._existing = {}

    def send(self, files: Mapping[str, Path]) -> None:
        """Upload the data files that are not in the repository."""
        missing = [
            name
            for name, path in files.items()
            if (existing := self._existing.get(self.data + name)) is None or not existing.has_content(path)
        ]
        if len(missing) < len(files):
            log.info("%d of %d files were uploaded before", len(files) - len(missing), len(files))
        done = len(files) - len(missing)
        for group in batches(missing):
            done += len(group)
            self._commit(
                f"Add {done} of {len(files)} files of {self.config}", {self.data + name: files[name] for name in group}
            )
            log.info("Uploaded %d of %d files to %s", done, len(files), self.repository.name)

    def finish(self, recipe: AnyRecipe, summary: Mapping[str, Any], other_files: Mapping[str, Path | bytes]) -> None:
        """Add the config to the card, and remove other files from its folder.

        Args:
            recipe: Recipe of the mix.
            summary: Content of its `stats.json`.
            other_files: Files other than data and recipe, by name.

        Raises:
            HubError: If other commits keep coming.
            OutputError: If data files are missing.
        """
        for _ in range(ATTEMPTS):
            head = self.repository.head()
            existing = self.repository.files(self.config)
            missing = [name for name in summary["files"] if self.data + name not in existing]
            if missing:
                raise OutputError(
                    f"{self.repository.name} lacks {self.data}{missing[0]}, which was removed during the push. "
                    "Repeat the same command.",
                    path=self.repository.url,
                )
            content: dict[str, Path | bytes] = {f"{self.config}/{name}": each for name, each in other_files.items()}
            extra = sorted(set(existing) - set(content) - {self.data + name for name in summary["files"]})
            extra.remove(f"{self.config}/{output_layout.RECIPE}")
            home = Home(self.repository.name, self.config, f"{self.config}/", name_config=True)
            content["README.md"] = merge_card(recipe, summary, home, self._reader(head)).encode()
            try:
                self._commit(f"Add card and statistics of {self.config}", content, remove=extra, parent=head)
            except ConflictError:
                continue
            return
        raise HubError(
            f"Other commits to {self.repository.name} keep coming. Repeat the same command later.",
            repo_id=self.repository.name,
        )

    def _commit(self, action: str, files: Mapping[str, Path | bytes], **options: Any) -> None:
        """Make a commit whose title is the commit message, if there is one, and the action."""
        title = action if self._commit_message is None else f"{self._commit_message} ({action})"
        self.repository.commit(title, files, **options)

    def _reader(self, commit: str) -> Any:
        def text(path: str) -> str | None:
            content = self.repository.read(path, commit)
            return None if content is None else content.decode()

        return text


def _fingerprint(recipe: bytes) -> str:
    found = re.search(rb"fingerprint ([0-9a-f]{12})", recipe)
    return found[1].decode() if found else "unknown"
