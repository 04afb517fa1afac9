"""Texts to token ids, by the packages `tokenizers` and `tiktoken` (extra `tokenizers`).

`tokenizers` decides what the ids are. `tiktoken` makes the same ones faster, of the tokenizers and texts for which that
is proven (`twin`).
"""

import functools
import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.errors import MissingExtra, SourceError
from smollm3_mix.tokenizer.tiktoken_backend import Twin, twin

FILE = "tokenizer.json"

ENDS = ("<|end_of_text|>", "<|endoftext|>", "</s>", "<eos>", "<|eos|>")
"""Tokens that end a document in the vocabularies of Llama 3, GPT-2 and SmolLM2, Llama 2 and Mistral, Gemma, others."""

EOS = "auto"
"""Stands for the one token of the vocabulary that is known to end a document (`ENDS`)."""

TEXTS = 1024
"""Texts encoded at once, to bound what the encodings take beside their ids."""

IDS = pa.large_list(pa.int32())
"""Type of a column of token ids, a list for each document."""


class Tokenizer:
    """A tokenizer, with what is put before and after each document.

    Special tokens written out in a text are text like any other, so no document can end another; truncation, padding
    and the tokenizer's own template of special tokens are not used.

    Args:
        path: of the file.
        bos: token put before each document, None for none.
        eos: token put after each document, None for none.

    Attributes:
        vocab: one more than the largest id, added tokens included.
        bos, eos: their ids, None for none.

    Raises:
        MissingExtra: `tokenizers` is not installed.
        SourceError: the file is no tokenizer, or does not have such a token.
    """

    def __init__(self, path: str, bos: str | None = None, eos: str | None = None) -> None:
        if multiprocessing.parent_process() is not None:  # workers share the cores already
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._path = path
        self._encoder = read_encoder(path)
        self._encoder.no_truncation()
        self._encoder.no_padding()
        self._encoder.encode_special_tokens = True
        self.vocab = 1 + max(self._encoder.get_vocab(with_added_tokens=True).values(), default=-1)
        self.bos, self.eos = self._id("bos", bos), self._id("eos", eos)

    def encode(self, texts: pa.StringArray) -> pa.LargeListArray:
        """Token ids of each text, with the tokens put before and after; large_list<int32>[rows]."""
        pieces, lengths = [np.empty(0, np.int32)], [np.zeros(1, np.int64)]
        for found, mine in self._batches(texts):
            pieces.append(self._laid(found, mine))
            lengths.append(mine)
        offsets = np.cumsum(np.concatenate(lengths))
        return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(pieces)))

    def count(self, texts: pa.StringArray) -> npt.NDArray[np.int64]:
        """Tokens of each text, those put before and after among them; int64[rows]."""
        return np.concatenate([np.empty(0, np.int64), *(mine for _, mine in self._batches(texts))])

    def _batches(self, texts: pa.StringArray) -> Iterator[tuple[list[list[int]], npt.NDArray[np.int64]]]:
        """Ids of TEXTS texts at a time, and int64[texts]: tokens of each, those put before and after among them."""
        around = (self.bos is not None) + (self.eos is not None)
        for start in range(0, len(texts), TEXTS):
            found = self._ids(texts[start : start + TEXTS])
            yield found, np.fromiter(map(len, found), np.int64, len(found)) + around

    @functools.cached_property
    def _twin(self) -> Twin | None:
        """Made for the first texts, since it takes a second or two where the vocabulary is large."""
        return twin(self._path, self._encoder)

    def _ids(self, texts: pa.StringArray) -> list[list[int]]:
        """Ids of each text alone."""
        if self._twin is None:
            return self._slowly(texts.to_pylist())
        taken = self._twin.takes(texts).tolist()
        rest = iter(self._slowly(texts.filter(pa.array([not one for one in taken], pa.bool_())).to_pylist()))
        encode = self._twin.encode
        return [encode(text) if mine else next(rest) for text, mine in zip(texts.to_pylist(), taken, strict=True)]

    def _slowly(self, texts: list[str]) -> list[list[int]]:
        return [each.ids for each in self._encoder.encode_batch_fast(texts, add_special_tokens=False)] if texts else []

    def _laid(self, found: list[list[int]], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """The ids end to end, with the tokens before and after each; `lengths` counts these."""
        ends = np.cumsum(lengths)
        line = np.empty(ends[-1], np.int32)
        first = int(self.bos is not None)
        if self.bos is not None:
            line[ends - lengths] = self.bos
        if self.eos is not None:
            line[ends - 1] = self.eos
        for start, ids in zip((ends - lengths + first).tolist(), found, strict=True):
            line[start : start + len(ids)] = ids
        return line

    def _id(self, key: str, token: str | None) -> int | None:
        if token is None:
            return None
        found: int | None = self._encoder.token_to_id(token)
        if found is None:
            some = ", ".join(added.content for added in list(self._encoder.get_added_tokens_decoder().values())[:8])
            raise SourceError(
                f"tokenizer {self._path}: {key}: it has no token {token!r}; its special tokens: {some or 'none'}. "
                f"Name one of its tokens, or `none`."
            )
        return found


def read_encoder(path: str) -> Any:
    """Read a tokenizer file.

    Raises:
        MissingExtra: `tokenizers` is not installed.
        SourceError: `tokenizers` cannot read the file.
    """
    try:
        from tokenizers import Tokenizer as Encoder
    except ImportError as missing:
        raise MissingExtra(
            "counting tokens with a tokenizer needs tokenizers, which is missing: pip install 'smollm3_mix[tokenizers]'"
            ", or count with `tokens: per_byte`"
        ) from missing
    try:
        return Encoder.from_file(path)
    except Exception as error:
        raise SourceError(f"{path} is no tokenizer: {error}. Give a {FILE} that tokenizers can read.") from error
