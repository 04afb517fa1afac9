"""Hash table with open addressing from keys to the first document that has them."""

import numpy as np
import numpy.typing as npt

from smollm3_mix.text.dedup.dedup_options import BYTES_PER_KEY, Near
from smollm3_mix.text.kernels import native

Keys = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.uint8]

# Maximum load factor. A missing key then takes 1 / (1 - 0.82) = 5.6 probes. A key and its slots take 8 + 4 / 0.82 =
# 12.88 of the 13 documented bytes. The rest is for the work on a block.
_MAX_LOAD = 0.82
_MIN_CAPACITY = 256  # documents
# Share of the capacity up to which the allocation doubles. Above it, the whole capacity is allocated at once. The keys
# may be copied when they grow: the old and the new ones then take 8 · (0.6 + 1) = 12.8 of the 13 bytes.
_MAX_DOUBLING = 0.6
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
_HALF = np.uint64(32)


class KeyTable:
    """Keys of documents in order of arrival, with a lookup of the first document that has a key in a column.

    A key of 0 is stored, but never found. The table has document numbers only, and compares the keys of these
    documents. The allocation doubles as documents arrive, and at last grows to
    the whole capacity. The old table is freed before the new one is allocated.

    Args:
        columns: Keys per document.
        memory: Maximum number of bytes of keys and table together.

    Attributes:
        columns: Keys per document.
        capacity: Number of documents that fit into `memory`.
    """

    def __init__(self, columns: int, memory: int) -> None:
        self.columns = columns
        self.capacity = min(memory // (BYTES_PER_KEY * columns), 2**32 - 2)
        self._documents = 0
        self._keys = np.zeros((0, columns), dtype=np.uint64)
        self._table = np.zeros(1, dtype=np.uint32)  # document number + 1, 0 for a free slot

    def __len__(self) -> int:
        """Return the number of stored documents."""
        return self._documents

    @property
    def nbytes(self) -> int:
        """Bytes in use."""
        return self._keys.nbytes + self._table.nbytes

    def keys_since(self, document: int) -> Keys:
        """Return a copy of the keys of all documents from number `document` on, uint64[documents, columns]."""
        return self._keys[document : self._documents].copy()

    def classify(self, keys: Keys, candidates: Flags, exact: int, near: Near | None) -> tuple[Codes, int]:
        """Return the codes of `DedupStore.classify`, and the number of documents that exceed the capacity.

        Stores the first occurrences. If some exceed the capacity, none of this call is stored.

        Args:
            keys: uint64[rows, columns], contiguous.
            candidates: Rows to look up, bool[rows].
            exact: Number of leading columns that are keys of whole texts.
            near: Options that decide if documents with a common key in another column are near duplicates.
        """
        before = self._documents
        self._reserve(before + int(np.count_nonzero(candidates)))
        codes = np.empty(len(keys), dtype=np.uint8)
        options = (near.bands, near.rows, near.bits, near.jaccard) if near else (0, 1, 1, 0.0)
        found = native.find_duplicates(
            keys, candidates, len(keys), self.columns, exact, *options,
            self._keys, before, len(self._keys), self._table, len(self._table), codes,
        )  # fmt: skip
        if found < 0:
            self._rebuild(np.zeros_like(self._table))
            return codes, -1 - found
        self._documents = found
        return codes, 0

    def add(self, keys: Keys) -> None:
        """Store the keys of new documents, uint64[documents, columns]. They must fit into the capacity."""
        begin, end = self._documents, self._documents + len(keys)
        self._reserve(end)
        self._keys[begin:end] = keys
        self._documents = end
        native.insert_keys(self._keys, begin, end, self.columns, self._table, len(self._table))

    def _reserve(self, documents: int) -> None:
        """Allocate space for this number of documents, up to the capacity."""
        if min(documents, self.capacity) <= len(self._keys):
            return
        allocated = max(documents, 2 * len(self._keys), _MIN_CAPACITY)
        if allocated > _MAX_DOUBLING * self.capacity:
            allocated = self.capacity
        self._table = np.zeros(0, dtype=np.uint32)
        self._keys.resize((allocated, self.columns), refcheck=False)
        keys = allocated * self.columns
        slots = max(int(keys / _MAX_LOAD), keys + 1)  # without a free slot, a search for a missing key would not end
        self._rebuild(np.zeros(slots, dtype=np.uint32))

    def _rebuild(self, table: npt.NDArray[np.uint32]) -> None:
        """Insert all stored documents into an empty table, and use it from now on."""
        self._table = table
        native.insert_keys(self._keys, 0, self._documents, self.columns, table, len(table))


def ring_positions(keys: Keys, column: Ints) -> Keys:
    """Return the position of each key on a hash ring of 2^64, uint64. Keys are partitioned into ranges by position.

    Different keys of one column have different positions, and so have equal keys of two columns.
    """
    return _next_position(_next_position(keys) + column.astype(np.uint64) * _MULTIPLIER)


def _next_position(position: Keys) -> Keys:
    """Return the next position of a search. A bijection."""
    position = position ^ (position >> _HALF)
    position *= _MULTIPLIER
    position += _MULTIPLIER
    return position
