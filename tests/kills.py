"""Processes killed at moments spread at random over their work, and started again."""

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

AT_ONCE = 5
"""Files that `huggingface_hub` sends at once: what a kill can cut."""

CODE = """
import sys
from smollm3_mix.cli.main import main
from smollm3_mix.output import lane_writer as parts
parts.GROUP_ROWS = int(sys.argv[1])
sys.exit(main(sys.argv[2:]))
"""

log = logging.getLogger(__name__)


def bulky(folder: Path) -> Path:
    """A recipe over texts that do not shrink, so that its parts take a while to send."""
    texts = [random.Random(number).randbytes(16_000).hex() for number in range(240)]
    sources = [
        {"name": str(parquet(folder / key, texts[start : start + 120])), "weight": 1, "license": "CC0-1.0"}
        for key, start in (("web", 0), ("code", 120))
    ]
    path = folder / "bulky.yaml"
    path.write_text(yaml.safe_dump({"lanes": 2, "on_exhausted": "stop", "datasets": sources}), encoding="utf-8")
    return path


def command(hub: Any, home: Path, *arguments: Any, rows: int) -> subprocess.Popen[str]:
    """`smollm3-mix` with these arguments, for that Hub, by a process of its own; parts have so many records."""
    quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    there = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_writer", "HF_HOME": str(home), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(rows), *map(str, arguments)],
        env=os.environ | quiet | there,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(process: subprocess.Popen[str]) -> None:
    """Nothing, once it has ended well."""
    said = process.communicate()[1]
    assert process.returncode == 0, said


def killed_at_work(command: list[str], folder: Path, parts: int, kills: int) -> str:
    """Kill a command so many times in the first third of its work, and then let it finish.

    Args:
        command: writes a mix, or goes on with it.
        folder: where its train files appear, at any depth.
        parts: number of them.
        kills: how often it is killed.

    Returns: what it printed when it finished.
    """
    for moment in sorted(random.Random(kills).sample(range(1, parts // 3 + 1), kills)):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and sum(1 for _ in folder.rglob("train-*.parquet")) < moment:
            time.sleep(0.002)
        assert process.poll() is None, process.communicate()[1]
        process.kill()
        process.communicate()
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def killed(hub: Any, start: Callable[[], subprocess.Popen[str]], data: dict[str, bytes], kills: int) -> None:
    """Nothing; what `start` starts was killed so many times, and has ended well at last.

    The moments are spread over the bytes that the Hub has received, so every kill strikes a push that is at work. What
    is sent twice is at most what was on its way at each of them.

    Args:
        hub: it has received none of the data yet.
        start: starts the push, or goes on with it.
        data: the files it sends.
        kills: how often it is killed.
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
    done(start())
    twice = sum(sent for _, sent in hub.sent) - size
    log.info("%d kills: %d of %d bytes in %d files went twice", kills, twice, size, len(data))
    assert 0 <= twice <= kills * AT_ONCE * largest
