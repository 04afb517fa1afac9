"""Write one lane shard by shard. After a crash, writing resumes after the last finished shard.

The state of the lane is saved at the end of every shard. Three files are written in this order: first the Parquet file
(and that of the dropped documents, if they are kept), then the dedup state since the last shard, then the lane's state,
which counts both. Files that no state counts are written again.
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
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.protocols import LaneProtocol
from smollm3_mix.output.dropped_documents import FOLDER, DroppedShards
from smollm3_mix.output.output_formats import OutputFormat, Tables, closing_shard
from smollm3_mix.output.output_layout import DATA, lane_label, shard_folder
from smollm3_mix.storage.atomic_files import WORK_FOLDER, replace_file, replace_json
from smollm3_mix.storage.url_store import UrlStore

GROUP_BYTES = 16 << 20
GROUP_ROWS = 16_384
"""A row group ends at the record that reaches either. Small enough for one worker to read it from the Hub at once."""

PULL = 1024
"""Records pulled from the lane at once. No effect on the files."""

LaneReport = Callable[[MixStats], None]


@dataclass(frozen=True)
class LaneJob:
    """One lane to write. Picklable.

    Attributes:
        mix: Mix to write.
        lane: Number of the lane.
        work: Work folder.
        max_shard_size: UTF-8 bytes of text after which a shard ends, together with its row group.
        output_format: Format of the shards.
        max_pending: Number of finished shards in the work folder at which the writer waits. No limit if None.
        keep_dropped: Whether to write the dropped documents; see `dropped_documents`.
        store: Object store of the shards. The work folder then belongs to this lane alone.
    """

    mix: Mix
    lane: int
    work: str
    max_shard_size: int
    output_format: OutputFormat
    max_pending: int | None = None
    keep_dropped: bool = False
    store: UrlStore | None = None

    @property
    def label(self) -> str:
        """Split and lane, such as `train-00003`."""
        return lane_label(self.mix.split, self.lane)


def write_lane(job: LaneJob, report: LaneReport) -> MixStats:
    """Write all shards of a lane to the work folder or to the store, and return the lane's statistics.

    Args:
        job: Lane to write. Its finished shards are kept.
        report: Called after every row group with the lane's statistics so far.

    Raises:
        OutputError: If the folder cannot be written, for example because the disk is full. Finished shards are kept.
    """
    if job.store is None:
        return _write_local(job, report)
    with TemporaryDirectory(prefix="smollm3-mix-") as scratch:
        local = replace_fields(job, work=scratch)
        (Path(scratch) / DATA).mkdir()
        _fetch(local, job.store)
        return _write_local(local, report)


def _write_local(job: LaneJob, report: LaneReport) -> MixStats:
    """Write all shards of a lane to the work folder of this machine."""
    work = Path(job.work)
    saved = read_state(job)
    if saved is not None and saved["done"]:
        return MixStats.from_dict(saved["stats"])
    lane, dropped = job.mix.lane(job.lane), DroppedShards()
    try:
        shard = 0 if saved is None else saved["shards"]
        if saved is not None:
            _restore(job, lane, saved)
        _remove_unfinished(job, shard)
        for stream in lane.streams if job.keep_dropped else ():
            stream.on_drop = dropped.add
        groups = _RowGroups(lane, pending=job.output_format.pending)
        while True:
            dropped.begin(work / FOLDER / f"{job.label}-{shard:05d}.parquet")
            wrote = _write_shard(job, shard, groups, lambda: report(lane.stats(groups.ahead)))
            done = not groups.more()
            if wrote:
                shard += 1
            dropped.end()  # before the state that counts the dropped documents
            stats = lane.stats(groups.ahead)
            _save(job, lane, groups, shard, done=done, stats=stats)
            if done:
                return stats
    except OSError as error:
        if isinstance(error, MixError):  # for example an error of a source
            raise
        raise OutputError(
            f"{error.filename or work}: {error.strerror or error}. Finished shards are kept. "
            "Free some space, then repeat the same command to resume.",
            path=str(error.filename or work),
        ) from error
    finally:
        dropped.close()
        lane.close()


def read_state(job: LaneJob) -> dict[str, Any] | None:
    """Return the lane's state after its last finished shard, or None before the first."""
    path = Path(job.work) / f"{job.label}.json"
    if not path.exists():
        return None
    state: dict[str, Any] = json.loads(path.read_bytes())
    return state


