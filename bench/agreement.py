"""Compare the decisions of this package with those of datatrove's own filters on the same English texts.

    pip install -e ".[bench]"
    python bench/agreement.py CORPUS [--without FOLDER …] [--documents N]

CORPUS is a folder of Parquet files with a column `text`, at any depth. Both sides use the same thresholds and the words
that `str.split` finds. datatrove splits sentences with spaCy. Skipped are the named folders, such as those of other
languages, and documents with Chinese or Japanese. agreement.md has the latest results and the reasons for differences.
"""

import argparse
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline import filters
from datatrove.pipeline.filters import fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter

from smollm3_mix.text.filters.filter_block import drop_reasons
from smollm3_mix.text.filters.filter_options import FilterOptions

FILTERS: dict[str, tuple[Callable[[], Any], FilterOptions]] = {
    "Gopher quality": (filters.GopherQualityFilter, FilterOptions(gopher_quality=True, language="en")),
    "Gopher repetition": (filters.GopherRepetitionFilter, FilterOptions(gopher_repetition=True)),
    "C4": (filters.C4QualityFilter, FilterOptions(c4=True)),
    "FineWeb": (lambda: filters.FineWebQualityFilter(char_duplicates_ratio=0.1), FilterOptions(fineweb=True)),
}

WORDS = "words without a letter, mark or number do not count here. datatrove uses a list of punctuation instead"
EMPTY = "datatrove counts empty lines, smollm3_mix does not"
OUTER = "smollm3_mix compares lines and paragraphs by their words. datatrove also compares white space"
GRAMS = "datatrove skips n-grams that begin inside a duplicate n-gram, and misses later copies of them"
SENTENCES = "sentences end at a word with . ! or ? here. spaCy has rules for abbreviations, brackets and numbers"
ENDS = "smollm3_mix checks the last character before trailing white space, datatrove checks the white space"
WHY = (
    (r"gopher_(short|long)_doc|gopher_(above|below)_avg_threshold|too_(few|many)_words|words_too_(short|long)", WORDS),
    ("too_many_bullet_lines|too_many_ellipsis_lines", EMPTY),
    ("duplicate_(lines|line_chars|paragraphs)|dup_line_frac|dup_line_char_frac|char_dup_ratio", OUTER),
    (r"duplicate_\d+grams", GRAMS),
    ("too_few_sentences", SENTENCES),
    ("line_punct_ratio", ENDS),
)

CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff]")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--without", nargs="+", default=[], metavar="FOLDER", help="names of folders to skip")
    parser.add_argument("--documents", type=int, default=None, help="maximum number of documents")
    given = parser.parse_args()
    for module in (gopher_quality_filter, gopher_repetition_filter, fineweb_quality_filter):
        module.split_into_words = lambda text, language: text.split()  # noqa: ARG005
    places, texts = load(given.corpus, given.without, given.documents)
    folders = {place: np.array([each == place for each in places]) for place in dict.fromkeys(places)}
    print(
        f"{len(texts)} documents\n\n| filter | agreement | dropped by datatrove | dropped here | "
        f"{' | '.join(folders)} |"
    )
    print(f"|---|{'--:|' * (3 + len(folders))}")
    kinds: list[tuple[str, str, str, int]] = []
    for name, (make, rules) in FILTERS.items():
        their_filter = make()
        theirs = [their_reason(their_filter, text) for text in texts]
        ours = drop_reasons(pa.array(texts, pa.string()), rules).to_pylist()
        same = np.array([(their is None) == (our is None) for their, our in zip(theirs, ours, strict=True)])
        apart = Counter(pair for pair, alike in zip(zip(theirs, ours, strict=True), same, strict=True) if not alike)
        shares = " | ".join(f"{same[chosen].mean():.2%}" for chosen in folders.values())
        print(f"| {name} | {same.mean():.2%} | {dropped(theirs)} | {dropped(ours)} | {shares} |", flush=True)
        kinds += [(name, their or "kept", our or "kept", count) for (their, our), count in apart.most_common()]
    print("\n| filter | datatrove | smollm3_mix | documents | reason |\n|---|---|---|--:|---|")
    for name, their, our, count in kinds:
        reason = our if their == "kept" else their
        why = next((text for pattern, text in WHY if re.fullmatch(pattern, reason)), "?")
        print(f"| {name} | {their} | {our} | {count} | {why} |")


def load(folder: Path, without: list[str], most: int | None) -> tuple[list[str], list[str]]:
    """Return the top folders and their texts, without folders of these names and without Chinese and Japanese texts."""
    found: list[tuple[str, str]] = []
    for path in sorted(folder.rglob("*.parquet")):
        parts = path.relative_to(folder).parts
        if not {*without} & {*parts}:
            texts = pq.read_table(path, columns=["text"])["text"].to_pylist()
            found += [(parts[0], text) for text in texts if text and not CJK.search(text)]
    places, kept = zip(*found[:most], strict=True)
    return list(places), list(kept)


def their_reason(their_filter: Any, text: str) -> str | None:
    """Return the reason for which datatrove drops a document, or None if it keeps it."""
    answer = their_filter.filter(Document(text=text, id=""))
    return answer[1] if isinstance(answer, tuple) else None


def dropped(reasons: list[str | None]) -> int:
    """Return the number of dropped documents."""
    return sum(reason is not None for reason in reasons)


if __name__ == "__main__":
    main()
