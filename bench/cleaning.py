"""Measure the cost of cleaning in nanoseconds of processor time per byte of text, by source.

    python bench/cleaning.py CORPUS [--repeats 5] [--mojibake]

CORPUS contains Parquet files with a column `text`, in folders named as on the Hub. Every folder of files is a source.
Those below `stack-edu` are cleaned as code, those below `finemath` as mathematics, and all others as prose. Text is
cleaned in blocks of up to 1,024 rows or 1 MiB, as a mix reads it. The table has medians over the repeats, the size of
the text in MB of 10^6 bytes, and the share of documents that cleaning changes. The line `all` counts every source by
its bytes.
"""

import argparse
import statistics
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smollm3_mix.text.clean.clean_block import clean_texts
from smollm3_mix.text.clean.cleaning_options import Cleaning

KINDS = {"stack-edu": "code", "finemath": "math"}
ROWS, BYTES = 1024, 2**20


def sources(corpus: Path) -> dict[str, list[Path]]:
    """Return the Parquet files of each source, by its folder below the corpus."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(corpus.rglob("*.parquet")):
        found[str(path.parent.relative_to(corpus))].append(path)
    if not found:
        raise SystemExit(f"{corpus} has no Parquet files; name the folder that holds them")
    return found


def blocks(path: Path) -> list[pa.StringArray]:
    """Yield the texts of a file as a mix reads them. A block ends with the row that reaches its limit."""
    texts = pq.read_table(path, columns=["text"], use_threads=False)["text"].combine_chunks()
    if isinstance(texts, pa.ChunkedArray):
        texts = pa.concat_arrays(texts.chunks)
    texts = texts.cast(pa.string())
    ends = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset :][: len(texts) + 1].astype(np.int64)
    found, start = [], 0
    while start < len(texts):
        reached = int(np.searchsorted(ends, ends[start] + BYTES))
        stop = min(start + ROWS, max(reached, start + 1), len(texts))
        found.append(texts[start:stop])
        start = stop
    return found


def measured(some: list[pa.StringArray], cleaning: Cleaning) -> float:
    """Return the seconds of processor time for cleaning these blocks once."""
    begun = time.process_time()
    for block in some:
        clean_texts(block, cleaning)
    return time.process_time() - begun


def changed(some: list[pa.StringArray], cleaning: Cleaning) -> float:
    """Return the share of documents that cleaning changes."""
    different = sum(
        old != new
        for block in some
        for old, new in zip(block.to_pylist(), clean_texts(block, cleaning).to_pylist(), strict=True)
    )
    return different / sum(map(len, some))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument(
        "--repeats", type=int, default=5, help="number of times that each source is cleaned (default %(default)s)"
    )
    parser.add_argument("--mojibake", action="store_true", help="also repair mojibake")
    given = parser.parse_args()
    clean_texts(pa.array(["warm"]), Cleaning("prose", mojibake=given.mojibake))
    seconds_of_all, bytes_of_all = 0.0, 0
    print(f"{'':42} {'ns/byte':>8} {'MB':>7} {'changed':>8}")
    for name, files in sources(given.corpus).items():
        cleaning = Cleaning(KINDS.get(name.split("/")[0], "prose"), mojibake=given.mojibake)
        some = [block for file in files for block in blocks(file)]
        size = sum(
            int(ends[-1] - ends[0])
            for block in some
            for ends in [np.frombuffer(block.buffers()[1], np.int32)[block.offset : block.offset + len(block) + 1]]
        )
        share = changed(some, cleaning)
        seconds = statistics.median(measured(some, cleaning) for _ in range(given.repeats))
        seconds_of_all, bytes_of_all = seconds_of_all + seconds, bytes_of_all + size
        print(f"{name + ' (' + cleaning.profile + ')':42} {seconds / size * 1e9:8.2f} {size / 1e6:7.1f} {share:8.1%}")
    print(f"{'all':42} {seconds_of_all / bytes_of_all * 1e9:8.2f} {bytes_of_all / 1e6:7.1f}")


if __name__ == "__main__":
    main()
