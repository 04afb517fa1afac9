"""Estimate the cost of stage 1 on 1, 16 and 256 machines from measurements on this machine.

    python bench/scaling.py CORPUS [--machines 1 16 256] [--cores 64] [--gigabits 10] [--disk 15]

CORPUS contains the folders of bench/throughput.py. A process with one thread measures, per byte of text read, the dedup
index of the corpus by the rules of stage 1 and the mix over it, written as Parquet. It also measures how well text is
compressed, in the sources and as written, and bytes per document. Other benchmarks provide the memory of a process, the
bytes of a lane's state and the seconds to open a lane. Their commands are next to the constants below. The options are
assumptions. Each source is assumed to be read as often as its `max_passes` allows, without the extra quarter. Nothing
is read over a network.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml
from throughput import SOURCES

from smollm3_mix.dedup_index.build_index import build_index
from smollm3_mix.dedup_index.duplicate_ranges import BYTES
from smollm3_mix.dedup_index.index_units import UNIT, segments
from smollm3_mix.mix.mix_stats import SourceStats
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.text.dedup.dedup_options import BYTES_PER_KEY as REMEMBERED

TOKENS = 8_100_000_000_000
KEY = 12
"""Bytes of a key while an index is built (docs/dedup-index.md)."""

KEYS = 15
"""Of a document with exact and near dedup by default: one, and 14 bands."""

DROP = 4
"""Bytes of a row that is dropped, in the index."""

MEMORY = 844e6, "bench/standins.py"
STATE = 6_100, "bench/simulate.py"
OPEN = 2.7e-3, "bench/simulate.py"
BLOBS = 1000, "the most that one machine asks Software Heritage for in a second (docs/sources.md)"
FILES = 3000 / 300, "the most that one machine asks the Hub for in a second (docs/sources.md)"
LISTINGS = 500 / 300, "the most listings likewise"
GRANTED = 5000 / 300, "what the Hub grants a free account in a second, for files (huggingface.co/docs/hub/rate-limits)"
SPARE = 1.25
"""What `max_passes` above 1 are more than the stage needs."""

LISTED = 1000 / 300, "likewise, for listings"
PAGE = 1000
"""Files in one answer to a listing."""


@dataclass
class Measured:
    """Measurements on one core of this machine.

    Attributes:
        indexing: seconds a byte of text read, both passes; exact dedup.
        near: the same with near dedup too.
        opening: seconds to look for a range of keys in the file of one unit.
        mixing: seconds a byte of text read: clean, filter, look up, mix and write.
        kept: bytes of text given for a byte read.
        document, blob: bytes of text of a document of any kind, and of code, as read.
        stored: bytes of a source's column of text on disk, for a byte of text.
        written: bytes of a written mix for a byte of text given.
    """

    indexing: float
    near: float
    opening: float
    mixing: float
    kept: float
    document: float
    blob: float
    stored: float
    written: float


def entries(corpus: Path) -> list[dict[str, Any]]:
    """Return the `datasets` of a recipe over the corpus."""
    return [
        {
            "id": origin.folder.replace("/", "-"),
            "name": str((corpus / origin.folder).resolve()),
            "weight": origin.weight,
            "tokens_per_byte": origin.ratio,
            "kind": {"type": origin.kind, "language": origin.language},
        }
        for origin in SOURCES
    ]


def measure(corpus: Path) -> Measured:
    """Index and write the corpus by stage 1's rules."""
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        top = {"lanes": 1, "filters": {"preset": "kind", "min_chars": 20}, "on_exhausted": "renormalize"}
        datasets = entries(corpus)
        times = {"warm": 0.0}  # the first build also has modules and memory to find
        for name, near in (("warm", True), ("exact", False), ("near", True)):
            dedup: dict[str, object] = {"exact": True, "near": near}
            (work / f"{name}.yaml").write_text(yaml.safe_dump({**top, "dedup": dedup, "datasets": datasets}))
            started = time.process_time()
            build_index(work / f"{name}.yaml", work / name)
            times[name] = time.process_time() - started
        keys = list((work / "near/keys").iterdir())
        started = time.process_time()
        for path in keys * 20:
            for segment in segments(path):
                np.searchsorted(segment.column(0)[0], 1 << 63)
        opening = (time.process_time() - started) / len(keys) / 20
        looked = {**top, "dedup": {"exact": True, "near": False, "index": str(work / "exact")}, "datasets": datasets}
        (work / "looked.yaml").write_text(yaml.safe_dump(looked))
        started = time.process_time()
        stats = write(work / "looked.yaml", work / "mix").stats["train"]
        total = stats.total
        mixing = time.process_time() - started
        size = sum(path.stat().st_size for path in (work / "mix").rglob("*.parquet"))
        files = [path for origin in SOURCES for path in (corpus / origin.folder).rglob("*.parquet")]
        stored = sum(map(_stored, files))
    each = total.read_bytes
    code = sum((counts for id_, counts in stats.sources.items() if id_.startswith("stack-edu")), SourceStats())
    return Measured(
        times["exact"] / each,
        times["near"] / each,
        opening,
        mixing / each,
        total.emitted_bytes / each,
        each / total.read,
        code.read_bytes / code.read,
        stored / each,
        size / total.emitted_bytes,
    )


