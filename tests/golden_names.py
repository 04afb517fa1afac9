"""The names of the project that the golden tests use.

A rename is made here. The digests do not depend on these names, so the other files of the golden tests stay as they
are.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import smollm3_mix
import smollm3_mix.builder.load
import smollm3_mix.dedup_index.build_index
import smollm3_mix.mix.open_mix
import smollm3_mix.mix.state.merge_states
import smollm3_mix.packing.packed_mix
from smollm3_mix.cli import main
from smollm3_mix.output import lane_writer, write_mix
from smollm3_mix.sources.dedup_lookup import MANIFEST, parse_manifest

FILTERS = "filters"
RENORMALIZE = "renormalize"
COLUMNS = ("text", "id", "source", "tokens", "file", "row", "meta")
DROPPED_COLUMNS = ("text", "reason", "source", "id", "file", "row")
WINDOW_COLUMNS = ("input_ids", "position_ids")
WRITTEN_RECIPE = "recipe.yaml"
WRITTEN_DATA = "data"

open_mix = smollm3_mix.open_mix
open_packed = smollm3_mix.open_packed
load = smollm3_mix.load
merge_states = smollm3_mix.merge_states


def with_state_folder(folder: Path) -> dict[str, Any]:
    """Return the option of `open_mix` that keeps what dedup remembers in a folder."""
    return {"dedup_state_dir": folder}


def write(
    recipe: Path, folder: Path, *, num_proc: int = 1, max_shard_size: int = 8_000, form: str = "parquet", **more: Any
) -> None:
    """Write a mix to a folder."""
    write_mix.write(recipe, folder, num_proc=num_proc, max_shard_size=max_shard_size, format=form, **more)


def small_row_groups() -> AbstractContextManager[Any]:
    """Return a context in which a row group has 40 rows, so that a small mix has several shards per lane."""
    return patch.object(lane_writer, "GROUP_ROWS", 40)


def merge(*arguments: str) -> None:
    """Run the command `merge`."""
    assert main.main(["merge", *arguments]) == 0


def index(recipe: Path, folder: Path, files: Mapping[str, Mapping[str, int]], **more: Any) -> list[list[Any]]:
    """Build a dedup index and return what it drops.

    Args:
        recipe: The recipe.
        folder: Folder of the index.
        files: Number of rows of each file, by source and by path of the file.
        more: Further options.

    Returns:
        Source, file, row and kind (1 is an exact duplicate, 2 a near duplicate) of each dropped row.
    """
    smollm3_mix.build_index(recipe, folder, **more)
    opened = parse_manifest((folder / MANIFEST).read_bytes(), str(folder))
    assert opened is not None
    found = []
    for source, sizes in files.items():
        for file, rows in sizes.items():
            duplicates = opened.of(source, file)
            kinds = [] if duplicates is None else duplicates.codes(np.arange(rows)).tolist()
            found += [[source, file, row, kind] for row, kind in enumerate(kinds) if kind]
    return found
