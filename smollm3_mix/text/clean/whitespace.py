"""Normalize spaces and line ends of documents."""

import numpy as np

from smollm3_mix.text.clean.byte_rows import Rows
from smollm3_mix.text.kernels import native


def normalize_whitespace(rows: Rows, profile: str) -> Rows:
    """Normalize white space as described in `Cleaning`.

    Args:
        rows: Documents with normalized characters: a byte up to 0x20 is a space, tab or line feed.
        profile: prose, code or math.

    Returns:
        The normalized rows, or the same object if nothing changes.
    """
    data, offsets = np.empty(len(rows.data), np.uint8), np.empty_like(rows.offsets)
    code, collapse = profile == "code", profile == "prose"
    size = native.normalize_whitespace(rows.data, rows.offsets, len(offsets) - 1, code, collapse, data, offsets)
    return rows if size < 0 else Rows(data[:size], offsets)
