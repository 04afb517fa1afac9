"""Lanes written one after another, or several at once, each in a process of its own; and word of how far they are."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from typing import Any

from smollm3_mix.executors.child_process import end_with_parent
from smollm3_mix.executors.protocol import Executor
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output.lane_writer import LaneJob, LaneReport, write_lane
from smollm3_mix.output.uploads import Uploads, wait_for_room
from smollm3_mix.storage import folder_lock


@dataclass(frozen=True)
class Progress:
    """What a running write has done.

    Attributes:
        label: split and lane, as `train-00003`.
        stats: counts of that lane so far.
    """

    label: str
    stats: MixStats


ProgressListener = Callable[[Progress], None]


HELD = 120.0
"""Seconds that a lane waits for another writer of it to end: one whose machine was taken for lost, say."""


def run_jobs(
    jobs: Sequence[LaneJob],
    processes: int,
    on_progress: ProgressListener,
    shipping: Uploads | None,
    runner: Executor | None = None,
) -> list[MixStats]:
    """Counts of each job's lane, in order; the listener hears of every row group, in this process."""
    if runner is not None:
        shared = next((job.work for job in jobs if job.store is None), None)
        return runner.each(write_held, jobs, lambda n, stats: on_progress(Progress(jobs[n].label, stats)), shared)
    if processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes}")
    if processes == 1 or len(jobs) == 1:
        return [write_lane(job, _reporter(job, on_progress, shipping)) for job in jobs]
    context = get_context("spawn")  # the same on every platform, and safe beside threads
    messages, stop = context.Queue(), context.Event()
    watcher = threading.Thread(target=_forward, args=(messages, on_progress, stop), daemon=True)
    watcher.start()
    if shipping is not None:
        shipping.on_error(stop.set)
    # All jobs go to a process when it starts, by one pickle: they share the plan, which may be of 100,000 files.
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(jobs, messages, stop))
    try:
        return [future.result() for future in [pool.submit(_write_in_worker, n) for n in range(len(jobs))]]
    finally:
        stop.set()  # after a failure the other lanes end with their row group; their parts are safe
        pool.shutdown(wait=True, cancel_futures=True)
        watcher.join()


def write_held(job: LaneJob, report: LaneReport) -> MixStats:
    """What `write_lane` gives, while nobody else writes this lane to the folder; see `HELD`."""
    if job.store is not None:
        return write_lane(job, report)
    with folder_lock.folder_lock(Path(job.work).parent, name=f"locks/{job.label}", wait=HELD):
        return write_lane(job, report)


def _reporter(job: LaneJob, on_progress: ProgressListener, shipping: Uploads | None) -> Callable[[MixStats], None]:
    """What a lane written in this process calls after each row group."""

    def report(stats: MixStats) -> None:
        if shipping is not None and job.most_parts is not None:
            wait_for_room(Path(job.work), job.most_parts, shipping.check)
        on_progress(Progress(job.label, stats))

    return report


_jobs: Sequence[LaneJob] = ()  # of a worker process: what is to be written, by it and the others
_messages: Any = None  # of a worker process: where its progress goes
_stop: Any = None  # of a worker process: set when another lane has failed


class Stopped(Exception):  # noqa: N818 - says what happened
    """Ends a worker's lane where another has failed; never seen by users."""


def _start(jobs: Sequence[LaneJob], messages: Any, stop: Any) -> None:
    global _jobs, _messages, _stop
    _jobs, _messages, _stop = jobs, messages, stop
    end_with_parent()


def _write_in_worker(number: int) -> MixStats:
    job = _jobs[number]

    def check() -> None:
        if _stop.is_set():
            raise Stopped

    def report(stats: MixStats) -> None:
        check()
        if job.most_parts is not None:
            wait_for_room(Path(job.work), job.most_parts, check)
        _messages.put(Progress(job.label, stats))

    return write_lane(job, report)


def _forward(messages: Any, on_progress: ProgressListener, stop: Any) -> None:
    while not stop.is_set():
        try:
            on_progress(messages.get(timeout=0.1))
        except Empty:  # noqa: PERF203 - it waits
            continue
