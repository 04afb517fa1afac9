"""Flags of the commands that can run on an executor."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smollm3_mix.cli.size_arguments import count_argument
from smollm3_mix.errors import OutputError

if TYPE_CHECKING:
    from smollm3_mix.executors.ray_executor import RayExecutor


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags for processes and executors."""
    command.add_argument(
        "--num-proc",
        type=count_argument,
        metavar="N",
        help="number of parallel processes (default 1; with --executor ray, all processors of the cluster)",
    )
    command.add_argument("--executor", choices=("ray",), help="run the work as Ray tasks (extra ray)")
    command.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="address of a Ray cluster, or auto (default: RAY_ADDRESS, else start Ray on this machine)",
    )


@contextmanager
def open_executor(options: argparse.Namespace) -> Iterator["RayExecutor | None"]:
    """Connect to the executor of the command line for the duration of the block. Yield None without an executor.

    Raises:
        OutputError: If there is an address but no executor, or the cluster cannot be reached.
        MissingExtraError: If Ray is not installed.
    """
    if options.executor is None:
        if options.address is not None:
            raise OutputError("--address requires --executor ray.")
        yield None
        return
    from smollm3_mix.executors.ray_executor import RayExecutor

    with RayExecutor(options.address, options.num_proc) as executor:
        yield executor
