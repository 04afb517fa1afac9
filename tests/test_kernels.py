"""The compiled kernels: which library is taken, and what they refuse."""

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from smollm3_mix import kernels
from smollm3_mix.kernels import compile as compiled

PACKAGE = Path(kernels.__file__).parent.parent


@pytest.fixture
def elsewhere(tmp_path):
    """A copy of the package, to be changed."""
    shutil.copytree(PACKAGE, tmp_path / "smollm3_mix", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def imported(folder):
    code = "import smollm3_mix.kernels as kernels; print(kernels.__file__)"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def test_a_library_of_other_sources_is_refused_with_the_command_that_compiles_it(elsewhere):
    folder = elsewhere / "smollm3_mix" / "kernels"
    with (folder / "words.c").open("a") as file:
        file.write("/* changed */\n")
    done = imported(elsewhere)
    assert done.returncode
    message = done.stderr.splitlines()[-1]
    assert message.startswith(f"ImportError: {folder / compiled.LIBRARY.name} was compiled from other sources (")
    assert message.endswith(f"; compile it: python {folder / 'compile.py'}")


def test_a_missing_library_is_named_and_the_command_makes_it(elsewhere):
    folder = elsewhere / "smollm3_mix" / "kernels"
    (folder / compiled.LIBRARY.name).unlink()
    done = imported(elsewhere)
    assert "the compiled kernels of smollm3_mix cannot be loaded" in done.stderr
    assert done.stderr.strip().endswith(f"; compile it: python {folder / 'compile.py'}")
    if compiled.compiler() is None:
        pytest.skip("no C compiler is left on this machine: the one that built the package came with the build")
    subprocess.run([sys.executable, folder / "compile.py"], check=True, capture_output=True)
    assert str(folder) in imported(elsewhere).stdout


def test_arrays_of_another_type_or_not_contiguous_are_refused():
    data, places = np.zeros(8, dtype=np.uint8), np.zeros(4, dtype=np.int64)
    hashes = np.zeros(4, dtype=np.uint64)
    for wrong, name in ((places, "int64"), ([1, 2], "list"), (b"12345678", "bytes")):
        with pytest.raises(ctypes.ArgumentError, match=f"argument 1: .*: an array of uint8 is needed, not {name}$"):
            kernels.hash_runs(wrong, 8, places, places, 4, 1024, hashes)
    message = r"argument 3: .*: an array that is C_CONTIGUOUS is needed, not one with strides \(16,\)$"
    with pytest.raises(ctypes.ArgumentError, match=message):
        kernels.hash_runs(data, 8, places[::2], places, 2, 1024, hashes)
