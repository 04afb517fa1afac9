"""One lane written part by part; after a kill it goes on at the end of the last whole part.

A part's end is a record at which the lane's state is saved. The order of the three files makes it safe: first the
Parquet file (with that of dropped documents, if they are kept), then what dedup remembered since the last part, then
the state that counts both. What no state counts is written again.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.errors import MixError, OutputError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.protocols import LaneProtocol
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.output.dropped_documents import FOLDER, DroppedShards
from smollm3_mix.output.output_formats import Opened, OutputFormat, Tables
from smollm3_mix.output.output_layout import DATA, folder_of, lane_label
from smollm3_mix.storage.atomic_files import WORK_FOLDER, replace_file, replace_json
from smollm3_mix.storage.url_store import UrlStore

GROUP_BYTES = 16 << 20
GROUP_ROWS = 16_384
"""A row group ends at the record that reaches either; small enough to be read by one worker at a time from the Hub."""

PULL = 1024
"""Records taken from the lane at once; has no effect on what is written."""

LaneReport = Callable[[MixStats], None]


@dataclass(frozen=True)
class LaneJob:
    """One lane of a mix to be written. Picklable.

    Attributes:
        mix: what is written.
        lane: which of its lanes.
        work: the work folder.
        max_shard_size: UTF-8 bytes of text at which a part ends (with the row group that reaches it).
        form: the files that a part is written as.
        most_parts: whole parts that may lie in the work folder before the writer pauses; None: any number.
        keep_dropped: whether the dropped documents are written, too; see `write.dropped`.
        store: where the parts go; the work folder is then made for this lane alone, wherever it is written.
    """

    mix: Mix
    lane: int
    work: str
    max_shard_size: int
    form: OutputFormat
    most_parts: int | None = None
    keep_dropped: bool = False
    store: UrlStore | None = None

    @property
    def label(self) -> str:
        """`train-00003`."""
        return lane_label(self.mix.split, self.lane)


def write_lane(job: LaneJob, report: LaneReport) -> MixStats:
    """Counts of the lane, all of whose parts are now in the work folder, or in the store.

    Args:
        job: what is written; parts that are there already are kept.
        report: called after every row group with the lane's counts so far.

    Raises:
        OutputError: the folder cannot be written, as when the disk is full; whole parts stay.
    """
    if job.store is None:
        return _write_here(job, report)
    with TemporaryDirectory(prefix="smollm3-mix-") as scratch:
        here = replace_fields(job, work=scratch)
        (Path(scratch) / DATA).mkdir()
        _fetch(here, job.store)
        return _write_here(here, report)


def _write_here(job: LaneJob, report: LaneReport) -> MixStats:
    """See `write_lane`."""
    work = Path(job.work)
    saved = read_state(job)
    if saved is not None and saved["done"]:
        return MixStats.from_dict(saved["stats"])
    lane, drops = job.mix.lane(job.lane), DroppedShards()
    try:
        part = 0 if saved is None else saved["parts"]
        if saved is not None:
            _restore(job, lane, saved)
        _forget_unfinished(job, part)
        for line in lane.streams if job.keep_dropped else ():
            line.on_drop = drops.add
        groups = _Groups(lane, waiting=job.form.pending)
        while True:
            drops.begin(work / FOLDER / f"{job.label}-{part:05d}.parquet")
            wrote = _write_part(job, part, groups, lambda: report(lane.stats(groups.ahead)))
            done = not groups.more()
            if wrote:
                part += 1
            drops.end()  # before the state that counts what was dropped
            stats = lane.stats(groups.ahead)
            _save(job, lane, groups, part, done=done, stats=stats)
            if done:
                return stats
    except OSError as error:
        if isinstance(error, MixError):  # of a source, say
            raise
        raise OutputError(
            f"{error.filename or work}: {error.strerror or error}. Whole parts are kept: "
            "make room and run the same command again to go on."
        ) from error
    finally:
        drops.close()
        lane.close()


def read_state(job: LaneJob) -> dict[str, Any] | None:
    """The lane's state after its last whole part, or None before the first."""
    path = Path(job.work) / f"{job.label}.json"
    if not path.exists():
        return None
    state: dict[str, Any] = json.loads(path.read_bytes())
    return state


class _Groups:
    """The lane's records cut into row groups, at the same records however they are pulled."""

    def __init__(self, lane: LaneProtocol, *, waiting: bool) -> None:
        self._lane = lane
        self._rest: pa.RecordBatch | None = None
        self._waiting = waiting

    @property
    def ahead(self) -> int:
        """Records pulled from the lane and not yet in a group."""
        return 0 if self._rest is None else self._rest.num_rows

    def more(self) -> bool:
        """Whether any record is left, or, if they are wanted, any document that waits."""
        return self.ahead > 0 or self._lane.fill() or self._waiting

    def next(self) -> tuple[pa.Table, int] | None:
        """The next row group and the bytes of its text; None at the end. The last one is of what waits."""
        batches: list[pa.RecordBatch] = []
        rows = size = 0
        while rows < GROUP_ROWS and size < GROUP_BYTES and (self.ahead > 0 or self._lane.fill()):
            batch = self._rest if self._rest is not None else self._lane.pull(PULL).batch()
            sizes = np.cumsum(pc.binary_length(batch["text"]).to_numpy())
            full = int(np.searchsorted(sizes, GROUP_BYTES - size)) + 1
            take = min(full, GROUP_ROWS - rows, batch.num_rows)
            self._rest = batch.slice(take) if take < batch.num_rows else None
            batches.append(batch.slice(0, take))
            rows += take
            size += int(sizes[take - 1])
        if not batches and self._waiting:
            self._waiting, batches = False, self._lane.pending_documents()
            size = sum(pc.sum(pc.binary_length(batch["text"])).as_py() or 0 for batch in batches)
        return (pa.Table.from_batches(batches).combine_chunks(), size) if batches else None


