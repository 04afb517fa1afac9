"""Packed tokens a second: ours beside `interleave_datasets`, map(tokenize) and the same packing.

    python bench/packing.py CORPUS TOKENIZER [--windows 1800] [--after 600] [--repeats 3]

CORPUS holds the folders of SOURCES of bench/throughput.py, TOKENIZER is a file that `tokenizers` reads. One process,
one thread of the tokenizer, in turns; processor time, medians. All ways give windows of 4,096 + 1 tokens of the same
weights. Ours cleans and drops exact duplicates besides; `plain` does neither; `tokenizers alone` does not use tiktoken.
The clock of tokens a second runs from the window `--after` on, when every way has filled its buffers, which it then
keeps filled; what a way needs to get there is in its column `start`, in seconds to the first window. `encode` is the
tokenizer alone, on the first texts of the corpus in one array: no way that encodes with it can be faster.
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
import smollm3_mix.packing.packed_mix
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
    """Windows of `packed`."""
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
    """Windows of `interleave_datasets`, a batched map and the same arithmetic of packing."""
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
    line, starts = np.empty(0, np.int32), np.empty(0, np.int64)
    for batch in mixed.map(encode, batched=True, remove_columns=["text"]).iter(256):
        edges = np.cumsum([0, *map(len, batch["ids"])])
        starts = np.concatenate([starts, edges[:-1] + len(line)])
        line = np.concatenate([line, *(np.array(ids, np.int32) for ids in batch["ids"])])
        cut, places = token_windows.windows(line, starts, LENGTH)
        used = len(cut) * LENGTH
        line, starts = line[used:], starts[starts >= used] - used
        yield from zip(cut, places, strict=True)


def bare(corpus: Path, tokenizer: Path, size: int = 16 << 20) -> float:
    """Tokens a second of encoding alone, texts of all sources by weight."""
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
    encoder.encode(array[:1])  # the start is not timed
    begun = time.process_time()
    encoded = encoder.encode(array)
    return len(encoded.values) / (time.process_time() - begun)


def without_twin(work: Callable[[], Any]) -> Any:
    """What `work` gives where no tokenizer has a twin, as without tiktoken."""
    had = smollm3_mix.tokenizer.tiktoken_backend.load_backend
    smollm3_mix.tokenizer.tiktoken_backend.load_backend = lambda _path, _encoder: None
    smollm3_mix.tokenizer.recipe_tokenizer._loaded.cache_clear()
    try:
        return work()
    finally:
        smollm3_mix.tokenizer.tiktoken_backend.load_backend = had
        smollm3_mix.tokenizer.recipe_tokenizer._loaded.cache_clear()


def timed(start: Callable[[], Iterator[Any]], windows: int, after: int) -> tuple[float, float]:
    """Seconds to the first window, and tokens a second of those after the first `after`."""
    begun = time.process_time()
    found = start()
    next(found)
    first = time.process_time() - begun
    for _ in islice(found, after - 1):
        pass
    begun = time.process_time()
    count = sum(1 for _ in islice(found, windows))
    return first, count * LENGTH / (time.process_time() - begun)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("corpus", type=Path)
    options.add_argument("tokenizer", type=Path)
    options.add_argument("--windows", type=int, default=1800, help="windows that are timed")
    options.add_argument("--after", type=int, default=600, help="windows before them")
    options.add_argument("--repeats", type=int, default=3)
    asked = options.parse_args()
    given = asked.corpus, asked.tokenizer
    count = asked.windows, asked.after
    last = "interleave + map + packing"
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "packed": lambda: timed(lambda: ours(*given, plain=False), *count),
        "packed, plain": lambda: timed(lambda: ours(*given, plain=True), *count),
        "packed, tokenizers alone": lambda: without_twin(lambda: timed(lambda: ours(*given, plain=False), *count)),
        last: lambda: timed(lambda: peer(*given), *count),
        "encode": lambda: (0.0, bare(*given)),
        "encode, tokenizers alone": lambda: (0.0, without_twin(lambda: bare(*given))),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(asked.repeats):
        for name, way in ways.items():
            seconds[name].append(way())
    base = statistics.median(speed for _, speed in seconds[last])
    for name, found in seconds.items():
        first, speed = (statistics.median(each) for each in zip(*found, strict=True))
        print(f"{name:28} {speed:12,.0f} tokens/s  x{speed / base:5.2f}   start {first:5.1f} s")


if __name__ == "__main__":
    main()
