"""A Ray cluster: connected to, its nodes looked at, and jobs done on them until each is done once."""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

from smollm3_mix.errors import MissingExtraError, OutputError

try:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise MissingExtraError("--engine ray needs Ray. Install it: pip install 'smollm3_mix[ray]'") from error

from smollm3_mix.executors import ray_node
from smollm3_mix.executors.protocol import Job, Result

log = logging.getLogger("smollm3_mix")

REACH_SECONDS = 10.0
"""Seconds until a cluster that does not answer is an error."""

NODE_SECONDS = 120.0
"""Seconds until a node that does not answer is an error: it may have to start Python first."""

MAX_LOSSES = 5
"""Times that a job may be lost, one after another without a word of it, before that is an error: what it does, and not
its node, may be what ends it."""

POLL_SECONDS = 0.2
"""Seconds between two looks at what jobs report."""

ENDING_SECONDS = 60.0
"""Seconds that jobs have to end when another has failed."""


class RayExecutor:
    """Ray on this machine, or a cluster of it; a `executors.protocol.Executor`. Use it in `with`.

    Args:
        address: of a cluster, host:port; auto: the one that was started on this machine. None: what RAY_ADDRESS says,
            else Ray is started here and ended with the block. Where this process is connected already, that is used.
        at_once: jobs done at once; None: as many as the cluster has processors, and as many as come.

    Raises:
        OutputError: the cluster cannot be reached.
    """

    def __init__(self, address: str | None = None, at_once: int | None = None) -> None:
        self._address, self._at_once = address or os.environ.get("RAY_ADDRESS"), at_once
        self._ours = False

    def __enter__(self) -> "RayExecutor":
        if ray.is_initialized():
            return self
        self._ours = True
        if self._address in (None, "local"):
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(address="local", num_cpus=self._at_once, include_dashboard=False, logging_level=logging.WARNING)
            return self
        _check_reachable(str(self._address))
        try:
            ray.init(address=self._address, logging_level=logging.WARNING)
        except (OSError, RuntimeError, ValueError) as error:
            raise OutputError(_unreachable(str(self._address), error)) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ours:
            ray.shutdown()

    def each(
        self,
        function: Callable[[Job, Callable[[Any], None]], Result],
        jobs: Sequence[Job],
        heard: Callable[[int, Any], None],
        folder: str | None,
    ) -> list[Result]:
        """See `executors.protocol.Runner`.

        Raises:
            OutputError: nodes have other versions of a package or do not see the folder, or a job is lost again and
                again.
            MixError: as a job raises it; the others are ended first.
        """
        probe = None if folder is None else str(Path(folder).absolute() / f"{uuid4().hex}.seen")
        if probe is not None:
            Path(probe).touch()
        try:
            _check_nodes(probe)
            words = _progress_actor()
            setting = ray_node.JobContext(
                ray.put(list(jobs)), function, str(Path.cwd()), probe, ray_node.versions(), words
            )
            return _Tasks(setting, len(jobs), self._at_once, heard).done()
        finally:
            if probe is not None:
                Path(probe).unlink(missing_ok=True)


