"""`write --keep-dropped`: the dropped documents with reasons, as counted, the same after any interruption."""

import functools
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import document
from kills import kill_write

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.source_stream import DROPPED_IN_FIRST_PASS
from smollm3_mix.output import dropped_documents, lane_writer
from smollm3_mix.output.write_mix import write
from smollm3_mix.output.write_request import differences
from smollm3_mix.schema import DROPPED_SCHEMA
from smollm3_mix.storage import atomic_files
from smollm3_mix.verification.verify_mix import verify

Make = Callable[..., Path]
SHARD_SIZE = 4_000


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_writer, "GROUP_BYTES", 1_500)
    monkeypatch.setattr(dropped_documents, "GROUP_BYTES", 1_500)


def make(recipe_file: Make, **top: object) -> Path:
    return recipe_file(**{"filters": {"min_chars": 150}, "holdout": {"fraction": 0.1, "tokens": 500}, **top})


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def check_counts(folder: Path, stats_by_split: dict[str, MixStats]) -> None:
    """Check that the files have the counted documents, except those of the other split or later passes."""
    assert sorted(stats_by_split) == sorted({path.name.split("-")[0] for path in folder.iterdir()})
    for split, stats in stats_by_split.items():
        rows = [row for path in sorted(folder.glob(f"{split}-*")) for row in pq.read_table(path).to_pylist()]
        counted = {
            (source, reason): count
            for source, counts in stats.sources.items()
            for reason, count in counts.dropped.items()
            if reason not in ("holdout", "not_holdout", DROPPED_IN_FIRST_PASS)
        }
        assert Counter((row["source"], row["reason"]) for row in rows) == counted


@pytest.mark.parametrize("policy", ["stop", "repeat", "renormalize"])
def test_keep_dropped_writes_every_counted_document(recipe_file: Make, tmp_path: Path, policy: str) -> None:
    path = make(recipe_file, on_exhausted=policy)
    stats_by_split = write(path, tmp_path / "out", max_shard_size=SHARD_SIZE, keep_dropped=tmp_path / "drops").stats
    check_counts(tmp_path / "drops", stats_by_split)
    assert verify(tmp_path / "out").problems == ()
    some = pq.read_table(min((tmp_path / "drops").iterdir()))
    assert some.schema.equals(DROPPED_SCHEMA)
    row = next(row for row in some.to_pylist() if row["reason"] == "too_short" and row["source"] == "a")
    number = int(row["text"].split()[1].rstrip(":"))
    assert row["text"] == document("a", number)
    assert row["id"] == f"{row['file']}:{row['row']}"


def test_keep_dropped_does_not_change_the_mix(recipe_file: Make, tmp_path: Path) -> None:
    path = make(recipe_file)
    write(path, tmp_path / "one", max_shard_size=SHARD_SIZE, keep_dropped=tmp_path / "drops")
    write(path, tmp_path / "two", max_shard_size=SHARD_SIZE)
    assert content(tmp_path / "one" / "data") == content(tmp_path / "two" / "data")


def test_text_is_null_when_it_is_unreadable_or_excluded(recipe_file: Make, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("own-7\n")
    path = recipe_file(lanes=1, exclude="list.txt", on_exhausted="renormalize")
    with (tmp_path / "sources" / "b" / "all.jsonl").open("a") as file:
        file.write('{"text": null, "id": "null"}\n{"text": "\\ud800", "id": "lone"}\n')
    stats_by_split = write(path, tmp_path / "out", keep_dropped=tmp_path / "drops").stats
    check_counts(tmp_path / "drops", stats_by_split)
    rows = [row for p in (tmp_path / "drops").iterdir() for row in pq.read_table(p).to_pylist()]
    texts = {row["reason"]: row["text"] for row in rows}
    assert texts["excluded"] is texts["not_text"] is texts["invalid_utf8"] is None
    assert texts["empty"] == ""
    assert texts["duplicate"] in (document("a", 3), document("a", 4))


class Crash(Exception):
    pass


@pytest.fixture(scope="module")
def complete(shared_recipe_file: Make, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], tuple[Path, Path]]:
    """Return a function that writes a mix and its dropped documents once and returns its recipe and their folder."""
    folder = tmp_path_factory.mktemp("complete")

    @functools.cache
    def make_once() -> tuple[Path, Path]:
        path = make(shared_recipe_file, on_exhausted="repeat")
        write(path, folder / "mix", max_shard_size=SHARD_SIZE, keep_dropped=folder / "drops")
        return path, folder

    return make_once


