"""The encoder of `tiktoken` that gives a tokenizer's ids, several times faster; only where that can be proven.

A byte-level BPE by `tokenizers` (H) merges, in each piece of a text, the adjacent pair that stands first in its list of
merges, leftmost first, until none is listed. `tiktoken` (K) merges the adjacent pair whose bytes together are the token
of the least id, leftmost first, until none are a token; a piece that is a token as a whole is that token. Both are the
same function on every piece if

1. ids of what the merges make never fall from one merge to the next, and
2. no token's own bytes are encoded by H, merges only, as exactly two tokens.

Proof. Let both have done the same merges so far, and let x, y be adjacent with x + y the bytes of a token U. Nothing
has been merged across the ends of x + y, so what was merged inside is what H merges in U alone: H encodes U by way of
the state [x, y]. By 2 it does not end there, so (x, y) is listed: what K may merge, H may merge, and the other way
round, as a merge makes a token. A run has one state of two parts at most, so all such pairs for U are this one pair; so
by 1 H's order by place in the list and K's by id agree, and both take the leftmost. They merge the same pair. ∎

Where a tokenizer merges in pieces that are tokens too (`ignore_merges: false`), the tokens that H does not make of
their own bytes are left out of K's vocabulary; the proof holds for those that stay, and H never makes the others.

The pieces are those of a pattern known to mean the same to both regular expression engines (`HEADS`), whose classes of
characters are compared in the versions installed. Texts with a character on which they differ, with an added token that
is matched in text, or with white space for pages on end (`SPACES`) are left to `tokenizers`.
"""

import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

SPACES = 500_000
"""Characters of the longest run of white space. Each takes a place on fancy-regex's stack, which has 10^6
(https://github.com/openai/tiktoken/issues/15)."""

HEADS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+",
)
"""Patterns that split a text, up to TAIL: of Llama 3 and SmolLM3, of GPT-2. They leave no character out."""

TAIL = r"|\s+(?!\S)|\s+"

CLASSES = (r"\p{L}", r"\p{N}", r"\s", r"(?i:[delmrstv])")
"""All classes of characters that the patterns are made of, besides single characters."""

CHARACTERS = "".join(
    chr(code)
    for first, end in (
        (0, 0x3400),
        (0x4DB6, 0x4E00),
        (0x9FA6, 0xAC00),
        (0xD7A4, 0xD800),
        (0xF900, 0x20000),
        (0x2A6D7, 0x34000),
    )
    for code in range(first, end)
)
"""All on which versions of Unicode may differ. What is left out are ideographs and syllables that are letters since
Unicode 3.1, what is private, and planes of which no letter, number or space has been assigned."""


def _alphabet() -> dict[int, int]:
    """The byte that each character of a byte-level vocabulary stands for: itself where it prints, else one from 256 on.

    GPT-2's `bytes_to_unicode` (https://github.com/openai/gpt-2/blob/master/src/encoder.py).
    """
    prints = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in prints]
    return {byte: byte for byte in prints} | {256 + n: byte for n, byte in enumerate(others)}


BYTES = _alphabet()
ALPHABET = frozenset(map(chr, BYTES))


class TiktokenBackend:
    """Encodes as a tokenizer does, without special tokens; `twin` makes one.

    Args:
        ranks: id of each token's bytes.
        head: one of HEADS.
        apart: characters and strings whose texts are not taken.
    """

    def __init__(self, ranks: dict[bytes, int], head: str, apart: set[str]) -> None:
        # A group of alternatives without looking around runs as one automaton, a row of them as one each: 1.25× faster.
        self._encoding = _encoding(ranks, f"(?:{head}){TAIL}")
        self._apart = "|".join(map(re.escape, sorted(apart)))

    def takes(self, texts: pa.StringArray) -> npt.NDArray[np.bool_]:
        """Whether each text may be given to `encode`, bool[rows]."""
        fit = np.ones(len(texts), np.bool_)
        if self._apart:
            fit = pc.invert(pc.match_substring_regex(texts, self._apart)).to_numpy(zero_copy_only=False).copy()
        for row in np.flatnonzero(pc.binary_length(texts).to_numpy() > SPACES).tolist():  # few are so long
            fit[row] &= max(map(len, re.findall(r"\s+", texts[row].as_py())), default=0) <= SPACES
        return fit

    def encode(self, text: str) -> list[int]:
        """Ids of a text that is taken."""
        return self._encoding.encode_ordinary(text)


def load_backend(path: str, encoder: Any) -> TiktokenBackend | None:
    """The twin of the tokenizer that was read from a file; None where `tiktoken` is missing or nothing is proven.

    Args:
        path: of the tokenizer.json.
        encoder: what `tokenizers` made of it.
    """
    try:
        import tiktoken  # noqa: F401
    except ImportError:
        return None
    described = json.loads(Path(path).read_bytes())
    head = _head(described)
    ranks = None if head is None else _ranks(described["model"], encoder.model)
    if head is None or ranks is None:
        return None
    matched = {token["content"] for token in described.get("added_tokens", ()) if not token.get("special")}
    return TiktokenBackend(ranks, head, matched | _doubtful())


def _head(described: dict[str, Any]) -> str | None:
    """The pattern's head, if nothing but it and the merges has a say in the ids."""
    if described.get("normalizer") is not None:
        return None
    match described.get("pre_tokenizer"):
        case {"type": "ByteLevel", "add_prefix_space": False, **rest} if rest.get("use_regex", True):
            return HEADS[1]
        case {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        }:
            return next((head for head in HEADS if pattern == head + TAIL), None)
    return None


def _ranks(described: dict[str, Any], model: Any) -> dict[bytes, int] | None:
    """Ids of the tokens' bytes, if the two conditions hold."""
    plain = ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
    if described.get("type") != "BPE" or any(described.get(key) for key in plain):
        return None
    vocab: dict[str, int] = described["vocab"]
    merges = (merge.split(" ") if isinstance(merge, str) else merge for merge in described["merges"])
    made = np.array([vocab[left + right] for left, right in merges], np.int64)
    if not vocab.keys() >= ALPHABET or (np.diff(made) < 0).any():
        return None
    whole = model.ignore_merges
    model.ignore_merges = False
    try:
        parts = {token: len(model.tokenize(token)) for token in vocab if token and ALPHABET.issuperset(token)}
    finally:
        model.ignore_merges = whole
    if whole and 2 in parts.values():
        return None
    kept = (token for token, count in parts.items() if whole or count == 1)
    return {token.translate(BYTES).encode("latin-1"): vocab[token] for token in kept}


@functools.cache
def _doubtful() -> frozenset[str]:
    """Characters that are of a class for one of the two engines only: each has the Unicode tables of its version."""
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Split

    found: set[str] = set()
    for characters in CLASSES:
        ours = bytes(_encoding({bytes([byte]): byte for byte in range(256)}, characters).encode_ordinary(CHARACTERS))
        runs = Split(Regex(characters + "+"), "removed", invert=True).pre_tokenize_str(CHARACTERS)
        found |= set(ours.decode()) ^ set("".join(run for run, _ in runs))
    return frozenset(found)


def _encoding(ranks: dict[bytes, int], pattern: str) -> Any:
    import tiktoken

    return tiktoken.Encoding("load_backend", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
