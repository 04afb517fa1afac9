"""Measure MB and documents per second with all filters and near dedup, next to datatrove and the naive pipeline.

    pip install -e ".[bench]"
    python bench/judged.py CORPUS [--megabytes 48] [--slice 1] [--repeats 3] [--processor-time]

The naive pipeline has neither filters nor near dedup, and datatrove has both. Near-duplicate signatures are measured
alone at the end. CORPUS is that of throughput.py. The first documents of each source, in proportion to its weight, are
written to one file per source. Every method reads all of them once, on one core, in one process. Gopher's quality and
repetition rules apply to every document of any kind. Signatures have 14 bands of 8 over word 5-grams. datatrove uses
its own reader, filters and signatures with its default tokenizer, with the cleaning and the hash set of the naive
pipeline. It reads every n-th document, `--slice` megabytes in total, and looks up no signature.

MB are 10^6 bytes of UTF-8 of text *read*, over the complete run, from the first open file to the last record. `emitted`
is the share of the text that is kept. Speeds are medians of the runs.
"""

import argparse
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # every file is at hand

import datasets
import near_dedup
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import throughput
from datatrove.data import Document
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import ParquetReader
from loguru import logger
from throughput import SOURCES, Count

import smollm3_mix
import smollm3_mix.mix.open_mix
from smollm3_mix.text.filters.filter_options import FilterOptions

GOPHER = FilterOptions(gopher_quality=True, gopher_repetition=True)


@dataclass
class Way:
    """One way to do the work.

    Attributes:
        name: what the table calls it.
        read: what goes in.
        start: what gives an iterator over all that comes out.
        count: of what came out.
        seconds: of each turn.
        given: what came out.
    """

    name: str
    read: Count
    start: Callable[[], Iterator[Any]]
    count: Callable[[list[Any]], Count]
    seconds: list[float] = field(default_factory=list)
    emitted: Count = field(default_factory=lambda: Count(0, 0))

    def turn(self, clock: Callable[[], float]) -> None:
        gc.collect()
        begun = clock()
        out = list(self.start())
        self.seconds.append(clock() - begun)
        self.emitted = self.count(out)

    @property
    def speed(self) -> float:
        """MB of text read per second."""
        return self.read.bytes / statistics.median(self.seconds) / 1e6


def cut(corpus: Path, whole: Path, part: Path, sizes: tuple[float, float]) -> tuple[Count, Count]:
    """Write `sizes` bytes of text, one file per source: all documents to `whole`, every n-th document to `part`."""
    weights = np.array([origin.weight / origin.ratio for origin in SOURCES])
    step = max(round(sizes[0] / sizes[1]), 1)
    read = [Count(0, 0), Count(0, 0)]
    for origin, size in zip(SOURCES, weights / weights.sum() * sizes[0], strict=True):
        paths = sorted((corpus / origin.folder).rglob("*.parquet"))
        texts = pa.chunked_array([c.cast(pa.string()) for p in paths for c in pq.read_table(p)["text"].chunks])
        ends = np.cumsum(pc.fill_null(pc.binary_length(texts), 0).to_numpy())
        if not len(ends) or ends[-1] < size:
            raise SystemExit(f"{corpus / origin.folder} has less than {size / 1e6:.1f} MB. Use a smaller --megabytes.")
        first = texts[: int(np.searchsorted(ends, size)) + 1]
        for number, (folder, rows) in enumerate(((whole, first), (part, first.take(np.arange(0, len(first), step))))):
            (folder / origin.folder).mkdir(parents=True)
            pq.write_table(pa.table({"text": rows}), folder / origin.folder / "all.parquet", row_group_size=1000)
            bytes_ = pc.sum(pc.binary_length(rows)).as_py()
            read[number] = Count(read[number].documents + len(rows), read[number].bytes + bytes_)
    return read[0], read[1]


