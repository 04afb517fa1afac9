"""Resolving finds and pins local sources of every kind, and lists all unreadable ones in one error."""

import dataclasses
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
from sources_fixtures import blocks, rows, source, write

from smollm3_mix.errors import SourceError, UnreadableSourcesError
from smollm3_mix.recipe.model import Block
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sources.block_reader import Reader
from smollm3_mix.sources.hub_files import listing
from smollm3_mix.sources.partition import partition_source
from smollm3_mix.sources.resolve import resolve
from smollm3_mix.sources.resolved_recipe import ResolvedRecipe
from smollm3_mix.sources.software_heritage.terms import TERMS, UNACCEPTED


def recipe(*sources: Any, **changes: Any) -> Recipe:
    return Recipe(sources=sources, file="mine.yaml", **changes)


def one(name: Path | str, **changes: Any) -> ResolvedRecipe:
    return resolve(recipe(source(name=str(name), **changes)))


def problem(name: Path | str, **changes: Any) -> str:
    """Return the problem of the one source that cannot be read."""
    with pytest.raises(UnreadableSourcesError) as error:
        one(name, **changes)
    first, line, last = str(error.value).split("\n")
    assert first == "mine.yaml: 1 of 1 sources (100 % of the weight) cannot be read"
    assert last == "Fix these sources. The recipe has no other source to read."
    return line.removeprefix("  's' (100 %): ")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of two configs whose splits are in its card."""
    root = tmp_path / "web"
    for path in ("en/train-0.parquet", "en/train-1.parquet", "en/test-0.parquet", "fr/train-0.parquet"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write(root / path, [{"text": path, "id": 1, "n": 2}])
    card = "".join(
        f"- config_name: {name}\n  data_files:\n"
        f"  - split: train\n    path: {name}/train-*\n  - split: test\n    path: {name}/test-*\n"
        for name in ("en",)
    )
    card += "- config_name: fr\n  data_files: fr/*\n"
    (root / "README.md").write_text(f"---\nconfigs:\n{card}---\n")
    return root


def test_folder_with_configs_and_splits_is_resolved(folder: Path) -> None:
    plan = one(folder, config="en")
    assert [file.path for file in plan.sources["s"].files] == ["s/en/train-0.parquet", "s/en/train-1.parquet"]
    assert [file.path for file in one(folder, config="en", split="test").sources["s"].files] == ["s/en/test-0.parquet"]
    assert plan.sources["s"].format == "parquet"
    assert plan.sources["s"].bytes == sum((folder / f"en/train-{n}.parquet").stat().st_size for n in (0, 1))
    assert plan.recipe.sources[0].revision == plan.sources["s"].revision
    assert plan.skipped == {}
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_data_dir_and_data_files_select_files(folder: Path) -> None:
    assert [f.path for f in one(folder, data_dir="fr").sources["s"].files] == ["s/fr/train-0.parquet"]
    found = one(folder, data_files=("en/test*", "fr/*")).sources["s"].files
    assert [file.path for file in found] == ["s/en/test-0.parquet", "s/fr/train-0.parquet"]


def test_relative_names_stay_as_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for here, name, base in ((folder.parent, "web/", ""), (Path("/"), "web", str(folder.parent))):
        monkeypatch.chdir(here)
        found = resolve(recipe(source(name=name, config="fr"), folder=base)).sources["s"]
        assert [file.path for file in found.files] == ["web/fr/train-0.parquet"]
        monkeypatch.chdir("/")
        assert len(blocks(Reader(source(), found, partition_source(found, 1, 0, True)[0], Block()))) == 1


@pytest.mark.parametrize(
    ("name", "relative", "absolute"),
    [
        ("d/a.jsonl", ["d/a.jsonl"], ["s/a.jsonl"]),
        ("d/*.jsonl*", ["d/a.jsonl", "d/b.jsonl.gz"], ["s/a.jsonl", "s/b.jsonl.gz"]),
        ("**/a.jsonl", ["d/a.jsonl"], ["s/d/a.jsonl"]),
        ("*/*.jsonl", ["d/a.jsonl"], ["s/d/a.jsonl"]),
        ("d/t.tsv", ["d/t.tsv"], ["s/t.tsv"]),
    ],
)
def test_files_and_globs_are_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, relative: list[str], absolute: list[str]
) -> None:
    """The source's id replaces an absolute path, so that records are the same on every machine."""
    tmp_path /= "home"
    tmp_path.mkdir()
    (tmp_path / "d").mkdir()
    write(tmp_path / "d/a.jsonl", [{"text": "a"}])
    write(tmp_path / "d/b.jsonl.gz", [{"text": "b"}])
    (tmp_path / "d/t.tsv").write_text("n\ttext\n1\ta\n")
    monkeypatch.chdir(tmp_path)
    for location, expected in ((name, relative), (f"{tmp_path}/{name}", absolute)):
        found = one(location).sources["s"]
        assert [file.path for file in found.files] == expected
        read = rows(blocks(Reader(source(), found, partition_source(found, 1, 0, False)[0], Block())))
        assert [text for _, _, text, _ in read] == ["a", "b"][: len(relative)]


