"""Worker processes exit with the command that started them."""

import signal
import subprocess
import sys
import time

import pytest

COMMANDS = {
    "write": (["--output-dir", "out", "--max-tokens", "100M", "--max-shard-size", "4000"], "out/.writing/train-*.json"),
    "index": (["--output-dir", "out"], "out/keys/*.arrow"),
}
"""Flags of a command, and files that exist when its worker processes are busy."""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this platform has no SIGKILL")
@pytest.mark.parametrize("name", COMMANDS)
def test_worker_processes_exit_when_the_command_is_killed(recipe_file, tmp_path, name):
    flags, pattern = COMMANDS[name]
    path = recipe_file(lanes=4, sizes=(3000, 3000, 3000), on_exhausted="repeat")
    command = [sys.executable, "-m", "smollm3_mix", name, str(path), *flags, "--num-proc", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None and not any(tmp_path.glob(pattern)):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)  # standard error stays open until all processes have exited
    assert process.returncode == -signal.SIGKILL, "the command ended before it was killed"
