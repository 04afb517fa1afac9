"""Encode texts to token ids with `tokenizers` and `tiktoken` (extra `tokenizers`).

`tokenizers` decides the ids. `tiktoken` returns the same ids faster, for tokenizers and texts for which equality is
proven (see `tiktoken_backend`).
"""

import functools
import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.errors import MissingExtraError, SourceError
from smollm3_mix.tokenizer.tiktoken_backend import TiktokenBackend, load_backend

FILE = "tokenizer.json"

END_TOKENS = ("<|end_of_text|>", "<|endoftext|>", "</s>", "<eos>", "<|eos|>")
"""End-of-document tokens of the vocabularies of Llama 3, GPT-2 and SmolLM2, Llama 2 and Mistral, Gemma, others."""

EOS = "auto"
"""Value that selects the only token of the vocabulary that is in `END_TOKENS`."""

BATCH_SIZE = 1024
"""Number of texts to encode at once. Bounds the memory of the encodings."""

IDS = pa.large_list(pa.int32())
"""Type of a column of token ids, one list per document."""


class Tokenizer:
    """A tokenizer with the tokens before and after each document.

    Special tokens that are written out in a text are encoded as plain text, so no document can end another. Truncation,
    padding and the tokenizer's template of special tokens are disabled.

    Args:
        path: Path of the tokenizer file.
        bos: Token before each document. None adds no token.
        eos: Token after each document. None adds no token.

    Attributes:
        vocab: Largest id plus one, added tokens included.
        bos: Id of the token before each document, or None.
        eos: Id of the token after each document, or None.

    Raises:
        MissingExtraError: If `tokenizers` is not installed.
        SourceError: If the file is not a tokenizer, or has no such token.
    """

    def __init__(self, path: str, bos: str | None = None, eos: str | None = None) -> None:
        if multiprocessing.parent_process() is not None:  # worker processes already share the cores
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._path = path
        self._encoder = read_encoder(path)
        self._encoder.no_truncation()
        self._encoder.no_padding()
        self._encoder.encode_special_tokens = True
        self.vocab = 1 + max(self._encoder.get_vocab(with_added_tokens=True).values(), default=-1)
        self.bos, self.eos = self._id("bos", bos), self._id("eos", eos)

    def encode(self, texts: pa.StringArray) -> pa.LargeListArray:
        """Return the token ids of each text, `bos` and `eos` included. large_list<int32>[rows]."""
        pieces, lengths = [np.empty(0, np.int32)], [np.zeros(1, np.int64)]
        for found, counts in self._batches(texts):
            pieces.append(self._place(found, counts))
            lengths.append(counts)
        offsets = np.cumsum(np.concatenate(lengths))
        return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(pieces)))

    def count(self, texts: pa.StringArray) -> npt.NDArray[np.int64]:
        """Return the number of tokens of each text, `bos` and `eos` included. int64[rows]."""
        return np.concatenate([np.empty(0, np.int64), *(counts for _, counts in self._batches(texts))])

    def _batches(self, texts: pa.StringArray) -> Iterator[tuple[list[list[int]], npt.NDArray[np.int64]]]:
        """Yield the ids of BATCH_SIZE texts at a time, with their token counts int64[texts], `bos` and `eos`
        included.
        """
        around = (self.bos is not None) + (self.eos is not None)
        for start in range(0, len(texts), BATCH_SIZE):
            found = self._ids(texts[start : start + BATCH_SIZE])
            yield found, np.fromiter(map(len, found), np.int64, len(found)) + around

    @functools.cached_property
    def _backend(self) -> TiktokenBackend | None:
        """The tiktoken backend, created for the first texts. Takes a second or two for a large vocabulary."""
        return load_backend(self._path, self._encoder)

    def _ids(self, texts: pa.StringArray) -> list[list[int]]:
        """Return the ids of each text, without `bos` and `eos`."""
        if self._backend is None:
            return self._encode_slowly(texts.to_pylist())
        supported = self._backend.supports(texts).tolist()
        rest = iter(self._encode_slowly(texts.filter(pa.array([not one for one in supported], pa.bool_())).to_pylist()))
        encode = self._backend.encode
        return [encode(text) if fast else next(rest) for text, fast in zip(texts.to_pylist(), supported, strict=True)]

    def _encode_slowly(self, texts: list[str]) -> list[list[int]]:
        return [each.ids for each in self._encoder.encode_batch_fast(texts, add_special_tokens=False)] if texts else []

    def _place(self, found: list[list[int]], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Return the ids end to end, with `bos` and `eos` around each text. `lengths` includes both tokens."""
        ends = np.cumsum(lengths)
        stream = np.empty(ends[-1], np.int32)
        first = int(self.bos is not None)
        if self.bos is not None:
            stream[ends - lengths] = self.bos
        if self.eos is not None:
            stream[ends - 1] = self.eos
        for start, ids in zip((ends - lengths + first).tolist(), found, strict=True):
            stream[start : start + len(ids)] = ids
        return stream

    def _id(self, key: str, token: str | None) -> int | None:
        if token is None:
            return None
        found: int | None = self._encoder.token_to_id(token)
        if found is None:
            some = ", ".join(added.content for added in list(self._encoder.get_added_tokens_decoder().values())[:8])
            raise SourceError(
                f"tokenizer {self._path}: {key}: no token {token!r} in the vocabulary. "
                f"Special tokens: {some or 'none'}. Name a token of the vocabulary, or `none`."
            )
        return found


def read_encoder(path: str) -> Any:
    """Return the encoder of `tokenizers` for a file.

    Raises:
        MissingExtraError: If `tokenizers` is not installed.
        SourceError: If the file is not a tokenizer.
    """
    try:
        from tokenizers import Tokenizer as Encoder
    except ImportError as missing:
        raise MissingExtraError(
            "Counting tokens with a tokenizer requires tokenizers. Install it: pip install 'smollm3_mix[tokenizers]'. "
            "Or count with `tokens: per_byte`.",
            package="tokenizers",
            extra="tokenizers",
        ) from missing
    try:
        return Encoder.from_file(path)
    except Exception as error:
        raise SourceError(
            f"{path} is not a valid tokenizer: {error}. Pass a {FILE} that tokenizers can read."
        ) from error