def test_folders_of_every_format_are_resolved(tmp_path: Path) -> None:
    for ending, form in ((".jsonl.zst", "json"), (".json.gz", "json"), (".csv", "csv"), (".parquet", "parquet")):
        root = tmp_path / ending.replace(".", "_")
        (root / "deep" / "er").mkdir(parents=True)
        write(root / f"deep/er/a{ending}", [{"text": "a"}])
        found = one(root).sources["s"]
        assert found.format == form
        assert rows(blocks(Reader(source(), found, partition_source(found, 1, 0, False)[0], Block())))[0][2] == "a"


def test_local_revision_depends_on_content_and_not_on_location(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "x.jsonl", [{"text": "same"}])
    first, second = (one(tmp_path / name).sources["s"].revision for name in "ab")
    assert first == second
    assert first.startswith("files-")
    assert len(first) == len("files-") + 12
    assert one(tmp_path / "a", revision=first).sources["s"].revision == first
    write(tmp_path / "a" / "x.jsonl", [{"text": "other"}])
    changed = one(tmp_path / "a").sources["s"].revision
    assert problem(tmp_path / "a", revision=first) == (
        f"its files have revision {changed}, but the recipe is pinned to {first}. "
        "Restore the old files, or remove `revision`."
    )


def test_error_lists_every_unreadable_source(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "repository_info", lambda *_: (_ for _ in ()).throw(SourceError("no network here")))
    write(tmp_path / "good.jsonl", [{"text": "a"}])
    mine = recipe(
        source(id="good", name=str(tmp_path / "good.jsonl"), weight=0.5),
        source(id="typo", name=str(folder), config="En", weight=0.3),
        source(id="column", name=str(folder), config="fr", text_field="content", weight=0.15),
        source(id="stack", name="org/stack", content="swh", weight=0.05),
        source(id="secret", name=None, unavailable="internal", weight=0.5),
        source(id="nil", name="x", weight=0),
    )
    with pytest.raises(UnreadableSourcesError) as error:
        resolve(mine)
    assert str(error.value) == (
        "mine.yaml: 3 of 4 sources (50 % of the weight) cannot be read\n"
        "  'typo' (30 %): no config 'En' (did you mean 'en'?). Configs: en, fr\n"
        "  'column' (15 %): no column 'content'. Columns: text, id, n\n"
        f"  'stack' (5 %): {UNACCEPTED}\n{TERMS['softwareheritage']}\n"
        "Fix these sources, or skip them with --skip-unreadable (skip_unreadable=True). The other shares then grow."
    )