def datatrove(folder: Path, work: Path) -> Iterator[None]:
    """Run datatrove over the folder. Its signatures go to a new folder in `work`."""
    read = ParquetReader(str(folder), recursive=True, glob_pattern="**/*.parquet").run()
    texts = throughput.naive({"text": document.text} for document in read)
    kept = (Document(text=text, id=str(number)) for number, text in enumerate(texts))
    kept = GopherRepetitionFilter().run(GopherQualityFilter().run(kept))
    near = near_dedup.NEAR
    config = MinhashConfig(n_grams=near.ngram, num_buckets=near.bands, hashes_per_bucket=near.rows)
    MinhashDedupSignature(tempfile.mkdtemp(dir=work), config).run(kept)
    return iter(())


def ways(whole: Path, part: Path, work: Path, read: tuple[Count, Count]) -> list[Way]:
    """Return the methods to compare. The naive pipeline is the first."""
    found = throughput.files(whole)
    ours = smollm3_mix.open_mix(throughput.recipe(whole, GOPHER, near_dedup.NEAR, on_exhausted="renormalize"))
    plain = smollm3_mix.open_mix(throughput.recipe(whole, FilterOptions(), None, on_exhausted="renormalize"))
    once = "all_exhausted_without_replacement"
    records, counts = throughput.of_records, throughput.of_counts
    return [
        Way("naive: no filters, no near dedup", read[0],
            lambda: throughput.naive(throughput.interleaved(found, once)), throughput.of_texts),
        Way("ours: no filters, no near dedup, records", read[0], lambda: iter(plain.stream()), records),
        Way("ours: Gopher and near dedup, records", read[0], lambda: iter(ours.stream()), records),
        Way("ours: the same, Arrow", read[0], lambda: throughput.batches(ours.stream()), counts),
        Way("datatrove: Gopher and signatures", read[1], partial(datatrove, part, work), counts),
    ]  # fmt: skip


def show(compared: list[Way]) -> None:
    """Print one line per method, with ratios to the naive pipeline and to datatrove."""
    first, last = compared[0].speed, compared[-1].speed
    print("| one core, one run | MB/s | documents/s | × naive | × datatrove | MB read | given |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for way in compared:
        print(
            f"| {way.name} | {way.speed:.2f} | {way.read.documents / statistics.median(way.seconds):,.0f} "
            f"| {way.speed / first:.2f} | {way.speed / last:.1f} | {way.read.bytes / 1e6:.1f} "
            f"| {f'{way.emitted.bytes / way.read.bytes:.0%}' if way.emitted.bytes else ''} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument(
        "--megabytes", type=float, default=48, help="megabytes of text that each method reads (default %(default)s)"
    )
    parser.add_argument("--slice", type=float, default=1, help="megabytes for datatrove (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="number of runs of each method (default %(default)s)")
    parser.add_argument("--processor-time", action="store_true", help="measure processor time, for a busy machine")
    parser.add_argument("--seconds", type=float, default=60, help="seconds for the signatures (default %(default)s)")
    given = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0  # else the naive pipeline waits 5 s at its end
    where = throughput.one_core()
    with tempfile.TemporaryDirectory() as folder:
        whole, part, work = (Path(folder) / name for name in ("whole", "part", "work"))
        work.mkdir()
        sizes = given.megabytes * 1e6, given.slice * 1e6
        compared = ways(whole, part, work, cut(given.corpus.resolve(), whole, part, sizes))
        for _ in range(given.repeats):
            for way in compared:
                way.turn(time.process_time if given.processor_time else time.perf_counter)
        show(compared)
        texts = [text for path in sorted(whole.rglob("*.parquet")) for text in pq.read_table(path)["text"].to_pylist()]
    near_dedup.speeds(
        [text for text in np.random.default_rng(0).permuted(np.array(texts, object)) if text], given.seconds
    )
    print(f"{where}; datasets {datasets.__version__}, pyarrow {pa.__version__}, numpy {np.__version__}")


if __name__ == "__main__":
    main()
