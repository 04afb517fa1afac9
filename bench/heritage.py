"""Compare the speed of concurrent and sequential downloads of blobs from a slow server, and check that they are equal.

python bench/heritage.py [--blobs 5000] [--latency 0.05]
"""

import argparse
import hashlib
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

SLOW, LAG = 20, 0.5  # every 20th blob (5 %) takes half a second longer
MISSING = 33  # every 33rd blob (3 %) is missing


def texts(count: int) -> list[bytes]:
    return [f"# {number}\n".encode() * (1 + number * 7919 % 700) for number in range(count)]


def serve(count: int, latency: float, pipe) -> None:
    from heritage import heritage, packed
    from problems import Faults

    contents = packed(texts(count))
    ids = list(contents)
    kept = {blob: body for number, (blob, body) in enumerate(contents.items()) if number % MISSING}
    with heritage(kept, problems=Faults(latency=latency), slow=set(ids[::SLOW]), lag=LAG) as server:
        pipe.send(server.endpoint)
        pipe.recv()


def main() -> None:
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("--blobs", type=int, default=5000)
    line.add_argument("--latency", type=float, default=0.05)
    asked = line.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["HF_HOME"] = home
        here, there = multiprocessing.get_context("spawn").Pipe()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(asked.blobs, asked.latency, there))
        server.start()
        os.environ["SMOLLM3_MIX_SWH_ENDPOINT"] = here.recv()
        compare(asked.blobs, Path(home))
        here.send("done")
        server.join()


def compare(count: int, home: Path) -> None:
    from smollm3_mix.recipe.model import Block, Source
    from smollm3_mix.sources.block_reader import Reader
    from smollm3_mix.sources.partition import partition_source
    from smollm3_mix.sources.software_heritage.contents import _fetch
    from smollm3_mix.sources.source_files import ResolvedSource, SourceFile

    given = texts(count)
    ids = [hashlib.sha1(text).hexdigest() for text in given]
    table = pa.table({"blob_id": ids, "src_encoding": ["UTF-8"] * count, "length_bytes": [len(text) for text in given]})
    path = home / "ids.parquet"
    pq.write_table(table, path)
    resolved = ResolvedSource("s", "parquet", "", (SourceFile("ids.parquet", str(path), path.stat().st_size),))
    reader = Reader(
        Source(id="s", weight=1.0, name="s", content="swh"),
        resolved,
        partition_source(resolved, 1, 0, False)[0],
        Block(),
    )
    started = time.perf_counter()
    found = [text for block in iter(reader.read, None) for text in block.texts.to_pylist()]
    fast = time.perf_counter() - started
    os.environ["HF_HOME"] = str(home / "other")
    started = time.perf_counter()
    alone = []
    for blob in ids:  # the same client, no cache, one after another
        answer = _fetch(blob)
        alone.append(None if answer is None else answer[1].decode())
    slow = time.perf_counter() - started
    same = "equal, in the same order" if found == alone else "NOT EQUAL"
    size = sum(len(text) for text in given)
    print(f"{count:,} blobs ({size:,} bytes), {sum(text is None for text in found):,} missing: {same}")
    print(f"at once {fast:.1f} s, one after another {slow:.1f} s: {slow / fast:.1f} times as fast")


if __name__ == "__main__":
    main()
