"""Processes that are killed at random moments and started again."""

import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from conftest import parquet
from doors import ROOT

PARALLEL_UPLOADS = 5
"""Number of files that `huggingface_hub` sends at the same time. A kill may interrupt all of them."""

CODE = """
import sys
from smollm3_mix.cli.main import main
from smollm3_mix.output import lane_writer
lane_writer.GROUP_ROWS = int(sys.argv[1])
sys.exit(main(sys.argv[2:]))
"""

log = logging.getLogger(__name__)


def bulky(folder: Path) -> Path:
    """Write a recipe over texts that cannot be compressed, so that shards take a while to upload. Return its path."""
    texts = [random.Random(number).randbytes(16_000).hex() for number in range(240)]
    sources = [
        {"name": str(parquet(folder / key, texts[start : start + 120])), "weight": 1, "license": "CC0-1.0"}
        for key, start in (("web", 0), ("code", 120))
    ]
    path = folder / "bulky.yaml"
    path.write_text(yaml.safe_dump({"lanes": 2, "on_exhausted": "stop", "datasets": sources}), encoding="utf-8")
    return path


def command(hub: Any, home: Path, *arguments: Any, rows: int) -> subprocess.Popen[str]:
    """Start `smollm3-mix` in a new process, with a Hub, and with row groups of `rows` records."""
    quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    access = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_writer", "HF_HOME": str(home), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(rows), *map(str, arguments)],
        env=os.environ | quiet | access,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_success(process: subprocess.Popen[str]) -> None:
    """Wait for a process and check its exit code."""
    errors = process.communicate()[1]
    assert process.returncode == 0, errors


def kill_write(command: list[str], folder: Path, shards: int, kills: int) -> str:
    """Kill a command several times in the first third of its work, then let it finish.

    Args:
        command: Command that writes a mix, or resumes the write.
        folder: Folder in which its train files appear, at any depth.
        shards: Number of these files.
        kills: Number of times to kill the command.

    Returns:
        Standard output of the last run.
    """
    for moment in sorted(random.Random(kills).sample(range(1, shards // 3 + 1), kills)):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and sum(1 for _ in folder.rglob("train-*.parquet")) < moment:
            time.sleep(0.002)
        assert process.poll() is None, process.communicate()[1]
        process.kill()
        process.communicate()
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def kill_push(hub: Any, start: Callable[[], subprocess.Popen[str]], data: dict[str, bytes], kills: int) -> None:
    """Kill a push several times, then let it finish. Check that it sends only interrupted files twice.

    The moments are spread over the bytes that the Hub has received, so every kill interrupts a running push.

    Args:
        hub: Hub that has received none of the data yet.
        start: Function that starts or resumes the push.
        data: Content of the files by name.
        kills: Number of times to kill the push.
    """
    size, largest = sum(map(len, data.values())), max(map(len, data.values()))
    hub.sent.clear()
    hub.blobs.clear()
    hub.slow = 2_000_000
    hub.received = 0
    for moment in sorted(random.Random(kills).sample(range(size), kills)):
        process = start()
        while hub.received < moment and process.poll() is None:
            time.sleep(0.005)
        assert process.poll() is None, process.communicate()[1]
        process.send_signal(signal.SIGKILL)
        hub.cuts += 1
        process.communicate()
    wait_for_success(start())
    twice = sum(sent for _, sent in hub.sent) - size
    log.info("%d kills: %d of %d bytes in %d files were sent twice", kills, twice, size, len(data))
    assert 0 <= twice <= kills * PARALLEL_UPLOADS * largest
