"""A Slurm cluster on this machine for one test: munge, a controller and two nodes."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("sbatch", "scontrol", "squeue", "slurmctld", "slurmd", "munged")
NODES = ("n0", "n1")

CONFIG = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
MailProg=/bin/true
PartitionName=all Nodes={nodes} Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4\n"


def missing() -> list[str]:
    """Return the programs of Slurm and munge that are not installed. Debian has them in slurm-wlm and munge."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Start a cluster for the duration of the block. Yield the environment in which `sbatch` and others reach it."""
    env = {**os.environ, "PATH": os.pathsep.join([os.environ["PATH"], "/usr/sbin"])}
    with tempfile.TemporaryDirectory(prefix="slurm-") as directory, ExitStack() as processes:
        folder, host = Path(directory), socket.gethostname().split(".")[0]
        folder.chmod(0o755)  # munge requires that all users can reach its socket
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (folder / name).mkdir()
        key = folder / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = [f"--{name}-file={folder}/munge-{name}" for name in ("pid", "log", "seed")]
        processes.enter_context(running(env, "munged", "-F", f"--key-file={key}", f"--socket={folder}/socket", *files))
        wait((folder / "socket").exists, "munged has no socket")
        controller, *ports = free_ports(1 + len(NODES))
        values = {"host": host, "user": getpass.getuser(), "folder": folder, "nodes": ",".join(NODES)}
        config = CONFIG.format(port=controller, **values)
        config += "".join(NODE.format(name=n, host=host, port=p) for n, p in zip(NODES, ports, strict=True))
        (folder / "slurm.conf").write_text(config)
        env["SLURM_CONF"] = str(folder / "slurm.conf")
        processes.enter_context(running(env, "slurmctld", "-D", "-c"))
        for node in NODES:
            processes.enter_context(running(env, "slurmd", "-D", "-N", node))
        wait(lambda: output_of(env, "sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * len(NODES), "no nodes")
        yield env


def output_of(env: dict[str, str], *command: str) -> str:
    """Return the output of a command. Empty if it fails."""
    return subprocess.run(command, env=env, check=False, capture_output=True, text=True).stdout.strip()


def wait(condition: Callable[[], bool], message: str, seconds: float = 180) -> None:
    """Wait until a function returns True.

    Raises:
        TimeoutError: If it does not within the seconds.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(message)
        time.sleep(0.1)


class RequeuedJobs:
    """Starts requeued jobs after two seconds. Slurm would hold them for two minutes.

    A job cannot start at once: within a second of its end, a node still refuses it ("Job credential revoked"), and
    the job then counts as failed.
    """

    def __init__(self, env: dict[str, str]) -> None:
        self._env, self._held_since = env, dict[str, float]()

    def __call__(self, *jobs: str) -> None:
        for job in jobs:
            held = output_of(self._env, "squeue", "-h", "-j", job, "-o", "%T %r") == "PENDING BeginTime"
            if held and time.monotonic() - self._held_since.setdefault(job, time.monotonic()) > 2:
                output_of(self._env, "scontrol", "update", f"JobId={job}", "StartTime=now")


@contextmanager
def running(env: dict[str, str], *command: str) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def free_ports(count: int) -> list[int]:
    """Return free ports."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]
