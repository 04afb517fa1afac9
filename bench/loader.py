"""Records and windows per second through `MixLoader`, with one worker process and with two.

    python bench/loader.py CORPUS TOKENIZER [--rounds 3] [--passes 4] [--scale 1] [--only NAME …]

CORPUS is that of bench/throughput.py. TOKENIZER is a file that `tokenizers` reads. The mixes have eight lanes over
eight sources, with weights by which all sources end together.

* `filtered` does what the stages do: cleaning, the filters of Gopher, FineWeb and code, exact and near dedup.
* `plain` cleans and drops exact duplicates.
* `packed` makes windows of 4,096 + 1 tokens of `plain`. The workers tokenize.
* `DataLoader` is that of torch over `smollm3_mix.load`.
* `separate` uses no loader. Each process reads its lanes and discards the records, so no loader can gain more from a
  second process on this machine.

Arrow has one thread and nothing is prefetched, so one worker is one core. This process makes the batches on the
remaining cores. The clock of a run starts after a sixth of the records. The ratio is the median over rounds of one run
each. `main` and `workers` are microseconds of processor time per record (or window). `limit` is their consequence for
two workers on two cores, 2 × workers ÷ (workers + main). Other load on the machine affects the ratio, but not `limit`.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OMP_THREAD_LIMIT"] = "1"  # Arrow reads it when it is loaded
os.environ["SMOLLM3_MIX_PREFETCH"] = "0"

import pyarrow.compute as pc
import pyarrow.parquet as pq
import throughput
from torch.utils.data import DataLoader

import smollm3_mix
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.text.dedup.dedup_options import Near
from smollm3_mix.text.filters.filter_options import FilterOptions

LANES, BATCH, WINDOWS = 8, 256, 8

AHEAD = 8
"""Batches that a worker of torch's DataLoader prefetches. About as many megabytes as a worker of MixLoader."""


def recipe(corpus: Path, *, filtered: bool, passes: int = 1) -> Recipe:
    """Return a recipe of the sources of bench/throughput.py, with weights by which all of them end together."""
    found = throughput.files(corpus)
    rules = (throughput.RULES, Near()) if filtered else (FilterOptions(), None)
    base = throughput.recipe(corpus, *rules, on_exhausted="renormalize").replace(lanes=LANES)
    sizes = {id_: sum(_bytes(path) for path in paths) for id_, paths in found.items()}
    return base.replace(
        sources=tuple(
            replace(each, weight=sizes[each.id] * each.tokens_per_byte, max_passes=passes) for each in base.sources
        )
    )


def _bytes(path: str) -> int:
    return int(pc.sum(pc.binary_length(pq.read_table(path, columns=["text"])["text"])).as_py())


@dataclass
class Method:
    """One method of reading.

    Attributes:
        name: Name in the table.
        make: Returns batches and a function that counts their records, for a number of processes.
        records: Number of records timed per run.
        rates: Records per second of each run, by number of processes.
        cost: Microseconds per record of this process and of the workers, of each run with two processes.
    """

    name: str
    make: Callable[[int], tuple[Iterator[Any], Callable[[Any], int]]]
    records: int
    rates: dict[int, list[float]] = field(default_factory=lambda: {1: [], 2: []})
    cost: list[tuple[float, float]] = field(default_factory=list)

    def measure(self, processes: int) -> None:
        """Time one run."""
        batches, count = self.make(processes)
        seen = 0
        while seen < self.records // 6:
            seen += count(next(batches))
        before, start = _processor_seconds(), time.perf_counter()
        done = 0
        while done < self.records:
            done += count(next(batches))
        seconds = time.perf_counter() - start
        after = _processor_seconds()
        self.rates[processes].append(done / seconds)
        print(f"{self.name}, {processes}: {self.rates[processes][-1]:,.0f} per second", file=sys.stderr, flush=True)
        if processes == 2:
            main, workers = (1e6 * (one - other) / done for one, other in zip(after, before, strict=True))
            self.cost.append((main, workers))


def _processor_seconds() -> tuple[float, float]:
    """Return the processor time of this process and of its children in seconds. Children need /proc."""
    children = 0.0
    for child in multiprocessing.active_children():
        stat = Path(f"/proc/{child.pid}/stat")
        if stat.exists():
            user, system = stat.read_text().rpartition(")")[2].split()[11:13]
            children += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return time.process_time(), children


