"""Megabytes of text and documents a second: ours beside reading alone, `interleave_datasets` alone, and the naive pipeline.

    python bench/throughput.py CORPUS [--megabytes 64] [--repeats 5]

CORPUS is a folder with the Parquet files of SOURCES below, in folders named as on the Hub, with a column `text`. Everything runs on
one core, in one process, in turns (all ways once, then again), over the same sources with the same weights, until the same amount of text
has been given out; the medians are shown. Documents dropped as duplicates or empty are not counted: what is counted is text given.
Opening (finding files, reading recipes) is not timed; reading the first rows is. MB = 10^6 bytes of UTF-8. `busy` is processor time
over wall time of the pinned process: well below 100 %, something else used the core, and the row is to be measured again.
"""

import argparse
import gc
import hashlib
import os
import re
import statistics
import time
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import smollm3_mix
from smollm3_mix.judge import Judge
from smollm3_mix.recipe import Recipe, Source
from smollm3_mix.recipe.model import Kind

SEED = 42


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
"""Weights such that neither documents nor tokens drawn by them run out before about 80 MB."""

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
SPACES = re.compile("[ \t]+")
BLANK_LINES = re.compile("\n{3,}")

Run = Callable[[], tuple[int, int]]
"""Does the work once; gives documents and bytes of text given out. Counting bytes is left to `given`, outside the clock."""


@dataclass
class Way:
    """One way to do the work: `prepare` opens and is not timed, what it returns is; `given` counts what came out."""

    name: str
    prepare: Callable[[], Callable[[], Any]]
    given: Callable[[Any], tuple[int, int]]
    seconds: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    documents: int = 0
    bytes: int = 0

    def once(self) -> None:
        run = self.prepare()
        gc.collect()
        wall, processor = time.perf_counter(), time.process_time()
        out = run()
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
        self.seconds.append(wall)
        self.busy.append(processor / wall)
        self.documents, self.bytes = self.given(out)


def one_core() -> str:
    """Pins this process to one core, where the platform can, and every pool of threads to one thread."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    if not hasattr(os, "sched_setaffinity"):
        return f"one of {os.cpu_count()} cores, not pinned: this platform cannot"
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return f"core {core} of {os.cpu_count()}, pinned"


def files(corpus: Path) -> dict[str, list[str]]:
    """The Parquet files of each source, by its folder; they are read once, so that all ways find them in the page cache."""
    found = {origin.folder: sorted(map(str, (corpus / origin.folder).rglob("*.parquet"))) for origin in SOURCES}
    missing = [folder for folder, paths in found.items() if not paths]
    if missing:
        raise SystemExit(f"{corpus} has no Parquet files in {', '.join(missing)}")
    for paths in found.values():
        for path in paths:
            Path(path).read_bytes()
    return found


def decoded(found: dict[str, list[str]]) -> list[pa.RecordBatch]:
    """The text column of every file as Arrow, each batch dropped for its lengths."""
    sizes = []
    for paths in found.values():
        for path in paths:
            with pq.ParquetFile(path) as opened:
                for batch in opened.iter_batches(1024, columns=["text"], use_threads=False):
                    sizes.append((len(batch), batch.column(0).get_total_buffer_size()))
    return sizes


def interleaved(found: dict[str, list[str]]) -> Any:
    """What the naive pipeline iterates over, streaming; only the text column is read, in one type."""
    from datasets import Features, Value, config, interleave_datasets, load_dataset

    config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0  # else closing it waits 5 s
    text = Features({"text": Value("string")})
    streams = [
        load_dataset("parquet", data_files=paths, columns=["text"], features=text, split="train", streaming=True)
        for paths in found.values()
    ]
    weights = [origin.weight for origin in SOURCES]
    return interleave_datasets(streams, probabilities=weights, seed=SEED, stopping_strategy="all_exhausted")


def texts(records: Iterable[dict[str, Any]], documents: int) -> list[str]:
    """The first texts, as they are."""
    out: list[str] = []
    for record in records:
        out.append(record["text"])
        if len(out) == documents:
            break
    return out


def naive(records: Iterable[dict[str, Any]], documents: int) -> list[str]:
    """The first texts that are left after cleaning by regular expressions and dedup by a set of hashes."""
    seen: set[str] = set()
    out: list[str] = []
    for record in records:
        text = unicodedata.normalize("NFC", record["text"])
        text = CONTROLS.sub("", text)
        text = SPACES.sub(" ", text)
        text = BLANK_LINES.sub("\n\n", text).strip()
        digest = hashlib.md5(text.encode()).hexdigest()
        if not text or digest in seen:
            continue
        seen.add(digest)
        out.append(text)
        if len(out) == documents:
            break
    return out


def enough(records: Iterable[dict[str, Any]], work: Callable[..., list[str]], size: int) -> int:
    """How many documents `work` gives until they hold `size` bytes, found before anything is timed."""
    most = 1 << 40
    lengths = np.cumsum([len(text.encode()) for text in work(_until(records, 1.3 * size), most)])
    return int(np.searchsorted(lengths, size)) + 1


def _until(records: Iterable[dict[str, Any]], size: float) -> Iterable[dict[str, Any]]:
    for record in records:
        size -= len(record["text"].encode())
        yield record
        if size < 0:
            return


def recipe(corpus: Path, judged: bool) -> Recipe:
    """The same sources and weights for us, in one lane; with `judged`, Gopher's, FineWeb's and The Stack's rules and near dedup."""
    plain = Judge()
    rules = {
        "prose": Judge(gopher_quality=True, gopher_repetition=True, fineweb=True),
        "math": Judge(gopher_repetition=True),
        "code": Judge(code=True),
    }
    sources = tuple(
        Source(
            id=origin.folder,
            name=str(corpus / origin.folder / "**/*.parquet"),
            weight=origin.weight,
            kind=Kind(origin.kind, origin.language),
            clean=smollm3_mix.clean.Cleaning(origin.kind),
            judge=rules[origin.kind] if judged else plain,
            tokens_per_byte=origin.ratio,
        )
        for origin in SOURCES
    )
    mix = Recipe(sources, file="throughput", seed=SEED, lanes=1, on_exhausted="repeat")
    return mix.with_(dedup={"exact": True, "near": {}}) if judged else mix


