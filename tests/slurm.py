"""A Slurm of our own on this machine: munge, a controller and two nodes, gone with the test."""

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
    """Programs of Slurm and munge that this machine has not; Debian's are in slurm-wlm and munge."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """The environment in which `sbatch` and its like talk to the new cluster."""
    env = {**os.environ, "PATH": os.pathsep.join([os.environ["PATH"], "/usr/sbin"])}
    with tempfile.TemporaryDirectory(prefix="slurm-") as place, ExitStack() as held:
        folder, host = Path(place), socket.gethostname().split(".")[0]
        folder.chmod(0o755)  # munge asks that anyone can reach its socket
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (folder / name).mkdir()
        key = folder / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = [f"--{name}-file={folder}/munge-{name}" for name in ("pid", "log", "seed")]
        held.enter_context(running(env, "munged", "-F", f"--key-file={key}", f"--socket={folder}/socket", *files))
        wait((folder / "socket").exists, "munged has no socket")
        controller, *ports = free_ports(1 + len(NODES))
        words = {"host": host, "user": getpass.getuser(), "folder": folder, "nodes": ",".join(NODES)}
        config = CONFIG.format(port=controller, **words)
        config += "".join(NODE.format(name=n, host=host, port=p) for n, p in zip(NODES, ports, strict=True))
        (folder / "slurm.conf").write_text(config)
        env["SLURM_CONF"] = str(folder / "slurm.conf")
        held.enter_context(running(env, "slurmctld", "-D", "-c"))
        for node in NODES:
            held.enter_context(running(env, "slurmd", "-D", "-N", node))
        wait(lambda: said(env, "sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * len(NODES), "no nodes")
        yield env


def said(env: dict[str, str], *words: str) -> str:
    """What a command prints; nothing where it fails."""
    return subprocess.run(words, env=env, check=False, capture_output=True, text=True).stdout.strip()


def wait(until: Callable[[], bool], what: str, seconds: float = 180) -> None:
    """Wait until a function says True.

    Raises:
        TimeoutError: it has not for so long; the message is `what`.
    """
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.1)


class Hurry:
    """Has jobs that were queued again begin after seconds, where Slurm would hold them back for two minutes.

    Not at once: in the second in which it ended, a node still refuses a job ("Job credential revoked"), which then
    counts as failed.
    """

    def __init__(self, env: dict[str, str]) -> None:
        self._env, self._held_since = env, dict[str, float]()

    def __call__(self, *jobs: str) -> None:
        for job in jobs:
            held = said(self._env, "squeue", "-h", "-j", job, "-o", "%T %r") == "PENDING BeginTime"
            if held and time.monotonic() - self._held_since.setdefault(job, time.monotonic()) > 2:
                said(self._env, "scontrol", "update", f"JobId={job}", "StartTime=now")


@contextmanager
def running(env: dict[str, str], *words: str) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(words, env=env, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]
