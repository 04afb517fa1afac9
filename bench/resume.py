"""Measure what a resume at record 1,000,000 of one long lane reads: bytes of each source, and seconds.

    python bench/resume.py [--records 1000000]

Makes a Parquet source, and a zstd and a gzip source of JSON lines, each with several files. Reads the lane up to the
record, saves its state, and resumes in a new process that counts the bytes of every open file. The dedup state is
counted separately. A stream that resumes by replay would read everything before the record.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import smollm3_mix
import smollm3_mix.mix.open_mix
from smollm3_mix.sources.formats import byte_ranges

FILES = 8


def make(folder: Path, rows: int) -> Path:
    """Write three sources of `rows` short texts each, and a recipe of one lane over them."""
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("etaoinshrdlu"), 6)) for _ in range(4000)])
    for name in ("parquet", "zstd", "gzip"):
        (folder / name).mkdir(parents=True)
        for number in range(FILES):
            picks = words[rng.integers(0, 4000, (rows // FILES, 14))]
            texts = [" ".join(each) for each in picks]
            lines = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
            path = folder / name / f"{number}"
            if name == "parquet":
                pq.write_table(pa.table({"text": texts}), f"{path}.parquet", row_group_size=10_000)
            elif name == "zstd":
                with pa.CompressedOutputStream(f"{path}.jsonl.zst", "zstd") as file:
                    file.write(lines)
            else:
                with gzip.open(f"{path}.json.gz", "wb", compresslevel=1) as file:
                    file.write(lines)
    recipe = {
        "lanes": 1,
        "weigh_by": "documents",
        "on_exhausted": "stop",
        "dedup": {"exact": True},
        "filters": {"min_chars": 1},
        "datasets": [{"id": name, "name": str(folder / name), "weight": 1} for name in ("parquet", "zstd", "gzip")],
    }
    (folder / "long.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "long.yaml"


def count_reads() -> dict[str, int]:
    """Bytes read from each file from now on, by path: the one function that opens local files is made to count."""
    counts: dict[str, int] = {}
    original = byte_ranges._local_reader

    def counted(path: Path, file: Any) -> Any:
        fetch = original(path, file)

        def fetch_and_count(start: int, stop: int) -> bytes:
            data = fetch(start, stop)
            counts[str(path)] = counts.get(str(path), 0) + len(data)
            return data

        return fetch_and_count

    byte_ranges._local_reader = counted
    return counts


def resume(recipe: Path, state: Path, seen: Path) -> None:
    """Resume from a state in this new process, and print the cost as JSON."""
    counts = count_reads()
    mix = smollm3_mix.open_mix(recipe, dedup_state_dir=seen)
    listed = dict(counts)
    saved = json.loads(state.read_bytes())
    start = time.perf_counter()
    stream = mix.stream()
    stream.load_state_dict(saved)
    record = next(iter(stream))
    seconds = time.perf_counter() - start
    read = {path: size - listed.get(path, 0) for path, size in counts.items() if size > listed.get(path, 0)}
    print(json.dumps({"id": record["id"], "seconds": seconds, "read": read}))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--records", type=int, default=1_000_000)
    options.add_argument("--resume", nargs=3, type=Path, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.resume:
        resume(*asked.resume)
        return
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        recipe = make(folder / "sources", asked.records * 2 // 5)
        stream = smollm3_mix.open_mix(recipe, dedup_state_dir=folder / "seen").stream()
        start, given = time.perf_counter(), 0
        while given < asked.records:
            given += stream.read(min(1024, asked.records - given)).num_rows
        print(f"read up to record {given:,} in {time.perf_counter() - start:.1f} s")
        state = stream.state_dict()
        (folder / "state.json").write_text(json.dumps(state))
        expected = next(iter(stream))["id"]
        done = subprocess.run(
            [sys.executable, __file__, "--resume", recipe, folder / "state.json", folder / "seen"],
            check=True,
            capture_output=True,
        )
        found = json.loads(done.stdout)
        if found["id"] != expected:
            sys.exit(f"resumed at {found['id']}, expected {expected}")
        print(f"resumed at the next record in {found['seconds']:.2f} s, with what dedup remembers")
        for name in ("parquet", "zstd", "gzip"):
            all_of_it = sum(path.stat().st_size for path in (folder / "sources" / name).iterdir())
            read = {path: size for path, size in found["read"].items() if f"/{name}/" in path}
            each = ", ".join(f"{Path(path).name} {size:,}" for path, size in sorted(read.items()))
            print(f"{name}: {sum(read.values()):,} of {all_of_it:,} bytes ({each})")
        seen = state["lanes"][0]["dedup_state"]
        print(f"dedup: {seen['bytes']:,} bytes for {seen['documents']:,} documents; state: {len(json.dumps(state)):,}")


if __name__ == "__main__":
    main()
