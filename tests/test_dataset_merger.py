"""`DatasetMerger` on real files: drawn, kept and counted rows, compared with a reference implementation."""

import json
import logging
from collections import Counter
from pathlib import Path

import datasets
import pytest
import yaml
from conftest import document, parquet
from merge_reference import MIN_CHARS, RULES, config_without_weights, messages, reference_merge

import smollm3_mix
import smollm3_mix.recipe.shipped
from smollm3_mix.errors import RecipeError
from smollm3_mix.merge_datasets.dataset_merger import DatasetMerger


@pytest.fixture
def weighted(recipe_file):
    """Sources a (400 rows, one twice), b (200 rows, one empty, one of a) and c (60 rows), with a minimum length."""
    return recipe_file(**RULES)


@pytest.fixture
def languages(tmp_path):
    """English sources of 30 and 20 rows, and a Vietnamese source of 10 rows."""
    return config_without_weights(tmp_path)


@pytest.mark.parametrize(("seed", "max_samples"), [(0, 1), (42, 137), (5, None)])
def test_weighted_merge_matches_reference(weighted, tmp_path, seed, max_samples):
    merger = DatasetMerger(weighted, use_weights=True)
    kept = merger.merge_all_datasets_weighted(max_samples, seed)
    expected, processed = reference_merge(tmp_path / "sources", seed, max_samples)
    assert kept == expected
    assert (merger.draws.outcome.processed, merger.draws.outcome.kept) == (processed, len(expected))
    assert processed == (max_samples or processed)


def test_weighted_merge_repeats_exhausted_source(recipe_file):
    path = recipe_file(filters={"min_chars": MIN_CHARS}, sources={"c": {"weight": 1.0}})
    merger = DatasetMerger(path, use_weights=True)
    kept = Counter(text for text in merger.merge_all_datasets_weighted() if text.startswith("c "))
    drawn = merger.draws.outcomes["c"]
    passes = drawn.processed // 60
    assert passes > 3
    assert len(kept) == 60 - drawn.dropped["too_short"]
    assert set(kept.values()) <= {passes, passes + 1}
    assert sorted(drawn.dropped) == ["dropped_in_first_pass", "too_short"]


def test_weighted_merge_ends_after_one_pass_of_every_source(weighted):
    merger = DatasetMerger(weighted, use_weights=True)
    assert merger.merge_all_datasets_weighted(100_000) == merger.merge_all_datasets_weighted()
    assert 400 < merger.draws.outcome.processed < 100_000


def test_weighted_merge_uses_seed_of_recipe_by_default(weighted):
    merger = DatasetMerger(weighted, use_weights=True)
    texts = merger.merge_all_datasets_weighted(50)
    assert texts == merger.merge_all_datasets_weighted(50, seed=7)
    assert texts != merger.merge_all_datasets_weighted(50, seed=8)


def test_concatenation_limits_rows_per_source(languages):
    merger = DatasetMerger(languages)
    texts = merger.merge_all_datasets(max_samples_per_dataset=8)
    expected = [document("en", n) for n in range(7)] + [document("two", n) for n in range(8)]
    assert texts == expected + [document("vi", n) for n in (0, 1, 2, 5, 6, 7)]
    found = {Path(name).name: (o.processed, o.dropped) for name, o in merger.draws.outcomes.items()}
    assert found == {"one": (8, {"duplicate": 1}), "two": (8, {}), "viet": (8, {"duplicate": 1, "empty": 1})}


def test_concatenation_reads_every_source_once_when_recipe_has_weights(recipe_file):
    path = recipe_file(sources={"c": {"max_passes": 5}})
    merger = DatasetMerger(path)
    assert len(merger.merge_all_datasets()) == 399 + 198 + 60
    assert [outcome.processed for outcome in merger.draws.outcomes.values()] == [400, 200, 60]


def test_concatenation_ignores_rows_beyond_limit_in_dedup(tmp_path):
    for name in ("first", "second"):
        parquet(
            tmp_path / name, [document("same", n) for n in range(20)] if name == "first" else [document("same", 15)]
        )
    path = tmp_path / "two.yaml"
    path.write_text(
        yaml.safe_dump({"english_datasets": [{"name": str(tmp_path / name)} for name in ("first", "second")]})
    )
    texts = DatasetMerger(path).merge_all_datasets(max_samples_per_dataset=10)
    assert texts == [document("same", n) for n in (*range(10), 15)]