def as_records(mix: smollm3_mix.Mix) -> list[dict[str, Any]]:
    """Every record of the mix as a dict, in a list."""
    return list(mix.stream())


def as_arrow(mix: smollm3_mix.Mix) -> list[pa.RecordBatch]:
    """Every record of the mix in Arrow batches of up to 1,000."""
    stream, out = mix.stream(), []
    while len(batch := stream.read(1000)):
        out.append(batch)
    return out


def of_texts(out: list[str]) -> tuple[int, int]:
    return len(out), sum(len(text.encode()) for text in out)


def of_records(out: list[dict[str, Any]]) -> tuple[int, int]:
    return of_texts([record["text"] for record in out])


def of_arrow(out: list[pa.RecordBatch]) -> tuple[int, int]:
    return sum(map(len, out)), sum(pc.sum(pc.binary_length(batch.column("text"))).as_py() for batch in out)


def of_sizes(out: list[tuple[int, int]]) -> tuple[int, int]:
    return sum(rows for rows, _ in out), sum(size for _, size in out)


def ways(corpus: Path, size: int) -> list[Way]:
    """What is compared; (c) is the measure of the others."""
    found = files(corpus)
    plain = enough(interleaved(found), texts, size)
    cleaned = enough(interleaved(found), naive, size)
    ours = smollm3_mix.open_mix(recipe(corpus, judged=False), max_bytes=size)
    judged = smollm3_mix.open_mix(recipe(corpus, judged=True), max_bytes=size)

    def stock(work: Callable[..., list[str]], documents: int) -> Callable[[], Callable[[], list[str]]]:
        def prepare() -> Callable[[], list[str]]:
            records = interleaved(found)
            return lambda: work(records, documents)

        return prepare

    return [
        Way("(a) Parquet decode of the text column, to Arrow", lambda: lambda: decoded(found), of_sizes),
        Way("(b) interleave_datasets alone, records", stock(texts, plain), of_texts),
        Way("(c) naive: (b), regex clean, set dedup, to a list", stock(naive, cleaned), of_texts),
        Way("(d) ours: clean, exact dedup, token shares, records", lambda: lambda: as_records(ours), of_records),
        Way("(d) the same, Arrow", lambda: lambda: as_arrow(ours), of_arrow),
        Way("(e) ours with judge and near dedup, records", lambda: lambda: as_records(judged), of_records),
    ]


def show(compared: list[Way]) -> None:
    """One line a way, medians."""
    speeds = {way.name: way.bytes / statistics.median(way.seconds) / 1e6 for way in compared}
    measure = next(speed for name, speed in speeds.items() if name.startswith("(c)"))
    print(f"{'':54} {'MB/s':>8} {'docs/s':>10} {'x (c)':>7} {'MB given':>9} {'docs':>8} {'busy':>6}")
    for way in compared:
        rate = way.documents / statistics.median(way.seconds)
        print(
            f"{way.name:54} {speeds[way.name]:8.1f} {rate:10,.0f} {speeds[way.name] / measure:7.1f} "
            f"{way.bytes / 1e6:9.1f} {way.documents:8,} {statistics.median(way.busy):6.0%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--megabytes", type=float, default=64, help="text given out by each way (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="repetitions, in turns (default %(default)s)")
    given = parser.parse_args()
    where = one_core()
    compared = ways(given.corpus.resolve(), int(given.megabytes * 1e6))
    for _ in range(given.repeats):
        for way in compared:
            way.once()
    show(compared)
    import datasets

    print(f"{where}; load {os.getloadavg()[0]:.1f}; datasets {datasets.__version__}, pyarrow {pa.__version__}, numpy {np.__version__}")


if __name__ == "__main__":
    main()
