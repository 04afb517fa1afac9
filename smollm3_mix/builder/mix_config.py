"""Config of the builder: its recipe, mix options and cache id."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

import datasets

from smollm3_mix.compat import hf_datasets
from smollm3_mix.compat.register import EXTENSION
from smollm3_mix.errors import RecipeError
from smollm3_mix.messages import listed, nearest
from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.options import requested_recipe
from smollm3_mix.recipe.curriculum import AnyRecipe, Curriculum, RecipeLike
from smollm3_mix.recipe.display_names import EMBEDDED
from smollm3_mix.recipe.index_scope import index_scope_digest
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.read_recipe import load_recipe, stage_files
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sizes import ByteSize, Count
from smollm3_mix.sources import local_sources
from smollm3_mix.sources.evaluation_texts import evaluation_sources
from smollm3_mix.sources.url_files import local_copy
from smollm3_mix.version import __version__

log = logging.getLogger("smollm3_mix")


@dataclass
class SmolLM3MixConfig(datasets.BuilderConfig):  # type: ignore[misc]  # datasets carries no types
    """A recipe with mix options. `load_dataset(...)` accepts every field as a keyword argument.

    Attributes:
        name: Name of a shipped recipe, of a recipe in the loaded folder, or of the file in `recipe`.
        recipe: Recipe or curriculum, or its path, `hf://datasets/…` URL or name. Defaults to the recipe called `name`.
        seed: Seed of the order. Defaults to the recipe's seed.
        lanes: Number of lanes. Defaults to the recipe's number.
        max_samples: Maximum number of records in the whole mix. No limit by default.
        max_tokens: Maximum number of tokens in the whole mix, such as `"10M"`. No limit by default.
        max_bytes: Maximum number of UTF-8 bytes of text in the whole mix, such as `"64MiB"`. No limit by default.
        total_tokens: Total number of tokens of a curriculum. Defaults to the curriculum's own number.
        continue_from: State of another recipe to continue from, as in `open_mix`.
        dedup_state_dir: Folder for the dedup state. By default, every state contains the dedup state.
        skip_unreadable: Skip sources that cannot be read, and log them.
        accept_terms: Names of the terms of use to accept, for example `"softwareheritage"`.
        trust_remote_code: Whether a recipe from the Hub may name a Python function (`filters: {python: …}`).
    """

    name: str = "default"
    version: datasets.Version | str | None = datasets.Version(__version__)  # noqa: RUF009 - as in datasets
    recipe: RecipeLike | None = None
    seed: int | None = None
    lanes: int | None = None
    max_samples: Count | None = None
    max_tokens: Count | None = None
    max_bytes: ByteSize | None = None
    total_tokens: Count | None = None
    continue_from: Mapping[str, Any] | None = None
    dedup_state_dir: str | os.PathLike[str] | None = None
    skip_unreadable: bool = False
    accept_terms: str | Sequence[str] | None = None
    trust_remote_code: bool = False

    def __new__(cls, *_: Any, **options: Any) -> "SmolLM3MixConfig":
        """Refuse unknown fields."""
        check_fields(options)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        if self.name == "default" and self.recipe is not None:
            self.name = recipe_name(self.recipe)
        elif self.name == "default" and len(self.recipe_files) == 1:
            (self.name,) = self.recipe_files
        super().__post_init__()

    @property
    def recipe_files(self) -> dict[str, str]:
        """Paths or URLs of the recipes in `data_files` by name. Empty before `datasets` has listed the files."""
        files = hf_datasets.resolved_files(self.data_files)
        return {recipe_name(file): file for file in files if EXTENSION in PurePosixPath(file).suffixes}

    def split_by_recipe(self) -> "list[SmolLM3MixConfig]":
        """Return one config per recipe if this config has the recipes of a whole folder, else this config."""
        if self.recipe is not None or self.name in self.recipe_files:
            return [self]
        return [type(self)(name=name, recipe=file) for name, file in self.recipe_files.items()] or [self]

    def read(self, token: str | bool | None = None) -> AnyRecipe:
        """Return the recipe with the seed, lanes and total tokens of this config.

        Args:
            token: Hugging Face access token, for a recipe in a private repository.

        Raises:
            RecipeError: If the recipe is missing or invalid.
        """
        if isinstance(self.recipe, Recipe | Curriculum):
            return requested_recipe(self.recipe, self.seed, self.lanes, self.total_tokens)
        location = self._location()
        folder = location.rpartition("/")[0] if location.startswith("hf://") else None
        path = local_copy(location, token)
        for name in stage_files(path) if folder is not None else ():
            local_copy(f"{folder}/{name}", token)  # to the same folder of the cache
        recipe = load_recipe(path, folder=folder)
        if location.startswith("hf://") and not self.trust_remote_code:
            refuse_functions(location, recipe)
        return requested_recipe(recipe, self.seed, self.lanes, self.total_tokens)

    def cache_id(self, recipe: AnyRecipe, features: Any = None) -> str:
        """Return the name of the cache folder: the config's name and 16 hex digits over its inputs.

        The digits cover paths, sizes and modification times of local source files. `download_and_prepare` adds the
        commits of unpinned sources. The version of this package is a folder of its own.
        """
        files = [
            file for source in (*recipe.active, *evaluation_sources(recipe)) for file in local_files(recipe, source)
        ]
        limits = Limits.parse(self.max_samples, self.max_tokens, self.max_bytes)
        inputs: list[Any] = [recipe.fingerprint, files, limits.to_dict(), self.skip_unreadable, repr(features)]
        if self.continue_from is not None:
            inputs.append(self.continue_from)
        return f"{self.name}-{index_scope_digest(inputs)[:16]}"

    def _location(self) -> str:
        """Return path, URL or name of the recipe: `recipe`, else the matching file of `data_files`, else `name`."""
        if self.recipe is not None:
            return os.fspath(self.recipe)  # type: ignore[arg-type]  # the caller has handled a Recipe
        files = self.recipe_files
        if len(files) > 1 and self.name not in files:
            available = ", ".join(sorted(files))
            raise RecipeError(self.name, [f"none of the {len(files)} recipes has this name. Choose one of {available}"])
        return files.get(self.name) or next(iter(files.values()), self.name)


def check_fields(options: Iterable[str]) -> None:
    """Raise TypeError if one of the names is not a field of SmolLM3MixConfig. The message has the nearest name."""
    known = [field.name for field in fields(SmolLM3MixConfig)]
    for name in options:
        if name not in known:
            near = nearest(name, known)
            hint = f"Did you mean {near!r}?" if near else f"Its fields are {listed(known)}."
            raise TypeError(f"SmolLM3MixConfig got an unexpected field {name!r}. {hint}")


def refuse_functions(location: str, recipe: AnyRecipe) -> None:
    """Raise RecipeError if the recipe names Python code."""
    named = [f"source {s.id!r} would run {s.filters.python!r}" for s in recipe.active if s.filters.python is not None]
    if named:
        remedy = f'Read the recipe, then use smollm3_mix.load("{location}", trust_remote_code=True) or a local copy'
        raise RecipeError(location, [f"{each}. {remedy}" for each in named])


def recipe_name(recipe: RecipeLike) -> str:
    """Return the name of a recipe or of its file: `stage1` for `stage1.smollm3_mix.yaml`."""
    if isinstance(recipe, Recipe | Curriculum):
        name = recipe.name
    else:
        file = PurePosixPath(Path(recipe).as_posix()).name
        name = file.split(EXTENSION)[0] if EXTENSION in file else file.removesuffix(".yaml").removesuffix(".yml")
    return re.sub(r"[^\w.-]+", "_", name)


def local_files(recipe: AnyRecipe, source: Source) -> Iterator[tuple[str, int, int]]:
    """Yield path, bytes and modification time (ns) of each file of a local source. Empty for other sources."""
    local = None if (source.name or "").startswith(EMBEDDED) else local_sources.find_local(recipe, source)
    if local is not None:
        for path in sorted(local.root.rglob("*")) if local.files is None else local.files:
            if path.is_file():
                status = path.stat()
                yield str(path), status.st_size, status.st_mtime_ns
