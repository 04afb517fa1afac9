"""A written mix: its recipe, statistics and files."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.options import Split
from smollm3_mix.network.urls import Token
from smollm3_mix.output import output_layout
from smollm3_mix.recipe.curriculum import AnyRecipe, Curriculum
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.report.source_rows import source_rows
from smollm3_mix.report.tables import shares_table
from smollm3_mix.storage.locations import local_path, open_store
from smollm3_mix.table_format import html_table

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True, repr=False)
class WrittenMix:
    """A mix that `write` has written. Functions that take its folder also take the object.

    Attributes:
        output_dir: Folder or URL of the mix.
        recipe: Recipe with every source pinned.
        stats: Statistics by split.
        files: Bytes of each data file, by its path below `data`.
        format: Format of the files, such as `"parquet"`.
        name: Name of the recipe that was mixed.
    """

    output_dir: str
    recipe: AnyRecipe
    stats: dict[str, MixStats]
    files: dict[str, int]
    format: str
    name: str

    @overload
    def load(self, split: Split = ..., *, streaming: Literal[True] = ...) -> datasets.IterableDataset: ...
    @overload
    def load(self, split: Split = ..., *, streaming: Literal[False]) -> datasets.Dataset: ...
    def load(self, split: Split = "train", *, streaming: bool = True) -> datasets.IterableDataset | datasets.Dataset:
        """Load one split with `datasets`.

        Args:
            split: Split to load.
            streaming: Whether to stream. False prepares the split in the cache of `datasets`.

        Raises:
            OutputError: If the mix is not in Parquet.
        """
        if self.format != "parquet":
            raise OutputError(
                f"{self.output_dir} is in format {self.format!r}, but load() reads 'parquet'.", path=self.output_dir
            )
        from datasets import load_dataset

        if "://" in self.output_dir:
            files = {name: f"{self.output_dir}/data/**/{name}-*.parquet" for name in self.stats}
            return load_dataset("parquet", data_files=files, split=split, streaming=streaming)
        return load_dataset(self.output_dir, split=split, streaming=streaming)

    def to_dict(self) -> dict[str, Any]:
        """Return the content as JSON-able values."""
        return {
            "name": self.name,
            "output_dir": self.output_dir,
            "recipe": self.recipe.to_dict(),
            "stats": {split: stats.to_dict() for split, stats in self.stats.items()},
            "files": dict(self.files),
            "format": self.format,
        }

    def __fspath__(self) -> str:
        return self.output_dir

    def __repr__(self) -> str:
        train = self.stats["train"].total.emitted if "train" in self.stats else 0
        return f"WrittenMix({self.output_dir!r}, {self.name!r}, {train:,} records, format={self.format!r})"

    def _repr_html_(self) -> str:
        rows = source_rows(self.recipe, self.stats["train"])
        return html_table(shares_table(rows, self.recipe.weigh_by))


def open_written(output_dir: str | os.PathLike[str], *, token: Token = None) -> WrittenMix:
    """Open a written mix: its recipe, statistics and files. Reads no records.

    Args:
        output_dir: Folder or URL of a mix that `write` has finished.
        token: Hugging Face access token. Defaults to the saved login.

    Raises:
        OutputError: If there is no finished mix.
    """
    location = os.fspath(output_dir)
    store = open_store(location, token)
    if store is None:
        folder = local_path(output_dir)
        problem = output_layout.unfinished_reason(folder)
        if problem is not None:
            raise OutputError(problem, path=location)
        return _read(location, folder)
    with tempfile.TemporaryDirectory(prefix="smollm3-mix-") as scratch:
        for name in (output_layout.RECIPE, output_layout.STATS):
            content = store.read(name)
            if content is None:
                raise OutputError(
                    f"{location} has no {name}. Name a mix that `smollm3-mix write` has finished.", path=location
                )
            (Path(scratch) / name).write_bytes(content)
        written = _read(location, Path(scratch))
        recipe = replace(written.recipe, file=f"{location}/{output_layout.RECIPE}")
        return replace(written, recipe=recipe if isinstance(recipe, Curriculum) else replace(recipe, folder=""))


def _read(location: str, folder: Path) -> WrittenMix:
    summary = json.loads((folder / output_layout.STATS).read_bytes())
    stats = {split: MixStats.from_dict(counts["sources"]) for split, counts in summary["splits"].items()}
    recipe = load_recipe(folder / output_layout.RECIPE)
    format_name = output_layout.written_format(summary)
    return WrittenMix(location, recipe, stats, summary["files"], format_name, summary["name"])
