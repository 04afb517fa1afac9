"""Packed tokens a second: ours beside `interleave_datasets`, map(tokenize) and the same packing.

    python bench/packing.py CORPUS TOKENIZER [--windows 600] [--repeats 3]

CORPUS holds the folders of SOURCES of bench/throughput.py, TOKENIZER is a file that `tokenizers` reads. One process,
one thread of the tokenizer, in turns; processor time, medians. All ways give windows of 4,096 + 1 tokens of the same
weights until as many tokens have been given. Ours cleans and drops exact duplicates besides; `plain` does neither.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import datasets
import numpy as np
from throughput import SEED, SOURCES
from tokenizers import Tokenizer

import smollm3_mix
from smollm3_mix import pack
from smollm3_mix.clean import Cleaning
from smollm3_mix.dedup import Dedup
from smollm3_mix.recipe.model import Kind, Recipe, Source

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
    return iter(smollm3_mix.packed(recipe, tokenizer=tokenizer, sequence_length=LENGTH))


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
        cut, places = pack.windows(line, starts, LENGTH)
        used = len(cut) * LENGTH
        line, starts = line[used:], starts[starts >= used] - used
        yield from zip(cut, places, strict=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("corpus", type=Path)
    options.add_argument("tokenizer", type=Path)
    options.add_argument("--windows", type=int, default=600, help="windows that are timed")
    options.add_argument("--repeats", type=int, default=3)
    asked = options.parse_args()
    ways: dict[str, Callable[[], Iterator[Any]]] = {
        "packed": lambda: ours(asked.corpus, asked.tokenizer, plain=False),
        "packed, plain": lambda: ours(asked.corpus, asked.tokenizer, plain=True),
        "interleave + map + packing": lambda: peer(asked.corpus, asked.tokenizer),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.repeats):
        for name, start in ways.items():
            begun = time.process_time()  # from the start: what is read ahead would else be in nobody's time
            windows = start()
            for _ in range(asked.windows):
                next(windows)
            seconds[name].append(time.process_time() - begun)
    last = statistics.median(seconds["interleave + map + packing"])
    for name, found in seconds.items():
        middle = statistics.median(found)
        print(f"{name:28} {asked.windows * LENGTH / middle:12,.0f} tokens/s  x{last / middle:.2f}")


if __name__ == "__main__":
    main()
