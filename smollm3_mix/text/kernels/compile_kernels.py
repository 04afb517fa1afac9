"""The kernels' library, compiled from the C files in this folder.

    python smollm3_mix/text/kernels/compile_kernels.py

makes it in this folder, where the package looks for it; installing the package does the same. A C compiler is taken
from the variable CC, or is the first of cc, gcc and clang, or that of the `ziglang` wheel.
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
    """C files and headers, in a fixed order."""
    return sorted((*HERE.glob("*.c"), *HERE.glob("*.h")))


def digest() -> str:
    """16 hex digits over the sources, which the library compiled from them knows too."""
    whole = hashlib.sha256()
    for path in sources():
        whole.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return whole.hexdigest()[:16]


def compiler() -> list[str] | None:
    """The first words of a compiler's command, or None where this machine has none."""
    given = os.environ.get("CC")
    if given:
        return shlex.split(given)
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    if importlib.util.find_spec("ziglang") is None:  # a C compiler in a wheel
        return None
    return [sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"]


def build(*more: str) -> Path:
    """The library, compiled and put in its place whole.

    Args:
        more: further words for the compiler.

    Raises:
        RuntimeError: there is no compiler, or it failed.
    """
    command = compiler()
    if command is None:
        raise RuntimeError("no C compiler found (CC, cc, gcc, clang); `pip install ziglang` has one, then try again")
    aside = LIBRARY.with_name(f"{os.getpid()}.{LIBRARY.name}")
    flags = [*FLAGS, *(("-fPIC", "-fvisibility=hidden") if sys.platform != "win32" else ())]
    files = [str(path) for path in sources() if path.suffix == ".c"]
    words = [*command, *flags, *more, f'-DDIGEST="{digest()}"', "-o", str(aside), *files]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        aside.unlink(missing_ok=True)
        raise RuntimeError(f"{shlex.join(words)} failed:\n{done.stderr}")
    aside.replace(LIBRARY)
    return LIBRARY


if __name__ == "__main__":
    print(build(*sys.argv[1:]))
