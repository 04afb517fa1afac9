"""Records and tokens a second through `smollm3_mix.MixLoader` with one worker process and with two, taken in turn.

    python bench/loader.py CORPUS TOKENIZER [--rounds 3] [--passes 4] [--scale 1] [--only NAME …]

CORPUS is that of bench/throughput.py, TOKENIZER a file that `tokenizers` reads. Eight lanes over eight sources, weighed
so that all end together. `judged` is what the stages do: clean, judge by Gopher's, FineWeb's and the code rules, exact
and near dedup; `plain` cleans and drops exact duplicates; `packed` makes windows of 4,096 + 1 tokens of `plain`, the
tokenizer in the workers. `DataLoader` is torch's own over `smollm3_mix.load`. `apart` is no loader at all: each process
reads its lanes and drops what it has read, so no loader can gain more from a second one on this machine.

Arrow is held to one thread and nothing is read ahead, so that one worker is one core; this process makes the batches,
on whatever is left. A run is timed once a sixth of the records has been given. The ratio is the median over rounds of
one run of each. `main` and `workers` are microseconds of the processor for a record (a window), and `most` what follows
from them for two workers on two cores, 2 × workers ÷ (workers + main): it needs no quiet machine, the ratio does.
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
import smollm3_mix.builder.load
import smollm3_mix.mix.open_mix
import smollm3_mix.packing.packed_mix
import smollm3_mix.torch_loader.mix_loader
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.text.dedup.dedup_options import Near
from smollm3_mix.text.filters.filter_options import FilterOptions

LANES, BATCH, WINDOWS = 8, 256, 8

AHEAD = 8
"""Batches that a worker of torch's own DataLoader makes ahead: about the megabytes that the loader's workers do."""


def recipe(corpus: Path, *, judged: bool, passes: int = 1) -> Recipe:
    """The sources of bench/throughput.py, with weights by which all of them end together."""
    found = throughput.files(corpus)
    rules = (throughput.RULES, Near()) if judged else (FilterOptions(), None)
    of = throughput.recipe(corpus, *rules, on_exhausted="renormalize").replace(lanes=LANES)
    sizes = {id_: sum(_bytes(path) for path in paths) for id_, paths in found.items()}
    return of.replace(
        sources=tuple(
            replace(each, weight=sizes[each.id] * each.tokens_per_byte, max_passes=passes) for each in of.sources
        )
    )


def _bytes(path: str) -> int:
    return int(pc.sum(pc.binary_length(pq.read_table(path, columns=["text"])["text"])).as_py())


@dataclass
class Way:
    """One way to read.

    Attributes:
        name: what the table calls it.
        make: batches, and how many records are in one, by the number of processes.
        records: timed in each run.
        rates: records a second, by processes.
        cost: microseconds of this process and of the workers for each record, of each run.
    """

    name: str
    make: Callable[[int], tuple[Iterator[Any], Callable[[Any], int]]]
    records: int
    rates: dict[int, list[float]] = field(default_factory=lambda: {1: [], 2: []})
    cost: list[tuple[float, float]] = field(default_factory=list)

    def turn(self, processes: int) -> None:
        batches, count = self.make(processes)
        seen = 0
        while seen < self.records // 6:
            seen += count(next(batches))
        before, start = _processor(), time.perf_counter()
        done = 0
        while done < self.records:
            done += count(next(batches))
        seconds = time.perf_counter() - start
        after = _processor()
        self.rates[processes].append(done / seconds)
        print(f"{self.name}, {processes}: {self.rates[processes][-1]:,.0f} a second", file=sys.stderr, flush=True)
        if processes == 2:
            mine, theirs = (1e6 * (one - other) / done for one, other in zip(after, before, strict=True))
            self.cost.append((mine, theirs))


def _processor() -> tuple[float, float]:
    """Seconds of the processor that this process and its children have taken, where /proc tells."""
    theirs = 0.0
    for child in multiprocessing.active_children():
        stat = Path(f"/proc/{child.pid}/stat")
        if stat.exists():
            user, system = stat.read_text().rpartition(")")[2].split()[11:13]
            theirs += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return time.process_time(), theirs


def loaded(mix: Any, size: int, form: str) -> Callable[[int], tuple[Iterator[Any], Callable[[Any], int]]]:
    """By `smollm3_mix.MixLoader`."""

    def make(processes: int) -> tuple[Iterator[Any], Callable[[Any], int]]:
        batches = iter(smollm3_mix.MixLoader(mix, size, num_workers=processes, format=form))
        return batches, (lambda batch: len(next(iter(batch.values())))) if form == "torch" else len

    return make


def stock(of: Recipe) -> Callable[[int], tuple[Iterator[Any], Callable[[Any], int]]]:
    """By torch's DataLoader over the IterableDataset, batches as its workers make them."""

    def make(processes: int) -> tuple[Iterator[Any], Callable[[Any], int]]:
        data = DataLoader(
            smollm3_mix.load(of),
            batch_size=BATCH,
            num_workers=processes,
            collate_fn=list,
            prefetch_factor=AHEAD,
        )
        return iter(data), len

    return make


