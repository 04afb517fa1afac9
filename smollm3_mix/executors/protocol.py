"""The executor that `write` and `build_index` accept."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs jobs outside this process, for example a `RayExecutor`."""

    def map(
        self,
        function: Callable[[Job, Callable[[Any], None]], Result],
        jobs: Sequence[Job],
        on_progress: Callable[[int, Any], None],
        shared_dir: str | None,
    ) -> list[Result]:
        """Run a function on every job and return the results in the order of the jobs.

        A job that is lost with its machine runs again.

        Args:
            function: Function of a module. Its arguments are a job and a callback for progress reports.
            jobs: Picklable jobs.
            on_progress: Called in this process with the number of a job and its latest report.
            shared_dir: Folder that every machine must see. None if the jobs share no folder.
        """