class _RowGroups:
    """Row groups of a lane. Their boundaries do not depend on the number of records pulled at once."""

    def __init__(self, lane: LaneProtocol, *, pending: bool) -> None:
        self._lane = lane
        self._remaining: pa.RecordBatch | None = None
        self._pending = pending

    @property
    def ahead(self) -> int:
        """Number of records pulled from the lane that are not in a group yet."""
        return 0 if self._remaining is None else self._remaining.num_rows

    def more(self) -> bool:
        """Return True if a record is left, or a pending document if those are written too."""
        return self.ahead > 0 or self._lane.fill() or self._pending

    def next(self) -> tuple[pa.Table, int] | None:
        """Return the next row group and its bytes of text, or None at the end. The last has the pending documents."""
        batches: list[pa.RecordBatch] = []
        rows = size = 0
        while rows < GROUP_ROWS and size < GROUP_BYTES and (self.ahead > 0 or self._lane.fill()):
            batch = self._remaining if self._remaining is not None else self._lane.pull(PULL).batch()
            sizes = np.cumsum(pc.binary_length(batch["text"]).to_numpy())
            full = int(np.searchsorted(sizes, GROUP_BYTES - size)) + 1
            take = min(full, GROUP_ROWS - rows, batch.num_rows)
            self._remaining = batch.slice(take) if take < batch.num_rows else None
            batches.append(batch.slice(0, take))
            rows += take
            size += int(sizes[take - 1])
        if not batches and self._pending:
            self._pending, batches = False, self._lane.pending_documents()
            size = sum(pc.sum(pc.binary_length(batch["text"])).as_py() or 0 for batch in batches)
        return (pa.Table.from_batches(batches).combine_chunks(), size) if batches else None


def _write_shard(job: LaneJob, shard: int, groups: _RowGroups, after_group: Callable[[], None]) -> bool:
    """Write a shard under its final name. Return False if there was nothing to write."""
    first = groups.next()
    if first is None:
        return False
    size = 0
    folder = Path(job.work) / DATA
    if isinstance(job.output_format, Tables):
        folder /= shard_folder(job.lane, shard, job.mix.num_lanes)
    with closing_shard(job.output_format.open(folder, f"{job.label}-{shard:05d}")) as writer:
        for table, text_bytes in _from(first, groups):
            writer.add(table)
            size += text_bytes
            after_group()
            if size >= job.max_shard_size:
                break
    return True


def _from(first: tuple[pa.Table, int], groups: _RowGroups) -> Iterator[tuple[pa.Table, int]]:
    group: tuple[pa.Table, int] | None = first
    while group is not None:
        yield group
        group = groups.next()


def _save(job: LaneJob, lane: LaneProtocol, groups: _RowGroups, shards: int, *, done: bool, stats: MixStats) -> None:
    work = Path(job.work)
    before = read_state(job)
    logs = [] if before is None else before["dedup"]
    written: list[Path] = []
    if not done:
        log, size = lane.dedup_log(logs[-1] if logs else 0)
        written.append(work / _log(job, "dedup", len(logs)))
        replace_file(written[-1], log)
        logs.append(size)
        decisions = lane.decision_logs()
        for number, source in enumerate(job.mix.recipe.active):
            if decisions.get(source.id):
                written.append(work / _log(job, "decisions", number))
                replace_file(written[-1], decisions[source.id])
    saved = {
        "shards": shards,
        "done": done,
        "stats": stats.to_dict(),
        "dedup": logs,
        "state": None if done else lane.state_dict(groups.ahead),
        "stages": [stage.to_dict() for stage in lane.stage_stats(groups.ahead)],
    }
    if job.store is None:
        replace_json(work / f"{job.label}.json", saved)
    else:
        _send(job, job.store, {} if before is None else before["sent"], written, saved)


def _send(job: LaneJob, store: UrlStore, sent: dict[str, int], logs: list[Path], saved: dict[str, Any]) -> None:
    """Send the files since the last state to the store, then the state, which lists all files of the lane."""
    work, state = Path(job.work), Path(job.work) / f"{job.label}.json"
    shards = sorted(path for name in (DATA, FOLDER) for path in (work / name).rglob("*") if path.is_file())
    files = {path.relative_to(work).as_posix(): path for path in [*shards, *logs]}
    saved["sent"] = sent | {name: path.stat().st_size for name, path in files.items()}
    replace_json(state, saved)
    store.send({f"{WORK_FOLDER}/{name}": path for name, path in [*files.items(), (state.name, state)]})
    for path in shards:
        path.unlink()


def _fetch(job: LaneJob, store: UrlStore) -> None:
    """Fetch the lane's state and logs of an earlier writer by name, without a listing."""
    work = Path(job.work)
    state = store.read(f"{WORK_FOLDER}/{job.label}.json")
    if state is None:
        return
    replace_file(work / f"{job.label}.json", state)
    saved = json.loads(state)
    for name in () if saved["done"] else saved["sent"]:
        if "/" not in name:  # logs have no folder, shards have one
            replace_file(work / name, store.must_read(f"{WORK_FOLDER}/{name}"))


def _restore(job: LaneJob, lane: LaneProtocol, saved: dict[str, Any]) -> None:
    work = Path(job.work)
    lane.restore_dedup_state((work / _log(job, "dedup", number)).read_bytes() for number in range(len(saved["dedup"])))
    decisions = {}
    for number, source in enumerate(job.mix.recipe.active):
        path = work / _log(job, "decisions", number)
        if path.exists():
            decisions[source.id] = path.read_bytes()
    lane.load_state_dict(saved["state"], decisions)


def _log(job: LaneJob, kind: str, number: int) -> str:
    return f"{job.label}.{kind}-{number:05d}"


def _remove_unfinished(job: LaneJob, shards: int) -> None:
    """Remove shards that no state counts."""
    for path in (p for name in (DATA, FOLDER) for p in (Path(job.work) / name).rglob(f"{job.label}-*")):
        if path.name.endswith(".tmp") or int(path.name.split(".")[0].rsplit("-", 1)[1]) >= shards:
            path.unlink()
