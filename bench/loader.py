"""Records a second through `smollm3_mix.loader` with one worker process and with two, taken in turn.

    python bench/loader.py [CORPUS_DIR]

CORPUS_DIR holds folders of JSON lines or Parquet files with a column `text`, each a source; without it, texts are made
up. Arrow is held to one thread, so that one worker is one core. The machine needs a core to spare for each worker;
this process makes the batches. The ratio is the median over rounds of one run of each.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OMP_THREAD_LIMIT"] = "1"  # Arrow reads it when it is loaded

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import smollm3_mix


def made_up(folder: Path, rows: int) -> None:
    """Two sources of log-normal lengths."""
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("etaoinshrdlu"), size)) for size in rng.integers(1, 10, 5000)])
    for name in ("alpha", "beta"):
        lengths = np.clip(rng.lognormal(5.8, 0.8, rows), 20, 5000).astype(int)
        texts = [" ".join(words[rng.integers(0, 5000, length)]) + ".\n" for length in lengths]
        (folder / name).mkdir()
        pq.write_table(pa.table({"text": texts}), folder / name / "0.parquet", row_group_size=1000)


def recipe(folder: Path, to: Path) -> Path:
    """A recipe over the folders of a corpus, with what the stages do: clean, judge, exact dedup."""
    sources = [{"id": each.name, "name": str(each), "weight": 1} for each in sorted(folder.iterdir()) if each.is_dir()]
    to.write_text(yaml.safe_dump({"lanes": 8, "on_exhausted": "stop", "dedup": {"exact": True}, "datasets": sources}))
    return to


def rate(mix: smollm3_mix.Mix, workers: int, warm: int, records: int) -> float:
    """Records a second after the first `warm` ones, when all workers are at work."""
    batches: Iterator[list[dict[str, object]]] = iter(smollm3_mix.loader(mix, 256, num_workers=workers))
    seen = 0
    while seen < warm:
        seen += len(next(batches))
    start, done = time.perf_counter(), 0
    for batch in batches:
        done += len(batch)
        if done >= records:
            break
    return done / (time.perf_counter() - start)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("corpus", nargs="?", type=Path)
    options.add_argument("--records", type=int, default=12_000, help="timed in each run")
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as work:
        corpus = asked.corpus
        if corpus is None:
            corpus = Path(work) / "corpus"
            corpus.mkdir()
            made_up(corpus, 2 * asked.records)
        mix = smollm3_mix.open_mix(recipe(corpus.resolve(), Path(work) / "bench.yaml"))
        rates: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(asked.rounds):
            for workers, found in rates.items():
                found.append(rate(mix, workers, 4096, asked.records))
        for workers, found in rates.items():
            print(f"{workers} worker{'s' * (workers > 1)}: {statistics.median(found):,.0f} records/s")
        ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
        print(
            f"2 workers / 1 worker: {statistics.median(ratios):.2f} (rounds: {', '.join(f'{r:.2f}' for r in ratios)})"
        )


if __name__ == "__main__":
    main()