@pytest.mark.parametrize("after", [1, 5, 14])
def test_dropped_documents_are_the_same_after_a_crash(
    complete: Callable[[], tuple[Path, Path]], tmp_path: Path, after: int
) -> None:
    path, expected = complete()
    calls = 0

    def crash(_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise Crash

    with pytest.raises(Crash):
        write(path, tmp_path / "out", max_shard_size=SHARD_SIZE, on_progress=crash, keep_dropped=tmp_path / "drops")
    assert not (tmp_path / "drops").exists()
    write(path, tmp_path / "out", max_shard_size=SHARD_SIZE, keep_dropped=tmp_path / "drops")
    assert content(tmp_path / "drops") == content(expected / "drops")
    assert content(tmp_path / "out") == content(expected / "mix")


def test_dropped_documents_are_the_same_when_killed_at_random_moments(
    recipe_file: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    monkeypatch.undo()  # the killed processes have the constants of the package
    path = make(recipe_file, lanes=16, on_exhausted="repeat")
    limits = ["--max-tokens", "60000", "--max-shard-size", "20000"]
    write(path, tmp_path / "complete", max_shard_size=20_000, max_tokens=60_000, keep_dropped=tmp_path / "all")
    command = [sys.executable, "-m", "smollm3_mix", "write", str(path), "--output-dir", str(tmp_path / "out")]
    command += [*limits, "--keep-dropped", str(tmp_path / "drops"), "--num-proc", "2"]
    written = len(list((tmp_path / "complete" / "data").iterdir()))
    assert written > 12
    output = kill_write(command, tmp_path / "out" / atomic_files.WORK_FOLDER, written, kills)
    assert f"The dropped documents and their reasons are in {tmp_path / 'drops'}." in output
    assert content(tmp_path / "drops") == content(tmp_path / "all")
    assert content(tmp_path / "out") == content(tmp_path / "complete")


def test_write_completes_an_interrupted_move_of_dropped_documents(
    complete: Callable[[], tuple[Path, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, expected = complete()

    def interrupt(work: Path, folder: Path) -> None:
        folder.mkdir()
        first = min((work / dropped_documents.FOLDER).iterdir())
        first.replace(folder / first.name)
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(dropped_documents, "publish", interrupt)
        with pytest.raises(Crash):
            write(path, tmp_path / "out", max_shard_size=SHARD_SIZE, keep_dropped=tmp_path / "drops")
    write(path, tmp_path / "out", max_shard_size=SHARD_SIZE, keep_dropped=tmp_path / "drops")
    assert content(tmp_path / "drops") == content(expected / "drops")


def test_keep_dropped_refuses_unsuitable_folders(recipe_file: Make, tmp_path: Path) -> None:
    path, out = make(recipe_file), tmp_path / "out"
    for folder in (out, out / "drops", tmp_path):
        with pytest.raises(
            OutputError, match=r"or one contains the other\. Choose a separate folder with --keep-dropped\."
        ):
            write(path, out, keep_dropped=folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "train-00000-00000.parquet").write_text("other data")
    with pytest.raises(OutputError, match=r"full contains 'train-00000-00000.parquet'\. Choose a new or empty folder"):
        write(path, out, keep_dropped=tmp_path / "full")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file is not a folder\. Choose a new or empty folder with --keep-dropped\."):
        write(path, out, keep_dropped=tmp_path / "file")
    assert not out.exists()


def test_keep_dropped_refuses_another_folder_when_the_mix_is_finished(recipe_file: Make, tmp_path: Path) -> None:
    path = make(recipe_file)
    stats_by_split = write(path, tmp_path / "out", keep_dropped=tmp_path / "drops").stats
    assert write(path, tmp_path / "out", keep_dropped=tmp_path / "drops").stats == stats_by_split
    with pytest.raises(OutputError, match=r"is complete, but its dropped documents are not in \S+other\. Name"):
        write(path, tmp_path / "out", keep_dropped=tmp_path / "other")
    write(path, tmp_path / "plain")
    with pytest.raises(OutputError, match="keep_dropped: None → True"):
        write(path, tmp_path / "plain", keep_dropped=tmp_path / "other")


def test_row_groups_of_dropped_documents_end_at_their_rows_or_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dropped_documents, "GROUP_ROWS", 4)
    monkeypatch.setattr(dropped_documents, "GROUP_BYTES", 100)
    row = {"reason": "too_short", "source": "a", "id": "i", "file": "f", "row": 0}
    shard = dropped_documents.DroppedShards()
    shard.begin(tmp_path / "train-00000-00000.parquet")
    for rows, length in ((3, 1), (1, 1), (2, 1), (1, 98), (1, 1)):
        shard.add(pa.RecordBatch.from_pylist([{**row, "text": "x" * length}] * rows, DROPPED_SCHEMA))
    shard.end()
    file = pq.ParquetFile(tmp_path / "train-00000-00000.parquet").metadata
    assert [file.row_group(n).num_rows for n in range(file.num_row_groups)] == [4, 3, 1]


def test_differences_include_values_of_only_one_request() -> None:
    old = {"max_shard_size": 1, "format": "parquet"}
    assert differences(old, {**old, "max_shard_size": 2, "keep_dropped": True}) == (
        "max_shard_size: 1 → 2, keep_dropped: None → True"
    )
