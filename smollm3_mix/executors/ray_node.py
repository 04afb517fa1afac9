"""Functions that run on the nodes of a cluster: inspect the node, and run one job."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import ray

from smollm3_mix.errors import HubError, OutputError, SourceError

OUTPUT_PACKAGES = (
    "smollm3_mix",
    "numpy",
    "pyarrow",
    "xxhash",
    "datasets",
    "huggingface_hub",
    "tokenizers",
    "tiktoken",
    "ftfy",
)
"""Packages whose versions may change the written bytes."""

PYTHON = "python"


class JobContext(NamedTuple):
    """Context that the jobs of one call share.

    Attributes:
        jobs: Reference to the list of all jobs in the object store.
        function: Function that runs a job.
        folder: Working folder of the driver, for relative paths. Nodes without this folder keep their own.
        probe: File that every node must see. None if nodes share no folder.
        versions: Versions of the driver.
        reports: Actor for progress reports.
    """

    jobs: Any
    function: Callable[[Any, Callable[[Any], None]], Any]
    folder: str
    probe: str | None
    versions: Mapping[str, str]
    reports: Any


def versions() -> dict[str, str]:
    """Return the versions of Python and of packages in this process, `none` for missing packages."""
    found = {PYTHON: platform.python_version()}
    for name in OUTPUT_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # noqa: PERF203 - once per process
            found[name] = "none"
    return found


def inspect_node(folder: str, probe: str | None) -> tuple[dict[str, str], bool]:
    """Return the versions of this node, and whether it sees the probe file."""
    _change_folder(folder)
    return versions(), probe is None or Path(probe).exists()


def version_differences(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Return the differences of two sets of versions as text. Empty if there are none."""
    return ", ".join(f"{name} {there[name]}, here {here[name]}" for name in here if here[name] != there[name])


def run_job(context: JobContext, number: int) -> Any:
    """Run the job with this number and return its result.

    Raises:
        OutputError: If the node differs from the driver, or the function raises it.
        SourceError, HubError: If the function raises it. The message of each error gets the name of the node.
    """
    here = f"node {platform.node()} ({ray.util.get_node_ip_address()})"
    there, sees_probe = inspect_node(context.folder, context.probe)  # the node may be newer than the first check
    if differences := version_differences(context.versions, there):
        raise OutputError(versions_message([f"{here}: {differences}"]))
    if not sees_probe:
        raise OutputError(not_shared_message(here, context.probe))
    job = _jobs(context.jobs)[number]
    try:
        return context.function(job, lambda report: context.reports.report.remote(number, report))
    except (HubError, OutputError, SourceError) as error:
        named = type(error)(f"{here}: {error}")
        vars(named).update(vars(error))
        raise named from error


def versions_message(problems: Sequence[str]) -> str:
    """Return the error message for nodes with other versions, one line per node."""
    lines = "\n  ".join(problems)
    return (
        f"{len(problems)} of the nodes would not write the same bytes as this machine:\n  {lines}\n"
        "Install the same versions on all nodes, then repeat the same command."
    )


def not_shared_message(node: str, probe: str | None) -> str:
    """Return the error message for a node that does not see the shared folder."""
    return (
        f"{node} does not see {Path(probe or '').parent}. Name a folder on a file system that all nodes share, "
        "or a URL such as s3://bucket/mix."
    )


@lru_cache(1)
def _jobs(reference: Any) -> list[Any]:
    """Fetch all jobs once per process, so that objects that they share exist once."""
    jobs: list[Any] = ray.get(reference)
    return jobs


def _change_folder(folder: str) -> None:
    if Path(folder).is_dir():
        os.chdir(folder)
