"""Compiled kernels: plain C over whole blocks, built when the package is installed, called through ctypes.

Each function here takes numpy arrays that are contiguous and of the types named, and whole numbers; it checks those,
not what is in them. Callers are the rooms above, which say what comes out.
"""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

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


_ADDRESS = ctypes.c_char * 0


class _Array:
    """The type of an argument: a contiguous array of one dtype, of which C gets the address.

    `numpy.ctypeslib.ndpointer` is the same, but takes three times as long: for 30 arrays a block that was half of what
    a small block cost.
    """

    def __init__(self, dtype: type[np.generic]) -> None:
        self.dtype = np.dtype(dtype)

    def from_param(self, array: Any) -> Any:
        """What ctypes gives to C; it makes an ArgumentError of what is raised.

        Raises:
            TypeError: no array, of another dtype, or not contiguous.
        """
        if not isinstance(array, np.ndarray) or array.dtype != self.dtype:
            raise TypeError(f"an array of {self.dtype} is needed, not {getattr(array, 'dtype', type(array).__name__)}")
        flags = array.flags
        if not flags.c_contiguous:
            raise TypeError(f"an array that is C_CONTIGUOUS is needed, not one with strides {array.strides}")
        return _ADDRESS.from_buffer(array.data) if flags.writeable else ctypes.c_void_p(array.ctypes.data)


_LIBRARY = _loaded()
_NUMBER = ctypes.c_int64
_BYTES, _INTS, _HASHES = _Array(np.uint8), _Array(np.int64), _Array(np.uint64)
_FLAGS = _Array(np.bool_)
_ROWS = (_BYTES, _INTS, _NUMBER)
_FLOATS = _Array(np.float64)
_SMALL = _Array(np.uint32)


def _function(name: str, *types: Any) -> Callable[..., int]:
    found = _LIBRARY[f"sm_{name}"]
    found.argtypes, found.restype = types, _NUMBER
    return found


words = _function("words", _BYTES, _INTS, _NUMBER, _INTS, _INTS, _INTS)
spell = _function("spell", _BYTES, _NUMBER, *[_INTS] * 3, *[_NUMBER] * 2, _BYTES, _NUMBER, _HASHES, _INTS, _INTS)
hash_runs = _function("hash_runs", _BYTES, _NUMBER, _INTS, _INTS, _NUMBER, _NUMBER, _HASHES)
characters = _function("characters", _BYTES, _INTS, _NUMBER, _INTS)
code_points = _function("code_points", _BYTES, _INTS, _INTS, _NUMBER, _INTS)
marked = _function("marked", _BYTES, _INTS, _NUMBER, _FLAGS, _NUMBER, _INTS)
lines = _function("lines", _BYTES, *[_INTS] * 4, _HASHES, _NUMBER, *[_INTS] * 3)
distinct = _function("distinct", _HASHES, _INTS, _NUMBER, _HASHES, _NUMBER, _INTS)
signatures = _function("signatures", _HASHES, _INTS, _FLAGS, *[_NUMBER] * 5, _INTS, _SMALL, _NUMBER, _HASHES, _HASHES)
grams = _function("grams", _HASHES, *[_INTS] * 3, _FLAGS, *[_NUMBER] * 3, _INTS, _FLOATS, _FLAGS, *[_NUMBER] * 2, _INTS)
odd_characters = _function(
    "odd_characters", *_ROWS, *[_BYTES] * 3, _INTS, *[_NUMBER] * 2, *[_INTS] * 3, _BYTES, *[_INTS] * 2
)
with_spans = _function("with_spans", *_ROWS, _INTS, _INTS, _NUMBER, _BYTES, _INTS, _INTS, _BYTES, _INTS)
with_plain_layout = _function("with_plain_layout", *_ROWS, *[_NUMBER] * 2, _BYTES, _INTS)
suspicious = _function("suspicious", *_ROWS, _FLAGS)
seen = _function(
    "seen", _HASHES, _FLAGS, *[_NUMBER] * 6, ctypes.c_double, _HASHES, *[_NUMBER] * 2, _SMALL, _NUMBER, _BYTES
)
enter = _function("enter", _HASHES, *[_NUMBER] * 3, _SMALL, _NUMBER)
agreement = _function("agreement", _HASHES, _HASHES, *[_NUMBER] * 4, _FLOATS)