def _stored(path: Path) -> int:
    """Return the bytes on disk of the column `text` of a Parquet file."""
    meta = pq.read_metadata(path)
    column = meta.schema.names.index("text")
    return sum(meta.row_group(n).column(column).total_compressed_size for n in range(meta.num_row_groups))


@dataclass
class Stage:
    """Stage 1 as estimated.

    Attributes:
        emitted, text: bytes of text emitted, and read for it.
        once: bytes of text available, each read once.
        documents: number of documents available.
        blobs: number of documents whose text is fetched one by one.
        sources: number of sources.
        files: number of their files.
        least: number of documents emitted by the source with the smallest share.
    """

    emitted: float
    text: float
    once: float
    documents: float
    blobs: float
    sources: int
    files: int
    least: float


def stage(of: Measured, file_bytes: float) -> Stage:
    """Estimate stage 1 from the recipe's shares and tokens per byte, and the measured share of text that is kept."""
    recipe = load_recipe("stage1")
    each = {s.id: recipe.shares[s.id] * TOKENS / s.tokens_per_byte for s in recipe.active}
    given = sum(each.values())
    text = given / of.kept
    passes = {source.id: max(1.0, source.max_passes / SPARE) for source in recipe.active}
    once = {source: size / passes[source] / of.kept for source, size in each.items()}
    blobs = sum(once[source.id] for source in recipe.active if source.content == "swh")
    files = math.ceil(sum(once.values()) * of.stored / file_bytes)
    total = sum(once.values())
    least = min(each.values()) / of.document
    return Stage(given, text, total, total / of.document, blobs / of.blob, len(each), files, least)


def units(value: float) -> str:
    """Return a number of bytes in a suitable unit."""
    for name, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= size:
            return f"{value / size:,.1f} {name}"
    return f"{value / 1e3:,.1f} kB"


def rows(asked: argparse.Namespace, of: Measured, on: Stage, machines: int) -> dict[str, str]:
    """Return the column of the table for this number of machines."""
    processes = machines * asked.cores
    lanes = processes * asked.lanes
    hubs = on.files + lanes * on.sources  # a lane's end cuts a file of each source, and each part is asked for
    hours = {
        "processor, mix": on.text * of.mixing / 3600 / processes,
        "network, mix": on.text * of.stored * 8 / (asked.gigabits * 1e9) / 3600 / machines,
        "the Hub's files, own pace": hubs / (FILES[0] * machines) / 3600,
        "the Hub's files, a free account": hubs / GRANTED[0] / 3600,
        "Software Heritage": on.blobs / (BLOBS[0] * machines) / 3600,
    }
    listings = math.ceil(on.files / PAGE) + 2 * on.sources
    index = {
        "processor, index": on.once * of.indexing / 3600 / asked.cores,
        "network, index": on.once * of.stored * 8 / (asked.gigabits * 1e9) / 3600,
        "Software Heritage, index": on.blobs / BLOBS[0] / 3600,
    }
    first, second = sorted(hours, key=lambda name: -hours[name])[:2]
    return {
        "lanes": f"{lanes:,}",
        "core-hours, mix": f"{on.text * of.mixing / 3600:,.0f}",
        **{f"hours: {name}": f"{value:,.1f}" for name, value in hours.items()},
        "**slowest**": f"**{first}**",
        "next": second,
        **{f"hours: {name}, on one machine": f"{value:,.1f}" for name, value in index.items()},
        "read over the network, each machine": units(on.text * of.stored / machines),
        "requests to the Hub for files": f"{hubs:,.0f}",
        "listings, opened once / by every process": f"{listings:,} / {listings * processes:,}",
        "hours: listings by every process, own pace": f"{listings * asked.cores / LISTINGS[0] / 3600:,.1f}",
        "hours: the same, a free account": f"{listings * processes / LISTED[0] / 3600:,.1f}",
        "written, each machine": units(on.emitted * of.written / machines)
        + (" (**more than its disk**)" if on.emitted * of.written / machines > asked.disk * 1e12 else ""),
        "memory, each machine": units(asked.cores * MEMORY[0]),
        "states of all lanes": units(lanes * STATE[0]),
        "documents of the least source, each lane": f"{on.least / lanes:,.0f}",
        "opening lanes, core-hours": f"{lanes * OPEN[0] / 3600:,.2f}",
    }


