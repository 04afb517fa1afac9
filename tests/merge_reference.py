"""Reference implementation of `merge_datasets.py` in plain Python, and recipes to compare it with."""

import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from conftest import document, jsonl, parquet

from smollm3_mix.text.clean.clean_block import clean_texts
from smollm3_mix.text.clean.cleaning_options import Cleaning

WEIGHTS = {"a": 0.6, "b": 0.3, "c": 0.1}
MIN_CHARS = 120
RULES = {"filters": {"min_chars": MIN_CHARS}, "lanes": 3}


def config_without_weights(folder):
    """Write a config without weights: English sources of 30 and 20 rows, and a Vietnamese source of 10 rows."""
    english, vietnamese = [document("en", n) for n in range(30)], [document("vi", n) for n in range(10)]
    english[7], vietnamese[3] = english[2], english[5]
    vietnamese[4] = " "
    for name, texts in (("one", english), ("viet", vietnamese)):
        parquet(folder / name, texts)
    jsonl(folder / "two", [document("two", n) for n in range(20)])
    config = {
        "english_datasets": [
            {"name": str(folder / name), "text_field": "text", "split": "train", "streaming": True}
            for name in ("one", "two")
        ],
        "vietnamese_datasets": [{"name": str(folder / "viet"), "text_field": "text", "categories": ["news"]}],
        "filtering": {"min_length": 0, "deduplication": {"enabled": True}},
    }
    path = folder / "languages.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def reference_merge(folder, seed, max_samples=None):
    """Return kept texts and processed rows: `interleave_datasets` over raw sources, then rows cleaned and filtered."""
    raw = {
        "a": pa.concat_tables(map(pq.read_table, sorted((folder / "a").iterdir())))["text"].to_pylist(),
        "b": [json.loads(line)["text"] for line in (folder / "b" / "all.jsonl").read_text().splitlines()],
        "c": pq.read_table(folder / "c" / "part-00.parquet")["text"].to_pylist(),
    }
    streams = [
        datasets.Dataset.from_dict(
            {"text": texts, "row": [f"{key}:{n}" for n in range(len(texts))]}
        ).to_iterable_dataset()
        for key, texts in raw.items()
    ]
    drawn = datasets.interleave_datasets(
        streams, probabilities=list(WEIGHTS.values()), seed=seed, stopping_strategy="all_exhausted"
    )
    kept, decisions, seen, processed = [], {}, set(), 0
    for row in drawn:
        if processed == max_samples:
            break
        processed += 1
        (text,) = clean_texts(pa.array([row["text"]]), Cleaning()).to_pylist()
        if row["row"] not in decisions:
            decisions[row["row"]] = len(text) >= MIN_CHARS and text not in seen
            seen.add(text)
        if decisions[row["row"]]:
            kept.append(text)
    return kept, processed


def messages(caplog):
    """Return the messages that the package has logged."""
    return [record.getMessage() for record in caplog.records if record.name == "smollm3_mix"]
