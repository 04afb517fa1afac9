"""Measure MB and documents per second: ours, decoding alone, `interleave_datasets` alone, and the naive pipeline.

    python bench/throughput.py CORPUS [--megabytes 64] [--repeats 5]

CORPUS contains the Parquet files of SOURCES below, with a column `text`, in folders named as on the Hub. All code runs
on one core in one process. The methods alternate over the same sources with the same weights, until each has emitted
the same amount of text. Results are medians. `x (c)` is the median of the ratios within a round. Emitted text counts,
dropped text does not. The clock starts after an eighth of the text, so opening files and filling buffers affects no
speed. `first` has the seconds to the first record. MB are 10^6 bytes of UTF-8. `busy` is processor time divided by wall
time. If it is well below 100 %, something else used the core. Repeat the run then, or use --processor-time.
"""

import argparse
import gc
import os
import re
import statistics
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import smollm3_mix
import smollm3_mix.mix.open_mix
import smollm3_mix.mix.stream
from smollm3_mix.recipe.model import Kind, Source
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.dedup.dedup_options import Dedup, Near
from smollm3_mix.text.filters.filter_options import FilterOptions

SEED = 42
WARM = 8
"""Reciprocal of the share of text that is emitted before the clock starts."""


class Origin(NamedTuple):
    """A source of the benchmark: folder below CORPUS, weight, kind and language, tokens per byte."""

    folder: str
    weight: float
    kind: str
    language: str
    ratio: float


SOURCES = (
    Origin("fineweb-edu/data", 0.27, "prose", "en", 0.227),
    Origin("dclm/filtered", 0.22, "prose", "en", 0.273),
    Origin("finemath/finemath-3plus", 0.18, "math", "en", 0.36),
    Origin("stack-edu/Python", 0.08, "code", "python", 0.245),
    Origin("stack-edu/Cpp", 0.05, "code", "cpp", 0.256),
    Origin("fineweb-2/data/spa_Latn", 0.10, "prose", "es", 0.277),
    Origin("fineweb-2/data/ell_Grek", 0.05, "prose", "el", 0.215),
    Origin("fineweb-2/data/rus_Cyrl", 0.05, "prose", "ru", 0.186),
)

RULES = {
    "prose": FilterOptions(gopher_quality=True, gopher_repetition=True, fineweb=True),
    "math": FilterOptions(gopher_repetition=True),
    "code": FilterOptions(code=True),
}
"""Filters of (e): the published rules of Gopher, FineWeb and The Stack."""

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
SPACES = re.compile("[ \t]+")
BLANK_LINES = re.compile("\n{3,}")


class Count(NamedTuple):
    """Number of documents, and bytes of their text."""

    documents: int
    bytes: int


@dataclass
class Way:
    """One way to do the work.

    Attributes:
        name: with the letter it goes by.
        start: what gives an iterator over all that comes out; itself not timed.
        count: of some of that.
        first: seconds to the first item, of each turn.
        seconds: of the timed part, of each turn.
        busy: processor time over wall time.
        given: what the timed part gave out.
    """

    name: str
    start: Callable[[], Iterator[Any]]
    count: Callable[[list[Any]], Count]
    first: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    emitted: Count = field(default_factory=lambda: Count(0, 0))

    def turn(self, warm: int, *, processor_time: bool) -> None:
        """Run once. The clock starts after the first `warm` bytes."""
        items = self.start()
        gc.collect()
        begun = time.perf_counter()
        kept = [next(items)]
        self.first.append(time.perf_counter() - begun)
        bytes_ = self.count(kept).bytes
        while bytes_ < warm:
            kept.append(next(items))
            bytes_ += self.count(kept[-1:]).bytes
        wall, processor = time.perf_counter(), time.process_time()
        out = list(items)
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
        self.seconds.append(processor if processor_time else wall)
        self.busy.append(processor / wall)
        self.emitted = self.count(out)

    @property
    def speeds(self) -> list[float]:
        """MB/s of each run."""
        return [self.emitted.bytes / seconds / 1e6 for seconds in self.seconds]


def one_core() -> str:
    """Pins this process to one core, where the platform can, and Arrow's pools to one thread; says what it did."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    if not hasattr(os, "sched_setaffinity"):
        return f"one of {os.cpu_count()} cores (not pinned: this platform cannot)"
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return f"core {core} of {os.cpu_count()}, load {os.getloadavg()[0]:.1f}"


def files(corpus: Path) -> dict[str, list[str]]:
    """Return the Parquet files of each source, by its folder. Reads them once to fill the page cache."""
    found = {origin.folder: sorted(map(str, (corpus / origin.folder).rglob("*.parquet"))) for origin in SOURCES}
    missing = [folder for folder, paths in found.items() if not paths]
    if missing:
        raise SystemExit(f"{corpus} has no Parquet files in {', '.join(missing)}; name the folder that holds them")
    for paths in found.values():
        for path in paths:
            Path(path).read_bytes()
    return found


def decoded(found: dict[str, list[str]]) -> Iterator[Count]:
    """Decode the text column of every file, 1,000 rows at a time, and yield the count of each batch."""
    for paths in found.values():
        for path in paths:
            for batch in pq.ParquetFile(path).iter_batches(1000, columns=["text"], use_threads=False):
                yield Count(len(batch), pc.sum(pc.binary_length(batch.column(0))).as_py())


def interleaved(found: dict[str, list[str]], until: str = "all_exhausted") -> datasets.IterableDataset:
    """Return the input of the naive pipeline: streams drawn document by document. `until` is the stopping strategy."""
    streams = []
    for paths in found.values():
        stream = datasets.load_dataset("parquet", data_files=paths, split="train", streaming=True)
        stream = stream.select_columns(["text"])
        if stream.features["text"] != datasets.Value("string"):  # interleave_datasets rejects string with large_string
            stream = stream.cast_column("text", datasets.Value("string"))
        streams.append(stream)
    weights = [origin.weight for origin in SOURCES]
    return datasets.interleave_datasets(streams, probabilities=weights, seed=SEED, stopping_strategy=until)


def plain(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the texts unchanged."""
    for record in records:
        yield record["text"]