def apart(mix: Any) -> Callable[[int], tuple[Iterator[Any], Callable[[Any], int]]]:
    """Each process reads its own lanes, and says how many records it has read."""

    def make(processes: int) -> tuple[Iterator[Any], Callable[[Any], int]]:
        said: Any = multiprocessing.Queue()
        for number in range(processes):
            lanes = list(range(LANES))[number::processes]
            multiprocessing.Process(target=_read, args=(mix, lanes, said), daemon=True).start()
        return iter(said.get, None), int

    return make


def _read(mix: Any, lanes: list[int], said: Any) -> None:
    stream = mix.stream(lanes)
    count = 0
    while rows := stream.read(BATCH).num_rows:
        count += rows
        if count >= BATCH:
            said.put(count)
            count = 0


def ways(corpus: Path, tokenizer: Path, scale: float, passes: int) -> list[Way]:
    """What is measured."""
    judged = smollm3_mix.open_mix(recipe(corpus, judged=True))
    plain = smollm3_mix.open_mix(recipe(corpus, judged=False, passes=passes))
    packed = smollm3_mix.open_packed(plain.recipe, tokenizer=tokenizer, sequence_length=4096)
    few, many, windows = int(9000 * scale), int(20_000 * scale * passes), int(3600 * scale * passes)
    return [
        Way("judged, apart", apart(judged), few),
        Way("judged, records", loaded(judged, BATCH, "records"), few),
        Way("judged, arrow", loaded(judged, BATCH, "arrow"), few),
        Way("judged, DataLoader", stock(judged.recipe), few),
        Way("packed, apart", apart(packed), windows),
        Way("packed, torch", loaded(packed, WINDOWS, "torch"), windows),
        Way("packed, arrow", loaded(packed, WINDOWS, "arrow"), windows),
        Way("plain, apart", apart(plain), many),
        Way("plain, records", loaded(plain, BATCH, "records"), many),
        Way("plain, arrow", loaded(plain, BATCH, "arrow"), many),
        Way("plain, DataLoader", stock(plain.recipe), many),
    ]


def show(found: list[Way]) -> None:
    """One line a way."""
    print(f"{'':20} {'1 worker':>9} {'2 workers':>9} {'ratio':>6} {'main':>6} {'workers':>7} {'most':>5}   rounds")
    for way in found:
        one, two = (statistics.median(way.rates[number]) for number in (1, 2))
        ratios = [mine / its for its, mine in zip(way.rates[1], way.rates[2], strict=True)]
        main, workers = (statistics.median(each) for each in zip(*way.cost, strict=True))
        print(
            f"{way.name:20} {one:9,.0f} {two:9,.0f} {statistics.median(ratios):6.2f} {main:6.1f} {workers:7.1f} "
            f"{2 * workers / (workers + main):5.2f}   {', '.join(f'{ratio:.2f}' for ratio in ratios)}"
        )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("corpus", type=Path)
    options.add_argument("tokenizer", type=Path)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--scale", type=float, default=1, help="times the records of a run (default %(default)s)")
    options.add_argument("--passes", type=int, default=4, help="of `plain` and `packed` (default %(default)s)")
    options.add_argument("--only", nargs="+", help="ways whose names hold one of these words")
    asked = options.parse_args()
    found = ways(asked.corpus.resolve(), asked.tokenizer.resolve(), asked.scale, asked.passes)
    found = [way for way in found if not asked.only or any(word in way.name for word in asked.only)]
    for _ in range(asked.rounds):
        for way in found:
            for processes in (1, 2):
                way.turn(processes)
                for child in multiprocessing.active_children():
                    child.terminate()
                    child.join()
    show(found)


if __name__ == "__main__":
    main()