def test_skipping_unreadable_sources_logs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "good.jsonl", [{"text": "a"}])
    (tmp_path / "bad.jsonl").write_text("[]")
    mine = recipe(
        source(id="good", name=str(tmp_path / "good.jsonl"), weight=3),
        source(id="bad", name=str(tmp_path / "bad.jsonl"), weight=1),
        source(id="secret", name=None, unavailable="internal"),
    )
    with caplog.at_level(logging.WARNING, "smollm3_mix"):
        plan = resolve(mine, skip_unreadable=True)
    assert list(plan.sources) == ["good"]
    assert plan.recipe.shares == {"good": 1.0}
    assert plan.skipped["secret"] == "internal"
    assert plan.skipped["bad"].startswith("the file is one JSON array")
    assert "mine.yaml: skipped source 'bad' (25 % of the weight): the file is one JSON array" in caplog.text
    with pytest.raises(UnreadableSourcesError, match="The recipe has no other source to read"):
        resolve(recipe(dataclasses.replace(mine.sources[1])), skip_unreadable=True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            (
                "it has several configs, but the recipe names none. Add `config`, for example `config: en`. "
                "Configs: en, fr"
            ),
        ),
        ({"config": "de"}, "no config 'de'. Configs: en, fr"),
        ({"config": "fr", "split": "validation"}, "no split 'validation'. Splits: train"),
        ({"config": "en", "split": "tset"}, "no split 'tset' (did you mean 'test'?). Splits: train, test"),
        ({"data_dir": "de"}, "no data files that match 'de' in {folder}, expected parquet, json, csv, arrow"),
        (
            {"data_files": ("*.txt",)},
            "no data files that match ('*.txt',) in {folder}, expected parquet, json, csv, arrow",
        ),
        ({"config": "fr", "text_field": "n"}, "column 'n' has type int64, expected text. Columns: text, id, n"),
        (
            {"config": "fr", "where": (("n", "==", "x"),)},
            "where n == 'x': cannot compare column 'n' of type int64 with 'x'",
        ),
    ],
)
def test_problem_of_a_folder_is_explained(folder: Path, changes: dict[str, Any], expected: str) -> None:
    assert problem(folder, **changes) == expected.format(folder=folder)


def test_problem_of_files_is_explained(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert problem(tmp_path / "empty") == f"no data files in {tmp_path}/empty, expected parquet, json, csv, arrow"
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("a")
    assert problem(tmp_path / "texts") == "its files have format 'text', expected one of parquet, json, csv, arrow"
    (tmp_path / "a.txt").write_text("a")
    assert problem(tmp_path / "a.txt") == (
        "a.txt has an unknown file type, expected one of .parquet, .json, .jsonl, .ndjson, .csv, .tsv, .arrow "
        "(compressed: .gz, .bz2, .zst, .lz4, .xz)"
    )
    write(tmp_path / "a.jsonl", [{"text": "a"}])
    write(tmp_path / "a.csv", [{"text": "a"}])
    assert problem(tmp_path / "a.*sv", split="test") == "no split 'test'. Single files have split 'train' only."
    assert problem(tmp_path / "a.[jc]s*") == "its files have different formats: a.csv, a.jsonl"
    assert problem(tmp_path / "a.csv", config="x", data_dir="y") == (
        f"{tmp_path}/a.csv names files, so config, data_dir cannot be used with it. Remove the key."
    )
    (tmp_path / "none.jsonl").write_text("")
    assert problem(tmp_path / "none.jsonl") == "all of its files are empty (1)"
    (tmp_path / "blank.jsonl").write_text("\n\n")
    assert problem(tmp_path / "blank.jsonl").endswith("blank.jsonl has no rows in its first 65,536 bytes")
    write(tmp_path / "none.parquet", [])
    assert problem(tmp_path / "none.parquet").endswith("none.parquet has no rows")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1" * 4)
    assert "bad.parquet is damaged or incomplete (" in problem(tmp_path / "bad.parquet")
    write(tmp_path / "ids.parquet", [{"blob_id": "0a", "path": "x.py"}])
    assert problem(tmp_path / "ids.parquet").startswith(
        "its rows contain Software Heritage ids in `blob_id` and no text"
    )
    write(tmp_path / "keys.jsonl", [{"blob": "0a", "txt": "x"}])
    assert problem(tmp_path / "keys.jsonl") == "no column 'text' (did you mean 'txt'?). Columns: blob, txt"
