"""The verb `merge` and `DatasetMerger` on real files: what they draw, keep, count, log and save."""

import json
import logging
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import document, jsonl, parquet
from doors import ROOT

import smollm3_mix
from smollm3_mix import DatasetMerger
from smollm3_mix.clean import Cleaning, clean
from smollm3_mix.cli import main
from smollm3_mix.errors import OutputError, RecipeError
from smollm3_mix.legacy import saved

WEIGHTS = {"a": 0.6, "b": 0.3, "c": 0.1}
MIN_CHARS = 120


@pytest.fixture
def weighted(recipe_file):
    """Sources a (400 rows, one twice), b (200, one empty, one a duplicate of a's) and c (60), with a length rule."""
    return recipe_file(judge={"min_chars": MIN_CHARS}, lanes=3, holdout={"fraction": 0})


@pytest.fixture
def lists(tmp_path):
    """The old form without weights: two English lists, of 30 and 20 rows, and a Vietnamese one of 10."""
    english, vietnamese = [document("en", n) for n in range(30)], [document("vi", n) for n in range(10)]
    english[7], vietnamese[3] = english[2], english[5]
    vietnamese[4] = " "
    for name, texts in (("one", english), ("viet", vietnamese)):
        parquet(tmp_path / name, texts)
    jsonl(tmp_path / "two", [document("two", n) for n in range(20)])
    config = {
        "english_datasets": [
            {"name": str(tmp_path / name), "text_field": "text", "split": "train", "streaming": True}
            for name in ("one", "two")
        ],
        "vietnamese_datasets": [{"name": str(tmp_path / "viet"), "text_field": "text", "categories": ["news"]}],
        "filtering": {"min_length": 0, "deduplication": {"enabled": True}},
    }
    path = tmp_path / "lists.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def old_pipeline(folder, seed, max_samples=None):
    """(kept texts, rows processed): `interleave_datasets` over the raw sources, then row by row clean, judge, dedup."""
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
    kept, verdicts, seen, processed = [], {}, set(), 0
    for row in drawn:
        if processed == max_samples:
            break
        processed += 1
        (text,) = clean(pa.array([row["text"]]), Cleaning()).to_pylist()
        if row["row"] not in verdicts:
            verdicts[row["row"]] = len(text) >= MIN_CHARS and text not in seen
            seen.add(text)
        if verdicts[row["row"]]:
            kept.append(text)
    return kept, processed


