"""Build a dedup index in two passes over all sources."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from smollm3_mix.dedup_index.duplicate_ranges import KEY_BYTES, Numbers, RangeJob, find_duplicates, read_duplicates
from smollm3_mix.dedup_index.index_target import KEYS, IndexTarget, index_target
from smollm3_mix.dedup_index.index_units import (
    IndexUnit,
    index_units,
    is_complete,
    read_segments,
    read_unit,
    unit_jobs,
    without_index,
)
from smollm3_mix.dedup_index.index_upload import upload
from smollm3_mix.dedup_index.index_workers import IndexListener, IndexWorkers
from smollm3_mix.errors import MixError, OutputError, RecipeError
from smollm3_mix.executors.open_executor import open_executor
from smollm3_mix.executors.protocol import Executor
from smollm3_mix.mix.options import requested_recipe
from smollm3_mix.network.urls import Token
from smollm3_mix.output import output_layout
from smollm3_mix.recipe.curriculum import AnyRecipe, RecipeLike
from smollm3_mix.recipe.index_scope import disagreements, index_scope, index_scope_digest
from smollm3_mix.sizes import ByteSize, parse_bytes, parse_count
from smollm3_mix.sources.dedup_lookup import DROPS, MANIFEST, DedupIndex, IndexEntry
from smollm3_mix.sources.resolve import resolve
from smollm3_mix.sources.resolved_recipe import ResolvedRecipe
from smollm3_mix.storage import atomic_files, folder_lock
from smollm3_mix.table_format import Table, html_table
from smollm3_mix.text.dedup.duplicate_rows import DuplicateRows

MEMORY = "1GiB"

WINDOW = 256
"""Number of units whose duplicate rows are in memory at once while they are written."""


@dataclass(frozen=True)
class IndexCounts:
    """Rows of one source in an index.

    Attributes:
        rows: Rows read.
        documents: Documents compared, which are the rows that no other rule drops.
        duplicates: Documents with the same text as an earlier document.
        near_duplicates: Other documents that share a band with an earlier document.
    """

    rows: int
    documents: int
    duplicates: int
    near_duplicates: int


@dataclass(frozen=True, repr=False)
class IndexBuild:
    """A finished dedup index.

    Attributes:
        output_dir: Folder or URL of the index.
        stats: Counts by source.
        nbytes: Bytes of all duplicate rows.
        units: Number of parts of files.
        units_read: Number of parts that this build has read. The others are from earlier builds.
    """

    output_dir: str
    stats: dict[str, IndexCounts]
    nbytes: int
    units: int
    units_read: int

    def to_dict(self) -> dict[str, Any]:
        """Return the build as JSON-able values."""
        return asdict(self)

    def __repr__(self) -> str:
        return f"IndexBuild({self.output_dir!r}, {len(self.stats)} sources, {self.nbytes:,} bytes)"

    def _repr_html_(self) -> str:
        return html_table(counts_table(self.stats))


def counts_table(stats: Mapping[str, IndexCounts]) -> Table:
    """Return the counts of all sources. The first row is the header."""
    rows = [[source, *(f"{count:,}" for count in asdict(counts).values())] for source, counts in stats.items()]
    return [["source", "rows", "documents", "duplicates", "near duplicates"], *rows]


def build_index(
    recipe: RecipeLike,
    output_dir: str | os.PathLike[str],
    *,
    num_proc: int = 1,
    memory: ByteSize = MEMORY,
    work_dir: str | os.PathLike[str] | None = None,
    executor: Executor | Literal["ray"] | None = None,
    skip_unreadable: bool = False,
    accept_terms: str | Sequence[str] | None = None,
    token: Token = None,
    on_progress: IndexListener | None = None,
) -> IndexBuild:
    """Find duplicates across all sources and lanes once, for `dedup: {index: …}` to look up.

    A document is a duplicate if an earlier document has the same text or shares a band with it, whether or not that one
    is a duplicate itself. Earlier means the recipe's order of sources, then files, then rows. The bytes of the index
    depend on the sources and on how the recipe cleans, filters and deduplicates them. They do not depend on lanes,
    seed, weights, processes or memory. A repeated call resumes an interrupted build. Later builds of a changed recipe
    read only the files that the change affects.

    Args:
        recipe: Recipe or curriculum, or its path, URL or shipped name. Its own `dedup.index` is ignored. The index
            of a curriculum covers all sources of all stages, in order of first appearance.
        output_dir: Folder that is new, empty or has an index, which is replaced. Or a URL of the Hub or of fsspec.
        num_proc: Number of processes.
        memory: Bytes for the keys that all processes together compare at once, such as `"2GiB"`.
        work_dir: Folder in which the index for a URL is built. Later builds resume from it.
        executor: Runs the jobs elsewhere, for example a `RayExecutor`. `"ray"` starts or joins Ray for this call.
        skip_unreadable: Skip sources that cannot be read. The index then fits a mix without them.
        accept_terms: Names of the terms of use to accept, for example `"softwareheritage"`.
        token: Hugging Face access token. Defaults to the saved login.
        on_progress: Called in this process after every finished job.

    Raises:
        OutputError: If the folder contains something else, is in use or cannot be written, or a URL has no `work_dir`.
        RecipeError: If the recipe is invalid, has no dedup, or has stages that clean or filter a source differently.
        UnreadableSourcesError: If sources cannot be read.
        SourceError: If a source cannot be read on the way.
        ValueError: If `num_proc` or `memory` is not positive.
    """
    requested = _recipe_to_index(recipe)
    processes, bytes_of_memory = parse_count(num_proc, "num_proc"), parse_bytes(memory, "memory")
    target = index_target(output_dir, work_dir)
    resolved = resolve(requested, skip_unreadable=skip_unreadable, token=token, accept_terms=accept_terms)
    with ExitStack() as stack:
        opened = None if executor is None else stack.enter_context(open_executor(executor, processes))
        workers = IndexWorkers(processes, on_progress or (lambda _: None), opened)
        index, units, units_read = _build(resolved, target, bytes_of_memory, workers)
    if target.url is not None:
        upload(index, target.url, token)
    stats = {source: IndexCounts(**counts) for source, counts in index.counts.items()}
    return IndexBuild(os.fspath(output_dir), stats, index.nbytes, units, units_read)


def _recipe_to_index(recipe: RecipeLike) -> AnyRecipe:
    """Return the recipe without index and holdout.

    Raises:
        RecipeError: If it has no dedup, or its stages clean or filter a source differently.
    """
    found = without_index(requested_recipe(recipe))
    if not found.dedup.needs_state:
        raise RecipeError(found.file, ["dedup: expected exact: true or near, got neither. There is nothing to index"])
    if problems := disagreements(found):
        raise RecipeError(found.file, problems)
    return found


def _build(
    resolved: ResolvedRecipe, target: IndexTarget, memory: int, workers: IndexWorkers
) -> tuple[DedupIndex, int, int]:
    """Run both passes. Return the index, the number of units, and the number of units that were read."""
    try:
        return _both_passes(resolved, target, memory, workers)
    except OSError as error:
        if isinstance(error, MixError):  # for example an error of a source
            raise
        raise OutputError(
            f"cannot write in {target.folder}: {error}. Fix the problem, then repeat the same command to resume."
        ) from error


def _both_passes(
    resolved: ResolvedRecipe, target: IndexTarget, memory: int, workers: IndexWorkers
) -> tuple[DedupIndex, int, int]:
    """Run both passes and commit the index."""
    folder = target.folder
    with folder_lock.folder_lock(folder, target.flag) as work:
        keys = folder / KEYS
        keys.mkdir(exist_ok=True)
        _remove_unfinished(keys, work)
        units = index_units(resolved)
        jobs = [job for job in unit_jobs(resolved, units, keys) if not is_complete(Path(job.out))]
        workers.run(read_unit, jobs, "pass 1, parts of files", work)
        ranges = _range_jobs(resolved.recipe, units, keys, work, memory // workers.num_proc)
        missing = [job for job in ranges if not is_complete(Path(job.out))]
        workers.run(find_duplicates, missing, "pass 2, ranges of keys", work)
        index = _write_index(resolved, units, ranges, keys, work / DROPS, folder)
        _commit(folder, work, index)
        for path in set(keys.iterdir()) - {keys / f"{unit.name}.arrow" for unit in units}:
            path.unlink()
    output_layout.clear_folder(folder)
    return index, len(units), len(jobs)


def _remove_unfinished(keys: Path, work: Path) -> None:
    """Remove the unfinished files of an interrupted build."""
    for path in [*keys.glob("*.tmp"), *work.glob("*.tmp")]:
        path.unlink()


def _range_jobs(recipe: AnyRecipe, units: Sequence[IndexUnit], keys: Path, work: Path, memory: int) -> list[RangeJob]:
    """Return the jobs of pass two. Each column has as many ranges as needed for one range to fit into memory."""
    dedup = recipe.dedup
    paths = tuple(str(keys / f"{unit.name}.arrow") for unit in units)
    counts = np.zeros(dedup.keys_per_document, np.int64)
    for path in paths:
        for segment in read_segments(path):
            counts += np.diff(segment.ends)
    name = index_scope_digest([unit.name for unit in units])[:16]
    jobs = []
    for column, count in enumerate(counts.tolist()):
        ranges = max(1, -(-count * KEY_BYTES // memory))
        edges = [2**64 * number // ranges for number in range(ranges + 1)]
        for number in range(ranges):
            out = str(work / f"{name}-{column:02d}-{number}of{ranges}.arrow")
            jobs.append(RangeJob(column, edges[number], edges[number + 1] - 1, dedup, paths, out))
    return jobs


def _write_index(  # noqa: PLR0917 - called in one place only
    resolved: ResolvedRecipe,
    units: Sequence[IndexUnit],
    ranges: Sequence[RangeJob],
    keys: Path,
    drops: Path,
    folder: Path,
) -> DedupIndex:
    """Write the duplicate rows of every file, from the results of all ranges, and return the index."""
    if drops.exists():
        shutil.rmtree(drops)
    exact = _RangeResults(job for job in ranges if job.column < job.dedup.exact)
    near = _RangeResults(job for job in ranges if job.column >= job.dedup.exact)
    files: dict[str, dict[str, IndexEntry]] = {}
    counts: dict[str, dict[str, int]] = {}
    start = 0
    for number, source in enumerate(resolved.recipe.active):
        names = ("rows", "documents", "duplicates", "near_duplicates")
        mine = counts.setdefault(source.id, dict.fromkeys(names, 0))
        for file_number, file in enumerate(resolved.sources[source.id].files):
            end = start
            while end < len(units) and units[end][:2] == (source.id, file_number):
                for segment in read_segments(keys / f"{units[end].name}.arrow"):
                    mine["rows"] += segment.read
                    mine["documents"] += segment.documents
                end += 1
            same = exact.rows(start, end)
            similar = np.setdiff1d(near.rows(start, end), same, assume_unique=True)
            start = end
            if len(same) or len(similar):
                mine["duplicates"] += len(same)
                mine["near_duplicates"] += len(similar)
                entry = _write_rows(drops, DuplicateRows(same, similar), f"{number:03d}/{file_number:06d}.rows")
                files.setdefault(source.id, {})[file.path] = entry
    return DedupIndex(str(folder), index_scope(resolved.recipe), files, counts, resolved.token)


class _RangeResults:
    """Duplicates that the ranges have found, for units that are queried in order.

    Reads all ranges once per WINDOW units.

    Args:
        jobs: Jobs of the ranges.
    """

    def __init__(self, jobs: Iterable[RangeJob]) -> None:
        self._found = [read_duplicates(job.out) for job in jobs]
        self._stop = 0
        self._units, self._rows = np.empty(0, np.uint32), np.empty(0, np.uint32)

    def rows(self, start: int, end: int) -> Numbers:
        """Return the duplicate rows of units `start` to `end`, all of one file. uint32, ascending, without repeats."""
        if end > self._stop:
            self._stop = max(end, start + WINDOW)
            units, rows = [np.empty(0, np.uint32)], [np.empty(0, np.uint32)]
            for unit, row in self._found:
                low, high = np.searchsorted(unit, np.array([start, self._stop], np.uint32))
                units.append(unit[low:high])
                rows.append(row[low:high])
            joined = np.concatenate(units)
            order = np.argsort(joined, kind="stable")
            self._units, self._rows = joined[order], np.concatenate(rows)[order]
        low, high = np.searchsorted(self._units, np.array([start, end], np.uint32))
        return np.unique(self._rows[low:high])


def _write_rows(drops: Path, rows: DuplicateRows, name: str) -> IndexEntry:
    path, data = drops / name, rows.to_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return IndexEntry(f"{DROPS}/{name}", len(rows.duplicates), len(rows.near), hashlib.sha256(data).hexdigest())


def _commit(folder: Path, work: Path, index: DedupIndex) -> None:
    """Replace the old index by the new one. Without a manifest there is no index, so a crash leaves none."""
    manifest = folder / MANIFEST
    manifest.unlink(missing_ok=True)
    if (folder / DROPS).exists():
        shutil.rmtree(folder / DROPS)
    if (work / DROPS).exists():
        os.replace(work / DROPS, folder / DROPS)  # noqa: PTH105 - works for files and folders
    atomic_files.replace_file(manifest, index.to_json())
