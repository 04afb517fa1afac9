"""Run jobs on Ray. Importing this module does not import Ray."""

import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from smollm3_mix.errors import MissingExtraError
from smollm3_mix.executors.protocol import Job, Result


class RayExecutor:
    """Ray on this machine or on a cluster, as an `Executor`. A context manager.

    Args:
        address: Address of a cluster as host:port, or `"auto"` for a cluster that runs on this machine. Defaults to
            RAY_ADDRESS. Without either, Ray is started here and stopped after the block. An existing connection of this
            process has precedence.
        max_tasks: Number of jobs that run at the same time. Defaults to the number of processors of the cluster.

    Raises:
        MissingExtraError: If Ray is not installed.
        OutputError: If the cluster cannot be reached.
    """

    def __init__(self, address: str | None = None, max_tasks: int | None = None) -> None:
        try:
            import ray  # noqa: F401 - fails here rather than after the sources were opened
        except ImportError as error:
            raise MissingExtraError(
                "RayExecutor (--executor ray) needs Ray. Install it: pip install 'smollm3_mix[ray]'",
                package="ray",
                extra="ray",
            ) from error
        self._address, self._max_tasks = address or os.environ.get("RAY_ADDRESS"), max_tasks
        self._started = False

    def __enter__(self) -> "RayExecutor":
        from smollm3_mix.executors import ray_tasks

        self._started = ray_tasks.connect(self._address, self._max_tasks)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from smollm3_mix.executors import ray_tasks

        if self._started:
            ray_tasks.disconnect()

    def map(
        self,
        function: Callable[[Job, Callable[[Any], None]], Result],
        jobs: Sequence[Job],
        on_progress: Callable[[int, Any], None],
        shared_dir: str | None,
    ) -> list[Result]:
        """Run a function on every job and return the results in the order of the jobs; see `Executor.map`.

        Raises:
            OutputError: If nodes have other versions of a package or do not see the folder, or a job is lost
                repeatedly.
            MixError: If a job raises it. The other jobs are stopped first.
        """
        from smollm3_mix.executors import ray_tasks

        return ray_tasks.run_jobs(function, jobs, on_progress, shared_dir, self._max_tasks)
