"""Packed tokens per second: `open_packed` and `interleave_datasets` with a batched map and the same packing.

    python bench/packing.py CORPUS TOKENIZER [--windows 1800] [--after 600] [--repeats 3]

CORPUS contains the folders of SOURCES of bench/throughput.py. TOKENIZER is a file that `tokenizers` reads. Each method
runs in one process with one tokenizer thread. Times are processor time, medians. All methods make windows of 4,096 + 1
tokens with the same weights. `packed` also cleans and drops exact duplicates. `plain` does neither. `tokenizers alone`
does not use tiktoken.

The clock starts at window `--after`, when every method has filled its buffers. The column `start` is the seconds to the
first window. `encode` is the tokenizer alone, on the first texts of the corpus in one array. It is the upper bound of
all methods that encode with this tokenizer.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from throughput import SEED, SOURCES
from tokenizers import Tokenizer

import smollm3_mix
import smollm3_mix.tokenizer.encoder
import smollm3_mix.tokenizer.recipe_tokenizer
import smollm3_mix.tokenizer.tiktoken_backend
from smollm3_mix.recipe.model import Kind, Source
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.text import token_windows
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.dedup.dedup_options import Dedup

LENGTH = 4096


def ours(corpus: Path, tokenizer: Path, *, plain: bool) -> Iterator[Any]:
    """Return the windows of `open_packed`."""
    sources = tuple(
        Source(
            id=origin.folder,
            weight=origin.weight,
            name=str(corpus / origin.folder),
            kind=Kind(origin.kind),
            clean=Cleaning("none") if plain else Kind(origin.kind).cleaning,
            max_passes=9,
        )
        for origin in SOURCES
    )
    recipe = Recipe(sources=sources, seed=SEED, lanes=1, dedup=Dedup(exact=not plain), on_exhausted="repeat")
    return iter(smollm3_mix.open_packed(recipe, tokenizer=tokenizer, sequence_length=LENGTH))


def peer(corpus: Path, tokenizer: Path) -> Iterator[Any]:
    """Yield the windows of `interleave_datasets`, a batched map and the same packing."""
    encoder = Tokenizer.from_file(str(tokenizer))
    end = next(id_ for token in ("<|end_of_text|>", "<|endoftext|>", "</s>") if (id_ := encoder.token_to_id(token)))

    def encode(batch: dict[str, list[str]]) -> dict[str, Any]:
        return {"ids": [[*one.ids, end] for one in encoder.encode_batch(batch["text"], add_special_tokens=False)]}

    only = {"columns": ["text"], "features": datasets.Features({"text": datasets.Value("string")})}
    files = [str(corpus / origin.folder / "**" / "*.parquet") for origin in SOURCES]
    streams = [
        datasets.load_dataset("parquet", data_files=each, split="train", streaming=True, **only).repeat(None)
        for each in files
    ]
    total = sum(origin.weight for origin in SOURCES)
    mixed = datasets.interleave_datasets(streams, [origin.weight / total for origin in SOURCES], seed=SEED)
    stream, starts = np.empty(0, np.int32), np.empty(0, np.int64)
    for batch in mixed.map(encode, batched=True, remove_columns=["text"]).iter(256):
        edges = np.cumsum([0, *map(len, batch["ids"])])
        starts = np.concatenate([starts, edges[:-1] + len(stream)])
        stream = np.concatenate([stream, *(np.array(ids, np.int32) for ids in batch["ids"])])
        cut, positions = token_windows.windows(stream, starts, LENGTH)
        used = len(cut) * LENGTH
        stream, starts = stream[used:], starts[starts >= used] - used
        yield from zip(cut, positions, strict=True)


def encode(corpus: Path, tokenizer: Path, size: int = 16 << 20) -> float:
    """Return the tokens per second of encoding texts of all sources, by weight."""
    texts: list[str] = []
    total = sum(origin.weight for origin in SOURCES)
    for origin in SOURCES:
        left = int(size * origin.weight / total)
        for path in sorted((corpus / origin.folder).rglob("*.parquet")):
            for text in pq.read_table(path, columns=["text"])["text"].to_pylist():
                if left > 0:
                    texts.append(text)
                    left -= len(text.encode())
    encoder, array = smollm3_mix.tokenizer.encoder.Tokenizer(str(tokenizer)), pa.array(texts)
    encoder.encode(array[:1])  # the first call also loads
    started = time.process_time()
    encoded = encoder.encode(array)
    return len(encoded.values) / (time.process_time() - started)


def without_tiktoken(measure: Callable[[], Any]) -> Any:
    """Return the result of `measure` without the tiktoken backend."""
    original = smollm3_mix.tokenizer.tiktoken_backend.load_backend
    smollm3_mix.tokenizer.tiktoken_backend.load_backend = lambda _path, _encoder: None
    smollm3_mix.tokenizer.recipe_tokenizer._loaded.cache_clear()
    try:
        return measure()
    finally:
        smollm3_mix.tokenizer.tiktoken_backend.load_backend = original
        smollm3_mix.tokenizer.recipe_tokenizer._loaded.cache_clear()


def timed(start: Callable[[], Iterator[Any]], windows: int, after: int) -> tuple[float, float]:
    """Return the seconds to the first window, and the tokens per second after the first `after` windows."""
    started = time.process_time()
    found = start()
    next(found)
    first = time.process_time() - started
    for _ in islice(found, after - 1):
        pass
    started = time.process_time()
    count = sum(1 for _ in islice(found, windows))
    return first, count * LENGTH / (time.process_time() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--windows", type=int, default=1800, help="number of timed windows")
    parser.add_argument("--after", type=int, default=600, help="number of windows before the timed ones")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    files = options.corpus, options.tokenizer
    count = options.windows, options.after
    last = "interleave + map + packing"
    methods: dict[str, Callable[[], tuple[float, float]]] = {
        "packed": lambda: timed(lambda: ours(*files, plain=False), *count),
        "packed, plain": lambda: timed(lambda: ours(*files, plain=True), *count),
        "packed, tokenizers alone": lambda: without_tiktoken(lambda: timed(lambda: ours(*files, plain=False), *count)),
        last: lambda: timed(lambda: peer(*files), *count),
        "encode": lambda: (0.0, encode(*files)),
        "encode, tokenizers alone": lambda: (0.0, without_tiktoken(lambda: encode(*files))),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for _ in range(options.repeats):
        for name, method in methods.items():
            seconds[name].append(method())
    base = statistics.median(speed for _, speed in seconds[last])
    for name, found in seconds.items():
        first, speed = (statistics.median(each) for each in zip(*found, strict=True))
        print(f"{name:28} {speed:12,.0f} tokens/s  x{speed / base:5.2f}   start {first:5.1f} s")


if __name__ == "__main__":
    main()
