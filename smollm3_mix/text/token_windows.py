"""Documents laid end to end and cut into windows of equal length, with their boundaries. Pure arithmetic on tokens."""

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]


def windows(ids: Tokens, starts: npt.NDArray[np.int64], length: int) -> tuple[Tokens, Tokens]:
    """The whole windows of a line of tokens, and the place of every token in its document within the window.

    Window i holds tokens i · length to (i + 1) · length, the last one included: its inputs are the first `length`
    tokens, its targets the last `length`, so the target of its last input is the first input of the next window, as in
    Megatron's GPTDataset. Every token but the line's first is a target once, every token but the last an input once.

    Places count from 0 at the window's beginning and at each document's first token, which is what attention within
    documents needs: a document that goes on from the window before sees nothing of it, so it counts from 0 again.

    Args:
        ids: int32[n], the line.
        starts: int64[documents], ascending places in the line at which documents begin; those of an empty document and
            the next are equal.
        length: inputs of a window, ≥ 1.

    Returns:
        int32[w, length + 1] and int32[w, length + 1], w = (n - 1) // length; copies.
    """
    count = max(len(ids) - 1, 0) // length
    if not count:
        return np.empty((0, length + 1), np.int32), np.empty((0, length + 1), np.int32)
    span = count * length + 1
    cut = np.lib.stride_tricks.sliding_window_view(ids[:span], length + 1)[::length].copy()
    begun = np.zeros(span, np.int64)
    inside = starts[(starts > 0) & (starts < span)]
    begun[inside] = inside
    np.maximum.accumulate(begun, out=begun)
    first = np.arange(count, dtype=np.int64)[:, None] * length
    place = first + np.arange(length + 1)
    return cut, (place - np.maximum(begun[place], first)).astype(np.int32)


def cu_seqlens(position_ids: npt.NDArray[np.integer]) -> Tokens:
    """Where each document of a batch begins, its rows laid end to end, and the end of all; int32[documents + 1].

    What attention kernels of variable length take (`cu_seqlens`). Rows begin with 0, so none runs into the next.

    Args:
        position_ids: integers[rows, inputs] or [inputs]: those of the inputs, `position_ids[..., :-1]` of the windows.
    """
    flat = np.ravel(position_ids)
    return np.append(np.flatnonzero(flat == 0), len(flat)).astype(np.int32)
