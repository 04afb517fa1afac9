"""The documents a lane has accepted, found again by fingerprint or by band, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from smollm3_mix.dedup.index import Flags, Index, Keys, probes
from smollm3_mix.dedup.options import Dedup
from smollm3_mix.errors import MixError, StateError

FIRST, EXACT, NEAR = 0, 1, 2
"""What `Seen.first` says of a row: never seen before, seen byte for byte, nearly seen."""


class Seen:
    """Documents accepted so far in one lane, of which later ones are duplicates.

    Verdicts depend on the documents and their order alone, not on how they are cut into blocks. Each document accepted keeps
    8 bytes of its fingerprint (`dedup.exact`) and 8 for each band (`dedup.near`); with the table that finds them 13 B for
    each: 13 B a document for exact dedup, 195 B with 14 bands. Room doubles as needed up to `memory` bytes, then `first`
    raises; nothing is forgotten.

    Wrong verdicts: 64 bits of the fingerprint are compared, so a new document is taken for one of n remembered by chance with
    probability n · 2^-64: 5e-13 at 10 million.

    Args:
        dedup: what a duplicate is.
        memory: bytes this lane may take.
    """

    def __init__(self, dedup: Dedup, memory: int) -> None:
        self._dedup = dedup
        self._exact = int(dedup.exact)
        self._columns = self._exact + (dedup.near.bands if dedup.near else 0)
        self._index = Index(self._columns, memory)
        self._log = hashlib.blake2b(digest_size=16)

    def __len__(self) -> int:
        """Documents remembered."""
        return len(self._index)

    @property
    def capacity(self) -> int:
        """Documents that can be remembered within the memory of this lane."""
        return self._index.capacity

    @property
    def nbytes(self) -> int:
        """Bytes held now; at most the memory of this lane."""
        return self._index.nbytes

    @property
    def digest(self) -> str:
        """32 hex digits over all keys in order: equal digests, equal verdicts."""
        return self._log.hexdigest()

    def first(self, fingerprints: Keys, signatures: Keys | None, candidates: Flags) -> npt.NDArray[np.uint8]:
        """uint8[rows]: FIRST for a row not seen before, which is remembered now; else EXACT or NEAR.

        Rows enter in order: one can be the duplicate of an earlier row of the same call, if that was accepted. A row that
        is dropped is not remembered. Compared is with all documents accepted before, by fingerprint first.

        Args:
            fingerprints: uint64[rows, 2], as of `fingerprints`.
            signatures: uint64[rows, bands], as of `signatures`; a row of zeros has none. None without near dedup.
            candidates: bool[rows]; where False the row is neither looked up nor remembered, and the result is FIRST.

        Raises:
            MixError: the lane's memory is full. Nothing of this call is remembered then.
        """
        codes = np.zeros(len(candidates), dtype=np.uint8)
        keys = self._rows(fingerprints, signatures, candidates)
        asked = np.flatnonzero(candidates & keys.any(axis=1))
        keys = keys[asked]
        known = self._index.find(keys) >= 0
        verdicts = np.where(known.any(axis=1), NEAR, FIRST).astype(np.uint8)
        if self._exact:
            verdicts[known[:, 0]] = EXACT
        self._among(keys, verdicts)
        codes[asked] = verdicts
        self._remember(keys[verdicts == FIRST])
        return codes

    def log_since(self, document: int) -> Keys:
        """uint64[documents, columns]: keys of the documents remembered from number `document` on, for `restore`."""
        return self._index.since(document)

    def restore(self, parts: Iterable[Keys]) -> None:
        """Remember again what `log_since` gave out, in order; judges from then on like the Seen that wrote it.

        Raises:
            StateError: this Seen is not empty, or the parts were written under another `dedup`.
            MixError: they do not fit into the lane's memory.
        """
        if len(self):
            raise StateError(f"only an empty Seen can be restored, this one holds {len(self):,} documents; make a new one")
        for part in parts:
            if part.dtype != np.uint64 or part.ndim != 2 or part.shape[1] != self._columns:
                raise StateError(
                    f"expected uint64 keys in {self._columns} columns ({self._dedup}), got {part.dtype}{list(part.shape)}; "
                    "resume with the dedup that the state was saved with, or start afresh"
                )
            self._remember(part)

    def _rows(self, fingerprints: Keys, signatures: Keys | None, candidates: Flags) -> Keys:
        """uint64[rows, columns]: what is remembered of each row."""
        rows, bands = len(candidates), self._columns - self._exact
        shape = None if signatures is None else signatures.shape
        if fingerprints.shape != (rows, 2) or (bands and shape != (rows, bands)):
            raise ValueError(
                f"expected fingerprints[{rows}, 2] and signatures[{rows}, {bands}] for {rows} candidates, "
                f"got {list(fingerprints.shape)} and {shape and list(shape)}"
            )
        keys = np.empty((rows, self._columns), dtype=np.uint64)
        if self._exact:
            keys[:, 0] = fingerprints[:, 0]
        if signatures is not None and bands:
            keys[:, self._exact :] = signatures
        return keys

    def _among(self, keys: Keys, verdicts: npt.NDArray[np.uint8]) -> None:
        """Mark in `verdicts` the rows still FIRST that repeat an earlier accepted row of the same call."""
        fresh = np.flatnonzero(verdicts == FIRST)
        marks = probes(keys[fresh], np.arange(self._columns))[0]
        marks[keys[fresh] == 0] = 0
        ordered = np.sort(marks, axis=None)
        twice = ordered[1:][(ordered[1:] == ordered[:-1]) & (ordered[1:] != 0)]
        # Few rows share a key with another one; only these are walked through, in order.
        shared = np.flatnonzero(np.isin(marks, twice).any(axis=1)) if len(twice) else twice
        taken: list[set[int]] = [set() for _ in range(self._columns)]
        for place in fresh[shared].tolist():
            mine = keys[place].tolist()
            hits = [column for column, key in enumerate(mine) if key and key in taken[column]]
            if hits:
                verdicts[place] = EXACT if self._exact and hits[0] == 0 else NEAR
                continue
            for column, key in enumerate(mine):
                taken[column].add(key)

    def _remember(self, keys: Keys) -> None:
        """Append these documents to the index and the log."""
        if len(self) + len(keys) > self.capacity:
            raise self._full(len(keys))
        self._index.add(keys)
        self._log.update(keys.astype("<u8").tobytes())

    def _full(self, more: int) -> MixError:
        """The error of a lane whose memory is used up."""
        each = self._index.bytes_each
        whole = self._dedup.memory
        return MixError(
            f"dedup.memory: a lane's share of {whole:,} bytes holds {self.capacity:,} documents at {each} bytes each; it has "
            f"remembered {len(self):,} and {more:,} more are to come. Give dedup.memory: {2 * whole} for twice as many, "
            "near: null for 13 bytes each, or take fewer documents"
        )
