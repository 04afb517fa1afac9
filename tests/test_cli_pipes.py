"""A reader of standard output that goes away, and what a command leaves of the process it runs in."""

import signal
import subprocess
import sys

import pytest

from smollm3_mix.cli.main import main

COMMAND = [sys.executable, "-m", "smollm3_mix"]


def test_a_reader_that_leaves_ends_take_quietly(recipe_file) -> None:
    path = recipe_file(sizes=(3000, 1500, 600))
    with subprocess.Popen([*COMMAND, "take", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline().startswith(b"{")
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 0


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="this platform has no such signal")
def test_a_command_leaves_broken_connections_to_be_errors(recipe_file, capsys) -> None:
    before = signal.getsignal(signal.SIGPIPE)
    assert main(["plan", str(recipe_file()), "--offline"]) == 0
    assert signal.getsignal(signal.SIGPIPE) == before == signal.SIG_IGN


@pytest.mark.parametrize(
    "command, message",
    [
        (["take", "demo"], "Interrupted.\n"),
        (
            ["write", "demo", "--output-dir", "out"],
            "Interrupted. Finished work is kept. Repeat the same command to resume.\n",
        ),
    ],
)
def test_interrupt_tells_whether_the_command_can_be_resumed(tmp_path, monkeypatch, capsys, command, message) -> None:
    def interrupted(*_, **__) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("smollm3_mix.mix.options.load_recipe", interrupted)
    assert main(command) == 130
    assert capsys.readouterr().err == message


SAID = """
from smollm3_mix.cli.main import main
main(["plan", "demo", "--offline"])
from huggingface_hub.utils.logging import get_logger
get_logger("huggingface_hub.file_download").warning("a message of the client of the Hub")
"""


def test_what_the_client_of_the_hub_says_is_printed_once() -> None:
    done = subprocess.run([sys.executable, "-c", SAID], capture_output=True, text=True, check=True)
    assert done.stderr.count("a message of the client of the Hub") == 1
