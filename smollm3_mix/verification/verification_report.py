"""What recounting finds, and the checks that mixes of all formats share."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from smollm3_mix.mix.mix_stats import MixStats, SourceStats
from smollm3_mix.output import output_layout
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.report.source_rows import SourceRow, source_rows
from smollm3_mix.schema import RECORD_SCHEMA

Prints = npt.NDArray[np.uint64]

BATCH = 4096
"""Records read at once."""


@dataclass
class VerificationReport:
    """What recounting found.

    Attributes:
        recipe: the pinned recipe that lies beside the files.
        all_stats: records, bytes, tokens and debts by split, counted from the files; nothing about what was dropped.
        written: the tally of the train split as it was written.
        problems: one sentence for each thing that is not as it should be; empty: all is well.
        files: files that were recounted.
        note: what could not be counted from the files, one sentence; empty: nothing.
        table: a row for each source of the train split.
    """

    recipe: Recipe
    all_stats: dict[str, MixStats]
    written: MixStats
    problems: list[str] = field(default_factory=list)
    files: int = 0
    note: str = ""

    @property
    def table(self) -> list[SourceRow]:
        """Asked, given and debt of each source in train, as counted.

        What no file shows is as it was when they were written: what was read and dropped, and the longest document on
        the line, from which the bound follows, which may be one that waited to be given.
        """
        seen = {
            source: replace(mine, longest=there.longest, read=there.read, dropped=there.dropped, passes=there.passes)
            for source, mine in self.all_stats["train"].sources.items()
            if (there := self.written.sources.get(source)) is not None
        }
        return source_rows(self.recipe, MixStats({**self.all_stats["train"].sources, **seen}))


def check_files(data: Path, files: dict[str, int], verdict: VerificationReport) -> None:
    """A fault for each file that is missing, of another size, or not one of `files`, which has their sizes by name."""
    here = {name: (data / name).stat().st_size for name in output_layout.data_files(data)}
    verdict.files = len(here)
    for name, size in files.items():
        if here.get(name) != size:
            found = f"has {here[name]:,} bytes" if name in here else "is missing"
            verdict.problems.append(f"data/{name} {found}; {output_layout.STATS} says {size:,} bytes")
    verdict.problems += [f"data/{name} is not in {output_layout.STATS}" for name in sorted(set(here) - set(files))]


def batches(path: Path, problems: list[str]) -> Iterator[pa.RecordBatch]:
    """The records of a Parquet file; a fault where it cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(RECORD_SCHEMA):
                problems.append(
                    f"{path.name}: columns are {', '.join(file.schema_arrow.names)}; expected "
                    f"{', '.join(RECORD_SCHEMA.names)}"
                )
                return
            yield from file.iter_batches(BATCH)
    except (pa.ArrowException, OSError) as error:
        problems.append(f"{path.name} cannot be read: {error}")


def against(split: str, found: MixStats, expected: MixStats, where: str = "in the files") -> list[str]:
    """A fault for each count of a source that is not the one of the tally."""
    problems = []
    for source, wanted in expected.sources.items():
        for name in ("emitted", "emitted_bytes", "emitted_tokens", "emitted_units"):
            counted, saved = getattr(found.sources.get(source, SourceStats()), name), getattr(wanted, name)
            if counted != saved:
                there = f"{saved:,} in {output_layout.STATS}"
                problems.append(f"{split}: '{source}': {name} is {counted:,} {where} and {there}")
    return problems


def disjoint(prints: dict[str, list[Prints]]) -> list[str]:
    """A fault where texts of validation are in train; fingerprints by split, uint64[records, 2] each."""
    if "validation" not in prints:
        return []
    held = np.unique(np.concatenate(prints["validation"])[:, 0])
    train = np.concatenate(prints.get("train", [np.empty((0, 2), np.uint64)]))[:, 0]
    shared = int(np.isin(train, held).sum())
    return [f"{shared:,} records of train have a text that is in validation"] if shared else []