def run(*arguments, cwd, **environment):
    """(exit code, standard output, standard error) of the command in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "smollm3_mix.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"} | environment,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def messages(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "smollm3_mix"]


@pytest.mark.parametrize(("seed", "max_samples"), [(0, 1), (42, 137), (5, None)])
def test_weighted_draws_give_what_interleaving_and_filtering_row_by_row_gives(weighted, tmp_path, seed, max_samples):
    merger = DatasetMerger(weighted, use_weights=True)
    kept = merger.merge_all_datasets_weighted(max_samples, seed)
    expected, processed = old_pipeline(tmp_path / "sources", seed, max_samples)
    assert kept == expected
    assert (merger.draws.outcome.processed, merger.draws.outcome.kept) == (processed, len(expected))
    assert processed == (max_samples or processed)


def test_a_source_that_ends_starts_again_and_its_kept_rows_are_kept_again(recipe_file):
    path = recipe_file(judge={"min_chars": MIN_CHARS}, sources={"c": {"weight": 1.0}})
    merger = DatasetMerger(path, use_weights=True)
    kept = Counter(text for text in merger.merge_all_datasets_weighted() if text.startswith("c "))
    drawn = merger.draws.outcomes["c"]
    passes = drawn.processed // 60
    assert passes > 3
    assert len(kept) == 60 - drawn.dropped["too_short"]
    assert set(kept.values()) <= {passes, passes + 1}
    assert sorted(drawn.dropped) == ["dropped_before", "too_short"]


def test_draws_end_when_the_last_source_has_been_read_through_though_more_were_asked_for(weighted):
    merger = DatasetMerger(weighted, use_weights=True)
    assert merger.merge_all_datasets_weighted(100_000) == merger.merge_all_datasets_weighted()
    assert 400 < merger.draws.outcome.processed < 100_000


def test_the_seed_is_the_recipes_where_none_is_given(weighted):
    merger = DatasetMerger(weighted, use_weights=True)
    texts = merger.merge_all_datasets_weighted(50)
    assert texts == merger.merge_all_datasets_weighted(50, seed=7)
    assert texts != merger.merge_all_datasets_weighted(50, seed=8)


def test_concatenation_takes_up_to_so_many_rows_of_each_source_in_turn(lists):
    merger = DatasetMerger(lists)
    texts = merger.merge_all_datasets(max_samples_per_dataset=8)
    expected = [document("en", n) for n in range(7)] + [document("two", n) for n in range(8)]
    assert texts == expected + [document("vi", n) for n in (0, 1, 2, 5, 6, 7)]
    found = {Path(name).name: (o.processed, o.dropped) for name, o in merger.draws.outcomes.items()}
    assert found == {"one": (8, {"duplicate": 1}), "two": (8, {}), "viet": (8, {"duplicate": 1, "empty": 1})}


def test_concatenation_of_a_weighted_recipe_reads_all_of_every_source_once(recipe_file):
    path = recipe_file(sources={"c": {"max_passes": 5}})
    merger = DatasetMerger(path)
    assert len(merger.merge_all_datasets()) == 399 + 198 + 60
    assert [outcome.processed for outcome in merger.draws.outcomes.values()] == [400, 200, 60]


def test_rows_beyond_the_limit_do_not_make_later_rows_duplicates(tmp_path):
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
def test_a_language_chooses_its_list(lists, english, vietnamese, names):
    merger = DatasetMerger(lists)
    texts = merger.merge_all_datasets(english, vietnamese)
    assert [Path(name).name for name in merger.draws.outcomes] == (names or ["one", "two", "viet"])
    assert len(texts) == merger.draws.outcome.kept > 0


def test_a_language_that_no_source_has_is_an_error(recipe_file):
    path = recipe_file(sources={"a": {"kind": {"language": "fr"}}, "b": {"kind": {"language": "en"}}})
    assert len(DatasetMerger(path).merge_all_datasets(include_vietnamese=False)) == 199
    with pytest.raises(RecipeError) as error:
        DatasetMerger(path).merge_all_datasets(include_english=False)
    assert str(error.value) == (
        f"{path}: no source in Vietnamese can be read; its sources are in: english, fr, language not stated. "
        "Give a source `kind: {language: en}` or vi, or ask for all"
    )


def test_weights_of_a_recipe_without_weights_are_an_error(lists):
    expected = (
        f"{lists}: has no weights, so they cannot be used; list its sources under `datasets:` with a `weight` each, "
        "leave --use-weights out, or take a shipped recipe: "
    )
    for merge in (
        lambda: DatasetMerger(lists, use_weights=True),
        lambda: DatasetMerger(lists).merge_all_datasets_weighted(),
    ):
        with pytest.raises(RecipeError) as error:
            merge()
        assert str(error.value) == expected + ", ".join(smollm3_mix.recipe.shipped())


def test_old_names_mean_shipped_recipes(monkeypatch, tmp_path, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO):
        assert DatasetMerger("smollm3_stage2_config.yaml", use_weights=True).recipe.name == "stage2"
    assert messages(caplog) == [
        "Loading configuration from smollm3_stage2_config.yaml",
        "No such file; taking the shipped stage2.smollm3_mix.yaml",
        "Weighted sampling enabled",
    ]
    assert not DatasetMerger().recipe.weighted


def test_rows_without_text_are_processed_and_not_kept(tmp_path):
    (tmp_path / "rows").mkdir()
    rows = [{"text": document("r", 0)}, {"text": None}, {"text": 5}, {"other": 1}, {"text": document("r", 1)}]
    (tmp_path / "rows" / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "rows.yaml"
    path.write_text(yaml.safe_dump({"datasets": [{"name": str(tmp_path / "rows"), "weight": 1}]}))
    merger = DatasetMerger(path, use_weights=True)
    assert merger.merge_all_datasets_weighted() == [document("r", 0), document("r", 1)]
    assert (merger.draws.outcome.processed, merger.draws.outcome.dropped) == (5, {"not_text": 3})


def test_near_duplicates_are_dropped_where_the_recipe_says_so(tmp_path):
    text = " ".join(document("near", n) for n in range(8))
    parquet(tmp_path / "near", [text, text + " end", document("other", 1)], files=1)
    recipe = {"datasets": [{"name": str(tmp_path / "near"), "weight": 1}], "dedup": {"near": True}}
    path = tmp_path / "near.yaml"
    path.write_text(yaml.safe_dump(recipe))
    merger = DatasetMerger(path)
    assert merger.merge_all_datasets() == [text, document("other", 1)]
    assert merger.draws.outcome.dropped == {"near_duplicate": 1}


def test_the_weighted_command_logs_what_the_old_tool_logged_and_saves_what_it_saved(weighted, tmp_path):
    out = tmp_path / "out"
    code, printed, logged = run(
        *("merge", "--config", weighted, "--use-weights", "--max-samples", "300", "--seed", "3", "--output-dir", out),
        cwd=tmp_path,
    )
    assert code == 0, logged
    lines = [line for line in logged.splitlines() if " - " in line]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d - INFO - ", line) for line in lines)
    kept, _ = old_pipeline(tmp_path / "sources", 3, 300)
    names = {key: str(tmp_path / "sources" / key) for key in WEIGHTS}
    train = int(len(kept) * 0.95)
    assert [line[22:] for line in lines] == [
        f"INFO - Loading configuration from {weighted}",
        "INFO - Weighted sampling enabled",
        "INFO - Using weighted sampling mode",
        "INFO - Loading datasets for weighted sampling...",
        *(f"INFO - Loading {names[key]} [weight: {weight}]" for key, weight in WEIGHTS.items()),
        "INFO - Dataset weights (normalized):",
        f"INFO -   {names['a']}: 0.6000 (60.00%)",
        f"INFO -   {names['b']}: 0.3000 (30.00%)",
        f"INFO -   {names['c']}: 0.1000 (10.00%)",
        "INFO - Interleaving datasets with weighted sampling...",
        f"INFO - Weighted sampling completed: Processed 300, Kept {len(kept)} ({len(kept) / 300:.2%})",
        "INFO - Creating HuggingFace dataset...",
        f"INFO - Created dataset with {train} train and {len(kept) - train} test samples",
        f"INFO - Saving dataset locally to {out}",
        f"INFO - Dataset saved to {out}",
        "INFO - Process completed!",
    ]
    dataset = datasets.load_from_disk(str(out))
    assert isinstance(dataset, datasets.DatasetDict)
    assert dataset["train"].column_names == ["text"]
    assert (dataset["train"]["text"][:], dataset["test"]["text"][:]) == (kept[:train], kept[train:])
    assert sorted(path.name for path in out.iterdir()) == sorted(saved.RESULT)
    table = printed.splitlines()
    assert table[0].split()[:3] == ["source", "processed", "kept"]
    assert table[-2].split()[:3] == ["total", "300", str(len(kept))]
    assert table[-1] == f'Load it: datasets.load_from_disk("{out}")'
    tally = json.loads((out / "tally.json").read_bytes())
    assert (tally["total"]["processed"], tally["total"]["kept"]) == (300, len(kept))
    again = DatasetMerger(out / "recipe.yaml", use_weights=True)
    assert again.merge_all_datasets_weighted(300) == kept


def test_the_concatenation_logs_what_the_old_tool_logged(lists, tmp_path, capsys, caplog):
    with caplog.at_level(logging.INFO):
        code = main(["merge", "--config", str(lists), "--output-dir", str(tmp_path / "out"), "--max-samples", "8"])
    assert code == 0
    assert messages(caplog) == [
        f"Loading configuration from {lists}",
        "Using simple concatenation mode",
        "Processing English datasets...",
        f"Loading dataset: {tmp_path / 'one'} (english)",
        f"Completed {tmp_path / 'one'}: Processed 8, Kept 7 (87.50%)",
        f"Loading dataset: {tmp_path / 'two'} (english)",
        f"Completed {tmp_path / 'two'}: Processed 8, Kept 8 (100.00%)",
        "Processing Vietnamese datasets...",
        f"Loading dataset: {tmp_path / 'viet'} (vietnamese)",
        f"Completed {tmp_path / 'viet'}: Processed 8, Kept 6 (75.00%)",
        "Total merged texts: 21",
        "Creating HuggingFace dataset...",
        "Created dataset with 19 train and 2 test samples",
        f"Saving dataset locally to {tmp_path / 'out'}",
        f"Dataset saved to {tmp_path / 'out'}",
        "Process completed!",
    ]
    assert capsys.readouterr().out.splitlines()[-2].split() == ["total", "24", "21", "2", "1"]


@pytest.mark.parametrize(("flag", "names"), [("--english-only", ["one", "two"]), ("--vietnamese-only", ["viet"])])
def test_the_command_reads_the_list_it_is_told_to(lists, tmp_path, flag, names):
    assert main(["merge", "--config", str(lists), flag, "--output-dir", str(tmp_path / "out")]) == 0
    tally = json.loads((tmp_path / "out" / "tally.json").read_bytes())
    assert [Path(source).name for source in tally["sources"]] == names


def test_nothing_is_saved_when_told_so(weighted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(["merge", "--config", str(weighted), "--use-weights", "--max-samples", "20", "--no-save-local"]) == 0
    assert sorted(tmp_path.iterdir()) == before
    assert "Load it" not in capsys.readouterr().out


def test_the_default_folder_is_the_old_one_and_a_second_merge_replaces_it(weighted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for rows in (200, 40):
        assert main(["merge", "--config", str(weighted), "--use-weights", "--max-samples", str(rows)]) == 0
        tally = json.loads((tmp_path / "merged_dataset" / "tally.json").read_bytes())
        assert tally["total"]["processed"] == rows
        saved_rows = sum(map(len, datasets.load_from_disk(str(tmp_path / "merged_dataset")).values()))
        assert saved_rows == tally["total"]["kept"]


def test_a_folder_that_holds_something_else_is_left_alone(weighted, tmp_path, capsys):
    command = ["merge", "--config", str(weighted), "--use-weights", "--max-samples", "20", "--output-dir"]
    mine = tmp_path / "mine"
    (mine / "train").mkdir(parents=True)
    assert main([*command, str(mine)]) == 1
    assert capsys.readouterr().err == (
        f"OutputError: {mine} holds 'train', which no merge has saved there. Choose another --output-dir.\n"
    )
    assert main([*command, str(weighted)]) == 1
    assert capsys.readouterr().err == f"OutputError: {weighted} is a file. Choose another --output-dir.\n"
    (tmp_path / "writing" / ".writing").mkdir(parents=True)
    (tmp_path / "writing" / ".writing" / "request.json").write_text("{}")
    assert main([*command, str(tmp_path / "writing")]) == 1
    assert capsys.readouterr().err == (
        f"OutputError: {tmp_path / 'writing'} holds the unfinished work of `smollm3-mix write`. "
        "Choose another --output-dir, or remove it.\n"
    )


def test_a_merge_that_was_killed_while_saving_is_made_again(weighted, tmp_path):
    out = tmp_path / "out"
    command = ["merge", "--config", str(weighted), "--use-weights", "--max-samples", "60", "--output-dir", str(out)]
    assert main(command) == 0
    whole = {path.name: path.stat().st_size for path in out.rglob("*") if path.is_file()}
    (out / "dataset_dict.json").unlink()
    (out / "tally.json").unlink()
    (out / ".writing" / "saved").mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        datasets.load_from_disk(str(out))
    assert main(command) == 0
    assert {path.name: path.stat().st_size for path in out.rglob("*") if path.is_file()} == whole


def test_two_merges_into_one_folder_are_kept_apart(tmp_path):
    with saved.workplace(tmp_path / "out"):
        with pytest.raises(OutputError, match="is being written by another process"), saved.workplace(tmp_path / "out"):
            pass
        assert (tmp_path / "out" / ".writing").exists()
    assert not (tmp_path / "out").exists()


def test_nothing_kept_is_an_error_with_the_reasons(recipe_file, tmp_path, capsys):
    path = recipe_file(judge={"min_chars": 100_000})
    out = tmp_path / "out"
    command = ["merge", "--config", str(path), "--use-weights", "--max-samples", "20", "--output-dir", str(out)]
    assert main(command) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"SourceExhausted: {path}: no texts were merged: 20 rows processed, dropped: too_short 20. "
        "Loosen the recipe's `judge` or `where`, or raise --max-samples."
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--push-to-hub"], "--push-to-hub needs a repository: add --hub-repo OWNER/NAME"),
        (["--use-weights", "--english-only"], "argument --english-only: not allowed with argument --use-weights"),
        (
            ["--english-only", "--vietnamese-only"],
            "argument --vietnamese-only: not allowed with argument --english-only",
        ),
        (["--max-samples", "0"], "argument --max-samples: expected a number above 0 such as 500, 10M or 2B, got '0'"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["merge", *flags])
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"smollm3-mix merge: error: {message}"


def test_a_repository_without_pushing_is_warned_of(weighted, tmp_path, caplog):
    out = str(tmp_path / "out")
    command = ["merge", "--config", str(weighted), "--use-weights", "--max-samples", "20", "--output-dir", out]
    assert main([*command, "--hub-repo", "me/mine", "--private"]) == 0
    assert messages(caplog) == ["Nothing is pushed: --hub-repo and --private are used with --push-to-hub only"]


def test_credentials_are_checked_before_anything_is_read(tmp_path):
    command = ("merge", "--config", "missing.yaml", "--push-to-hub", "--hub-repo", "me/mine", "--no-save-local")
    code, _, logged = run(*command, cwd=tmp_path, HF_HOME=str(tmp_path), HF_TOKEN="", HF_TOKEN_PATH=str(tmp_path / "t"))
    assert code == 1
    assert logged == (
        "OutputError: cannot push to me/mine: nobody is logged in. "
        "Log in with `hf auth login`, or set HF_TOKEN to a token that may write.\n"
    )


def test_an_interrupt_leaves_nothing(weighted, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("smollm3_mix.legacy.saved.split", interrupted)
    out = tmp_path / "out"
    assert main(["merge", "--config", str(weighted), "--max-samples", "5", "--output-dir", str(out)]) == 130
    assert capsys.readouterr().err == (
        "Interrupted. Nothing is saved: merge starts afresh, `smollm3-mix write` goes on.\n"
    )
    assert not out.exists()


def test_a_merge_in_python_is_split_saved_and_loaded(weighted, tmp_path):
    merger = DatasetMerger(weighted, use_weights=True)
    with pytest.raises(ValueError, match="nothing has been merged yet"):
        merger.save_local(merger.create_huggingface_dataset(["one"]), tmp_path / "out")
    texts = merger.merge_all_datasets_weighted(40)
    dataset = merger.create_huggingface_dataset(texts, train_test_split=0.5)
    merger.save_local(dataset, tmp_path / "out")
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    assert loaded["train"]["text"][:] + loaded["test"]["text"][:] == texts
    assert len(loaded["train"]) == len(texts) // 2
