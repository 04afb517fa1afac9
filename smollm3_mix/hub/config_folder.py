"""One config of a dataset repository, being filled with a written mix.

    README.md              the card, with `configs:`; the last commit adds the mix to it
    {config}/recipe.yaml   first of all: whose data this is
    {config}/data/…        as `write` names them, at most 100 files a commit
    {config}/stats.json, README.md, exclude.txt    with the last commit

So a reader sees a mix when it is whole, and a push that was cut off is known by its recipe and goes on.
"""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smollm3_mix.errors import OutputError
from smollm3_mix.hub.repo_card import merged, without
from smollm3_mix.hub.repository import Conflict, Remote, Repository, batches
from smollm3_mix.output import output_layout
from smollm3_mix.output.card.dataset_card import Home
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.shipped import ENDING

log = logging.getLogger("smollm3_mix")

ATTEMPTS = 5
"""How often the card is merged anew because somebody else pushed to the repository at the same time."""


class ConfigFolder:
    """One config of a repository, being filled.

    Args:
        repository: where it lies.
        config: its name.

    Raises:
        OutputError: the name cannot be one of a config.
    """

    def __init__(self, repository: Repository, config: str) -> None:
        if not re.fullmatch(r"\w[\w.-]*", config):
            raise OutputError(
                f"{config!r} cannot name a config; expected letters, digits, '-', '_' and '.'. "
                "Give another --config-name."
            )
        self.repository, self.config = repository, config
        self._there: dict[str, Remote] = {}

    @property
    def data(self) -> str:
        """Folder of the Parquet files in the repository, with a slash behind it."""
        return f"{self.config}/{output_layout.DATA}/"

    def refuse_recipes(self) -> None:
        """Nothing, where the repository holds no recipes to be streamed live.

        Raises:
            OutputError: it does; `datasets` chooses one builder for all configs of a repository.
        """
        recipes = [path for path in self.repository.files("configs") if path.endswith(ENDING)]
        if recipes:
            raise OutputError(
                f"{self.repository.name} holds recipes ({recipes[0]}), and datasets chooses one builder for a whole "
                "repository. Push the mix to another one."
            )

    def claim(self, recipe: bytes, request: Mapping[str, Any], *, replace: bool) -> None:
        """Nothing; the config's folder is this recipe's: new, begun, or emptied.

        Raises:
            OutputError: something else is there, and it is not to be replaced.
        """
        self._there = self.repository.files(self.config)
        name = f"{self.config}/{output_layout.RECIPE}"
        stranger = self._stranger(recipe, request)
        if stranger is not None and not replace:
            raise OutputError(
                f"{self.repository.name} has a config {self.config!r} already, {stranger}. Give --replace to put this "
                "mix in its place, or another --config-name."
            )
        if stranger is not None:
            self._empty()
        if name not in self._there:
            self.repository.commit(f"{self.config}: recipe", {name: recipe})

    def _stranger(self, recipe: bytes, request: Mapping[str, Any]) -> str | None:
        """What lies in the config's folder and is not of this mix; None where nothing such does."""
        if not self._there:
            return None
        head = self.repository.head()
        there = self.repository.read(f"{self.config}/{output_layout.RECIPE}", head)
        if there is None:
            return f"whose folder holds {sorted(self._there)[0]} and no recipe"
        if there != recipe:
            return f"of another recipe (fingerprint {_fingerprint(there)}, not {_fingerprint(recipe)})"
        stats = self.repository.read(f"{self.config}/{output_layout.STATS}", head)
        other = None if stats is None else json.loads(stats)["request"]
        if other is not None and other != dict(request):
            differ = [
                f"{key}={other.get(key)!r}, not {value!r}" for key, value in request.items() if other.get(key) != value
            ]
            return f"written with {', '.join(differ)}"
        return None

    def _empty(self) -> None:
        head = self.repository.head()
        card = without(self.config, self._reader(head))
        changed = {} if card is None else {"README.md": card.encode()}
        log.info("Removing config %s of %s, to be replaced", self.config, self.repository.name)
        self.repository.commit(f"{self.config}: removed", changed, remove=[f"{self.config}/"], parent=head)
        self._there = {}

    def send(self, files: Mapping[str, Path]) -> None:
        """Nothing; the data files are in the repository, each sent unless it was there."""
        missing = [
            name
            for name, path in files.items()
            if (there := self._there.get(self.data + name)) is None or not there.holds(path)
        ]
        if len(missing) < len(files):
            log.info("%d of %d files are there already", len(files) - len(missing), len(files))
        done = len(files) - len(missing)
        for group in batches(missing):
            done += len(group)
            self.repository.commit(
                f"{self.config}: {done} of {len(files)} files", {self.data + name: files[name] for name in group}
            )
            log.info("%d of %d files are in %s", done, len(files), self.repository.name)

    def finish(self, recipe: Recipe, summary: Mapping[str, Any], rest: Mapping[str, Path | bytes]) -> None:
        """Nothing; the card names the config, and nothing else than the mix is in its folder.

        Args:
            recipe: of the mix.
            summary: its tally.
            rest: what lies beside its data and recipe, by name.

        Raises:
            OutputError: files are missing, or others push to the repository all the time.
        """
        for _ in range(ATTEMPTS):
            head = self.repository.head()
            there = self.repository.files(self.config)
            lost = [name for name in summary["files"] if self.data + name not in there]
            if lost:
                raise OutputError(
                    f"{self.repository.name} lost {self.data}{lost[0]} while the mix was pushed. "
                    "Run the same command again."
                )
            content: dict[str, Path | bytes] = {f"{self.config}/{name}": each for name, each in rest.items()}
            extra = sorted(set(there) - set(content) - {self.data + name for name in summary["files"]})
            extra.remove(f"{self.config}/{output_layout.RECIPE}")
            home = Home(self.repository.name, self.config, f"{self.config}/", name_config=True)
            content["README.md"] = merged(recipe, summary, home, self._reader(head)).encode()
            try:
                self.repository.commit(f"{self.config}: card and tally", content, remove=extra, parent=head)
            except Conflict:
                continue
            return
        raise OutputError(
            f"{self.repository.name} is being changed by others all the time. Run the same command again."
        )

    def _reader(self, commit: str) -> Any:
        def text(path: str) -> str | None:
            content = self.repository.read(path, commit)
            return None if content is None else content.decode()

        return text


def _fingerprint(recipe: bytes) -> str:
    found = re.search(rb"fingerprint ([0-9a-f]{12})", recipe)
    return found[1].decode() if found else "unknown"
