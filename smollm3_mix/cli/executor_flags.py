"""Who does the work of `write` and `index`: this process and those it starts, or the nodes of a Ray cluster."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smollm3_mix.errors import OutputError

if TYPE_CHECKING:
    from smollm3_mix.executors.ray_executor import RayExecutor


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """The flags of both verbs."""
    verb.add_argument("--engine", choices=("ray",), help="do the work as tasks of Ray (extra ray)")
    verb.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of a Ray cluster, or auto; default: RAY_ADDRESS, else Ray is started on this machine",
    )


@contextmanager
def open_executor(options: argparse.Namespace) -> Iterator["RayExecutor | None"]:
    """The cluster that the options name, connected until the block ends; None where they name no engine.

    Raises:
        OutputError: there is an address and no engine, or the cluster cannot be reached.
        MissingExtraError: Ray is not installed.
    """
    if options.engine is None:
        if options.address is not None:
            raise OutputError(f"--address {options.address} is of a Ray cluster. Add --engine ray.")
        yield None
        return
    from smollm3_mix.executors.ray_executor import RayExecutor

    with RayExecutor(options.address, options.processes) as cluster:
        yield cluster
