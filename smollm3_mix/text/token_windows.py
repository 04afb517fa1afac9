"""Cut a token stream into windows of equal length, with document boundaries. Pure arithmetic on token ids."""

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]


def windows(ids: Tokens, starts: npt.NDArray[np.int64], length: int) -> tuple[Tokens, Tokens]:
    """Return the complete windows of a token stream, and the position of each token in its document and window.

    Window i has the tokens i · length to (i + 1) · length, both included. Its inputs are the first `length` tokens, its
    targets the last `length`. The target of the last input is the first input of the next window, as in Megatron's
    GPTDataset. Each token except the first is a target once, and each token except the last is an input once.

    Position ids restart from 0 at the start of a window and at the first token of each document, as attention within
    documents requires. The rest of a document from the previous window cannot attend to it, so it restarts from 0.

    Args:
        ids: Token stream, int32[n].
        starts: Positions at which documents begin, int64[documents], ascending. An empty document begins at the same
            position as the next.
        length: Inputs per window, at least 1.

    Returns:
        Token ids and position ids, int32[w, length + 1] each, with w = (n - 1) // length. Both are copies.
    """
    count = max(len(ids) - 1, 0) // length
    if not count:
        return np.empty((0, length + 1), np.int32), np.empty((0, length + 1), np.int32)
    span = count * length + 1
    cut = np.lib.stride_tricks.sliding_window_view(ids[:span], length + 1)[::length].copy()
    document = np.zeros(span, np.int64)  # start of the document of each token
    inside = starts[(starts > 0) & (starts < span)]
    document[inside] = inside
    np.maximum.accumulate(document, out=document)
    first = np.arange(count, dtype=np.int64)[:, None] * length
    position = first + np.arange(length + 1)
    return cut, (position - np.maximum(document[position], first)).astype(np.int32)


def cu_seqlens(position_ids: npt.NDArray[np.integer]) -> Tokens:
    """Return the cumulative sequence lengths of a batch, for attention kernels of variable length.

    The rows of the batch are concatenated. Every row begins with position 0, so no document spans two rows.

    Args:
        position_ids: Position ids of the inputs, integers[rows, inputs] or [inputs]: `position_ids[..., :-1]` of the
            windows.

    Returns:
        int32[documents + 1]: the start of each document, then the number of tokens.
    """
    flat = np.ravel(position_ids)
    return np.append(np.flatnonzero(flat == 0), len(flat)).astype(np.int32)
