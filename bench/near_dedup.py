"""Compare near-duplicate signatures with those of datasketch and rensa: recall of planted near duplicates, and speed.

    pip install -e ".[bench]"
    python bench/near_dedup.py FOLDER [--documents 2000] [--rounds 12] [--seconds 60]

FOLDER contains Parquet files with a column `text`, at any depth. One core is used. Times are processor time of this
thread.
"""

import argparse
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasketch import MinHash, MinHashLSH
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from rensa import RMinHash

from smollm3_mix.text.dedup.dedup_options import Dedup, Near
from smollm3_mix.text.dedup.dedup_store import DedupStore
from smollm3_mix.text.dedup.minhash import minhash_signatures, signature_agreement
from smollm3_mix.text.dedup.text_hashes import hash_texts
from smollm3_mix.text.measure.scripts import CHARACTERS_PER_WORD, SHARE
from smollm3_mix.text.measure.words import Words, find_words

HAN = re.compile("[\u3040-\u9fff]")
HAN_TOKENS = re.compile("[\u3040-\u9fff]|[^\u3040-\u9fff\\s]+")
NEAR = Near()
EDITS = (0.05, 0.1, 0.2, 0.3)
RELATED = 0.5  # a pair that shares half of its shingles is a near duplicate, planted or not
BLOCK = 1 << 20


def tokens(text: str) -> tuple[list[str], str, int]:
    """Tokens, what stands between them, and how many make a shingle: words, or characters of Chinese and Japanese."""
    if len(HAN.findall(text)) >= SHARE * len(text):
        return HAN_TOKENS.findall(text), "", NEAR.ngram * CHARACTERS_PER_WORD["han"]
    return text.split(), " ", NEAR.ngram


def shingles(text: str) -> set[str]:
    """N-grams as `signatures` has them; all tokens where there are fewer."""
    parts, between, n = tokens(text)
    return {between.join(parts[at : at + n]) for at in range(max(len(parts) - n + 1, 1))}


