"""Measure the dedup index: its size, the cost of lookups, and its recall of planted duplicates compared with one lane.

    python bench/index.py CORPUS [--documents 20000] [--repeats 5]

CORPUS contains Parquet files with a column `text`, at any depth. Times are processor time of this process.
"""

import argparse
import hashlib
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smollm3_mix.dedup_index.build_index import build_index
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.text.dedup.duplicate_rows import DuplicateRows

EDITS = (0.0, 0.02, 0.05, 0.1, 0.2)
"""Parts of the words that a planted copy has replaced; 0 is an exact copy."""

SOURCES = 4
LANES = (1, 4, 16)


def documents(corpus: Path, count: int) -> list[str]:
    """Return distinct texts of 50 to 3,000 words, in equal numbers from all files."""
    files = sorted(corpus.rglob("*.parquet"))
    found: dict[str, None] = {}
    for path in files:
        columns = pq.read_schema(path).names
        if "text" in columns:
            texts = pq.read_table(path, columns=["text"])["text"].to_pylist()
            fit = [text for text in texts if text and 50 <= len(text.split()) <= 3000]
            found |= dict.fromkeys(fit[: max(count // len(files) * 2, 50)])
    kept = list(found)
    random.Random(0).shuffle(kept)
    return kept[:count]


def edited(text: str, share: float, rng: random.Random, vocabulary: list[str]) -> str:
    words = text.split(" ")
    for at in rng.sample(range(len(words)), round(share * len(words))):
        words[at] = rng.choice(vocabulary)
    return " ".join(words)


def planted(texts: list[str], folder: Path) -> dict[float, list[tuple[str, str]]]:
    """Return pairs of original and copy, by edited share. Half of the texts have one copy, in any source."""
    rng = random.Random(1)
    vocabulary = " ".join(texts[:200]).split()
    pairs: dict[float, list[tuple[str, str]]] = {share: [] for share in EDITS}
    sources: list[list[str]] = [[] for _ in range(SOURCES)]
    for number, text in enumerate(texts):
        sources[number % SOURCES].append(text)
        if number % 2 == 0:
            share = EDITS[number // 2 % len(EDITS)]
            copy = edited(text, share, rng, vocabulary)
            sources[rng.randrange(SOURCES)].append(copy)
            pairs[share].append((text, copy))
    for number, mine in enumerate(sources):
        rng.shuffle(mine)
        (folder / f"s{number}").mkdir()
        for part in range(3):
            pq.write_table(pa.table({"text": mine[part::3]}), folder / f"s{number}" / f"{part}.parquet")
    return pairs


def recipe(folder: Path, lanes: int, dedup: dict[str, Any], filters: dict[str, Any]) -> Recipe:
    datasets = [{"name": str(folder / f"s{n}"), "id": f"s{n}", "weight": 1, "filters": filters} for n in range(SOURCES)]
    return Recipe.from_dict(
        {"file": "bench", "lanes": lanes, "on_exhausted": "renormalize", "dedup": dedup, "datasets": datasets}
    )


def given(what: Recipe) -> Counter[str]:
    stream = open_mix(what).stream()
    found: Counter[str] = Counter()
    while len(batch := stream.read(1024)):
        found.update(batch["text"].to_pylist())
    return found


def cost(what: Recipe) -> float:
    """Return the seconds of processor time for reading a mix to its end."""
    stream, started = open_mix(what).stream(), time.process_time()
    while len(stream.read(1024)):
        pass
    return time.process_time() - started


def finds(folder: Path, pairs: dict[float, list[tuple[str, str]]]) -> None:
    """Print the planted copies that an index finds, and those that one lane with dedup finds."""
    near = {"exact": True, "near": True}
    live = given(recipe(folder, 1, near, {}))
    each = [given(recipe(folder, lanes, {**near, "index": str(folder / f"idx{lanes}")}, {})) for lanes in LANES]
    looked = each[-1]
    exact = sum(count - 1 for count in looked.values())
    print(f"exact duplicates that survive: {exact}; {shown(LANES)} lanes give ", end="")
    print("the same records" if all(one == looked for one in each) else "other records")
    print("| words replaced | pairs | found by one lane that remembers | found by the index |\n|--:|--:|--:|--:|")
    for share, mine in pairs.items():
        caught = [
            sum(got[one] + (got[other] if one != other else 0) < 2 for one, other in mine) / len(mine)
            for got in (live, looked)
        ]
        print(f"| {share:.0%} | {len(mine)} | {caught[0]:.1%} | {caught[1]:.1%} |")
    print(f"given: {sum(live.values()):,} by one lane that remembers, {sum(looked.values()):,} by the index")


def digest(index: Path) -> str:
    """Return the SHA-256 over the manifest and every drop set of an index."""
    whole = hashlib.sha256((index / "index.json").read_bytes())
    for path in sorted((index / "drops").rglob("*.rows")):
        whole.update(path.relative_to(index).as_posix().encode() + path.read_bytes())
    return whole.hexdigest()


def shown(numbers: tuple[int, ...]) -> str:
    return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def look_ups() -> None:
    """Print nanoseconds per document for blocks of 1,024 rows, a tenth of them dropped."""
    rng = np.random.default_rng(0)
    listed = np.sort(rng.choice(1_000_000, 100_000, replace=False)).astype(np.uint32)
    dropset = DuplicateRows(listed[::2].copy(), listed[1::2].copy())
    blocks = np.arange(1_000_000).reshape(-1, 1000)
    started = time.process_time()
    for block in blocks:
        dropset.codes(block)
    print(f"look-up alone: {(time.process_time() - started) * 1e3:.1f} ns a document", end="; ")
    print(f"drop set: {dropset.nbytes:,} bytes for 1,000,000 documents of which 10 % are dropped")


def slow_down(texts: list[str], repeats: int) -> None:
    """Compare streams with an index and without dedup, over texts whose only duplicates are in the last row group."""
    bare = {"exact": False}
    with tempfile.TemporaryDirectory() as place:
        plain = Path(place)
        for number in range(SOURCES):
            (plain / f"s{number}").mkdir()
            mine = texts[number::SOURCES]
            pq.write_table(pa.table({"text": mine + mine[: len(mine) // 50]}), plain / f"s{number}" / "0.parquet")
        for name, filters in (("no rules", {}), ("Gopher and FineWeb", {"preset": "kind"})):
            kinds = {"exact": True, "near": None}
            build_index(recipe(plain, 1, kinds, filters), plain / "idx")
            asked = [recipe(plain, 1, bare, filters), recipe(plain, 1, {**kinds, "index": str(plain / "idx")}, filters)]
            times = [[cost(each) for each in asked] for _ in range(repeats)]
            one, two = (min(each) for each in zip(*times, strict=True))
            print(f"stream with look-up, {name}: {two / one - 1:+.1%} of {one:.2f} s without dedup, 2 % dropped")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    texts = documents(options.corpus, options.documents)
    print(f"{len(texts):,} documents, {sum(map(len, texts)) / 1e6:.1f} million characters; {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pairs = planted(texts, folder)
        started = time.process_time()
        kinds = {"exact": True, "near": True}
        built = build_index(recipe(folder, 16, kinds, {}), folder / "idx16")
        spent = time.process_time() - started
        count = sum(mine["documents"] for mine in built.index.counts.values())
        dropped = built.index.nbytes // 4
        manifest = len(built.index.to_json())
        keys = sum(path.stat().st_size for path in (folder / "idx16/keys").iterdir())
        print(f"indexed {count:,} documents in {spent:.1f} s, {spent / count * 1e6:.0f} µs each; {dropped:,} dropped")
        print(f"a million documents: {built.index.nbytes / count * 1e6:,.0f} bytes of drop sets, ", end="")
        print(f"{keys / count:,.1f} MB of keys while it is built; manifest {manifest:,} bytes")
        for lanes in LANES[:-1]:
            build_index(recipe(folder, lanes, kinds, {}), folder / f"idx{lanes}")
        alike = len({digest(folder / f"idx{lanes}") for lanes in LANES}) == 1
        print(f"index built for {shown(LANES)} lanes: {'identical, byte for byte' if alike else 'different'}")
        look_ups()
        finds(folder, pairs)
    slow_down(texts, options.repeats)


if __name__ == "__main__":
    main()
