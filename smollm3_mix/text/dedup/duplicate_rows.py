"""Duplicate rows of one file, as stored in a dedup index."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.uint32]

EXACT, NEAR = 1, 2
"""Codes of `DuplicateRows.codes`, the same as those of `DedupStore.classify`."""

MAX_ROW = 2**32 - 1
"""Largest row number that an index can store."""


@dataclass(frozen=True, eq=False)
class DuplicateRows:
    """Duplicate rows of one file, 4 bytes per duplicate.

    Attributes:
        duplicates: Rows whose text equals an earlier one, uint32, ascending.
        near: Rows that are near duplicates of an earlier one, uint32, ascending. Disjoint from `duplicates`.
    """

    duplicates: Rows
    near: Rows

    @property
    def nbytes(self) -> int:
        """Size of `to_bytes` in bytes."""
        return self.duplicates.nbytes + self.near.nbytes

    def codes(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return EXACT or NEAR for each duplicate row, 0 for the others, uint8[rows].

        Finds the range of the rows in each list with two binary searches, and reads only this range.

        Args:
            rows: Row numbers, int64[n], ascending, n ≥ 1.

        >>> DuplicateRows(np.array([3], np.uint32), np.array([5, 9], np.uint32)).codes(np.array([2, 3, 5, 6])).tolist()
        [0, 1, 2, 0]
        """
        found = np.zeros(len(rows), np.uint8)
        low, high = np.minimum(rows[[0, -1]], MAX_ROW).astype(
            np.uint32
        )  # same dtype as the lists, which would be copied otherwise
        for code, listed in ((EXACT, self.duplicates), (NEAR, self.near)):
            some = listed[np.searchsorted(listed, low) : np.searchsorted(listed, high, side="right")].astype(np.int64)
            position = np.searchsorted(rows, some)
            found[position[rows[position] == some]] = code
        return found

    def to_bytes(self) -> bytes:
        """Return `duplicates`, then `near`, as little-endian 32-bit numbers that can be memory-mapped."""
        return self.duplicates.astype("<u4").tobytes() + self.near.astype("<u4").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, duplicates: int) -> "DuplicateRows":
        """Return the object from the result of `to_bytes` and the number of its exact duplicates."""
        rows = np.frombuffer(data, "<u4").astype(np.uint32, copy=False)
        return cls(rows[:duplicates], rows[duplicates:])
