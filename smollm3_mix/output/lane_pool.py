"""Write lanes one after another or in parallel processes, and report their progress."""

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
from smollm3_mix.output.uploads import Uploads, wait_for_uploads
from smollm3_mix.storage import folder_lock


@dataclass(frozen=True)
class Progress:
    """Progress of one lane of a running `write`.

    Attributes:
        label: Split and lane, such as `train-00003`.
        stats: Statistics of that lane so far.
    """

    label: str
    stats: MixStats


ProgressListener = Callable[[Progress], None]

LOCK_SECONDS = 120.0
"""Seconds that a lane waits for its lock: an executor may restart a job whose first process has not ended yet."""


def run_jobs(
    jobs: Sequence[LaneJob],
    num_proc: int,
    on_progress: ProgressListener,
    uploads: Uploads | None,
    executor: Executor | None = None,
) -> list[MixStats]:
    """Write the lanes and return their statistics in the order of the jobs.

    `on_progress` is called in this process after every row group.
    """
    if executor is not None:
        shared_dir = next((job.work for job in jobs if job.store is None), None)
        return executor.map(
            write_locked_lane, jobs, lambda n, stats: on_progress(Progress(jobs[n].label, stats)), shared_dir
        )
    if num_proc == 1 or len(jobs) == 1:
        return [write_lane(job, _reporter(job, on_progress, uploads)) for job in jobs]
    context = get_context("spawn")  # the same on every platform, and safe beside threads
    messages, stop = context.Queue(), context.Event()
    watcher = threading.Thread(target=_forward, args=(messages, on_progress, stop), daemon=True)
    watcher.start()
    if uploads is not None:
        uploads.on_error(stop.set)
    # Each process gets all jobs in one pickle when it starts, because they share the list of up to 100,000 files.
    pool = ProcessPoolExecutor(num_proc, mp_context=context, initializer=_start, initargs=(jobs, messages, stop))
    try:
        return [future.result() for future in [pool.submit(_write_in_worker, n) for n in range(len(jobs))]]
    finally:
        stop.set()  # after a failure, the other lanes stop after their row group and keep their shards
        pool.shutdown(wait=True, cancel_futures=True)
        watcher.join()


def write_locked_lane(job: LaneJob, report: LaneReport) -> MixStats:
    """Run `write_lane` under the lock of the lane. Waits up to `LOCK_SECONDS`."""
    if job.store is not None:
        return write_lane(job, report)
    with folder_lock.folder_lock(Path(job.work).parent, name=f"locks/{job.label}", wait=LOCK_SECONDS):
        return write_lane(job, report)


def _reporter(job: LaneJob, on_progress: ProgressListener, uploads: Uploads | None) -> Callable[[MixStats], None]:
    """Return the function to call after each row group of a lane that this process writes."""

    def report(stats: MixStats) -> None:
        if uploads is not None and job.max_pending is not None:
            wait_for_uploads(Path(job.work), job.max_pending, uploads.check)
        on_progress(Progress(job.label, stats))

    return report


_jobs: Sequence[LaneJob] = ()  # in a worker process: all jobs
_messages: Any = None  # in a worker process: queue for its progress
_stop: Any = None  # in a worker process: event that is set after another lane has failed


class StoppedError(Exception):
    """Ends a lane of a worker after another lane has failed. Users never see it."""


def _start(jobs: Sequence[LaneJob], messages: Any, stop: Any) -> None:
    global _jobs, _messages, _stop
    _jobs, _messages, _stop = jobs, messages, stop
    end_with_parent()


def _write_in_worker(number: int) -> MixStats:
    job = _jobs[number]

    def check() -> None:
        if _stop.is_set():
            raise StoppedError

    def report(stats: MixStats) -> None:
        check()
        if job.max_pending is not None:
            wait_for_uploads(Path(job.work), job.max_pending, check)
        _messages.put(Progress(job.label, stats))

    return write_lane(job, report)


def _forward(messages: Any, on_progress: ProgressListener, stop: Any) -> None:
    while not stop.is_set():
        try:
            on_progress(messages.get(timeout=0.1))
        except Empty:  # noqa: PERF203 - a timeout is not an error
            continue
