"""The validation split: which documents it holds is a function of their text alone, and never changes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from conftest import document, parquet

from smollm3_mix.mix.block_pipeline import other_split_reasons
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.text.dedup.text_hashes import hash_texts

FRACTION = 0.2
TEXTS = [document("x", number) for number in range(120)]


@pytest.fixture(scope="module")
def held() -> set[str]:
    """Texts of which the low half of XXH3-128 is below the fraction."""
    return {text for text in TEXTS if xxhash.xxh3_128_intdigest(text.encode()) % 2**64 < FRACTION * 2**64}


def recipe(folder: Path, **top: object) -> Recipe:
    datasets = [{"name": str(folder / "x"), "id": "x", "weight": 1}]
    if not (folder / "x").exists():
        parquet(folder / "x", TEXTS)
    top = {"lanes": 2, "on_exhausted": "renormalize", "holdout": {"fraction": FRACTION}, **top}
    return Recipe.from_dict({"file": "held", "datasets": datasets, **top})


def test_split_of_known_texts_is_fixed() -> None:
    texts = pa.array([f"document {number}" for number in range(40)])
    found = other_split_reasons(hash_texts(texts), 0.25, "train").to_pylist()
    assert [number for number, reason in enumerate(found) if reason == "holdout"] == GOLDEN


GOLDEN = [1, 2, 6, 7, 8, 13, 14, 19, 28, 30, 33, 34]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_hashes_below_the_fraction_are_held_out(split: str) -> None:
    bound = 2**62  # of 2^64, a quarter
    prints = np.array([[2**64 - 1, 0], [2**64 - 1, bound - 1], [0, bound], [0, 2**64 - 1]], np.uint64)
    expected = ["holdout", "holdout", None, None] if split == "train" else [None, None, "not_holdout", "not_holdout"]
    assert other_split_reasons(prints, 0.25, split).to_pylist() == expected


def test_splits_have_exactly_their_texts(tmp_path: Path, held: set[str]) -> None:
    made = recipe(tmp_path)
    assert {record["text"] for record in open_mix(made, split="validation").stream()} == held
    assert {record["text"] for record in open_mix(made, seed=9, lanes=3).stream()} == set(TEXTS) - held


def test_validation_ends_at_the_smaller_of_its_tokens_and_max_tokens(tmp_path: Path) -> None:
    made = recipe(tmp_path, holdout={"fraction": FRACTION, "tokens": 300})
    whole = [record["tokens"] for record in open_mix(recipe(tmp_path), split="validation").stream()]
    reached = np.cumsum(whole)
    for limit, end in ((None, 300), (1000, 300), (100, 100)):
        given = [record["tokens"] for record in open_mix(made, split="validation", max_tokens=limit).stream()]
        assert given == whole[: int(np.searchsorted(reached, end)) + 1]


@pytest.mark.parametrize(("limit", "validation"), [(2, 1), (10, 2), (13, 3)])
def test_written_validation_has_its_fraction_of_the_limit_and_at_least_one_record(
    tmp_path: Path, limit: int, validation: int
) -> None:
    stats = write(recipe(tmp_path), tmp_path / "out", max_samples=limit).stats
    assert {split: counts.total.emitted for split, counts in stats.items()} == {
        "train": limit,
        "validation": validation,
    }


@pytest.mark.parametrize("split", ["train", "validation"])
def test_documents_of_the_other_split_are_not_reported_as_dropped(tmp_path: Path, split: str) -> None:
    lane = open_mix(recipe(tmp_path, filters={"min_chars": 200}), split=split, lanes=1).lane(0)
    dropped: list[str] = []
    lane.streams[0].on_drop = lambda batch: dropped.extend(batch["reason"].to_pylist())
    while lane.fill():
        lane.pull(99)
    assert set(dropped) == {"too_short"}
    assert lane.stats().total.dropped.keys() == {"too_short", "holdout" if split == "train" else "not_holdout"}
