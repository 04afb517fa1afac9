"""What the first pass of a source in a lane decided on each row, one bit a row, for the passes after it."""

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]

_HEAD = 12  # bytes before a stretch's bits: 8 for its first row, 4 for its rows


class RowDecisions:
    """Rows kept, by place in the pass. Rows may be asked for in other stretches than they came in."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._sizes: list[int] = []
        self._bits: list[bytes] = []

    def add(self, start: int, keep: Flags) -> None:
        """Remember the verdicts on rows `start` and on; behind all that are remembered."""
        self._starts.append(start)
        self._sizes.append(len(keep))
        self._bits.append(np.packbits(keep).tobytes())

    def at(self, start: int, rows: int) -> tuple[Flags, Flags]:
        """bool[rows] twice: which rows from `start` on were kept, and of which that is known; unknown ones are not."""
        keep, known = np.zeros(rows, bool), np.zeros(rows, bool)
        place = max(bisect_right(self._starts, start) - 1, 0)
        while place < len(self._starts) and self._starts[place] < start + rows:
            first, size = self._starts[place], self._sizes[place]
            low, high = max(first, start), min(first + size, start + rows)
            if low < high:
                bits = np.unpackbits(np.frombuffer(self._bits[place], np.uint8), count=size).astype(bool)
                keep[low - start : high - start] = bits[low - first : high - first]
                known[low - start : high - start] = True
            place += 1
        return keep, known

    def to_bytes(self) -> bytes:
        """All of it; see `from_bytes`."""
        return b"".join(
            start.to_bytes(8, "little") + size.to_bytes(4, "little") + bits
            for start, size, bits in zip(self._starts, self._sizes, self._bits, strict=True)
        )

    @classmethod
    def from_bytes(cls, joined: bytes) -> "RowDecisions":
        """What `to_bytes` gave."""
        found, at = cls(), 0
        while at < len(joined):
            start = int.from_bytes(joined[at : at + 8], "little")
            size = int.from_bytes(joined[at + 8 : at + _HEAD], "little")
            at += _HEAD
            found._starts.append(start)
            found._sizes.append(size)
            found._bits.append(joined[at : at + (size + 7) // 8])
            at += (size + 7) // 8
        return found
