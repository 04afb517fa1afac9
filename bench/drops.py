"""List what the shipped recipes drop of real text, and how much of it is right according to labels made by hand.

    python bench/drops.py CORPUS [--sources GLOB] [--published] [--seed 0] [--per-source 100]
        [--show CHARS] [--labels bench/drops.tsv] [--check]

CORPUS contains Parquet files with a column `text`, in folders named as on the Hub (see `origins`). Every source is
cleaned and filtered as in the recipe stage3. A language that stage3 does not have is treated as its other languages.
Copies of a text count once. `--published` uses the published rules instead: FineWeb-2's of the language for prose,
Gopher's repetition rules for mathematics, and The Stack's for code.

Prints a line per source: documents, dropped documents and their reasons, labeled drops of the sample, and the share of
these that are right. A drop is right if a person who trains a language model would not miss the document. The sample of
a source is the `--per-source` drops with the smallest hash of seed and text, so it depends on nothing else. With other
rules, a document stays in the sample unless it is kept or other drops replace it.

`--show` also prints the sample: id, reason, and CHARS characters of beginning, middle and end. An id is the first 16
hex digits of the SHA-256 of the text before cleaning. `--check` exits with 1 unless every sampled drop has a label and
at least nine in ten of each source are right.
"""

import argparse
import csv
import fnmatch
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from smollm3_mix.recipe.model import Kind, Source
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.text.clean.clean_block import clean_texts
from smollm3_mix.text.filters.filter_block import drop_reasons
from smollm3_mix.text.filters.filter_options import FilterOptions
from smollm3_mix.text.filters.reasons import REASONS

RIGHT = 0.9
"""Least share of right ones among a source's sampled drops."""

CODE = ("Python", "C", "Cpp", "Java", "JavaScript", "TypeScript", "Rust", "Go", "Ruby", "Shell", "SQL", "Markdown")
PROSE = ("fra", "spa", "deu", "ita", "por", "vie", "cmn", "jpn", "rus", "kor", "ell", "hin", "fas")
OTHER = {"pol": "pl", "tur": "tr", "ukr": "uk"}
"""Languages that the recipe has not."""

PUBLISHED = {
    "prose": FilterOptions("fineweb2"),
    "math": FilterOptions(gopher_repetition=True),
    "code": FilterOptions(code=True),
}


class Drop(NamedTuple):
    """A dropped document. `text` is cleaned, `id` comes from the text before cleaning."""

    id: str
    reason: str
    text: str


def origins() -> Iterator[tuple[str, str, Source]]:
    """Return name, folder below CORPUS and rules of every source."""
    sources = {source.id: source for source in load_recipe("stage3").sources}
    for name in CODE:
        yield name, f"stack-edu/{name}", sources[f"stack-edu-real-shuffled-{name}"]
    yield "finemath", "finemath/finemath-3plus", sources["finemath"]
    for name in PROSE:
        yield name, f"fineweb-2/data/{name}_*", sources[f"fw2-{name}"]
    like = sources["fw2-fra"]
    for name, tag in OTHER.items():
        kind = Kind("prose", tag)
        yield name, f"fineweb-2/data/{name}_*", replace(like, kind=kind, filters=replace(like.filters, language=tag))
    for name in ("fineweb-edu", "dclm", "stackexchange"):
        yield name, name, sources[name]
    yield "issues", "issues", sources["github-issues"]


def documents(corpus: Path, folder: str) -> Iterator[pa.StringArray]:
    """Yield batches of texts of a source, without nulls."""
    paths = sorted(path for found in corpus.glob(folder) for path in found.rglob("*.parquet"))
    if not paths:
        raise SystemExit(f"{corpus} has no Parquet files in {folder}; name the folder that holds it")
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(1024, columns=["text"]):
            yield batch.column(0).cast(pa.string()).drop_null()


def dropped(corpus: Path, folder: str, source: Source) -> tuple[int, list[Drop]]:
    """Return the number of distinct texts of a source, and the dropped documents."""
    seen: set[str] = set()
    drops = []
    for texts in documents(corpus, folder):
        cleaned = clean_texts(texts, source.clean)
        columns = (texts, cleaned, drop_reasons(cleaned, source.filters))
        for raw, text, reason in zip(*(column.to_pylist() for column in columns), strict=True):
            name = hashlib.sha256(raw.encode()).hexdigest()[:16]
            if name not in seen and reason is not None:
                drops.append(Drop(name, reason, text))
            seen.add(name)
    return len(seen), drops


def sample(drops: list[Drop], seed: int, size: int) -> list[Drop]:
    """Return a sample of the drops, chosen by seed and text."""
    return sorted(drops, key=lambda drop: hashlib.sha256(f"{seed} {drop.id}".encode()).digest())[:size]


def excerpt(text: str, size: int) -> str:
    """Return characters from the beginning, middle and end of a text."""
    if len(text) <= size:
        return text
    third, middle = size // 3, len(text) // 2
    return f"{text[:third]}\n[…]\n{text[middle - third // 2 : middle + third // 2]}\n[…]\n{text[-third:]}"


def read_labels(table: Path, rules: str) -> dict[tuple[str, str], str]:
    """Return the labels (right or wrong) of the drops of these rules, by source and id."""
    with table.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if row["rules"] == rules]
    return {(row["source"], row["id"]): row["verdict"] for row in rows}


def main() -> int:
    """Print the table. Return 1 if `--check` finds a drop without a label, or too many wrong drops."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--sources", default="*", help="only sources that match this pattern, such as 'J*'")
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-source", type=int, default=100)
    parser.add_argument("--show", type=int, default=0, metavar="CHARS")
    parser.add_argument("--labels", type=Path, default=Path(__file__).with_name("drops.tsv"))
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    labels = read_labels(given.labels, "published" if given.published else "shipped")
    problems = []
    print("| source | kind | documents | dropped | share | labeled | right | why |\n|---|---|--:|--:|--:|--:|--:|---|")
    for name, folder, source in origins():
        if not fnmatch.fnmatchcase(name, given.sources):
            continue
        filtered = replace(source, filters=PUBLISHED[source.kind.type]) if given.published else source
        total, drops = dropped(given.corpus, folder, filtered)
        chosen = sample(drops, given.seed, given.per_source)
        found = Counter(labels.get((name, drop.id)) for drop in chosen)
        read_by_hand = len(chosen) - found[None]
        right = f"{found['right'] / read_by_hand:.0%}" if read_by_hand else "–"
        why = ", ".join(f"{reason} {count}" for reason, count in Counter(drop.reason for drop in drops).most_common())
        numbers = f"{total:,} | {len(drops):,} | {len(drops) / total:.2%} | {read_by_hand} | {right}"
        print(f"| {name} | {source.kind.type} | {numbers} | {why or '–'} |", flush=True)
        if found[None] or found["right"] < RIGHT * len(chosen):
            problems.append(
                f"{name}: of {len(chosen)} drops, {found[None]} have no label and {found['wrong']} are wrong"
            )
        for drop in chosen if given.show else ():
            print(f"\n=== {name} {drop.id} {drop.reason} ({REASONS[drop.reason]}), {len(drop.text)} characters")
            print(excerpt(drop.text, given.show))
    if given.check:
        print("\n".join(problems) or f"Every sampled drop has a label; of each source at least {RIGHT:.0%} are right.")
    return int(given.check and bool(problems))


if __name__ == "__main__":
    sys.exit(main())
