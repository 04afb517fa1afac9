"""Compile the C files in this folder to the library that the package loads.

    python smollm3_mix/text/kernels/compile_kernels.py

Installing the package does the same. The compiler is the value of the variable CC, else the first of cc, gcc and clang
that is installed, else the compiler of the `ziglang` wheel.
"""

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LIBRARY = HERE / {"win32": "kernels.dll", "darwin": "kernels.dylib"}.get(sys.platform, "kernels.so")
FLAGS = (
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-Wall",
    "-Wextra",
    "-Werror=missing-prototypes",
    "-shared",
)


def sources() -> list[Path]:
    """Return the C files and headers, sorted."""
    return sorted((*HERE.glob("*.c"), *HERE.glob("*.h")))


def digest() -> str:
    """Return 16 hexadecimal digits of a hash of the sources. The library contains the same digits."""
    state = hashlib.sha256()
    for path in sources():
        state.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return state.hexdigest()[:16]


def compiler() -> list[str] | None:
    """Return the command of a C compiler, or None if there is none."""
    if command := os.environ.get("CC"):
        return shlex.split(command)
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    if importlib.util.find_spec("ziglang") is None:  # a C compiler in a wheel
        return None
    return [sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"]


def build(*more: str) -> Path:
    """Compile the library and replace the old one atomically. Return its path.

    Args:
        more: Additional arguments of the compiler.

    Raises:
        RuntimeError: If there is no compiler, or it fails.
    """
    command = compiler()
    if command is None:
        raise RuntimeError("no C compiler found (CC, cc, gcc, clang). Run: pip install ziglang. Then try again")
    temporary = LIBRARY.with_name(f"{os.getpid()}.{LIBRARY.name}")
    flags = [*FLAGS, *(("-fPIC", "-fvisibility=hidden") if sys.platform != "win32" else ())]
    files = [str(path) for path in sources() if path.suffix == ".c"]
    arguments = [*command, *flags, *more, f'-DDIGEST="{digest()}"', "-o", str(temporary), *files]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        temporary.unlink(missing_ok=True)
        raise RuntimeError(f"{shlex.join(arguments)} failed:\n{done.stderr}")
    temporary.replace(LIBRARY)
    return LIBRARY


if __name__ == "__main__":
    print(build(*sys.argv[1:]))
