"""Rows of one file that are duplicates, as they lie in a dedup index."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.uint32]

EXACT, NEAR = 1, 2
"""Codes of `DropSet.codes`; those of `Seen.first`."""

MAX_ROW = 2**32 - 1
"""Largest row number that fits."""


@dataclass(frozen=True, eq=False)
class DuplicateRows:
    """What is dropped of one file: 4 bytes a row that is a duplicate, nothing for the others.

    Attributes:
        duplicates: uint32, ascending: rows whose text came before, byte for byte.
        near: uint32, ascending: rows whose text nearly came before; none of `duplicates`.
    """

    duplicates: Rows
    near: Rows

    @property
    def nbytes(self) -> int:
        """Bytes of `to_bytes`."""
        return self.duplicates.nbytes + self.near.nbytes

    def codes(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """uint8[rows]: EXACT, NEAR, or 0 for a row that is kept.

        Two binary searches in each list, whatever its length; then only what lies among the rows is looked at.

        Args:
            rows: int64[n], ascending, n ≥ 1.

        >>> DropSet(np.array([3], np.uint32), np.array([5, 9], np.uint32)).codes(np.array([2, 3, 5, 6])).tolist()
        [0, 1, 2, 0]
        """
        found = np.zeros(len(rows), np.uint8)
        low, high = np.minimum(rows[[0, -1]], MAX_ROW).astype(
            np.uint32
        )  # of the lists' own type, or they would be copied
        for code, listed in ((EXACT, self.duplicates), (NEAR, self.near)):
            some = listed[np.searchsorted(listed, low) : np.searchsorted(listed, high, side="right")].astype(np.int64)
            place = np.searchsorted(rows, some)
            found[place[rows[place] == some]] = code
        return found

    def to_bytes(self) -> bytes:
        """Both lists, one behind the other, as little-endian 32-bit numbers; can be mapped into memory as it is."""
        return self.duplicates.astype("<u4").tobytes() + self.near.astype("<u4").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, duplicates: int) -> "DuplicateRows":
        """What `to_bytes` was called on, given how many rows of it are duplicates byte for byte."""
        rows = np.frombuffer(data, "<u4").astype(np.uint32, copy=False)
        return cls(rows[:duplicates], rows[duplicates:])