def jaccard(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def documents(folder: Path, count: int) -> list[str]:
    """Texts of 20 to 3,000 words or characters, as many from each folder of files, none twice."""
    folders = defaultdict(list)
    for path in sorted(folder.rglob("*.parquet")):
        folders[path.parent].append(path)
    each = -(-count // max(len(folders), 1))
    found: dict[str, None] = {}
    for paths in folders.values():
        mine: list[str] = []
        for path in paths:
            for batch in pq.ParquetFile(path).iter_batches(columns=["text"], batch_size=500):
                mine += [text for text in batch["text"].to_pylist() if text and 20 <= len(tokens(text)[0]) <= 3000]
                if len(mine) >= 4 * each:
                    break
        found |= dict.fromkeys(mine[:: max(len(mine) // each, 1)][:each])
    return list(found)


def edited(text: str, share: float, vocabulary: list[str], rng: np.random.Generator) -> str:
    """The text with that share of its words replaced by others of the corpus."""
    parts, between, _ = tokens(text)
    for at in rng.permutation(len(parts))[: round(share * len(parts))]:
        parts[at] = vocabulary[rng.integers(len(vocabulary))]
    return between.join(parts)


def our_pairs(known: np.ndarray, planted: list[str], near: Near) -> tuple[set[tuple[int, int]], np.ndarray]:
    """(planted, text) that share a band, and the Jaccard estimated of each planted pair."""
    asked = minhash_signatures(pa.array(planted, pa.string()), near)
    pairs = set()
    for band in range(near.bands):
        holders = defaultdict(list)
        for number, key in enumerate(known[:, band].tolist()):
            holders[key].append(number)
        pairs |= {(row, number) for row, key in enumerate(asked[:, band].tolist()) for number in holders.get(key, ())}
    return pairs, signature_agreement(asked, known, near)


def sketch(text: str, near: Near = NEAR) -> MinHash:
    found = MinHash(num_perm=near.bands * near.rows)
    found.update_batch([shingle.encode() for shingle in shingles(text)])
    return found


def datasketch_pairs(
    lsh: MinHashLSH, known: list[MinHash], planted: list[str], near: Near
) -> tuple[set[tuple[int, int]], np.ndarray]:
    asked = [sketch(text, near) for text in planted]
    pairs = {(row, number) for row, each in enumerate(asked) for number in lsh.query(each)}
    return pairs, np.array([a.jaccard(b) for a, b in zip(asked, known, strict=True)])


def reworded(text: str, number: int) -> str:
    """The text with a number behind every word: the same shingles in common, other hashes of all of them."""
    parts, between, _ = tokens(text)
    return between.join(f"{part}{number}" for part in parts) if between else text


def accuracy(texts: list[str], near: Near, rounds: int) -> None:
    """Recall and precision of both, each round with other words and edits.

    Documents come in families, of one template say, and whether a family meets depends on few shingles. So hits are
    not independent: of the same documents, by 12 hash functions, 0 to 29 hits were wrong. Hence the rounds, and an
    interval that is of theirs.
    """
    rng = np.random.default_rng(0)
    vocabulary = [part for text in texts[:: max(len(texts) // 300, 1)] for part in tokens(text)[0]]
    found: dict[float, list[Round]] = {share: [] for share in EDITS}
    for number in range(rounds):
        worded = [reworded(text, number) for text in texts]
        ours, theirs = minhash_signatures(pa.array(worded, pa.string()), near), [sketch(text, near) for text in worded]
        lsh = MinHashLSH(num_perm=near.bands * near.rows, params=(near.bands, near.rows))
        for row, each in enumerate(theirs):
            lsh.insert(row, each)
        for share in EDITS:
            planted = [edited(text, share, vocabulary, rng) for text in texts]
            true = np.array([jaccard(a, b) for a, b in zip(planted, texts, strict=True)])
            asked = [reworded(text, number) for text in planted]
            both = our_pairs(ours, asked, near), datasketch_pairs(lsh, theirs, asked, near)
            expected = float((1 - (1 - true**near.rows) ** near.bands).mean())
            counts = []
            for pairs, estimate in both:
                own = sum(a == b for a, b in pairs)
                right = own + sum(a != b and jaccard(planted[a], texts[b]) >= RELATED for a, b in pairs)
                counts.append([own, right, len(pairs), float(np.mean((estimate - true) ** 2))])
            found[share].append(Round(len(texts), float(true.mean()), expected, np.array(counts)))
    print(
        f"\n{len(texts):,} documents and their edited copies, {rounds} rounds, {near.bands} bands × {near.rows}, word "
        f"{near.ngram}-grams. A hit is right if it is planted or has Jaccard ≥ {RELATED}. `diff` is\nours minus "
        "datasketch, in percentage points, ± two standard errors over the rounds.\n"
    )
    print(
        "| words edited | Jaccard | expected recall | recall: ours | datasketch | diff | hits: ours | datasketch "
        "| precision: ours | datasketch | diff | RMSE of Jaccard: ours | datasketch |\n"
        f"|---|{'--:|' * 12}"
    )
    for share, each in found.items():
        print("| " + " | ".join([f"{share:.0%}", *line(each)]) + " |")
    everything = [one for each in found.values() for one in each]
    print("| " + " | ".join(["all", *line(everything)]) + " |", flush=True)


class Round(NamedTuple):
    """Results of one round.

    Attributes:
        documents: planted.
        jaccard: mean of the pairs.
        expected: recall, by theory.
        counts: float[2, 4], of ours and datasketch's: planted ones found, right hits, hits, squared error.
    """

    documents: int
    jaccard: float
    expected: float
    counts: Any


def line(rounds: list[Round]) -> list[str]:
    """Return the cells of one row."""
    counts = np.array([one.counts for one in rounds])  # [rounds, 2, 4]
    documents = np.array([one.documents for one in rounds], dtype=np.float64)[:, None]
    recall = shares(counts[:, :, 0], np.repeat(documents, 2, axis=1))
    precision = shares(counts[:, :, 1], counts[:, :, 2])
    hits = [f"{number:,.0f}" for number in counts[:, :, 2].sum(axis=0)]
    means = [f"{np.mean([one.jaccard for one in rounds]):.2f}", f"{np.mean([one.expected for one in rounds]):.3f}"]
    return [*means, *recall, *hits, *precision, *(f"{e**0.5:.3f}" for e in counts[:, :, 3].mean(axis=0))]


def shares(part: Any, whole: Any) -> list[str]:
    """Return two shares and their difference over all rounds. `part` and `whole` are float[rounds, 2]."""
    if not whole.sum(axis=0).all():
        return [
            "none" if not n else f"{p / n:.3f}" for p, n in zip(part.sum(axis=0), whole.sum(axis=0), strict=True)
        ] + [""]
    one, other = part.sum(axis=0) / whole.sum(axis=0)
    rest = (part.sum(axis=0) - part) / np.maximum(whole.sum(axis=0) - whole, 1)  # jackknife: without each round
    apart = rest[:, 0] - rest[:, 1]
    chance = ((len(part) - 1) * np.var(apart)) ** 0.5
    return [f"{one:.3f}", f"{other:.3f}", f"{100 * (one - other):+.1f} ± {200 * chance:.1f}"]


def rensa_sketches(block: pa.StringArray) -> None:
    for text in block.to_pylist():
        parts, n = text.split(), NEAR.ngram
        found = RMinHash(num_perm=NEAR.bands * NEAR.rows, seed=42)
        found.update([" ".join(parts[at : at + n]) for at in range(max(len(parts) - n + 1, 1))])
        found.digest()


def datatrove_signatures() -> Callable[[pa.StringArray], None]:
    """Return a function that computes datatrove's signatures of a block with its default English tokenizer."""
    config = MinhashConfig(n_grams=NEAR.ngram, num_buckets=NEAR.bands, hashes_per_bucket=NEAR.rows)
    step = MinhashDedupSignature("memory://signatures", config)

    def work(block: pa.StringArray) -> None:
        for text in block.to_pylist():
            shingles = step.get_shingles(text)
            if shingles.size:
                step.get_signature(shingles)

    return work


def speeds(texts: list[str], seconds: float) -> None:
    """Print MB/s of each method. Methods alternate over the same blocks, so that a busy machine slows all of them."""
    warm = np.empty(31 << 20, dtype=np.uint8)  # glibc then keeps what is freed, and later blocks have no page faults
    del warm
    everyone = np.ones(len(texts), dtype=np.bool_)
    seen = DedupStore(Dedup(near=NEAR), 2**30)
    trove = datatrove_signatures()
    works: dict[str, Callable[[pa.StringArray, Words], object]] = {
        "signatures of text": lambda block, _: minhash_signatures(block, NEAR),
        "signatures of hashed words": lambda block, found: minhash_signatures(block, NEAR, found),
        "rensa RMinHash": lambda block, _: rensa_sketches(block),
        "datasketch MinHash": lambda block, _: [sketch(text) for text in block.to_pylist()],
        "datatrove MinhashDedupSignature": lambda block, _: trove(block),
        "words and their hashes": lambda block, _: find_words(block).hashes,
        "hash_texts": lambda block, _: hash_texts(block),
    }
    times, total = dict.fromkeys([*works, "Seen.first, exact and near"], 0.0), 0
    for block in blocks_of(texts):
        found = find_words(block)
        _ = found.hashes
        total += len(found.data)
        for name, work in works.items():
            start = time.thread_time()
            work(block, found)
            times[name] += time.thread_time() - start
        keys = hash_texts(block), minhash_signatures(block, NEAR, found), everyone[: len(block)]
        start = time.thread_time()
        seen.classify(*keys)
        times["Seen.first, exact and near"] += time.thread_time() - start
        if sum(times.values()) > seconds:
            break
    ours = times["signatures of text"]
    print(f"\n| one core, {total / 1e6:.0f} MB | MB/s | signatures of text against it |\n|---|--:|--:|")
    for name, spent in times.items():
        print(f"| {name} | {total / spent / 1e6:.1f} | {spent / ours:.1f} × |")


def blocks_of(texts: list[str]) -> Iterator[pa.StringArray]:
    start = size = 0
    for number, text in enumerate(texts, 1):
        size += len(text.encode())
        if size >= BLOCK or number == len(texts):
            yield pa.array(texts[start:number], pa.string())
            start, size = number, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=60, help="for the speeds")
    given = parser.parse_args()
    texts = documents(given.folder, given.documents)
    accuracy(texts, NEAR, given.rounds)
    accuracy(texts, Near(bands=25, rows=5), given.rounds)
    speeds(texts, given.seconds)


if __name__ == "__main__":
    main()
