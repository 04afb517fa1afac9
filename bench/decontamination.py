"""Measure the cost of decontamination in nanoseconds of processor time per byte of made-up text.

    python bench/decontamination.py

Prints a row for each kind of text, compared with 5,000 evaluation texts of 40 words.
"""

import random
import time

import pyarrow as pa

from smollm3_mix.text.decontamination import NgramCollector
from smollm3_mix.text.measure.words import find_words

ROUNDS = 7


def best(work: object) -> float:
    """Return the smallest processor time of several rounds, in seconds."""
    took = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()  # type: ignore[operator]
        took.append(time.process_time() - started)
    return min(took)


def main() -> None:
    draw = random.Random(0)
    vocabulary = ["".join(draw.choices("etaoinshrdlu", k=3 + draw.randrange(8))) for _ in range(5000)]
    english = [" ".join(draw.choices(vocabulary, k=300)) + ". Yes, it's so!" for _ in range(500)]
    texts = {
        "English": english,
        "Vietnamese": [text.replace("a", "ắ").replace("e", "ệ") for text in english],
        "Chinese": ["".join(chr(0x4E00 + draw.randrange(3000)) for _ in range(350)) + "。" for _ in range(1000)],
    }
    collection = NgramCollector(13)
    collection.begin("evaluation")
    collection.add(pa.array([" ".join(draw.choices(vocabulary, k=40)) for _ in range(5000)]))
    evaluation_ngrams = collection.evaluation_ngrams()
    print("text        bytes      ns/byte  splitting at spaces alone")
    for name, rows in texts.items():
        array, size = pa.array(rows), sum(len(row.encode()) for row in rows)
        looked_up = best(lambda array=array: evaluation_ngrams.search(array)) / size * 1e9
        split = best(lambda array=array: find_words(array)) / size * 1e9
        print(f"{name:10}  {size:9,}  {looked_up:7.1f}  {split:7.1f}")


if __name__ == "__main__":
    main()
