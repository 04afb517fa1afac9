"""What counts as a duplicate, and how much memory finding out may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Near:
    """Two documents are near duplicates when their MinHash signatures of word n-grams agree in a whole band.

    Documents whose n-grams overlap by Jaccard j meet with probability 1 - (1 - j^rows)^bands: 0.77 at j = 0.75 and
    0.06 at j = 0.5 by the defaults, which are FineWeb's (Penedo et al. 2024, section 3.4).

    Attributes:
        bands: parts of a signature, any of which may agree; 1 to 64.
        rows: minima in a band, all of which must agree; 1 to 16.
        ngram: words in a shingle, 1 to 64; a shorter document is one shingle. Where most of a document is in a script
            without spaces (Chinese, Japanese, Thai, Lao, Burmese, Khmer, Tibetan), a shingle is twice as many characters.
    """

    bands: int = 14
    rows: int = 8
    ngram: int = 5

    def __post_init__(self) -> None:
        for name, most in (("bands", 64), ("rows", 16), ("ngram", 64)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"dedup.near.{name}: expected a whole number from 1 to {most}, got {value!r}")


@dataclass(frozen=True)
class Dedup:
    """Which duplicates are dropped, and the bytes that remembering may take.

    Attributes:
        exact: drop documents whose cleaned text is, byte for byte, that of an earlier one.
        near: drop near duplicates too; None = keep them.
        memory: bytes for the whole mix, divided evenly by its lanes; see `Seen` for bytes a document.
    """

    exact: bool = True
    near: Near | None = None
    memory: int = 2**30

    def __post_init__(self) -> None:
        if isinstance(self.memory, bool) or not isinstance(self.memory, int) or self.memory < 1:
            raise ValueError(f"dedup.memory: expected a number of bytes, got {self.memory!r}")
