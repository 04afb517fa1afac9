"""Flags of commands that can run on a cluster."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from smollm3_mix.errors import OutputError
from smollm3_mix.executors.protocol import Executor


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags."""
    command.add_argument("--executor", choices=("ray",), help="run the work as tasks of Ray (extra ray)")
    command.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="address of a Ray cluster, or auto (default: RAY_ADDRESS, else Ray is started on this machine)",
    )


@contextmanager
def open_executor(arguments: argparse.Namespace) -> Iterator[Executor | None]:
    """Connect to the requested executor for the duration of the block. Yield None without --executor.

    Raises:
        OutputError: If there is an address without an executor, or the cluster cannot be reached.
        MissingExtraError: If Ray is not installed.
    """
    if arguments.executor is None:
        if arguments.address is not None:
            raise OutputError("--address requires --executor ray.")
        yield None
        return
    from smollm3_mix.executors.ray_executor import RayExecutor

    with RayExecutor(arguments.address, arguments.num_proc) as executor:
        yield executor
