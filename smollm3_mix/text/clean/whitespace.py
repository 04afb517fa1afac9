"""Documents with spaces and line ends in order."""

import numpy as np

from smollm3_mix.text.clean.byte_rows import Rows
from smollm3_mix.text.kernels import native


def normalize_whitespace(rows: Rows, profile: str) -> Rows:
    """Documents with plain layout, see `Cleaning`; the very rows given if all of them have it.

    Args:
        rows: documents in plain characters: a byte up to 0x20 is a space, tab or line feed.
        profile: prose, code or math.
    """
    data, offsets = np.empty(len(rows.data), np.uint8), np.empty_like(rows.offsets)
    code, collapse = profile == "code", profile == "prose"
    size = native.normalize_whitespace(rows.data, rows.offsets, len(offsets) - 1, code, collapse, data, offsets)
    return rows if size < 0 else Rows(data[:size], offsets)