def mix_loader(mix: Any, size: int, format_name: str) -> Callable[[int], tuple[Iterator[Any], Callable[[Any], int]]]:
    """Read with `MixLoader`."""

    def make(processes: int) -> tuple[Iterator[Any], Callable[[Any], int]]:
        batches = iter(smollm3_mix.MixLoader(mix, size, num_workers=processes, format=format_name))
        return batches, (lambda batch: len(next(iter(batch.values())))) if format_name == "torch" else len

    return make


def torch_loader(recipe: Recipe) -> Callable[[int], tuple[Iterator[Any], Callable[[Any], int]]]:
    """Read with torch's DataLoader over the IterableDataset. Its workers make the batches."""

    def make(processes: int) -> tuple[Iterator[Any], Callable[[Any], int]]:
        data = DataLoader(
            smollm3_mix.load(recipe),
            batch_size=BATCH,
            num_workers=processes,
            collate_fn=list,
            prefetch_factor=AHEAD,
        )
        return iter(data), len

    return make


def separate(mix: Any) -> Callable[[int], tuple[Iterator[Any], Callable[[Any], int]]]:
    """Read in processes that send only the number of records they have read."""

    def make(processes: int) -> tuple[Iterator[Any], Callable[[Any], int]]:
        counts: Any = multiprocessing.Queue()
        for number in range(processes):
            lanes = list(range(LANES))[number::processes]
            multiprocessing.Process(target=_read, args=(mix, lanes, counts), daemon=True).start()
        return iter(counts.get, None), int

    return make


def _read(mix: Any, lanes: list[int], counts: Any) -> None:
    stream = mix.stream(lanes)
    count = 0
    while rows := stream.read(BATCH).num_rows:
        count += rows
        if count >= BATCH:
            counts.put(count)
            count = 0


def methods(corpus: Path, tokenizer: Path, scale: float, passes: int) -> list[Method]:
    """Return what is measured."""
    filtered = smollm3_mix.open_mix(recipe(corpus, filtered=True))
    plain = smollm3_mix.open_mix(recipe(corpus, filtered=False, passes=passes))
    packed = smollm3_mix.open_packed(plain.recipe, tokenizer=tokenizer, sequence_length=4096)
    few, many, windows = int(9000 * scale), int(20_000 * scale * passes), int(3600 * scale * passes)
    return [
        Method("filtered, separate", separate(filtered), few),
        Method("filtered, records", mix_loader(filtered, BATCH, "records"), few),
        Method("filtered, arrow", mix_loader(filtered, BATCH, "arrow"), few),
        Method("filtered, DataLoader", torch_loader(filtered.recipe), few),
        Method("packed, separate", separate(packed), windows),
        Method("packed, torch", mix_loader(packed, WINDOWS, "torch"), windows),
        Method("packed, arrow", mix_loader(packed, WINDOWS, "arrow"), windows),
        Method("plain, separate", separate(plain), many),
        Method("plain, records", mix_loader(plain, BATCH, "records"), many),
        Method("plain, arrow", mix_loader(plain, BATCH, "arrow"), many),
        Method("plain, DataLoader", torch_loader(plain.recipe), many),
    ]


def show(found: list[Method]) -> None:
    """Print one line per method."""
    print(f"{'':22} {'1 worker':>9} {'2 workers':>9} {'ratio':>6} {'main':>6} {'workers':>7} {'limit':>5}   rounds")
    for method in found:
        one, two = (statistics.median(method.rates[number]) for number in (1, 2))
        ratios = [double / single for single, double in zip(method.rates[1], method.rates[2], strict=True)]
        main, workers = (statistics.median(each) for each in zip(*method.cost, strict=True))
        print(
            f"{method.name:22} {one:9,.0f} {two:9,.0f} {statistics.median(ratios):6.2f} {main:6.1f} {workers:7.1f} "
            f"{2 * workers / (workers + main):5.2f}   {', '.join(f'{ratio:.2f}' for ratio in ratios)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1, help="factor for the records per run (default %(default)s)")
    parser.add_argument("--passes", type=int, default=4, help="passes of `plain` and `packed` (default %(default)s)")
    parser.add_argument("--only", nargs="+", help="run only methods whose names contain one of these words")
    options = parser.parse_args()
    found = methods(options.corpus.resolve(), options.tokenizer.resolve(), options.scale, options.passes)
    found = [method for method in found if not options.only or any(word in method.name for word in options.only)]
    for _ in range(options.rounds):
        for method in found:
            for processes in (1, 2):
                method.measure(processes)
                for child in multiprocessing.active_children():
                    child.terminate()
                    child.join()
    show(found)


if __name__ == "__main__":
    main()