def paper(asked: argparse.Namespace, of: Measured) -> None:
    """Print what was measured, what is assumed, and the table."""
    on = stage(of, asked.file_bytes)
    print("measured here, on one core:\n")
    print(f"| index, exact dedup | {1e-6 / of.indexing:,.1f} MB/s of text read |\n|---|--:|")
    print(f"| index, near dedup too | {1e-6 / of.near:,.1f} MB/s |")
    print(f"| clean, filter, look up, mix, write | {1e-6 / of.mixing:,.1f} MB/s |")
    print(f"| text given for text read | {of.kept:.0%} |")
    print(f"| a document; of code | {of.document:,.0f}; {of.blob:,.0f} bytes |")
    print(f"| text on disk, in the sources | {of.stored:.0%} |\n| written, of text given | {of.written:.0%} |")
    print(f"\nstage 1, {TOKENS:,} tokens:\n")
    print(f"| text given | {units(on.emitted)} |\n|---|--:|\n| text read | {units(on.text)} |")
    print(f"| text that there is, each read once | {units(on.once)} |")
    print(f"| documents in it | {on.documents / 1e9:,.1f} billion |")
    print(f"| of them fetched one by one | {on.blobs / 1e9:,.2f} billion |")
    print(f"| files of {on.sources} sources | {on.files:,} |")
    memory = [units(REMEMBERED * keys * on.documents) for keys in (1, KEYS)]
    print(f"| to remember it instead: exact; near too | {memory[0]}; {memory[1]} of memory |")
    exact, near = KEY * on.documents, KEY * KEYS * on.documents
    print(f"| keys while the index is built: exact; near too | {units(exact)}; {units(near)} |")
    print(f"| the index, {asked.duplicates:.0%} of the rows in it | {units(DROP * asked.duplicates * on.documents)} |")
    print(f"| core-hours of the index: exact; near too | {on.once * of.indexing / 3600:,.0f}; ", end="")
    print(f"{on.once * of.near / 3600:,.0f} |")
    ranges = [math.ceil(on.documents * BYTES / (asked.range * 1e9)) * keys for keys in (1, KEYS)]
    opened = [each * on.once * of.stored / UNIT for each in ranges]
    print(f"| of them pass two, to open units for ranges | {opened[0] * of.opening / 3600:,.1f}; ", end="")
    print(f"{opened[1] * of.opening / 3600:,.1f} |\n")
    columns = [rows(asked, of, on, machines) for machines in asked.machines]
    print(f"| | {' | '.join(f'{m} machine' + 's' * (m > 1) for m in asked.machines)} |\n|---|{'--:|' * len(columns)}")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(column[name] for column in columns)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 16, 256])
    parser.add_argument(
        "--cores", type=int, default=64, help="cores of a machine, and processes on it (default %(default)s)"
    )
    parser.add_argument(
        "--gigabits", type=float, default=10, help="gigabits per second of a machine (default %(default)s)"
    )
    parser.add_argument("--disk", type=float, default=15, help="TB of disk space of a machine (default %(default)s)")
    parser.add_argument("--range", type=float, default=1, help="GB of keys that a process compares at once")
    parser.add_argument("--lanes", type=int, default=4, help="lanes per process (default %(default)s)")
    parser.add_argument(
        "--file-bytes", type=float, default=300e6, help="bytes of a file of a source (default %(default)s)"
    )
    parser.add_argument(
        "--duplicates", type=float, default=0.17, help="share of rows that are duplicates (default %(default)s)"
    )
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(asdict(measure(asked.corpus))))
        return
    held = os.environ | {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1"}
    command = [sys.executable, __file__, str(asked.corpus), "--measure"]
    done = subprocess.run(command, env=held, check=True, stdout=subprocess.PIPE, text=True)
    paper(asked, Measured(**json.loads(done.stdout.splitlines()[-1])))


if __name__ == "__main__":
    main()
