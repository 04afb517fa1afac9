"""Result of a verification, and the checks that all formats share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix_stats import MixStats, SourceStats
from smollm3_mix.output import output_layout
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.report.source_rows import SourceRow, source_rows
from smollm3_mix.report.tables import shares_table
from smollm3_mix.schema import RECORD_SCHEMA
from smollm3_mix.table_format import html_table

TextHashes = npt.NDArray[np.uint64]

BATCH = 4096
"""Number of records read at once."""


@dataclass
class Findings:
    """Statistics and problems that a running verification has found.

    Attributes:
        recipe: Pinned recipe of the mix.
        written: Statistics of the train split in stats.json.
        stats: Statistics by split, counted from the files.
        problems: One sentence per problem.
        files: Number of files.
        note: A sentence about what cannot be counted from the files, or empty.
    """

    recipe: AnyRecipe
    written: MixStats
    stats: dict[str, MixStats] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    files: int = 0
    note: str = ""


@dataclass(frozen=True, repr=False)
class VerificationReport:
    """Result of `verify`.

    Attributes:
        recipe: Pinned recipe of the mix.
        stats: Statistics by split, counted from the files. Dropped documents are not in the files.
        problems: One sentence per problem. Empty if the mix is as its recipe and statistics say.
        files: Number of verified files.
        note: A sentence about what was not verified, or empty.
        rows: One row per source of the train split.
    """

    recipe: AnyRecipe
    stats: dict[str, MixStats]
    problems: tuple[str, ...]
    files: int
    note: str
    rows: tuple[SourceRow, ...]

    @property
    def ok(self) -> bool:
        """True if there are no problems."""
        return not self.problems

    def raise_for_problems(self) -> None:
        """Raise OutputError if there are problems. The message lists them."""
        if self.problems:
            raise OutputError("\n  ".join([f"The verification found {_problem_count(self.problems)}:", *self.problems]))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return {
            "ok": self.ok,
            "problems": list(self.problems),
            "files": self.files,
            "note": self.note,
            "stats": {split: stats.to_dict() for split, stats in self.stats.items()},
        }

    def __repr__(self) -> str:
        problems = "" if self.ok else f", {_problem_count(self.problems)}"
        files = f"{self.files:,} file{'' if self.files == 1 else 's'}"
        return f"VerificationReport(ok={self.ok}, {files}{problems})"

    def _repr_html_(self) -> str:
        problems = [["problem"], *([problem] for problem in self.problems)]
        table = html_table(shares_table(self.rows, self.recipe.weigh_by))
        return table if self.ok else table + html_table(problems)


def finished_report(findings: Findings) -> VerificationReport:
    """Return the report of a finished verification."""
    rows = _source_rows(findings)
    problems = tuple(findings.problems)
    return VerificationReport(findings.recipe, findings.stats, problems, findings.files, findings.note, rows)


def _problem_count(problems: Sequence[str]) -> str:
    return f"{len(problems):,} problem{'' if len(problems) == 1 else 's'}"


def _source_rows(findings: Findings) -> tuple[SourceRow, ...]:
    """Return target, actual share and discrepancy of each source of the train split, as counted.

    Values that no file has are from stats.json: rows read and dropped, passes, and the longest document, which may be
    one that was not emitted and decides the bound.
    """
    stats = findings.stats["train"]
    counted = {
        source: replace(own, longest=saved.longest, read=saved.read, dropped=saved.dropped, passes=saved.passes)
        for source, own in stats.sources.items()
        if (saved := findings.written.sources.get(source)) is not None
    }
    return tuple(source_rows(findings.recipe, MixStats({**stats.sources, **counted})))


def check_files(data: Path, files: dict[str, int], findings: Findings) -> None:
    """Add a problem for each file that is missing, has another size, or is not listed.

    Args:
        data: Data folder.
        files: Bytes of the listed files by name.
        findings: Findings to extend.
    """
    existing = {name: (data / name).stat().st_size for name in output_layout.data_files(data)}
    findings.files = len(existing)
    for name, size in files.items():
        if existing.get(name) != size:
            found = f"has {existing[name]:,} bytes" if name in existing else "is missing"
            findings.problems.append(f"data/{name} {found}, but {output_layout.STATS} says {size:,} bytes")
    unlisted = sorted(set(existing) - set(files))
    findings.problems += [f"data/{name} is not in {output_layout.STATS}" for name in unlisted]


def read_batches(path: Path, problems: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield the records of a Parquet file. Add a problem if the file cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(RECORD_SCHEMA):
                found, expected = ", ".join(file.schema_arrow.names), ", ".join(RECORD_SCHEMA.names)
                problems.append(f"{path.name}: columns are {found}, expected {expected}")
                return
            yield from file.iter_batches(BATCH)
    except (pa.ArrowException, OSError) as error:
        problems.append(f"{path.name} cannot be read: {error}")


def count_problems(split: str, found: MixStats, expected: MixStats, where: str = "in the files") -> list[str]:
    """Return a problem for each count of a source that differs from stats.json."""
    problems = []
    for source, saved_stats in expected.sources.items():
        for name in ("emitted", "emitted_bytes", "emitted_tokens", "emitted_units"):
            counted, saved = getattr(found.sources.get(source, SourceStats()), name), getattr(saved_stats, name)
            if counted != saved:
                problems.append(
                    f"{split}: '{source}': {name} is {counted:,} {where} and {saved:,} in {output_layout.STATS}"
                )
    return problems


def overlap_problems(hashes: dict[str, list[TextHashes]]) -> list[str]:
    """Return a problem if texts of the validation split are in train.

    Args:
        hashes: Text hashes by split, uint64[records, 2] each.
    """
    if "validation" not in hashes:
        return []
    held_out = np.unique(np.concatenate(hashes["validation"])[:, 0])
    train = np.concatenate(hashes.get("train", [np.empty((0, 2), np.uint64)]))[:, 0]
    shared = int(np.isin(train, held_out).sum())
    return [f"{shared:,} records of train have a text that is in validation"] if shared else []
