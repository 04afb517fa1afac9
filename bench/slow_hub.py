"""A Hub on this machine that answers as slowly as a far one, for the benches that read over a network."""

import contextlib
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def served(
    script: Path, repositories: dict[str, Path], latency: float, work: Path, *more: str
) -> Iterator[dict[str, str]]:
    """Environment of who reads from a Hub on loopback, which adds `latency` seconds to each request.

    Args:
        script: that serves folders as a Hub.
        repositories: the folder of each repository.
        latency: seconds.
        work: folder for the empty cache.
        more: arguments for the script.
    """
    seeds = [f"--seed={name}={folder}" for name, folder in repositories.items()]
    hub = subprocess.Popen(
        [sys.executable, str(script), "--port", "0", *more, *seeds], stdout=subprocess.PIPE, text=True
    )
    try:
        said = re.search(r"hub (\S+)", hub.stdout.readline()) if hub.stdout else None
        if said is None:
            raise SystemExit(f"{script} did not say where it serves")
        body = json.dumps({"delay": latency}).encode()
        slow = urllib.request.Request(f"{said[1]}/__admin__/faults", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(slow).close()
        yield {
            "HF_ENDPOINT": said[1],
            "HF_HOME": str(work / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
    finally:
        hub.terminate()
        hub.wait()
