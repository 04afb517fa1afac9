"""The documents that a lane has accepted, found again by fingerprint or by band, in bounded memory."""

import hashlib
from collections.abc import Iterable

import numpy as np

from smollm3_mix.errors import MixError, StateError
from smollm3_mix.text.dedup.dedup_options import BYTES_PER_KEY, Dedup
from smollm3_mix.text.dedup.key_table import Codes, Flags, Keys, KeyTable

FIRST, EXACT, NEAR = 0, 1, 2
"""What `Seen.first` says of a row: not seen before, seen byte for byte, nearly seen."""


class DedupStore:
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
        self._columns = dedup.keys_per_document
        if not self._columns:
            raise ValueError("dedup: expected exact: true or near, got neither; nothing need be remembered then")
        self._memory = memory
        self._index = KeyTable(self._columns, memory)
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

    def classify(self, fingerprints: Keys, signatures: Keys | None, candidates: Flags) -> Codes:
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
        before = len(self)
        keys = self._joined(fingerprints, signatures, len(candidates))
        codes, lacking = self._index.classify(keys, candidates, self._exact, self._near)
        if lacking:
            raise self._full(self.capacity - before + lacking)
        self._log.update(self._index.keys_since(before).astype("<u8", copy=False).tobytes())
        return codes

    def keys_since(self, document: int) -> Keys:
        """uint64[documents, columns]: what is remembered of documents number `document` and later; see `restore`."""
        return self._index.keys_since(document)

    def restore(self, parts: Iterable[Keys]) -> None:
        """Remember what `keys_since` gave, in order; every later verdict is that of the Seen which gave it.

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
            if len(self) + len(part) > self.capacity:
                raise self._full(len(part))
            self._index.add(part)
            self._log.update(part.astype("<u8").tobytes())

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

    def _full(self, more: int) -> MixError:
        each = BYTES_PER_KEY * self._columns
        return MixError(
            f"dedup.memory: the {self._memory:,} bytes of a lane hold {self.capacity:,} documents at {each} bytes; "
            f"{len(self):,} are remembered and {more:,} more have come. Set dedup.memory to "
            f"{2 * self._dedup.memory} (now {self._dedup.memory}) for twice as many, or take fewer documents"
        )
