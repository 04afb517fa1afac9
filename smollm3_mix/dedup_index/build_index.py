"""Both passes over all sources, and the index they leave in a folder."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np

from smollm3_mix.dedup_index.duplicate_ranges import BYTES, Numbers, RangeJob, decide_range, later_documents
from smollm3_mix.dedup_index.index_units import IndexUnit, is_whole, read_unit, remembering, segments, unit_jobs, units
from smollm3_mix.dedup_index.index_upload import upload
from smollm3_mix.errors import MixError, OutputError, RecipeError
from smollm3_mix.executors.child_process import end_with_parent
from smollm3_mix.executors.protocol import Executor
from smollm3_mix.output import output_layout
from smollm3_mix.recipe.index_scope import disagreements, index_scope, index_scope_digest
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sources.dedup_lookup import DROPS, MANIFEST, DedupIndex, IndexEntry
from smollm3_mix.sources.resolve import resolve
from smollm3_mix.sources.resolved_recipe import ResolvedRecipe
from smollm3_mix.storage import atomic_files, folder_lock
from smollm3_mix.text.dedup.duplicate_rows import DuplicateRows

KEYS = "keys"
"""Folder of what pass one found. Nobody who reads the index needs it; a later build goes on from it."""

MEMORY = 1 << 30

WINDOW = 256
"""Units whose dropped rows are held at once while the drop sets are written."""

Job = TypeVar("Job")
IndexListener = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and of how much."""


@dataclass(frozen=True)
class IndexBuild:
    """A finished index.

    Attributes:
        index: as a mix opens it.
        units: parts of files whose keys it rests on.
        read: those of them that were read for it; the others were there.
    """

    index: DedupIndex
    units: int
    read: int


def build_index(
    recipe: Recipe | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    processes: int = 1,
    memory: int = MEMORY,
    work: str | os.PathLike[str] | None = None,
    skip_unreadable: bool = False,
    accept_terms: Sequence[str] | str | None = None,
    token: str | bool | None = None,
    on_progress: IndexListener | None = None,
    runner: Executor | None = None,
) -> IndexBuild:
    """The index that now lies in `out`: what of the recipe's sources is dropped as a duplicate, over all lanes.

    A document is dropped if an earlier one has the same text, or shares a band with it, be that one dropped or not.
    Earlier is by the recipe's order of sources, then files, then rows. The bytes depend on the sources and on what of
    the recipe concerns their rows (see `recipe.scope`), not on lanes, seed, weights, processes or memory. Stopped and
    called again it goes on: no part of a file is read twice, by later builds of a changed recipe neither.

    Args:
        recipe: a `Recipe`, a path, or the name of a shipped stage; a `dedup.index` that it names is not looked at.
            Of a curriculum: of all sources of all stages, in the order in which they first appear.
        out: new or empty folder, or one with an index, which is replaced; or a URL of the Hub or of fsspec.
        processes: parts of files and ranges of keys worked on at once.
        memory: bytes for the keys that are compared at once, by all processes together.
        work: folder in which an index for a URL is built, and from which later builds go on.
        skip_unreadable: go on over the sources that can be read; the index is of a mix without the others.
        accept_terms: terms that you accept; see `open_mix`.
        token: of the Hub; default: the one that is logged in.
        on_progress: called in this process as the work goes on.
        runner: does the work, on other machines that see the folder, such as a `RayExecutor`.

    Raises:
        OutputError: the folder holds something else, is in use, or cannot be written; or a URL came without `work`.
        RecipeError: the recipe has faults, or no dedup, or is a curriculum whose stages clean or judge a source
            differently.
        UnreadableSourcesError, SourceError: sources cannot be read.
    """
    asked = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    asked = remembering(asked)
    if not asked.dedup.remembers:
        raise RecipeError(asked.file, ["dedup: expected exact: true or near, got neither; there is nothing to index"])
    if processes < 1 or memory < 1:
        raise ValueError(f"processes and memory must be at least 1, got {processes} and {memory}")
    if problems := disagreements(asked):
        raise RecipeError(asked.file, problems)
    url = os.fspath(out).rstrip("/") if "://" in os.fspath(out) else None
    folder = _folder(out, url, work)
    flag = "--out" if url is None else "--work"
    _check_ours(folder, flag)
    plan = resolve(asked, skip_unreadable=skip_unreadable, token=token, accept_terms=accept_terms)
    workers = _Workers(processes, on_progress or (lambda *_: None), runner)
    built = _built(plan, folder, flag, memory, workers)
    if url is not None:
        upload(built.index, url, token)
    return built


