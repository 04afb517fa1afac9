"""A Hub on this machine that answers as slowly as a distant one, for benchmarks that read over a network."""

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
    """Start a Hub on loopback that adds `latency` seconds to each request. Yield the environment for its readers.

    Args:
        script: Script that serves folders as a Hub.
        repositories: Folder of each repository.
        latency: Seconds.
        work: Folder for the empty cache.
        more: Additional arguments of the script.
    """
    seeds = [f"--seed={name}={folder}" for name, folder in repositories.items()]
    hub = subprocess.Popen(
        [sys.executable, str(script), "--port", "0", *more, *seeds], stdout=subprocess.PIPE, text=True
    )
    try:
        address = re.search(r"hub (\S+)", hub.stdout.readline()) if hub.stdout else None
        if address is None:
            raise SystemExit(f"{script} did not print its address")
        body = json.dumps({"delay": latency}).encode()
        slow = urllib.request.Request(f"{address[1]}/__admin__/faults", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(slow).close()
        yield {
            "HF_ENDPOINT": address[1],
            "HF_HOME": str(work / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
    finally:
        hub.terminate()
        hub.wait()
