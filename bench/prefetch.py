"""Measure records per second of one lane with and without prefetch, from local files and from a slow Hub.

    python bench/prefetch.py CORPUS [--hub hubserver.py] [--latency 0.05]

CORPUS contains folders of Parquet files with a column `text`. Each folder becomes a source of `--megabytes` of text, in
files with row groups of 1,000. Texts are repeated with a number if there are too few. `--hub` is a script that serves
folders as a Hub on loopback. It adds `--latency` seconds to each request. Figures are medians over rounds. Each round
runs both methods, each in a new process with one Arrow thread.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from slow_hub import served

import smollm3_mix
import smollm3_mix.mix.open_mix

WAYS = {"prefetch": None, "no prefetch": "0"}
"""Value of SMOLLM3_MIX_PREFETCH by method."""


def make(corpus: Path, to: Path, size: int) -> dict[str, Path]:
    """Write Parquet files with `size` bytes of text for each folder of the corpus. Return the new folders by name."""
    made = {}
    for folder in sorted(each for each in corpus.iterdir() if any(each.rglob("*.parquet"))):
        texts = [pq.read_table(path, columns=["text"])["text"] for path in sorted(folder.rglob("*.parquet"))]
        whole = pa.chunked_array([chunk.cast(pa.string()) for each in texts for chunk in each.chunks])
        made[folder.name] = to / folder.name
        made[folder.name].mkdir(parents=True)
        for number in range(-(-size // pc.sum(pc.binary_length(whole)).as_py())):
            marked = pc.binary_join_element_wise(whole, f"{folder.name} {number}", "\n\n")
            path = made[folder.name] / f"{number:03}.parquet"
            pq.write_table(pa.table({"text": marked}), path, row_group_size=1000, compression="zstd")
    return made


def recipe(sources: dict[str, str], to: Path) -> Path:
    """Return a recipe of one lane over the sources that cleans, filters and dedups like the stages."""
    each = [{"id": id_, "name": name, "weight": 1} for id_, name in sources.items()]
    to.write_text(yaml.safe_dump({"lanes": 1, "on_exhausted": "stop", "dedup": {"exact": True}, "datasets": each}))
    return to


def run(path: str, records: int) -> None:
    """Read so many records in this process, and print seconds on the clock and of the processor as JSON."""
    stream = smollm3_mix.open_mix(path).stream()
    given = stream.read(1).num_rows  # and every source is open
    clock, processor = time.perf_counter(), time.process_time()
    while given < records and (batch := stream.read(1024)).num_rows:
        given += batch.num_rows
    print(json.dumps([given, time.perf_counter() - clock, time.process_time() - processor]))


def compare(path: Path, records: int, rounds: int, environment: dict[str, str]) -> None:
    """Print records per second of both methods."""
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, value in WAYS.items():
            env = os.environ | environment | {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1"}
            env |= {} if value is None else {"SMOLLM3_MIX_PREFETCH": value}
            command = [sys.executable, __file__, str(path), "--records", str(records), "--run"]
            done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
            given, clock, processor = json.loads(done.stdout.splitlines()[-1])
            found[way].append((given / clock, given / processor))
    for way, rates in found.items():
        by_clock, by_processor = (statistics.median(each) for each in zip(*rates, strict=True))
        print(f"  {way}: {by_clock:,.0f} records/s, {by_processor:,.0f} per second of processor time")
    for number, what in enumerate(("by the clock", "by the processor")):
        ratios = [one[number] / other[number] for one, other in zip(*found.values(), strict=True)]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"  prefetch / no prefetch, {what}: {statistics.median(ratios):.2f} (rounds: {each})")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("corpus", type=Path)
    options.add_argument("--hub", type=Path, help="script that serves folders as a Hub on loopback")
    options.add_argument("--latency", type=float, default=0.05, help="seconds added to each request")
    options.add_argument("--megabytes", type=float, default=60, help="text of each source (default %(default)s)")
    options.add_argument("--records", type=int, default=40_000, help="timed in each run")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.run:
        run(str(asked.corpus), asked.records)
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        folders = make(asked.corpus, work / "sources", int(asked.megabytes * 1e6))
        print(f"{len(folders)} sources, local files:")
        local = recipe({name: str(folder) for name, folder in folders.items()}, work / "local.yaml")
        compare(local, asked.records, asked.rounds, {})
        if asked.hub:
            remote = recipe({name: f"bench/{name}" for name in folders}, work / "remote.yaml")
            repositories = {f"bench/{name}": folder for name, folder in folders.items()}
            with served(asked.hub.resolve(), repositories, asked.latency, work) as there:
                print(f"a Hub with {1000 * asked.latency:.0f} ms added to each request:")
                compare(remote, asked.records, asked.rounds, there)


if __name__ == "__main__":
    main()