def _write_part(job: LaneJob, part: int, groups: _Groups, after_group: Callable[[], None]) -> bool:
    """Whether there was anything to write; the part is whole and on disk under its own name."""
    first = groups.next()
    if first is None:
        return False
    size = 0
    folder = Path(job.work) / DATA
    if isinstance(job.form, Tables):
        folder /= folder_of(job.lane, part, job.mix.num_lanes)
    with Opened(job.form.open(folder, f"{job.label}-{part:05d}")) as opened:
        for table, text_bytes in _with(first, groups):
            opened.add(table)
            size += text_bytes
            after_group()
            if size >= job.max_shard_size:
                break
    return True


def _with(first: tuple[pa.Table, int], groups: _Groups) -> Iterator[tuple[pa.Table, int]]:
    group: tuple[pa.Table, int] | None = first
    while group is not None:
        yield group
        group = groups.next()


def _save(job: LaneJob, lane: LaneProtocol, groups: _Groups, parts: int, *, done: bool, stats: MixStats) -> None:
    work = Path(job.work)
    before = read_state(job)
    logs = [] if before is None else before["seen"]
    written: list[Path] = []
    if not done:
        log, remembered = lane.dedup_log(logs[-1] if logs else 0)
        written.append(work / _log(job, "seen", len(logs)))
        replace_file(written[-1], log)
        logs.append(remembered)
        logs_of = lane.decision_logs()
        for number, source in enumerate(job.mix.recipe.active):
            if logs_of.get(source.id):
                written.append(work / _log(job, "verdicts", number))
                replace_file(written[-1], logs_of[source.id])
    saved = {
        "parts": parts,
        "done": done,
        "stats": stats.to_dict(),
        "seen": logs,
        "state": None if done else lane.state_dict(groups.ahead),
        "stages": [stage.to_dict() for stage in lane.stage_stats(groups.ahead)],
    }
    if job.store is None:
        replace_json(work / f"{job.label}.json", saved)
    else:
        _send(job, job.store, {} if before is None else before["sent"], written, saved)


def _send(job: LaneJob, store: UrlStore, sent: dict[str, int], logs: list[Path], saved: dict[str, Any]) -> None:
    """Have the store hold what was written since the last state, then the state, which names all files of the lane."""
    work, state = Path(job.work), Path(job.work) / f"{job.label}.json"
    whole = sorted(path for name in (DATA, FOLDER) for path in (work / name).rglob("*") if path.is_file())
    files = {path.relative_to(work).as_posix(): path for path in [*whole, *logs]}
    saved["sent"] = sent | {name: path.stat().st_size for name, path in files.items()}
    replace_json(state, saved)
    store.send({f"{WORK_FOLDER}/{name}": path for name, path in [*files.items(), (state.name, state)]})
    for path in whole:
        path.unlink()


def _fetch(job: LaneJob, store: UrlStore) -> None:
    """Have the work folder hold the lane's state and logs, as whoever wrote it before left them; by name, unlisted."""
    work = Path(job.work)
    state = store.read(f"{WORK_FOLDER}/{job.label}.json")
    if state is None:
        return
    replace_file(work / f"{job.label}.json", state)
    saved = json.loads(state)
    for name in () if saved["done"] else saved["sent"]:
        if "/" not in name:  # a log; those in folders are parts
            replace_file(work / name, store.must_read(f"{WORK_FOLDER}/{name}"))


def _restore(job: LaneJob, lane: LaneProtocol, saved: dict[str, Any]) -> None:
    work = Path(job.work)
    lane.restore_dedup_state((work / _log(job, "seen", number)).read_bytes() for number in range(len(saved["seen"])))
    decisions = {}
    for number, source in enumerate(job.mix.recipe.active):
        path = work / _log(job, "verdicts", number)
        if path.exists():
            decisions[source.id] = path.read_bytes()
    lane.load_state_dict(saved["state"], decisions)


def _log(job: LaneJob, kind: str, number: int) -> str:
    return f"{job.label}.{kind}-{number:05d}"


def _forget_unfinished(job: LaneJob, parts: int) -> None:
    """Remove parts that no state counts."""
    for path in (p for name in (DATA, FOLDER) for p in (Path(job.work) / name).rglob(f"{job.label}-*")):
        if path.name.endswith(".tmp") or int(path.name.split(".")[0].rsplit("-", 1)[1]) >= parts:
            path.unlink()
