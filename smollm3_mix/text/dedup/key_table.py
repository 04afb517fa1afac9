"""Open-addressing table from keys to the first document that had them."""

import numpy as np
import numpy.typing as npt

from smollm3_mix.text.dedup.dedup_options import BYTES_PER_KEY, Near
from smollm3_mix.text.kernels import native

Keys = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.uint8]

# Of the slots are filled at most: then 1 / (1 - 0.82) = 5.6 probes tell that a key is not there. A key with its slots
# takes 8 + 4 / 0.82 = 12.88 of the 13 bytes that are stated; the rest is for the work on a block.
_FULL = 0.82
_LEAST = 256  # documents there is room for at first
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
_HALF = np.uint64(32)


class KeyTable:
    """Keys of documents in order of arrival, and which document was the first to have a key in a column.

    A key of 0 is no key: kept, never found. The table holds numbers of documents only; what keys they stand for is
    looked up. Room doubles as documents arrive; when the table is made anew, the old one is gone before.

    Args:
        columns: keys of a document.
        memory: bytes that keys and table may take together.

    Attributes:
        columns: keys of a document.
        capacity: documents that fit into `memory`.
    """

    def __init__(self, columns: int, memory: int) -> None:
        self.columns = columns
        self.capacity = min(memory // (BYTES_PER_KEY * columns), 2**32 - 2)
        self._documents = 0
        self._keys = np.zeros((0, columns), dtype=np.uint64)
        self._table = np.zeros(1, dtype=np.uint32)  # document's number + 1; 0 = free

    def __len__(self) -> int:
        """Documents held."""
        return self._documents

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._keys.nbytes + self._table.nbytes

    def keys_since(self, document: int) -> Keys:
        """uint64[documents, columns]: copy of the keys of all documents from number `document` on."""
        return self._keys[document : self._documents].copy()

    def classify(self, keys: Keys, candidates: Flags, exact: int, near: Near | None) -> tuple[Codes, int]:
        """What is said of each row by `Seen.first`, and how many documents there was no room for.

        Those not seen before are held from then on; where there was no room for some, none of this call is.

        Args:
            keys: uint64[rows, columns], contiguous.
            candidates: bool[rows].
            exact: of so many columns, the first, a key in common is one of a whole text.
            near: when documents with a key in common in another column are alike.
        """
        before = self._documents
        self._make_room(before + int(np.count_nonzero(candidates)))
        codes = np.empty(len(keys), dtype=np.uint8)
        alike = (near.bands, near.rows, near.bits, near.jaccard) if near else (0, 1, 1, 0.0)
        found = native.find_duplicates(
            keys, candidates, len(keys), self.columns, exact, *alike,
            self._keys, before, len(self._keys), self._table, len(self._table), codes,
        )  # fmt: skip
        if found < 0:
            self._fill(np.zeros_like(self._table))
            return codes, -1 - found
        self._documents = found
        return codes, 0

    def add(self, keys: Keys) -> None:
        """Hold these documents (uint64[documents, columns]) as the next ones; no more than fit into the capacity."""
        begin, end = self._documents, self._documents + len(keys)
        self._make_room(end)
        self._keys[begin:end] = keys
        self._documents = end
        native.insert_keys(self._keys, begin, end, self.columns, self._table, len(self._table))

    def _make_room(self, documents: int) -> None:
        """Room for so many documents, as far as the capacity goes."""
        if min(documents, self.capacity) <= len(self._keys):
            return
        room = min(max(documents, 2 * len(self._keys), _LEAST), self.capacity)
        self._table = np.zeros(0, dtype=np.uint32)
        self._keys.resize((room, self.columns), refcheck=False)  # in place: there are never two copies of the keys
        keys = room * self.columns
        slots = max(int(keys / _FULL), keys + 1)  # without a free slot, a search for a missing key would never end
        self._fill(np.zeros(slots, dtype=np.uint32))

    def _fill(self, table: npt.NDArray[np.uint32]) -> None:
        """Have the documents in a table that is empty."""
        self._table = table
        native.insert_keys(self._keys, 0, self._documents, self.columns, table, len(table))


def ring_positions(keys: Keys, column: Ints) -> Keys:
    """uint64: a place on a ring of 2^64 for each key of each column, by which keys are dealt to ranges.

    Different for two keys of one column, and for equal keys of two columns.
    """
    place = _further(keys) + column.astype(np.uint64) * _SPREAD
    return _further(place)


def _further(place: Keys) -> Keys:
    """Places spread anew; a bijection."""
    place = place ^ (place >> _HALF)
    place *= _SPREAD
    place += _SPREAD
    return place
