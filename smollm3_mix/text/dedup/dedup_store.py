"""Dedup state of a lane: the documents it has accepted, found by text hash or by band, in bounded memory."""

import hashlib
from collections.abc import Iterable

import numpy as np

from smollm3_mix.errors import MixError, StateError
from smollm3_mix.text.dedup.dedup_options import BYTES_PER_KEY, Dedup
from smollm3_mix.text.dedup.key_table import Codes, Flags, Keys, KeyTable

FIRST, EXACT, NEAR = 0, 1, 2
"""Codes of `DedupStore.classify`: first occurrence, exact duplicate, near duplicate."""


class DedupStore:
    """Documents that one lane has accepted, with which later documents are compared.

    Decisions depend on the documents and their order, not on the blocks. A document takes 13 bytes for exact dedup (8
    of them are half of its text hash) and 13 bytes per band: 195 bytes with 14 bands. The capacity doubles as needed,
    up to `memory` bytes. Then `classify` raises. No document is forgotten.

    False positives: keys are compared by 64 bits, so a new document collides with one of n others with a probability of
    n · 2^-64 per key. See `Dedup.false_positive_rate`.

    With `near.jaccard`, a document is compared with the first document that had the same band, in each band.

    Args:
        dedup: Dedup options.
        memory: Maximum number of bytes for this lane.

    Raises:
        ValueError: If `dedup` has neither exact nor near.
    """

    def __init__(self, dedup: Dedup, memory: int) -> None:
        self._dedup, self._near = dedup, dedup.near
        self._exact = int(dedup.exact)
        self._columns = dedup.keys_per_document
        if not self._columns:
            raise ValueError("dedup must have exact or near, got neither. Without both, do not create a DedupStore")
        self._memory = memory
        self._table = KeyTable(self._columns, memory)
        self._hash = hashlib.blake2b(digest_size=16)

    def __len__(self) -> int:
        """Return the number of stored documents."""
        return len(self._table)

    @property
    def capacity(self) -> int:
        """Number of documents that fit into the memory of the lane."""
        return self._table.capacity

    @property
    def nbytes(self) -> int:
        """Bytes in use, at most the memory of the lane."""
        return self._table.nbytes

    @property
    def digest(self) -> str:
        """Digest of all stored keys in order, 32 hexadecimal digits. Equal digests imply equal decisions."""
        return self._hash.hexdigest()

    def classify(self, text_hashes: Keys, signatures: Keys | None, candidates: Flags) -> Codes:
        """Classify each row as FIRST, EXACT or NEAR duplicate, and store the first occurrences.

        Rows are processed in order, so a row can be a duplicate of an earlier row of the same call. Duplicates are not
        stored.

        Args:
            text_hashes: Result of `hash_texts`, uint64[rows, 2].
            signatures: Result of `minhash_signatures`, uint64[rows, bands]. Ignored without near dedup, may then be
                None.
            candidates: False for rows to skip, bool[rows]. These are FIRST and are not stored.

        Returns:
            uint8[rows].

        Raises:
            MixError: If the memory of the lane is full. No row of this call is stored then.
        """
        before = len(self)
        keys = self._keys(text_hashes, signatures, len(candidates))
        codes, rejected = self._table.classify(keys, candidates, self._exact, self._near)
        if rejected:
            raise self._memory_error(self.capacity - before + rejected)
        self._hash.update(self._table.keys_since(before).astype("<u8", copy=False).tobytes())
        return codes

    def keys_since(self, document: int) -> Keys:
        """Return the keys of stored documents from number `document` on, uint64[documents, columns]. See `restore`."""
        return self._table.keys_since(document)

    def restore(self, parts: Iterable[Keys]) -> None:
        """Store keys that `keys_since` returned, in order. Later decisions equal those of the store they come from.

        Raises:
            StateError: If the store is not empty, or the keys were saved with other dedup options.
            MixError: If the keys do not fit into the memory of the lane.
        """
        if len(self):
            raise StateError(f"Cannot restore a store that has {len(self):,} documents. Restore a new DedupStore.")
        for part in parts:
            if part.dtype != np.uint64 or part.ndim != 2 or part.shape[1] != self._columns:
                raise StateError(
                    f"saved dedup state must be uint64[documents, {self._columns}], got {part.dtype}{list(part.shape)}."
                    f" It was saved with options other than {self._dedup}. Resume with the same `dedup` options, or "
                    "start from the beginning."
                )
            if len(self) + len(part) > self.capacity:
                raise self._memory_error(len(part))
            self._table.add(part)
            self._hash.update(part.astype("<u8").tobytes())

    def _keys(self, text_hashes: Keys, signatures: Keys | None, rows: int) -> Keys:
        """Return all keys of each row, uint64[rows, columns]."""
        keys = np.empty((rows, self._columns), dtype=np.uint64)
        if self._exact:
            keys[:, 0] = text_hashes[:, 0]
        if self._near:
            if signatures is None:
                raise ValueError(f"near dedup requires signatures[{rows}, {self._near.bands}], got None")
            keys[:, self._exact :] = signatures
        return keys

    def _memory_error(self, more: int) -> MixError:
        each = BYTES_PER_KEY * self._columns
        return MixError(
            f"dedup.memory is exhausted: {self._memory:,} bytes per lane are enough for {self.capacity:,} documents of "
            f"{each} bytes. {len(self):,} are stored, and {more:,} more must be. Set dedup.memory to "
            f"{2 * self._dedup.memory} (now {self._dedup.memory}) for twice as many, or reduce the number of documents."
        )
