"""How often our verdicts are those of datatrove's own filters, on the same texts.

    pip install datatrove spacy
    python bench/agreement.py CORPUS [--documents 5000]

CORPUS is a folder that holds Parquet files with a column `text` of English web text, at any depth.
"""

import argparse
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline import filters
from datatrove.pipeline.filters import fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter

from smollm3_mix.judge import FineWeb, Judge, judge

RULES = {
    "Gopher quality": (filters.GopherQualityFilter, Judge(gopher_quality=True, language="en")),
    "Gopher repetition": (filters.GopherRepetitionFilter, Judge(gopher_repetition=True)),
    "C4": (filters.C4QualityFilter, Judge(c4=True)),
    "FineWeb": (lambda: filters.FineWebQualityFilter(char_duplicates_ratio=0.1), Judge(fineweb=FineWeb())),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--documents", type=int, default=100_000)
    given = parser.parse_args()
    for module in (gopher_quality_filter, gopher_repetition_filter, fineweb_quality_filter):
        module.split_into_words = lambda text, language: text.split()  # noqa: ARG005
    texts = load(given.corpus)[: given.documents]
    print(len(texts), "documents")
    for name, (make, rules) in RULES.items():
        theirs_filter = make()
        ours = judge(texts, rules).to_pylist()
        table: Counter = Counter()
        ex = {}
        for i, (text, our) in enumerate(zip(texts.to_pylist(), ours)):
            answer = theirs_filter.filter(Document(text=text, id=str(i)))
            their = answer[1] if isinstance(answer, tuple) else None
            table[their, our] += 1
            if (their is None) != (our is None):
                ex.setdefault((their, our), []).append(i)
        bad = sum(n for (t, o), n in table.items() if (t is None) != (o is None))
        print(name, f"{100 - 100 * bad / len(texts):.2f} %", "dropped theirs", sum(n for (t, o), n in table.items() if t), "ours", sum(n for (t, o), n in table.items() if o))
        for key, rows in sorted(ex.items(), key=lambda kv: -len(kv[1])):
            print("   ", key, len(rows), rows[:4])


def load(folder):
    return pa.concat_arrays([c for f in sorted(folder.rglob("*.parquet")) for c in pq.read_table(f, columns=["text"]).column(0).chunks]).cast(pa.string())


main()
