"""Compiled kernels: plain C over whole blocks, built when the package is installed, called through ctypes.

Each function here takes numpy arrays that are contiguous and of the types named, and whole numbers; it checks those,
not what is in them. Callers are the rooms above, which say what comes out.
"""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.ctypeslib import ndpointer

from smollm3_mix.kernels import compile as compiled


def _loaded() -> ctypes.CDLL:
    """The library that was compiled from the C files beside it.

    Raises:
        ImportError: it is not there, or was compiled from others.
    """
    again = f"compile it: python {compiled.HERE / 'compile.py'}"
    try:
        found = ctypes.CDLL(str(compiled.LIBRARY))
    except OSError as error:
        raise ImportError(f"the compiled kernels of smollm3_mix cannot be loaded ({error}); {again}") from None
    found.sm_digest.restype = ctypes.c_char_p
    has, needs = found.sm_digest().decode(), compiled.digest()
    if has != needs:
        raise ImportError(f"{compiled.LIBRARY} was compiled from other sources ({has}, not {needs}); {again}")
    return found


_LIBRARY = _loaded()
_NUMBER = ctypes.c_int64
_BYTES, _INTS, _HASHES = (ndpointer(dtype, flags="C_CONTIGUOUS") for dtype in (np.uint8, np.int64, np.uint64))
_FLAGS = ndpointer(np.bool_, flags="C_CONTIGUOUS")
_FLOATS = ndpointer(np.float64, flags="C_CONTIGUOUS")
_SMALL = ndpointer(np.uint32, flags="C_CONTIGUOUS")


def _function(name: str, *types: Any) -> Callable[..., int]:
    found = _LIBRARY[f"sm_{name}"]
    found.argtypes, found.restype = types, _NUMBER
    return found


words = _function("words", _BYTES, _INTS, _FLAGS, _NUMBER, _INTS, _INTS, _INTS)
hash_runs = _function("hash_runs", _BYTES, _NUMBER, _INTS, _INTS, _NUMBER, _NUMBER, _HASHES)
signatures = _function("signatures", _HASHES, _INTS, _FLAGS, *[_NUMBER] * 5, _INTS, _SMALL, _NUMBER, _HASHES, _HASHES)
grams = _function("grams", _HASHES, *[_INTS] * 3, _FLAGS, *[_NUMBER] * 3, _INTS, _FLOATS, _FLAGS, *[_NUMBER] * 2, _INTS)
have_letters = _function("have_letters", _BYTES, _INTS, _INTS, _NUMBER, _FLAGS, _NUMBER, _FLAGS)
fold = _function("fold", _HASHES, _INTS, _NUMBER, _HASHES)
repeated = _function("repeated", _HASHES, _INTS, _NUMBER, _INTS)
