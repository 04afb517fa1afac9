"""Run the jobs of a pass in this process, in several processes, or on an executor."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from smollm3_mix.executors.child_process import end_with_parent
from smollm3_mix.executors.protocol import Executor

Job = TypeVar("Job")


@dataclass(frozen=True)
class IndexProgress:
    """Progress of a running `build_index`.

    Attributes:
        step: Name of the pass.
        done: Number of finished jobs of the pass.
        total: Number of jobs of the pass.
    """

    step: str
    done: int
    total: int


IndexListener = Callable[[IndexProgress], None]


@dataclass(frozen=True)
class IndexWorkers:
    """Workers that run the jobs of a pass in any order.

    Attributes:
        num_proc: Number of processes. One means this process.
        on_progress: Called in this process after every finished job.
        executor: Runs the jobs elsewhere. None means `num_proc` processes of this machine.
    """

    num_proc: int
    on_progress: IndexListener
    executor: Executor | None

    def run(self, function: Callable[[Job], None], jobs: Sequence[Job], step: str, shared_dir: Path) -> None:
        """Run all jobs in any order."""
        self.on_progress(IndexProgress(step, 0, len(jobs)))
        if self.executor is not None and jobs:
            done: set[int] = set()

            def count(number: int, _: None) -> None:
                done.add(number)
                self.on_progress(IndexProgress(step, len(done), len(jobs)))

            self.executor.map(partial(_run_and_report, function), jobs, count, str(shared_dir))
        elif self.num_proc == 1 or len(jobs) < 2:
            for number, job in enumerate(jobs, 1):
                function(job)
                self.on_progress(IndexProgress(step, number, len(jobs)))
        else:
            self._run_in_processes(function, jobs, step)

    def _run_in_processes(self, function: Callable[[Job], None], jobs: Sequence[Job], step: str) -> None:
        processes = min(self.num_proc, len(jobs))
        pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=end_with_parent)
        try:
            futures = [pool.submit(function, job) for job in jobs]
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                self.on_progress(IndexProgress(step, done, len(jobs)))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _run_and_report(function: Callable[[Job], None], job: Job, report: Callable[[None], None]) -> None:
    """Run a job and report that it is done."""
    function(job)
    report(None)
