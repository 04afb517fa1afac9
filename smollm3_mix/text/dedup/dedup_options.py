"""What counts as a duplicate, and how much memory finding out may take."""

from dataclasses import dataclass
from typing import ClassVar

BYTES_PER_KEY = 13
"""Bytes a key of a document takes: 8 for itself, 4 / 0.82 for its slots, and its part of the work on a block."""


@dataclass(frozen=True)
class Near:
    """Two documents are near duplicates when their MinHash signatures agree in all of a band.

    Documents whose shingles overlap by Jaccard j meet with probability 1 - (1 - j^rows)^bands: with the defaults,
    which are FineWeb's (Penedo et al. 2024, section 3.4), 0.92 at j = 0.8, 0.56 at 0.7, 0.05 at 0.5. More bands or
    fewer rows find more.

    A shingle is of words as they are written. Lowering case and leaving out punctuation, as FineWeb does, found 111
    more and 92 fewer near duplicates in 16,281 real documents: no difference beyond the chance in MinHash.

    Attributes:
        bands: parts of a signature, any of which may agree; 1 to 64. Each takes 13 bytes of memory a document.
        rows: minima in a band, all of which must agree; 1 to 16.
        ngram: words in a shingle, 1 to 64; a shorter document is one shingle. A document in a script without spaces is
            shingled by characters, twice as many in Chinese and Japanese, four times as many in Thai and its like.
        jaccard: least Jaccard, as estimated from the whole signatures, of two documents that agree in a band; 0 = any.
            Of 2,025 pairs found in 37,771 real documents by the other defaults, 95 % had a Jaccard of 0.5 or more;
            with 0.6 here 1,773 pairs were left, 99.9 % of them such, and none of 0.7 or more was lost.
    """

    bands: int = 14
    rows: int = 8
    ngram: int = 5
    jaccard: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("bands", 64), ("rows", 16), ("ngram", 64)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"dedup.near.{name}: expected a whole number from 1 to {most}, got {value!r}")
        if isinstance(self.jaccard, bool) or not isinstance(self.jaccard, int | float) or not 0 <= self.jaccard <= 1:
            raise ValueError(f"dedup.near.jaccard: expected a number from 0 to 1, got {self.jaccard!r}")

    @property
    def bits(self) -> int:
        """Bits of each minimum that are kept in a band's key of 64."""
        return min(64 // self.rows, 32)


@dataclass(frozen=True)
class IndexRef:
    """A dedup index that was built before, to be looked up in.

    Attributes:
        path: folder, tried beside the recipe and then here, or a URL such as hf://datasets/<owner>/<name>/<folder>.
        digest: of the index; filled in when the mix is opened. What stands in a recipe already must be the index's.
    """

    SHORTHAND: ClassVar[str] = "path"
    SYNONYMS: ClassVar[dict[str, str]] = {"at": "path"}
    path: str
    digest: str | None = None

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("dedup.index.path: expected the folder of an index, got ''")


@dataclass(frozen=True)
class Dedup:
    """Which duplicates are dropped, and the memory that remembering may take.

    Attributes:
        exact: drop documents whose cleaned text is that of an earlier one, byte for byte.
        near: drop near duplicates too; None = keep them.
        memory: bytes for the whole mix, divided evenly by its lanes: 13 a document for exact dedup, and 13 for each
            band of near dedup. So 1 GiB is 82 million documents, or 5.5 million with 14 bands.
        index: of the same sources, cleaning, rules and dedup; dedup then spans all lanes and remembers nothing.
    """

    exact: bool = True
    near: Near | None = None
    memory: int = 2**30
    index: IndexRef | None = None

    def __post_init__(self) -> None:
        if isinstance(self.memory, bool) or not isinstance(self.memory, int) or self.memory < 1:
            raise ValueError(f"dedup.memory: expected a number of bytes, got {self.memory!r}")

    @property
    def keys_per_document(self) -> int:
        """Keys remembered of each document: one of its bytes, one for each band."""
        return int(self.exact) + (self.near.bands if self.near else 0)

    def capacity(self, lanes: int) -> int:
        """Documents that each of so many lanes can remember; 0 without dedup."""
        return (
            min(self.memory // lanes // (BYTES_PER_KEY * self.keys_per_document), 2**32 - 2)
            if self.keys_per_document
            else 0
        )

    def false_positive_rate(self, documents: int) -> float:
        """Bound on the probability that a new document has a key in common with one of so many others by chance.

        Keys are 64 bits of a hash, each compared with those of the same kind alone. What bands find that are equal
        because texts are alike is no part of it.
        """
        return documents * self.keys_per_document * 2.0**-64

    @property
    def needs_state(self) -> bool:
        """Whether documents are remembered as they come: something is to be dropped, and no index says what."""
        return self.index is None and self.keys_per_document > 0
