"""Run jobs on Ray: connect, check the nodes, and run every job to its end once."""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from smollm3_mix.errors import OutputError
from smollm3_mix.executors import ray_node
from smollm3_mix.executors.protocol import Job, Result

log = logging.getLogger("smollm3_mix")

REACH_SECONDS = 10.0
"""Seconds to wait for a cluster to answer."""

NODE_SECONDS = 120.0
"""Seconds to wait for a node to answer. It may have to start Python first."""

MAX_LOSSES = 5
"""Number of consecutive losses of a job without a progress report that is an error. The job may kill its node."""

POLL_SECONDS = 0.2
"""Seconds between two checks for progress reports."""

ENDING_SECONDS = 60.0
"""Seconds that the other jobs have to stop after a failure."""


def connect(address: str | None, max_tasks: int | None) -> bool:
    """Connect to Ray, or start it on this machine. Return False if this process is connected already.

    Raises:
        OutputError: If the cluster cannot be reached.
    """
    if ray.is_initialized():
        return False
    if address in (None, "local"):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", num_cpus=max_tasks, include_dashboard=False, logging_level=logging.WARNING)
        return True
    _check_reachable(str(address))
    try:
        ray.init(address=address, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(_unreachable(str(address), error)) from error
    return True


def disconnect() -> None:
    """Disconnect from Ray, or stop it if this process has started it."""
    ray.shutdown()


def run_jobs(
    function: Callable[[Job, Callable[[Any], None]], Result],
    jobs: Sequence[Job],
    on_progress: Callable[[int, Any], None],
    shared_dir: str | None,
    max_tasks: int | None,
) -> list[Result]:
    """Run a function on every job; see `RayExecutor.map`."""
    probe = None if shared_dir is None else str(Path(shared_dir).absolute() / f"{uuid4().hex}.seen")
    if probe is not None:
        Path(probe).touch()
    try:
        _check_nodes(probe)
        context = ray_node.JobContext(
            ray.put(list(jobs)), function, str(Path.cwd()), probe, ray_node.versions(), _progress_actor()
        )
        return _Tasks(context, len(jobs), max_tasks, on_progress).run()
    finally:
        if probe is not None:
            Path(probe).unlink(missing_ok=True)


class _Tasks:
    """Tasks of one call. Lost tasks run again.

    Args:
        context: Context of all jobs.
        count: Number of jobs.
        max_tasks: Maximum number of started tasks. Defaults to twice the processors, so that none waits for the driver.
        on_progress: See `Executor.map`.
    """

    def __init__(
        self, context: ray_node.JobContext, count: int, max_tasks: int | None, on_progress: Callable[[int, Any], None]
    ) -> None:
        self._context, self._max_tasks, self._on_progress = context, max_tasks, on_progress
        self._task = ray.remote(ray_node.run_job).options(num_cpus=1, max_retries=0)  # retries are decided here
        self._reports: Any = context.reports
        self._pending = list(reversed(range(count)))
        self._running: dict[Any, int] = {}
        self._results: dict[int, Any] = {}
        self._losses: dict[int, int] = {}

    def run(self) -> list[Any]:
        """Run all jobs and return their results."""
        count = len(self._pending)
        shared = ray.put(self._context)
        try:
            while len(self._results) < count:
                while self._pending and len(self._running) < self._capacity():
                    number = self._pending.pop()
                    self._running[self._task.remote(shared, number)] = number
                ended, _ = ray.wait(list(self._running), timeout=POLL_SECONDS)
                self._forward_reports()
                for task in ended:
                    self._collect(task)
            self._forward_reports()
        finally:
            self._stop()
        return [self._results[number] for number in range(count)]

    def _capacity(self) -> int:
        return self._max_tasks or max(2, 2 * int(ray.cluster_resources().get("CPU", 0)))

    def _forward_reports(self) -> None:
        try:
            reports = ray.get(self._reports.take.remote())
        except ray.exceptions.RayActorError as error:  # restarted after the loss of its node; results are not affected
            log.debug("Lost the progress reports of jobs (%s)", error)
            return
        for number, report in reports.items():
            self._losses.pop(number, None)
            self._on_progress(number, report)

    def _collect(self, task: Any) -> None:
        """Store the result of a task that has ended, or schedule the job again if its worker or node was lost."""
        number = self._running.pop(task)
        try:
            self._results[number] = ray.get(task)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError as error:
            self._losses[number] = self._losses.get(number, 0) + 1
            first = str(error).strip().splitlines()[0]
            if self._losses[number] >= MAX_LOSSES:
                raise OutputError(
                    f"job {number} was lost {MAX_LOSSES} times without a progress report ({first}). Finished work is "
                    "kept. Check the memory and the logs of the nodes, then repeat the same command."
                ) from error
            log.warning("Job %d was lost (%s). Rescheduled it on another node.", number, first)
            self._pending.append(number)

    def _stop(self) -> None:
        """Stop the remaining tasks after a failure. Their finished work is kept."""
        for task in self._running:
            ray.cancel(task)
        if self._running:
            _, late = ray.wait(list(self._running), num_returns=len(self._running), timeout=ENDING_SECONDS)
            for task in late:
                ray.cancel(task, force=True)


class _ProgressActor:
    """Ray actor that stores the latest report of each job until the driver takes it."""

    def __init__(self) -> None:
        self._latest: dict[int, Any] = {}

    def report(self, number: int, value: Any) -> None:
        self._latest[number] = value

    def take(self) -> dict[int, Any]:
        latest, self._latest = self._latest, {}
        return latest


def _progress_actor() -> Any:
    """Start the actor for progress reports, if possible on the node of this process, so that both are lost together."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(_ProgressActor).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()


def _check_nodes(probe: str | None) -> None:
    """Raise OutputError unless every node has the versions of this machine and sees the probe file."""
    here, inspect = ray_node.versions(), _by_value()
    alive = {each["NodeID"]: each for each in ray.nodes() if each["Alive"]}
    requests = {
        ray.remote(inspect)
        .options(num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(id_, soft=False))
        .remote(str(Path.cwd()), probe): f"node {each['NodeManagerHostname']} ({each['NodeName']})"
        for id_, each in alive.items()
    }
    _, late = ray.wait(list(requests), num_returns=len(requests), timeout=NODE_SECONDS)
    if late:
        raise OutputError(
            f"{requests[late[0]]} has not answered within {NODE_SECONDS:.0f} seconds. Check its Ray logs "
            "(session_latest/logs), or remove it from the cluster."
        )
    problems = []  # a machine may have several nodes with the same name
    for task, name in requests.items():
        try:
            there, sees_probe = ray.get(task)
        except ray.exceptions.RayTaskError as error:
            raise OutputError(f"{name}: {error.cause}") from error
        except ray.exceptions.RayError as error:  # lost nodes get no job
            log.warning("%s was lost (%s)", name, str(error).strip().splitlines()[0])
            continue
        if isinstance(there, str):
            problems.append(f"{name}: {there}")
        elif differences := ray_node.version_differences(here, there):
            problems.append(f"{name}: {differences}")
        elif not sees_probe:
            raise OutputError(ray_node.not_shared_message(name, probe))
    if problems:
        raise OutputError(ray_node.versions_message(problems))


def _by_value() -> Callable[[str, str | None], Any]:
    """Return `ray_node.inspect_node` as a closure that Ray sends by value, because a node may lack the package."""

    def inspect(folder: str, probe: str | None) -> Any:
        try:
            from smollm3_mix.executors import ray_node
        except ImportError as error:
            return f"smollm3_mix with the extra ray cannot be imported ({error})", False
        return ray_node.inspect_node(folder, probe)

    return inspect


def _check_reachable(address: str) -> None:
    """Raise OutputError unless a server listens at the address.

    Ray itself would retry for minutes and then exit the process.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto" or not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
    except OSError as error:
        raise OutputError(_unreachable(address, error)) from error


def _unreachable(address: str, error: Exception) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"the Ray cluster at {address} cannot be reached ({first}). Check that its head runs: `ray status "
        f"--address {address}`. Start a head with `ray start --head --port 6379` and pass --address HOST:6379, or "
        "leave --address out to start Ray on this machine."
    )
