"""128-bit hashes of whole documents."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from smollm3_mix.text.measure.words import text_view


def hash_texts(texts: pa.StringArray) -> npt.NDArray[np.uint64]:
    """Return the XXH3-128 of the UTF-8 bytes of each document with seed 0, high and low half, uint64[rows, 2].

    Equal documents have equal hashes on every machine. Other documents collide with probability 2^-128. XXH3 is not a
    cryptographic hash, so texts can be constructed whose hashes collide. The hash of a null document is 0, 0. The hash
    of an empty document is that of no bytes.

    Makes one call per document, because numpy has no hash of bytes: about 0.1 ns per byte and 0.3 µs per document.

    Raises:
        TypeError: If `texts` is not an Arrow string array.

    >>> [f"{half:016x}" for half in hash_texts(pa.array([""]))[0].tolist()]
    ['99aa06d3014798d8', '6001c324468d497f']
    """
    data, offsets = text_view(texts)
    view, bounds = data.data, offsets.tolist()
    digests = [xxhash.xxh3_128_digest(view[begin:end]) for begin, end in pairwise(bounds)]
    found = np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64).reshape(-1, 2)
    if texts.null_count:
        found[texts.is_null().to_numpy(zero_copy_only=False)] = 0
    return found
