"""Processes that a command has started end with it, however it ends."""

import signal
import subprocess
import sys
import time

import pytest

COMMANDS = {
    "write": (["--output-dir", "out", "--max-tokens", "100M", "--max-shard-size", "4000"], "out/.writing/train-*.json"),
    "index": (["--out", "out"], "out/keys/*.arrow"),
}
"""Flags of a command, and what it has written when its processes are at work."""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such end on this platform")
@pytest.mark.parametrize("verb", COMMANDS)
def test_workers_of_a_killed_command_end(recipe_file, tmp_path, verb):
    flags, sign = COMMANDS[verb]
    path = recipe_file(lanes=4, sizes=(3000, 3000, 3000), on_exhausted="repeat")
    command = [sys.executable, "-m", "smollm3_mix", verb, str(path), *flags, "--processes", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None and not any(tmp_path.glob(sign)):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)  # standard error stays open as long as any of them lives
    assert process.returncode == -signal.SIGKILL, "it was killed at work, and not done before"
