"""Open the executor that a caller named."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from smollm3_mix.executors.protocol import Executor


@contextmanager
def open_executor(executor: Executor | Literal["ray"], max_tasks: int | None = None) -> Iterator[Executor]:
    """Return an executor as it is, or start or join Ray for the duration of the block.

    Args:
        executor: An executor, or `"ray"`.
        max_tasks: Number of jobs that Ray runs at the same time. One means as many as the cluster has processors.

    Raises:
        MissingExtraError: If Ray is not installed.
        OutputError: If the Ray cluster cannot be reached.
        ValueError: If `executor` is another text.
    """
    if not isinstance(executor, str):
        yield executor
        return
    if executor != "ray":
        raise ValueError(f"executor must be an Executor or 'ray', got {executor!r}.")
    from smollm3_mix.executors.ray_executor import RayExecutor

    with RayExecutor(max_tasks=None if max_tasks == 1 else max_tasks) as ray:
        yield ray
