"""A written mix put on the Hub as one config of a dataset repository.

    README.md              the card, with `configs:`; the last commit adds the mix to it
    {config}/recipe.yaml   first of all: whose data this is
    {config}/data/…        as `write` names them, at most 100 files a commit
    {config}/tally.json, README.md, exclude.txt    with the last commit

So a reader sees a mix when it is whole, and a push that was cut off is known by its recipe and goes on.
"""

import json
import logging
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from smollm3_mix.errors import OutputError
from smollm3_mix.publish.access import make_ready
from smollm3_mix.publish.card import merged, without
from smollm3_mix.publish.repository import Conflict, Remote, Repository, batches
from smollm3_mix.recipe import Recipe, read
from smollm3_mix.recipe.files import ENDING
from smollm3_mix.write import layout
from smollm3_mix.write.card import Home

log = logging.getLogger("smollm3_mix")

FOLDER_FILES = 10_000
"""Most files in a folder of a repository (hub/repositories-recommendations)."""

REST = (layout.LIST, layout.TALLY, layout.CARD)
"""What comes with the last commit, where the mix has it."""

ATTEMPTS = 5
"""How often the card is merged anew because somebody else pushed to the repository at the same time."""


def push(
    folder: str | os.PathLike[str],
    repository: str,
    *,
    config_name: str | None = None,
    private: bool = False,
    revision: str | None = None,
    replace: bool = False,
    public_despite: Collection[str] = (),
    api: HfApi | None = None,
) -> str:
    """URL of the repository in which the written mix now is a config that any `datasets` loads.

    Repeated after an interruption, it sends only what is not there. A new repository is public only where every source
    has a licence that is known to let the text be shared.

    Args:
        folder: a mix that `write` has finished.
        repository: `owner/name`; made if it is not there.
        config_name: default: the recipe's name.
        private: make it private whatever the licences say.
        revision: branch to push to; default: main.
        replace: put the mix in the place of another one of that name.
        public_despite: ids of sources whose text may be shared though their licence does not say so.
        api: client of the Hub; default: one with the endpoint and token of this machine.

    Raises:
        OutputError: the folder holds no finished mix; the Hub cannot be reached or may not be written; another recipe's
            data is there; or the mix must not be public and the repository is.
    """
    place = Path(folder)
    if not layout.complete(place):
        raise OutputError(f"{place} is no finished mix. Run `smollm3-mix write` again to finish it, then push.")
    recipe = read(place / layout.RECIPE)
    summary = json.loads((place / layout.TALLY).read_bytes())
    form = summary["request"].get("format", "parquet")
    if form != "parquet":
        raise OutputError(
            f"{place} was written with --format {form}; push takes Parquet, which load_dataset opens. "
            f"Upload it as it is: hf upload {repository} {place} --repo-type dataset"
        )
    _check_whole(place, summary["files"])
    target = Target(Repository(repository, revision, api), config_name or summary["name"])
    make_ready(target.repository, recipe.active, private=private, despite=public_despite)
    target.refuse_recipes()
    target.claim((place / layout.RECIPE).read_bytes(), summary["request"], replace=replace)
    paths = {name: place / layout.DATA / name for name in summary["files"]}
    target.send(paths)
    target.finish(recipe, summary, [place / name for name in REST if (place / name).exists()])
    return target.repository.url


def _check_whole(place: Path, files: Mapping[str, int]) -> None:
    for name, size in files.items():
        path = place / layout.DATA / name
        if not path.exists() or path.stat().st_size != size:
            raise OutputError(
                f"{path} {'has another size' if path.exists() else 'is missing'}: {layout.TALLY} says {size:,} bytes. "
                f"Run `smollm3-mix verify {place}`."
            )
    if len(files) > FOLDER_FILES:
        raise OutputError(
            f"{place} has {len(files):,} data files, and a folder on the Hub should have {FOLDER_FILES:,} at most. "
            "Write it again with a larger --part-bytes, or push smaller mixes."
        )


class Target:
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
        return f"{self.config}/{layout.DATA}/"

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
        name = f"{self.config}/{layout.RECIPE}"
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
        there = self.repository.read(f"{self.config}/{layout.RECIPE}", head)
        if there is None:
            return f"whose folder holds {sorted(self._there)[0]} and no recipe"
        if there != recipe:
            return f"of another recipe (fingerprint {_fingerprint(there)}, not {_fingerprint(recipe)})"
        tally = self.repository.read(f"{self.config}/{layout.TALLY}", head)
        other = None if tally is None else json.loads(tally)["request"]
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

    def finish(self, recipe: Recipe, summary: Mapping[str, Any], rest: Iterable[Path]) -> None:
        """Nothing; the card names the config, and nothing else than the mix is in its folder.

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
            content: dict[str, Path | bytes] = {f"{self.config}/{path.name}": path for path in rest}
            extra = sorted(set(there) - set(content) - {self.data + name for name in summary["files"]})
            extra.remove(f"{self.config}/{layout.RECIPE}")
            home = Home(self.repository.name, self.config, f"{self.config}/", ask=True)
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
