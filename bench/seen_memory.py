"""Measure the memory of near dedup and compare it with the documented size, for synthetic distinct documents.

    python bench/seen_memory.py [--documents 10000000]

`stated` is 13 bytes for each of the 15 keys of a document (exact dedup, and 14 bands), which is the `dedup.memory` for
this number of documents. `measured` is the growth of the peak memory of the process. Rates are of documents that are
wrongly reported as duplicates.
"""

import argparse
import resource
import sys
import time

import numpy as np

from smollm3_mix.text.dedup.dedup_options import BYTES_PER_KEY, Dedup, Near
from smollm3_mix.text.dedup.dedup_store import DedupStore

BLOCK = 1024


def peak() -> int:
    """Return the peak resident bytes of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000_000, help="number of documents (default %(default)s)")
    count = parser.parse_args().documents
    dedup = Dedup(near=Near())
    stated = BYTES_PER_KEY * dedup.keys_per_document * count
    seen, rng, everyone = DedupStore(dedup, stated), np.random.default_rng(0), np.ones(BLOCK, dtype=np.bool_)
    wrong, before, begun = 0, peak(), time.process_time()
    for first in range(0, count, BLOCK):
        rows = min(BLOCK, count - first)
        keys = rng.integers(1, 2**64 - 1, (rows, dedup.keys_per_document + 1), dtype=np.uint64)
        wrong += int(seen.classify(keys[:, :2], keys[:, 2:], everyone[:rows]).any())
    grown, spent = peak() - before, time.process_time() - begun
    print(f"{len(seen):,} documents: stated {stated / 2**20:,.0f} MiB, measured {grown / 2**20:,.0f} MiB")
    print(f"held by the index {seen.nbytes / 2**20:,.0f} MiB; {count / spent:,.0f} documents a second")
    rate = dedup.false_positive_rate(count)
    print(f"called duplicates: {wrong}; false-positive rate stated {rate:.1g}, expected in all {rate * count / 2:.1g}")


if __name__ == "__main__":
    main()
