"""Open-addressing table from keys to the first document that had them."""

import numpy as np
import numpy.typing as npt

from smollm3_mix.dedup.options import BYTES

Keys = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Of the slots are filled at most: then 1 / (1 - 0.82) = 5.6 probes tell that a key is not there. A key with its slots
# takes 8 + 4 / 0.82 = 12.88 of the 13 bytes that are stated; the rest is for the work on a block.
_FULL = 0.82
_LEAST = 256  # documents there is room for at first
_PIECE = 1 << 10  # documents entered at once when the table is made anew
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
_HALF = np.uint64(32)


class Index:
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
        self.capacity = min(memory // (BYTES * columns), 2**32 - 2)
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

    def since(self, document: int) -> Keys:
        """uint64[documents, columns]: copy of the keys of all documents from number `document` on."""
        return self._keys[document : self._documents].copy()

    def keys(self, documents: Ints) -> Keys:
        """uint64[len(documents), columns]: keys of the documents with these numbers."""
        return self._keys[documents]

    def find(self, keys: Keys) -> Ints:
        """int64[rows, columns]: the first document with each of uint64[rows, columns] in its column, -1 if none."""
        found = np.full(keys.size, -1, dtype=np.int64)
        held = self._keys.reshape(-1)
        todo = np.flatnonzero(keys)
        wanted, column = keys.reshape(-1)[todo], todo % self.columns
        place = places(wanted, column)
        while len(todo):
            entry = self._table.take(self._slots(place))
            taken = np.flatnonzero(entry)
            document = entry[taken].astype(np.int64) - 1
            other = held.take(document * self.columns + column[taken]) != wanted[taken]
            same = ~other
            found[todo[taken[same]]] = document[same]
            on = taken[other]
            todo, wanted, column, place = todo[on], wanted[on], column[on], _further(place[on])
        return found.reshape(keys.shape)

    def add(self, keys: Keys) -> None:
        """Hold these documents (uint64[documents, columns]) as the next ones; no more than fit into the capacity."""
        begin, end = self._documents, self._documents + len(keys)
        grows = end > len(self._keys)
        if grows:
            self._grow(end)
        self._keys[begin:end] = keys
        self._documents = end
        for piece in range(0 if grows else begin, end, _PIECE):
            self._enter(piece, min(piece + _PIECE, end))

    def _grow(self, documents: int) -> None:
        """Room for so many documents at least, and an empty table."""
        room = min(max(documents, 2 * len(self._keys), _LEAST), self.capacity)
        self._table = np.zeros(0, dtype=np.uint32)
        self._keys.resize((room, self.columns), refcheck=False)  # in place: there are never two copies of the keys
        self._table = np.zeros(int(room * self.columns / _FULL), dtype=np.uint32)

    def _enter(self, begin: int, end: int) -> None:
        """Point the table at the keys of documents `begin` to `end`, save those that an earlier document has."""
        held = self._keys.reshape(-1)
        todo = begin * self.columns + np.flatnonzero(held[begin * self.columns : end * self.columns])
        wanted, column = held[todo], todo % self.columns
        entry = (todo // self.columns + 1).astype(np.uint32)
        place = places(wanted, column)
        while len(wanted):
            slot = self._slots(place)
            free = np.flatnonzero(self._table.take(slot) == 0)[
                ::-1
            ]  # reversed: of several at one slot the first gets it
            self._table[slot[free]] = entry[free]
            # Who holds the slot now may be oneself, or an earlier document with the same key: both are done.
            holder = self._table.take(slot).astype(np.int64) - 1
            on = np.flatnonzero(held.take(holder * self.columns + column) != wanted)
            entry, column, wanted, place = entry[on], column[on], wanted[on], _further(place[on])

    def _slots(self, place: Keys) -> Ints:
        """int64: slot of each place on the ring of 2^64, for a table of any size below 2^32 slots."""
        return ((place >> _HALF) * np.uint64(len(self._table)) >> _HALF).astype(np.int64)


def places(keys: Keys, column: Ints) -> Keys:
    """uint64: where on a ring of 2^64 each key of each column is looked for first.

    Different for two keys of one column, and for equal keys of two columns.
    """
    place = _further(keys) + column.astype(np.uint64) * _SPREAD
    return _further(place)


def _further(place: Keys) -> Keys:
    """Where to look next; a bijection. With steps of one length, some keys come back to the same full slots again."""
    place = place ^ (place >> _HALF)
    place *= _SPREAD
    place += _SPREAD
    return place
