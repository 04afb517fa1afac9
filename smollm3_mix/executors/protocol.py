"""The executor that `write` and `build_index` accept."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Executor(Protocol):
    """Does jobs elsewhere than in this process, such as a `RayExecutor`."""

    def each(
        self,
        function: Callable[[Job, Callable[[Any], None]], Result],
        jobs: Sequence[Job],
        heard: Callable[[int, Any], None],
        folder: str | None,
    ) -> list[Result]:
        """Return the results of the function in the order of the jobs. A job that is lost with its machine runs again.

        Args:
            function: of a module; takes a job and what it may report to.
            jobs: picklable.
            heard: called in this process with the number of a job and what it reported last.
            folder: seen by all who do jobs; None: they share none.
        """
