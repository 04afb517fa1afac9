"""Open-addressing table from keys to the first document that had them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
_HALF = np.uint64(32)
_FULL = 0.8  # of the slots are filled at most: 1 / (1 - 0.8) = 5 probes for a key that is not there
_LEAST = 256  # documents there is room for at first
_PIECE = 1 << 14  # documents entered at once when the table is made anew


class Index:
    """Keys of documents in order of arrival, and which document was the first to have a key in a column.

    A key of 0 is no key: it is kept but never found. Memory: 8 bytes a key and 4 / 0.8 = 5 for the table, which holds document
    numbers only; what they stand for is looked up. Room doubles as documents arrive; while the table is made anew, the old
    one is already gone.

    Args:
        columns: keys of a document.
        memory: bytes that keys and table may take together.
    """

    def __init__(self, columns: int, memory: int) -> None:
        self.columns = columns
        self.bytes_each = 13 * columns
        self.capacity = min(memory // max(self.bytes_each, 1), 2**32 - 2)
        self._documents = 0
        self._keys = np.zeros((0, columns), dtype=np.uint64)
        self._table = np.zeros(1, dtype=np.uint32)  # document number + 1; 0 = free

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

    def keys_of(self, documents: Ints) -> Keys:
        """uint64[len(documents), columns]: keys of these documents."""
        return self._keys[documents]

    def find(self, keys: Keys) -> Ints:
        """int64[rows, columns]: the first document with each of `keys` (uint64[rows, columns]) in its column, -1 if none."""
        found = np.full(keys.size, -1, dtype=np.int64)
        todo = np.flatnonzero(keys)
        wanted = keys.reshape(-1)[todo]
        column = todo % self.columns
        place, step = probes(wanted, column)
        held = self._keys.reshape(-1)
        while len(todo):
            entry = self._table.take(self._slots(place))
            on = np.flatnonzero(entry)
            entry, column, wanted, todo = entry[on], column[on], wanted[on], todo[on]
            document = entry.astype(np.int64) - 1
            other = held.take(document * self.columns + column) != wanted
            same = ~other
            found[todo[same]] = document[same]
            todo, column, wanted = todo[other], column[other], wanted[other]
            on = on[other]
            step = step[on]
            place = place[on] + step
        return found.reshape(keys.shape)

    def add(self, keys: Keys) -> None:
        """Keep these documents (uint64[documents, columns]) as the next ones; the caller minds the capacity."""
        begin, end = self._documents, self._documents + len(keys)
        grown = end > len(self._keys)
        if grown:
            self._grow(end)
        self._keys[begin:end] = keys
        self._documents = end
        for piece in range(0 if grown else begin, end, _PIECE):
            self._enter(piece, min(piece + _PIECE, end))

    def _grow(self, documents: int) -> None:
        """Room for at least so many documents, and an empty table for them."""
        room = min(max(documents, 2 * len(self._keys), _LEAST), max(self.capacity, documents))
        self._table = np.zeros(0, dtype=np.uint32)
        self._keys.resize((room, self.columns), refcheck=False)  # in place: never two copies of the keys
        self._table = np.zeros(int(room * self.columns / _FULL), dtype=np.uint32)

    def _enter(self, begin: int, end: int) -> None:
        """Point the table at the keys of documents `begin` to `end`, save those that an earlier document has."""
        held = self._keys.reshape(-1)
        todo = np.flatnonzero(held[begin * self.columns : end * self.columns]) + begin * self.columns
        wanted = held[todo]
        column = todo % self.columns
        entry = (todo // self.columns + 1).astype(np.uint32)
        place, step = probes(wanted, column)
        while len(wanted):
            slot = self._slots(place)
            free = np.flatnonzero(self._table.take(slot) == 0)[::-1]  # reversed: of those that want one slot the first gets it
            self._table[slot[free]] = entry[free]
            # Whoever holds the slot now may be oneself, or an earlier document with the same key: both are done.
            holder = self._table.take(slot).astype(np.int64) - 1
            on = np.flatnonzero(held.take(holder * self.columns + column) != wanted)
            entry, column, wanted, step = entry[on], column[on], wanted[on], step[on]
            place = place[on] + step

    def _slots(self, place: Keys) -> Ints:
        """int64: slot of each place on the ring of 2^64, for a table of any size."""
        return ((place >> _HALF) * np.uint64(len(self._table)) >> _HALF).astype(np.int64)


def probes(keys: Keys, column: Ints) -> tuple[Keys, Keys]:
    """Where to look first for each key of each column, and by how much to go on (uint64, on a ring of 2^64)."""
    place = (keys ^ (keys >> _HALF)) * _SPREAD
    place ^= place >> _HALF
    place += column.astype(np.uint64) * _SPREAD
    place *= _SPREAD
    return place, (place << _HALF) | np.uint64(1)
