"""Which recipe a `datasets` config means, and the identity of what is prepared from it."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import datasets

from smollm3_mix.compat.register import EXTENSION
from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.display_names import EMBEDDED
from smollm3_mix.recipe.index_scope import index_scope_digest
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.read_recipe import load_recipe, stage_files
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sources import local_sources
from smollm3_mix.sources.evaluation_texts import evaluation_sources
from smollm3_mix.sources.url_files import local_copy
from smollm3_mix.version import __version__

log = logging.getLogger("smollm3_mix")


@dataclass
class SmolLM3MixConfig(datasets.BuilderConfig):  # type: ignore[misc]  # datasets carries no types
    """One mix: a recipe and what is asked of it. Each field can be given to `load_dataset(...)` as well.

    Attributes:
        name: name of a shipped stage, of a recipe in the folder that is loaded, or of the file in `recipe`.
        recipe: path, `hf://datasets/…` URL or name of a recipe, or a `Recipe`; default: the one called `name`.
        seed: in place of the recipe's seed.
        lanes: in place of the recipe's number of lanes.
        max_samples: records of the whole mix, dealt evenly to the lanes; default: no limit.
        max_tokens: tokens of the whole mix, dealt evenly to the lanes; default: no limit.
        total_tokens: what the stages of a curriculum take together, each the part it takes in the recipe.
        continue_from: state of another recipe, of any kind that `merge_states` takes; see `open_mix`.
        dedup_state_dir: Folder of the dedup state, beside a run's checkpoints. Default: inside each state.
        skip_unreadable: go on without the sources that cannot be read; the log names them.
        accept_terms: terms that you accept, such as `softwareheritage`, which sources of blob ids ask for.
        trust_remote_code: let a recipe of the Hub name a Python function to judge by (`filters: {python: …}`).
    """

    name: str = "default"
    version: datasets.Version | str | None = datasets.Version(__version__)  # noqa: RUF009 - datasets' own way
    recipe: str | os.PathLike[str] | Recipe | None = None
    seed: int | None = None
    lanes: int | None = None
    max_samples: int | None = None
    max_tokens: int | None = None
    total_tokens: int | None = None
    continue_from: Mapping[str, Any] | None = None
    dedup_state_dir: str | os.PathLike[str] | None = None
    skip_unreadable: bool = False
    accept_terms: str | list[str] | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.name == "default" and self.recipe is not None:
            self.name = recipe_name(self.recipe)
        elif self.name == "default" and len(self.recipe_files) == 1:
            (self.name,) = self.recipe_files
        super().__post_init__()

    @property
    def recipe_files(self) -> dict[str, str]:
        """Paths or URLs of the recipes among `data_files`, by name; empty where `datasets` has not listed them yet."""
        if not isinstance(self.data_files, datasets.data_files.DataFilesDict):
            return {}
        files = [str(file) for split in self.data_files.values() for file in split]
        return {recipe_name(file): file for file in files if EXTENSION in PurePosixPath(file).suffixes}

    def one_for_each_recipe(self) -> "list[SmolLM3MixConfig]":
        """This config, or one for each recipe where `datasets` put the recipes of a whole folder into it."""
        if self.recipe is not None or self.name in self.recipe_files:
            return [self]
        return [type(self)(name=name, recipe=file) for name, file in self.recipe_files.items()] or [self]

    def read(self, token: str | bool | None = None) -> Recipe:
        """The recipe, with this config's seed and lanes.

        Args:
            token: for a recipe in a private repository of the Hub.

        Raises:
            RecipeError: there is no such recipe, or it has faults.
        """
        if isinstance(self.recipe, Recipe):
            return self._scaled(self.recipe.replace(seed=self.seed, lanes=self.lanes))
        place = self._place()
        folder = place.rpartition("/")[0] if place.startswith("hf://") else None
        local_place = local_copy(place, token)
        for name in stage_files(local_place) if folder is not None else ():
            local_copy(f"{folder}/{name}", token)  # into the same folder of the cache
        recipe = load_recipe(local_place, folder=folder, seed=self.seed, lanes=self.lanes)
        if place.startswith("hf://") and not self.trust_remote_code:
            refuse_functions(place, recipe)
        return self._scaled(recipe)

    def _scaled(self, recipe: Recipe) -> Recipe:
        return recipe if self.total_tokens is None else recipe.scale(self.total_tokens)

    def identity(self, recipe: Recipe, features: Any = None) -> str:
        """Name and 16 hex digits that change with all that decides what is prepared: the cache folder's name.

        In it are the paths, sizes and times of local source files. Not in it: the commits that unpinned sources of the
        Hub are at, which `download_and_prepare` adds, and the version of this package, a folder of its own.
        """
        files = [
            seen for source in (*recipe.active, *evaluation_sources(recipe)) for seen in local_files(recipe, source)
        ]
        asked: list[Any] = [recipe.fingerprint, files, self.max_samples, self.max_tokens]
        asked += [self.skip_unreadable, repr(features)]
        if self.continue_from is not None:
            asked.append(self.continue_from)
        return f"{self.name}-{index_scope_digest(asked)[:16]}"

    def _place(self) -> str:
        """Path, URL or name of the recipe: `recipe`, else the one of `data_files` that is meant, else `name`."""
        if self.recipe is not None:
            return os.fspath(self.recipe)  # type: ignore[arg-type]  # a Recipe was dealt with by the caller
        files = self.recipe_files
        if len(files) > 1 and self.name not in files:
            choose = ", ".join(sorted(files))
            raise RecipeError(self.name, [f"{len(files)} recipes and none of that name; choose one of {choose}"])
        return files.get(self.name) or next(iter(files.values()), self.name)


def refuse_functions(place: str, recipe: Recipe) -> None:
    """Nothing, for a recipe that is data alone.

    Raises:
        RecipeError: it came from the Hub and names a function to be imported and run.
    """
    named = [f"source {s.id!r} would run {s.filters.python!r}" for s in recipe.active if s.filters.python is not None]
    if named:
        remedy = f'read the recipe, then smollm3_mix.load("{place}", trust_remote_code=True), or load a local copy'
        raise RecipeError(place, [f"{each}; {remedy}" for each in named])


def recipe_name(recipe: str | os.PathLike[str] | Recipe) -> str:
    """The file's name without folders and endings, fit to name a folder: `stage1` for `stage1.smollm3_mix.yaml`."""
    if isinstance(recipe, Recipe):
        name = recipe.name
    else:
        file = PurePosixPath(Path(recipe).as_posix()).name
        name = file.split(EXTENSION)[0] if EXTENSION in file else file.removesuffix(".yaml").removesuffix(".yml")
    return re.sub(r"[^\w.-]+", "_", name)


def local_files(recipe: Recipe, source: Source) -> Iterator[tuple[str, int, int]]:
    """Path, bytes and time of change (ns) of each file of a local source; none of any other."""
    place = None if (source.name or "").startswith(EMBEDDED) else local_sources.find_local(recipe, source)
    if place is not None:
        for path in sorted(place.root.rglob("*")) if place.files is None else place.files:
            if path.is_file():
                status = path.stat()
                yield str(path), status.st_size, status.st_mtime_ns
