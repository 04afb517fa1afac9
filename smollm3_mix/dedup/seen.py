"""The documents that a lane has accepted, found again by fingerprint or by band, in bounded memory."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from smollm3_mix.dedup.index import Flags, Index, Ints, Keys, places
from smollm3_mix.dedup.options import BYTES, Dedup, Near
from smollm3_mix.dedup.signature import agreement
from smollm3_mix.errors import MixError, StateError

FIRST, EXACT, NEAR = 0, 1, 2
"""What `Seen.first` says of a row: not seen before, seen byte for byte, nearly seen."""

Codes = npt.NDArray[np.uint8]


class Seen:
    """Documents accepted so far in one lane, of which later ones are duplicates.

    Verdicts depend on the documents and their order, not on how they are cut into blocks. 13 bytes a document are
    taken for exact dedup (8 of its fingerprint are kept), and 13 for each band: 195 in all with 14 bands. Room
    doubles as needed, up to `memory` bytes; then `first` raises. Nothing is forgotten.

    Wrong verdicts: as 64 bits are compared, a new document is taken for one of n others by chance with a probability of
    n · 2^-64 for each key, see `Dedup.false_positive_rate`.

    With `near.jaccard`, a document is compared with the first that had a band in common with it, in each band.

    Args:
        dedup: what a duplicate is.
        memory: bytes that this lane may take.

    Raises:
        ValueError: `dedup` has neither exact nor near.
    """

    def __init__(self, dedup: Dedup, memory: int) -> None:
        self._dedup, self._near = dedup, dedup.near
        self._exact = int(dedup.exact)
        self._columns = dedup.keys
        if not self._columns:
            raise ValueError("dedup: expected exact: true or near, got neither; nothing need be remembered then")
        self._memory = memory
        self._index = Index(self._columns, memory)
        self._log = hashlib.blake2b(digest_size=16)

    def __len__(self) -> int:
        """Documents remembered."""
        return len(self._index)

    @property
    def capacity(self) -> int:
        """Documents that can be remembered in this lane's memory."""
        return self._index.capacity

    @property
    def nbytes(self) -> int:
        """Bytes taken now, at most this lane's memory."""
        return self._index.nbytes

    @property
    def digest(self) -> str:
        """32 hex digits over all that is remembered, in order: equal digests, equal verdicts."""
        return self._log.hexdigest()

    def first(self, fingerprints: Keys, signatures: Keys | None, candidates: Flags) -> Codes:
        """uint8[rows]: FIRST for a row not seen before, which is remembered from now on; else EXACT or NEAR.

        Rows enter in order: a row may be the duplicate of an earlier one of the same call. What is dropped is not
        remembered.

        Args:
            fingerprints: uint64[rows, 2], from `fingerprints`.
            signatures: uint64[rows, bands], from `signatures`; not looked at without near dedup, where None will do.
            candidates: bool[rows]; where False, the row is neither looked up nor remembered, and called FIRST.

        Raises:
            MixError: the lane's memory is full. Nothing of this call is remembered then.
        """
        keys = self._joined(fingerprints, signatures, len(candidates))
        asked = np.flatnonzero(candidates & keys.any(axis=1))
        keys = keys[asked]
        holders = self._index.find(keys)
        verdicts = self._before(keys, holders)
        self._within(keys, holders, verdicts)
        self._remember(keys[verdicts == FIRST])
        codes = np.full(len(candidates), FIRST, dtype=np.uint8)
        codes[asked] = verdicts
        return codes

    def log_since(self, document: int) -> Keys:
        """uint64[documents, columns]: what is remembered of documents number `document` and later; see `restore`."""
        return self._index.since(document)

    def restore(self, parts: Iterable[Keys]) -> None:
        """Remember what `log_since` gave, in order; every later verdict is that of the Seen which gave it.

        Raises:
            StateError: something is remembered already, or the parts are of another `dedup`.
            MixError: they do not fit into this lane's memory.
        """
        if len(self):
            raise StateError(f"this Seen remembers {len(self):,} documents already; restore a new one")
        for part in parts:
            if part.dtype != np.uint64 or part.ndim != 2 or part.shape[1] != self._columns:
                raise StateError(
                    f"expected what is remembered as uint64[documents, {self._columns}], got {part.dtype}"
                    f"{list(part.shape)}; it was saved with another dedup than {self._dedup}. Resume with that one, "
                    "or start afresh"
                )
            self._remember(part)

    def _joined(self, fingerprints: Keys, signatures: Keys | None, rows: int) -> Keys:
        """uint64[rows, columns]: all keys of each row."""
        keys = np.empty((rows, self._columns), dtype=np.uint64)
        if self._exact:
            keys[:, 0] = fingerprints[:, 0]
        if self._near:
            if signatures is None:
                raise ValueError(f"expected signatures[{rows}, {self._near.bands}] for near dedup, got None")
            keys[:, self._exact :] = signatures
        return keys

    def _before(self, keys: Keys, holders: Ints) -> Codes:
        """uint8[rows]: verdicts by what was remembered before this call."""
        hits = holders >= 0
        verdicts = np.full(len(keys), FIRST, dtype=np.uint8)
        row, column = np.nonzero(hits[:, self._exact :])
        if len(row) and self._near and self._near.jaccard:
            row = row[self._alike(keys[row], self._index.keys(holders[row, column + self._exact]), self._near)]
        verdicts[row] = NEAR
        if self._exact:
            verdicts[hits[:, 0]] = EXACT
        return verdicts

    def _within(self, keys: Keys, holders: Ints, verdicts: Codes) -> None:
        """Change the verdict of rows that repeat an earlier row of the call, if that is accepted."""
        fresh = np.flatnonzero(verdicts == FIRST)
        free = np.where(holders < 0, keys, 0)[fresh]  # what an earlier document holds was compared with that one
        marks = places(free, np.arange(self._columns))
        ordered = np.sort(marks[free != 0])
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if not len(twice):
            return
        # Few rows have a key in common with another one; only these are gone through one by one.
        taken: dict[tuple[int, int], int] = {}
        for place in np.flatnonzero((np.isin(marks, twice) & (free != 0)).any(axis=1)).tolist():
            row = fresh[place]
            mine = [(column, key) for column, key in enumerate(free[place].tolist()) if key]
            verdicts[row] = self._verdict(row, [(pair[0], taken[pair]) for pair in mine if pair in taken], keys)
            if verdicts[row] == FIRST:
                for pair in mine:
                    taken.setdefault(pair, row)

    def _verdict(self, row: int, met: list[tuple[int, int]], keys: Keys) -> int:
        """Verdict on a row that meets earlier rows of its call, given as (column, row)."""
        if self._exact and met and met[0][0] == 0:
            return EXACT
        if met and self._near and self._near.jaccard:
            others = keys[[other for _, other in met]]
            return NEAR if self._alike(keys[[row] * len(met)], others, self._near).any() else FIRST
        return NEAR if met else FIRST

    def _alike(self, keys: Keys, others: Keys, near: Near) -> Flags:
        """bool[rows]: whether the signatures in each row of `keys` and `others` agree as far as `near.jaccard` asks."""
        return agreement(keys[:, self._exact :], others[:, self._exact :], near) >= near.jaccard

    def _remember(self, keys: Keys) -> None:
        if len(self) + len(keys) > self.capacity:
            each = BYTES * self._columns
            raise MixError(
                f"dedup.memory: the {self._memory:,} bytes of a lane hold {self.capacity:,} documents at {each} bytes; "
                f"{len(self):,} are remembered and {len(keys):,} more have come. Set dedup.memory to "
                f"{2 * self._dedup.memory} (now {self._dedup.memory}) for twice as many, or take fewer documents"
            )
        self._index.add(keys)
        self._log.update(keys.astype("<u8").tobytes())
