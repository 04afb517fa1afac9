"""Measure the size of a state of 64 lanes over 56 sources with a dedup index, and the time to save and load it.

    python bench/states.py CORPUS [--lanes 64] [--records 4000] [--copied 0.2]

CORPUS contains Parquet files with a column `text`, at any depth. Their lines make the sources of stage 3, with its
weights. Each lane has a block of the maximum number of rows, 1,024, some of which are also in other sources.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from index import documents

from smollm3_mix.dedup_index.build_index import build_index
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.recipe.model import Block
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe


def made(corpus: Path, folder: Path, lanes: int, copied: float) -> list[str]:
    """Write one Parquet file per source with a block for each lane. Return the ids of the sources."""
    whole = "\n".join(documents(corpus, 3000))
    lines = [line[:120] for line in whole.split("\n") if len(line) > 40]
    names = [source.id for source in load_recipe("stage3").sources]
    rows = lanes * Block().rows
    rng = np.random.default_rng(0)
    for number, name in enumerate(names, 1):
        own = np.where(rng.random(rows) < copied, 0, number).tolist()
        texts = [f"{lines[n % len(lines)]} {mark} {n // len(lines)}" for n, mark in enumerate(own)]
        pq.write_table(pa.table({"text": texts}), folder / f"{name}.parquet", row_group_size=Block().rows)
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--lanes", type=int, default=64)
    parser.add_argument("--records", type=int, default=4000)
    parser.add_argument(
        "--copied",
        type=float,
        default=0.2,
        help="part of the rows of each source that stand, by chance, in other sources too; "
        "0.5 makes the largest states (default %(default)s)",
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = made(asked.corpus, folder, asked.lanes, asked.copied)
        weights = {source.id: source.weight for source in load_recipe("stage3").sources}
        datasets = [{"id": name, "name": str(folder / f"{name}.parquet"), "weight": weights[name]} for name in names]
        top = {"file": "states", "lanes": asked.lanes, "on_exhausted": "renormalize", "datasets": datasets}
        build_index(Recipe.from_dict({**top, "dedup": {"exact": True}}), folder / "idx", num_proc=2)
        looked = Recipe.from_dict({**top, "dedup": {"exact": True, "index": str(folder / "idx")}})
        mix = open_mix(looked)
        stream = mix.stream()
        given = 0
        while given < asked.records:
            given += stream.read(min(1024, asked.records - given)).num_rows
        started = time.process_time()
        state = stream.state_dict()
        taken = time.process_time() - started
        written = json.dumps(state)
        total = stream.stats.total
        print(
            f"{asked.lanes} lanes × {len(names)} sources after {given:,} records: {len(written):,} bytes of JSON, ",
            end="",
        )
        print(
            f"of which the recipe takes {len(json.dumps(state['recipe'])):,}; taken in {taken:.2f} s of the processor"
        )
        print(f"{sum(total.dropped.values()) / total.read:.1%} of {total.read:,} rows dropped")
        expected = stream.read(1024)["id"].to_pylist()
        again = mix.stream()
        started = time.process_time()
        again.load_state_dict(json.loads(written))
        print(f"loaded in {time.process_time() - started:.1f} s; ", end="")
        print(
            "continues with the same records"
            if again.read(1024)["id"].to_pylist()[:50] == expected[:50]
            else "CONTINUES WITH OTHER RECORDS"
        )


if __name__ == "__main__":
    main()