class _Tasks:
    """The tasks of one call: started as there is room, lost ones again, results in order.

    Args:
        setting: of all jobs.
        count: of jobs.
        at_once: at most so many are started; None: twice the processors, so that none waits for the driver.
        heard: see `Cluster.each`.
    """

    def __init__(
        self, setting: ray_node.JobContext, count: int, at_once: int | None, heard: Callable[[int, Any], None]
    ) -> None:
        self._setting, self._at_once, self._heard = setting, at_once, heard
        self._do = ray.remote(ray_node.do).options(num_cpus=1, max_retries=0)  # which are done again is decided here
        self._words: Any = setting.words
        self._waiting = list(reversed(range(count)))
        self._running: dict[Any, int] = {}
        self._results: dict[int, Any] = {}
        self._losses: dict[int, int] = {}

    def done(self) -> list[Any]:
        """Results, once all jobs are done."""
        count = len(self._waiting)
        shared = ray.put(self._setting)
        try:
            while len(self._results) < count:
                while self._waiting and len(self._running) < self._room():
                    number = self._waiting.pop()
                    self._running[self._do.remote(shared, number)] = number
                ended, _ = ray.wait(list(self._running), timeout=POLL_SECONDS)
                self._listen()
                for task in ended:
                    self._take(task)
            self._listen()
        finally:
            self._end()
        return [self._results[number] for number in range(count)]

    def _room(self) -> int:
        return self._at_once or max(2, 2 * int(ray.cluster_resources().get("CPU", 0)))

    def _listen(self) -> None:
        try:
            heard = ray.get(self._words.heard.remote())
        except ray.exceptions.RayActorError as error:  # lost with its node, and made anew; words only, no results
            log.debug("What jobs reported was lost (%s)", error)
            return
        for number, word in heard.items():
            self._losses.pop(number, None)
            self._heard(number, word)

    def _take(self, task: Any) -> None:
        """A task that has ended: its result, or the job once more where the task was lost with its worker or node."""
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
                    f"job {number} was lost {MAX_LOSSES} times without having reported anything ({first}). "
                    "What is done is kept. Look into the memory and the logs of the nodes, then give the same command "
                    "again."
                ) from error
            log.warning("Job %d was lost (%s); it goes on elsewhere", number, first)
            self._waiting.append(number)

    def _end(self) -> None:
        """End the tasks that are left, after a failure; what they have finished is kept."""
        for task in self._running:
            ray.cancel(task)
        if self._running:
            _, late = ray.wait(list(self._running), num_returns=len(self._running), timeout=ENDING_SECONDS)
            for task in late:
                ray.cancel(task, force=True)


class _ProgressActor:
    """Takes the newest word of each job until it is asked for."""

    def __init__(self) -> None:
        self._newest: dict[int, Any] = {}

    def tell(self, number: int, word: Any) -> None:
        self._newest[number] = word

    def heard(self) -> dict[int, Any]:
        heard, self._newest = self._newest, {}
        return heard


def _progress_actor() -> Any:
    """The actor that takes words, on the node of this process if it can be: it is lost no sooner than who listens."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(_ProgressActor).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()


def _check_nodes(probe: str | None) -> None:
    """Nothing, where every node has this machine's versions and sees the probe."""
    here, look = ray_node.versions(), _by_value()
    alive = {each["NodeID"]: each for each in ray.nodes() if each["Alive"]}
    asked = {
        ray.remote(look)
        .options(num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(id_, soft=False))
        .remote(str(Path.cwd()), probe): f"node {each['NodeManagerHostname']} ({each['NodeName']})"
        for id_, each in alive.items()
    }
    _, late = ray.wait(list(asked), num_returns=len(asked), timeout=NODE_SECONDS)
    if late:
        raise OutputError(
            f"{asked[late[0]]} has not answered for {NODE_SECONDS:.0f} seconds. Look into the logs of its Ray "
            "(session_latest/logs), or take it out of the cluster."
        )
    problems = []  # a machine may have several nodes of one name
    for task, name in asked.items():
        try:
            there, sees = ray.get(task)
        except ray.exceptions.RayTaskError as error:
            raise OutputError(f"{name}: {error.cause}") from error
        except ray.exceptions.RayError as error:  # gone since: it gets no job
            log.warning("%s was lost (%s)", name, str(error).strip().splitlines()[0])
            continue
        if isinstance(there, str):
            problems.append(f"{name}: {there}")
        elif fault := ray_node.differing(here, there):
            problems.append(f"{name}: {fault}")
        elif not sees:
            raise OutputError(ray_node.unshared(name, probe))
    if problems:
        raise OutputError(ray_node.unlike(problems))


def _by_value() -> Callable[[str, str | None], Any]:
    """`ray_node.look`, sent to a node as code, since the package may not be there; or what there is instead."""

    def look(folder: str, probe: str | None) -> Any:
        try:
            from smollm3_mix.executors import ray_node
        except ImportError as error:
            return f"smollm3_mix with the extra ray cannot be imported ({error})", False
        return ray_node.look(folder, probe)

    return look


def _check_reachable(address: str) -> None:
    """Nothing, where something listens at the address: Ray itself would try for minutes, then end the process."""
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
        f"the Ray cluster at {address} cannot be reached ({first}). See that its head runs (`ray status "
        f"--address {address}`; it is started by `ray start --head --port 6379`) and give its --address host:6379; "
        "without --address, Ray is started on this machine."
    )