@pytest.mark.parametrize(
    ("english", "vietnamese", "names"), [(True, False, ["one", "two"]), (False, True, ["viet"]), (True, True, None)]
)
def test_concatenation_selects_sources_by_language(languages, english, vietnamese, names):
    merger = DatasetMerger(languages)
    texts = merger.merge_all_datasets(english, vietnamese)
    assert [Path(name).name for name in merger.draws.outcomes] == (names or ["one", "two", "viet"])
    assert len(texts) == merger.draws.outcome.kept > 0


def test_concatenation_raises_when_no_source_has_language(recipe_file):
    path = recipe_file(sources={"a": {"kind": {"language": "fr"}}, "b": {"kind": {"language": "en"}}})
    assert len(DatasetMerger(path).merge_all_datasets(include_vietnamese=False)) == 199
    with pytest.raises(RecipeError) as error:
        DatasetMerger(path).merge_all_datasets(include_english=False)
    assert str(error.value) == (
        f"{path}: no source in Vietnamese can be read. Languages of the sources: english, fr, unknown. "
        "Set `kind: {language: en}` or vi in a source, or merge all languages."
    )


def test_weighted_merge_raises_when_recipe_has_no_weights(languages):
    expected = (
        f"{languages}: has no weights to use. List its sources under `datasets:` with a `weight` each, "
        "remove --use-weights, or use a shipped recipe: "
    )
    for merge in (
        lambda: DatasetMerger(languages, use_weights=True),
        lambda: DatasetMerger(languages).merge_all_datasets_weighted(),
    ):
        with pytest.raises(RecipeError) as error:
            merge()
        assert str(error.value) == expected + ", ".join(smollm3_mix.recipe.shipped.list_recipes())


def test_merger_accepts_old_config_names(monkeypatch, tmp_path, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO):
        assert DatasetMerger("smollm3_stage2_config.yaml", use_weights=True).recipe.name == "stage2"
    assert messages(caplog) == [
        "Loading configuration from smollm3_stage2_config.yaml",
        "No such file. Using the shipped recipe stage2.smollm3_mix.yaml",
        "Weighted sampling enabled",
    ]
    assert not DatasetMerger().recipe.weighted


def test_weighted_merge_drops_rows_without_text(tmp_path):
    (tmp_path / "rows").mkdir()
    rows = [{"text": document("r", 0)}, {"text": None}, {"text": 5}, {"other": 1}, {"text": document("r", 1)}]
    (tmp_path / "rows" / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "rows.yaml"
    path.write_text(yaml.safe_dump({"datasets": [{"name": str(tmp_path / "rows"), "weight": 1}]}))
    merger = DatasetMerger(path, use_weights=True)
    assert merger.merge_all_datasets_weighted() == [document("r", 0), document("r", 1)]
    assert (merger.draws.outcome.processed, merger.draws.outcome.dropped) == (5, {"not_text": 3})


def test_concatenation_drops_near_duplicates_when_recipe_requires_it(tmp_path):
    text = " ".join(document("near", n) for n in range(8))
    parquet(tmp_path / "near", [text, text + " end", document("other", 1)], files=1)
    recipe = {"datasets": [{"name": str(tmp_path / "near"), "weight": 1}], "dedup": {"near": True}}
    path = tmp_path / "near.yaml"
    path.write_text(yaml.safe_dump(recipe))
    merger = DatasetMerger(path)
    assert merger.merge_all_datasets() == [text, document("other", 1)]
    assert merger.draws.outcome.dropped == {"near_duplicate": 1}


def test_merger_splits_and_saves_texts(weighted, tmp_path):
    merger = DatasetMerger(weighted, use_weights=True)
    with pytest.raises(ValueError, match=r"^Nothing was merged yet\. Call merge_all_datasets\(\)"):
        merger.save_local(merger.create_huggingface_dataset(["one"]), tmp_path / "out")
    texts = merger.merge_all_datasets_weighted(40)
    dataset = merger.create_huggingface_dataset(texts, train_test_split=0.5)
    merger.save_local(dataset, tmp_path / "out")
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    assert loaded["train"]["text"][:] + loaded["test"]["text"][:] == texts
    assert len(loaded["train"]) == len(texts) // 2
