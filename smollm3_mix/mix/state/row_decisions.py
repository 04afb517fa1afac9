"""Decisions of a source's first pass on each row of a lane, one bit per row, for later passes."""

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]

_HEADER = 12  # bytes before the bits of a range: 8 for its first row, 4 for its number of rows


class RowDecisions:
    """Rows that were kept, by position in the pass. Rows can be looked up in other ranges than they were added in."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._sizes: list[int] = []
        self._bits: list[bytes] = []

    def add(self, start: int, kept: Flags) -> None:
        """Add the decisions on the rows from `start` on. The rows must follow all rows added before."""
        self._starts.append(start)
        self._sizes.append(len(kept))
        self._bits.append(np.packbits(kept).tobytes())

    def at(self, start: int, rows: int) -> tuple[Flags, Flags]:
        """Return the rows from `start` on that were kept, and the rows with a known decision.

        Returns:
            Two bool arrays, one value per row. A row without a known decision is not kept.
        """
        kept, known = np.zeros(rows, bool), np.zeros(rows, bool)
        index = max(bisect_right(self._starts, start) - 1, 0)
        while index < len(self._starts) and self._starts[index] < start + rows:
            first, size = self._starts[index], self._sizes[index]
            low, high = max(first, start), min(first + size, start + rows)
            if low < high:
                bits = np.unpackbits(np.frombuffer(self._bits[index], np.uint8), count=size).astype(bool)
                kept[low - start : high - start] = bits[low - first : high - first]
                known[low - start : high - start] = True
            index += 1
        return kept, known

    def to_bytes(self) -> bytes:
        """Return all decisions, for `from_bytes`."""
        return b"".join(
            start.to_bytes(8, "little") + size.to_bytes(4, "little") + bits
            for start, size, bits in zip(self._starts, self._sizes, self._bits, strict=True)
        )

    @classmethod
    def from_bytes(cls, joined: bytes) -> "RowDecisions":
        """Return the decisions that `to_bytes` wrote."""
        found, at = cls(), 0
        while at < len(joined):
            start = int.from_bytes(joined[at : at + 8], "little")
            size = int.from_bytes(joined[at + 8 : at + _HEADER], "little")
            at += _HEADER
            found._starts.append(start)
            found._sizes.append(size)
            found._bits.append(joined[at : at + (size + 7) // 8])
            at += (size + 7) // 8
        return found
