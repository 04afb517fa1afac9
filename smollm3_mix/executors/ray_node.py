"""What runs on a node of a cluster: a look at it, and one job."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import ray

from smollm3_mix.errors import OutputError, SourceError

DECIDE = ("smollm3_mix", "numpy", "pyarrow", "xxhash", "datasets", "huggingface_hub", "tokenizers", "tiktoken", "ftfy")
"""Packages whose versions may decide what is written."""

PYTHON = "python"


class JobContext(NamedTuple):
    """What the jobs of one call share.

    Attributes:
        jobs: reference to the list of all jobs, in the object store.
        function: what does a job.
        folder: of the driver, in which relative paths are meant; where a node has none of that name, nothing changes.
        probe: file that each node must see; None: nodes share no folder.
        versions: of the driver.
        words: reference to the actor that takes what jobs report.
    """

    jobs: Any
    function: Callable[[Any, Callable[[Any], None]], Any]
    folder: str
    probe: str | None
    versions: Mapping[str, str]
    words: Any


def versions() -> dict[str, str]:
    """Versions by package of this process, and of Python; `none` where it has no such package."""
    found = {PYTHON: platform.python_version()}
    for name in DECIDE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # noqa: PERF203 - asked once a process
            found[name] = "none"
    return found


def look(folder: str, probe: str | None) -> tuple[dict[str, str], bool]:
    """Versions here, and whether this node sees the file."""
    _go_to(folder)
    return versions(), probe is None or Path(probe).exists()


def differing(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """What two sets of versions differ in; empty: nothing."""
    return ", ".join(f"{name} {there[name]}, here {here[name]}" for name in here if here[name] != there[name])


def do(setting: JobContext, number: int) -> Any:
    """What the function gives for the job of that number.

    Raises:
        OutputError: the node is not as the driver's.
        OutputError, SourceError: as the function raises them, with the node's name before.
    """
    here = f"node {platform.node()} ({ray.util.get_node_ip_address()})"
    there, sees = look(setting.folder, setting.probe)  # it may have come since the others were looked at
    if problems := differing(setting.versions, there):
        raise OutputError(unlike([f"{here}: {problems}"]))
    if not sees:
        raise OutputError(unshared(here, setting.probe))
    job = _jobs(setting.jobs)[number]
    try:
        return setting.function(job, lambda word: setting.words.tell.remote(number, word))
    except (OutputError, SourceError) as error:
        raise type(error)(f"{here}: {error}") from error


def unlike(problems: Sequence[str]) -> str:
    """That nodes have other versions, as an error says it; a line for each node."""
    lines = "\n  ".join(problems)
    return (
        f"{len(problems)} of the nodes would not write the same bytes as this machine:\n  {lines}\n"
        "Install the same versions on all of them, then give the same command again."
    )


def unshared(node: str, probe: str | None) -> str:
    """That a node does not see the folder, as an error says it."""
    return (
        f"{node} does not see {Path(probe or '').parent}. Name a folder on a file system that all nodes share, "
        "or a URL such as s3://bucket/mix."
    )


@lru_cache(1)
def _jobs(reference: Any) -> list[Any]:
    """All jobs, taken out of the object store once a process: what they have in common is there once."""
    jobs: list[Any] = ray.get(reference)
    return jobs


def _go_to(folder: str) -> None:
    if Path(folder).is_dir():
        os.chdir(folder)