def _built(plan: ResolvedRecipe, folder: Path, flag: str, memory: int, workers: "_Workers") -> IndexBuild:
    """Both passes, where what the disk refuses is said as such."""
    try:
        return _both_passes(plan, folder, flag, memory, workers)
    except OSError as error:
        if isinstance(error, MixError):  # of a source, say
            raise
        raise OutputError(
            f"cannot write in {folder}: {error}. Mend this and give the same command again: it goes on from there."
        ) from error


def _both_passes(plan: ResolvedRecipe, folder: Path, flag: str, memory: int, workers: "_Workers") -> IndexBuild:
    """Both passes, and what they leave in the folder."""
    with folder_lock.folder_lock(folder, flag) as aside:
        keys = folder / KEYS
        keys.mkdir(exist_ok=True)
        _sweep(keys, aside)
        found = units(plan)
        jobs = [job for job in unit_jobs(plan, found, keys) if not is_whole(Path(job.out))]
        workers.run(read_unit, jobs, "pass 1, parts of files", aside)
        ranges = _ranges(plan.recipe, found, keys, aside, memory // workers.processes)
        missing = [job for job in ranges if not is_whole(Path(job.out))]
        workers.run(decide_range, missing, "pass 2, ranges of keys", aside)
        index = _composed(plan, found, ranges, keys, aside / DROPS, folder)
        _commit(folder, aside, index)
        for path in set(keys.iterdir()) - {keys / f"{unit.name}.arrow" for unit in found}:
            path.unlink()
    output_layout.clear_folder(folder)
    return IndexBuild(index, len(found), len(jobs))


def _folder(out: str | os.PathLike[str], url: str | None, work: str | os.PathLike[str] | None) -> Path:
    """The folder of this machine in which the index is built."""
    if url is None and work is not None:
        raise OutputError(
            f"{out} is a folder, in which the index is built. Leave --work (work=) to an --out that is a URL."
        )
    if url is not None and work is None:
        raise OutputError(
            f"{out}: an index is built on this machine and copied there at the end. Name a folder for it, from which "
            "later builds go on, with --work DIR (work=)."
        )
    return Path(out if work is None else work)


def _check_ours(folder: Path, flag: str) -> None:
    """Nothing, where a folder is new, empty, or holds an index or the beginning of one."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file. Choose an empty or new folder with {flag}.")
    ours = {MANIFEST, DROPS, KEYS, atomic_files.WORK_FOLDER}
    strangers = sorted(path.name for path in folder.iterdir() if path.name not in ours) if folder.exists() else []
    if strangers:
        raise OutputError(
            f"{folder} holds {strangers[0]!r}, which is no part of an index. Choose an empty or new folder with {flag}."
        )


def _sweep(keys: Path, work: Path) -> None:
    """Remove what a killed build left unfinished."""
    for path in [*keys.glob("*.tmp"), *work.glob("*.tmp")]:
        path.unlink()


def _ranges(recipe: Recipe, found: Sequence[IndexUnit], keys: Path, work: Path, memory: int) -> list[RangeJob]:
    """The jobs of pass two: as many ranges of each column as it takes for one to fit into the memory."""
    dedup = recipe.dedup
    paths = tuple(str(keys / f"{unit.name}.arrow") for unit in found)
    counts = np.zeros(dedup.keys, np.int64)
    for path in paths:
        for segment in segments(path):
            counts += np.diff(segment.ends)
    name = index_scope_digest([unit.name for unit in found])[:16]
    jobs = []
    for column, count in enumerate(counts.tolist()):
        parts = max(1, -(-count * BYTES // memory))
        edges = [2**64 * part // parts for part in range(parts + 1)]
        for part in range(parts):
            out = str(work / f"{name}-{column:02d}-{part}of{parts}.arrow")
            jobs.append(RangeJob(column, edges[part], edges[part + 1] - 1, dedup, paths, out))
    return jobs


def _composed(  # noqa: PLR0917 - called in one place only
    plan: ResolvedRecipe, found: Sequence[IndexUnit], ranges: Sequence[RangeJob], keys: Path, drops: Path, folder: Path
) -> DedupIndex:
    """The index, its drop sets written: of each file, what any range has found."""
    if drops.exists():
        shutil.rmtree(drops)
    exact = _LaterRows(job for job in ranges if job.column < job.dedup.exact)
    near = _LaterRows(job for job in ranges if job.column >= job.dedup.exact)
    files: dict[str, dict[str, IndexEntry]] = {}
    counts: dict[str, dict[str, int]] = {}
    begin = 0
    for number, source in enumerate(plan.recipe.active):
        names = ("rows", "documents", "duplicates", "near_duplicates")
        mine = counts.setdefault(source.id, dict.fromkeys(names, 0))
        for place, file in enumerate(plan.resolved[source.id].files):
            end = begin
            while end < len(found) and found[end][:2] == (source.id, place):
                for segment in segments(keys / f"{found[end].name}.arrow"):
                    mine["rows"] += segment.read
                    mine["documents"] += segment.documents
                end += 1
            same = exact.rows(begin, end)
            alike = np.setdiff1d(near.rows(begin, end), same, assume_unique=True)
            begin = end
            if len(same) or len(alike):
                mine["duplicates"] += len(same)
                mine["near_duplicates"] += len(alike)
                entry = _written(drops, DuplicateRows(same, alike), f"{number:03d}/{place:06d}.rows")
                files.setdefault(source.id, {})[file.path] = entry
    return DedupIndex(str(folder), index_scope(plan.recipe), files, counts, plan.token)


class _LaterRows:
    """What ranges have found, for units that are asked for in order: the ranges are gone through once for WINDOW units.

    Args:
        jobs: of the ranges.
    """

    def __init__(self, jobs: Iterable[RangeJob]) -> None:
        self._found = [later_documents(job.out) for job in jobs]
        self._stop = 0
        self._units, self._rows = np.empty(0, np.uint32), np.empty(0, np.uint32)

    def rows(self, begin: int, end: int) -> Numbers:
        """uint32, ascending, each once: rows of units `begin` to `end`, which are all of one file."""
        if end > self._stop:
            self._stop = max(end, begin + WINDOW)
            units, rows = [np.empty(0, np.uint32)], [np.empty(0, np.uint32)]
            for unit, row in self._found:
                low, high = np.searchsorted(unit, np.array([begin, self._stop], np.uint32))
                units.append(unit[low:high])
                rows.append(row[low:high])
            joined = np.concatenate(units)
            order = np.argsort(joined, kind="stable")
            self._units, self._rows = joined[order], np.concatenate(rows)[order]
        low, high = np.searchsorted(self._units, np.array([begin, end], np.uint32))
        return np.unique(self._rows[low:high])


def _written(drops: Path, dropset: DuplicateRows, at: str) -> IndexEntry:
    path, data = drops / at, dropset.to_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return IndexEntry(f"{DROPS}/{at}", len(dropset.duplicates), len(dropset.near), hashlib.sha256(data).hexdigest())


def _commit(folder: Path, work: Path, index: DedupIndex) -> None:
    """Put a new index in the place of the old one. Without a manifest there is no index, so a kill leaves none."""
    manifest = folder / MANIFEST
    manifest.unlink(missing_ok=True)
    if (folder / DROPS).exists():
        shutil.rmtree(folder / DROPS)
    if (work / DROPS).exists():
        os.replace(work / DROPS, folder / DROPS)  # noqa: PTH105 - one call for files and folders
    atomic_files.replace_file(manifest, index.to_json())


@dataclass(frozen=True)
class _Workers:
    """Who does jobs: this process, several of them, or a runner."""

    processes: int
    on_progress: IndexListener
    runner: Executor | None

    def run(self, function: Callable[[Job], None], jobs: Sequence[Job], what: str, folder: Path) -> None:
        """Each job done, in any order."""
        self.on_progress(what, 0, len(jobs))
        if self.runner is not None and jobs:
            done: set[int] = set()

            def heard(number: int, _: None) -> None:
                done.add(number)
                self.on_progress(what, len(done), len(jobs))

            self.runner.each(partial(_done, function), jobs, heard, str(folder))
        elif self.processes == 1 or len(jobs) < 2:
            for number, job in enumerate(jobs, 1):
                function(job)
                self.on_progress(what, number, len(jobs))
        else:
            self._in_processes(function, jobs, what)

    def _in_processes(self, function: Callable[[Job], None], jobs: Sequence[Job], what: str) -> None:
        processes = min(self.processes, len(jobs))
        pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=end_with_parent)
        try:
            futures = [pool.submit(function, job) for job in jobs]
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                self.on_progress(what, done, len(jobs))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _done(function: Callable[[Job], None], job: Job, report: Callable[[None], None]) -> None:
    """Nothing; the job is done, and that is reported."""
    function(job)
    report(None)