def naive(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the texts that remain after cleaning by regular expressions and dedup by a set of hashes."""
    seen: set[int] = set()
    for record in records:
        text = unicodedata.normalize("NFC", record["text"])
        text = CONTROLS.sub("", text)
        text = SPACES.sub(" ", text)
        text = BLANK_LINES.sub("\n\n", text).strip()
        digest = hash(text)
        if text and digest not in seen:
            seen.add(digest)
            yield text


def enough(texts: Iterator[str], size: int) -> int:
    """Return the number of texts with `size` bytes in total. Runs before anything is timed."""
    for number, text in enumerate(texts, 1):
        size -= len(text.encode())
        if size <= 0:
            return number
    raise SystemExit("the corpus is too small for so many --megabytes")


def recipe(
    corpus: Path, rules: FilterOptions | dict[str, FilterOptions], near: Near | None, on_exhausted: str = "stop"
) -> Recipe:
    """Return a recipe of one lane with the same sources and weights, filtered by `rules` or by kind."""
    sources = tuple(
        Source(
            id=origin.folder,
            name=str(corpus / origin.folder / "**" / "*.parquet"),
            weight=origin.weight,
            kind=Kind(origin.kind, origin.language),
            clean=Cleaning(origin.kind),
            filters=(rules if isinstance(rules, FilterOptions) else rules[origin.kind]).for_kind(
                origin.kind, origin.language
            ),
            tokens_per_byte=origin.ratio,
        )
        for origin in SOURCES
    )
    return Recipe(
        sources,
        file="throughput",
        seed=SEED,
        lanes=1,
        on_exhausted=on_exhausted,
        dedup=Dedup(near=near),
    )


def batches(stream: smollm3_mix.Stream) -> Iterator[Count]:
    """Read a stream in Arrow and yield the count of each batch, which is then released."""
    while len(batch := stream.read(1000)):
        yield Count(len(batch), pc.sum(pc.binary_length(batch["text"])).as_py())


def of_texts(texts: list[str]) -> Count:
    return Count(len(texts), sum(len(text.encode()) for text in texts))


def of_records(records: list[dict[str, Any]]) -> Count:
    return of_texts([record["text"] for record in records])


def of_counts(counts: list[Count]) -> Count:
    return Count(sum(count.documents for count in counts), sum(count.bytes for count in counts))


def ways(corpus: Path, size: int) -> list[Way]:
    """Return the methods to compare. (c) is the reference."""
    found = files(corpus)
    datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0  # else the naive pipeline waits 5 s at its end
    unchanged, cleaned = enough(plain(interleaved(found)), size), enough(naive(interleaved(found)), size)
    ours = smollm3_mix.open_mix(recipe(corpus, FilterOptions(), None), max_bytes=size)
    filtered = smollm3_mix.open_mix(recipe(corpus, RULES, Near()), max_bytes=size)
    stock = {"b": lambda: plain(interleaved(found)), "c": lambda: naive(interleaved(found))}
    return [
        Way("(a) Parquet decode of the text column, Arrow", lambda: decoded(found), of_counts),
        Way("(b) interleave_datasets alone, records", lambda: islice(stock["b"](), unchanged), of_texts),
        Way("(c) naive: (b), regex clean, set dedup, list", lambda: islice(stock["c"](), cleaned), of_texts),
        Way("(d) ours: clean, dedup, token shares, records", lambda: iter(ours.stream()), of_records),
        Way("(d) the same, Arrow", lambda: batches(ours.stream()), of_counts),
        Way("(e) ours, with filters and near dedup, records", lambda: iter(filtered.stream()), of_records),
        Way("(e) the same, Arrow", lambda: batches(filtered.stream()), of_counts),
    ]


def show(compared: list[Way]) -> None:
    """Print one line per method."""
    middle = statistics.median
    measure = next(way for way in compared if way.name.startswith("(c)"))
    print(f"{'':46} {'MB/s':>7} {'docs/s':>9} {'x (c)':>7} {'first':>7} {'MB':>6} {'docs':>8} {'busy':>5}")
    for way in compared:
        ratio = middle(mine / its for mine, its in zip(way.speeds, measure.speeds, strict=True))
        print(
            f"{way.name:46} {middle(way.speeds):7.1f} {way.emitted.documents / middle(way.seconds):9,.0f} {ratio:7.2f} "
            f"{middle(way.first):5.2f} s {way.emitted.bytes / 1e6:6.1f} {way.emitted.documents:8,} "
            f"{middle(way.busy):5.0%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument(
        "--megabytes", type=float, default=64, help="megabytes of text that each method emits (default %(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=5, help="number of runs of each method (default %(default)s)")
    parser.add_argument("--processor-time", action="store_true", help="measure processor time, for a busy machine")
    given = parser.parse_args()
    where, size = one_core(), int(given.megabytes * 1e6)
    compared = ways(given.corpus.resolve(), size)
    for _ in range(given.repeats):
        for way in compared:
            way.turn(size // WARM, processor_time=given.processor_time)
    show(compared)
    print(f"{where}; datasets {datasets.__version__}, pyarrow {pa.__version__}, numpy {np.__version__}")


if __name__ == "__main__":
    main()
