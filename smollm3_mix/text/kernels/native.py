"""Compiled kernels: plain C over whole blocks, built when the package is installed and called through ctypes.

Each function that `kernels.h` declares is a function of this module, without the prefix `sm_`. It takes contiguous
numpy arrays and numbers in the order of the header. It raises TypeError or ValueError for arguments that the header
does not allow.
"""

import ctypes
from typing import TYPE_CHECKING

from smollm3_mix.text.kernels import compile_kernels
from smollm3_mix.text.kernels.boundary import Kernel, kernels


def _loaded() -> ctypes.CDLL:
    """Load the library that was compiled from the C files beside it.

    Raises:
        ImportError: If the library is missing, or was compiled from other sources.
    """
    remedy = f"Compile it: python {compile_kernels.HERE / 'compile_kernels.py'}"
    try:
        found = ctypes.CDLL(str(compile_kernels.LIBRARY))
    except OSError as error:
        raise ImportError(f"the compiled kernels of smollm3_mix cannot be loaded ({error}). {remedy}") from None
    found.sm_digest.restype = ctypes.c_char_p
    has, needs = found.sm_digest().decode(), compile_kernels.digest()
    if has != needs:
        raise ImportError(f"{compile_kernels.LIBRARY} was compiled from other sources ({has}, not {needs}). {remedy}")
    return found


KERNELS = kernels(_loaded(), compile_kernels.HERE.joinpath("kernels.h").read_text(encoding="utf-8"))
"""All functions by name."""
globals().update(KERNELS)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Kernel: ...
