"""`write --keep-dropped`: what was dropped, with reasons, as counted, and the same after any stop."""

import functools
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import document
from kills import killed_at_work

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.source_stream import DROPPED_IN_FIRST_PASS
from smollm3_mix.output import dropped_documents, lane_writer
from smollm3_mix.output.write_mix import write
from smollm3_mix.output.write_request import differing
from smollm3_mix.schema import DROPPED_SCHEMA
from smollm3_mix.storage import atomic_files
from smollm3_mix.verification.verify_mix import verify

Make = Callable[..., Path]
PART = 4_000


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_writer, "GROUP_BYTES", 1_500)
    monkeypatch.setattr(dropped_documents, "GROUP_BYTES", 1_500)


def make(recipe_file: Make, **top: object) -> Path:
    return recipe_file(**{"filters": {"min_chars": 150}, "holdout": {"fraction": 0.1, "tokens": 500}, **top})


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def kept_and_counted(folder: Path, all_stats: dict[str, MixStats]) -> None:
    """The files hold exactly what the tallies count, but for what the other split gives and later passes drop."""
    assert sorted(all_stats) == sorted({path.name.split("-")[0] for path in folder.iterdir()})
    for split, stats in all_stats.items():
        rows = [row for path in sorted(folder.glob(f"{split}-*")) for row in pq.read_table(path).to_pylist()]
        counted = {
            (source, reason): count
            for source, counts in stats.sources.items()
            for reason, count in counts.dropped.items()
            if reason not in ("holdout", "not_holdout", DROPPED_IN_FIRST_PASS)
        }
        assert Counter((row["source"], row["reason"]) for row in rows) == counted


@pytest.mark.parametrize("policy", ["stop", "repeat", "renormalize"])
def test_all_that_is_counted_as_dropped_is_there(recipe_file: Make, tmp_path: Path, policy: str) -> None:
    path = make(recipe_file, on_exhausted=policy)
    all_stats = write(path, tmp_path / "out", max_shard_size=PART, keep_dropped=tmp_path / "drops")
    kept_and_counted(tmp_path / "drops", all_stats)
    assert verify(tmp_path / "out").problems == []
    some = pq.read_table(min((tmp_path / "drops").iterdir()))
    assert some.schema.equals(DROPPED_SCHEMA)
    row = next(row for row in some.to_pylist() if row["reason"] == "too_short" and row["source"] == "a")
    number = int(row["text"].split()[1].rstrip(":"))
    assert row["text"] == document("a", number)
    assert row["id"] == f"{row['file']}:{row['row']}"


def test_the_mix_is_the_same_with_and_without(recipe_file: Make, tmp_path: Path) -> None:
    path = make(recipe_file)
    write(path, tmp_path / "one", max_shard_size=PART, keep_dropped=tmp_path / "drops")
    write(path, tmp_path / "two", max_shard_size=PART)
    assert content(tmp_path / "one" / "data") == content(tmp_path / "two" / "data")


def test_texts_that_could_not_be_read_or_are_excluded_are_null(recipe_file: Make, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("own-7\n")
    path = recipe_file(lanes=1, exclude="list.txt", on_exhausted="renormalize")
    with (tmp_path / "sources" / "b" / "all.jsonl").open("a") as file:
        file.write('{"text": null, "id": "null"}\n{"text": "\\ud800", "id": "lone"}\n')
    all_stats = write(path, tmp_path / "out", keep_dropped=tmp_path / "drops")
    kept_and_counted(tmp_path / "drops", all_stats)
    rows = [row for p in (tmp_path / "drops").iterdir() for row in pq.read_table(p).to_pylist()]
    texts = {row["reason"]: row["text"] for row in rows}
    assert texts["excluded"] is texts["not_text"] is texts["invalid_utf8"] is None
    assert texts["empty"] == ""
    assert texts["duplicate"] in (document("a", 3), document("a", 4))


class Crash(Exception):
    pass


@pytest.fixture(scope="module")
def whole(shared_recipe_file: Make, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], tuple[Path, Path]]:
    """Writes a mix and its dropped documents once, and returns its recipe and the folder of both."""
    folder = tmp_path_factory.mktemp("whole")

    @functools.cache
    def made() -> tuple[Path, Path]:
        path = make(shared_recipe_file, on_exhausted="repeat")
        write(path, folder / "mix", max_shard_size=PART, keep_dropped=folder / "drops")
        return path, folder

    return made


@pytest.mark.parametrize("after", [1, 5, 14])
def test_goes_on_after_a_crash(whole: Callable[[], tuple[Path, Path]], tmp_path: Path, after: int) -> None:
    path, expected = whole()
    calls = 0

    def crash(_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise Crash

    with pytest.raises(Crash):
        write(path, tmp_path / "out", max_shard_size=PART, on_progress=crash, keep_dropped=tmp_path / "drops")
    assert not (tmp_path / "drops").exists()
    write(path, tmp_path / "out", max_shard_size=PART, keep_dropped=tmp_path / "drops")
    assert content(tmp_path / "drops") == content(expected / "drops")
    assert content(tmp_path / "out") == content(expected / "mix")


def test_killed_at_random_moments_it_goes_on(
    recipe_file: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    monkeypatch.undo()  # the killed processes have the constants of the package
    path = make(recipe_file, lanes=16, on_exhausted="repeat")
    limits = ["--max-tokens", "60000", "--max-shard-size", "20000"]
    write(path, tmp_path / "whole", max_shard_size=20_000, max_tokens=60_000, keep_dropped=tmp_path / "all")
    command = [sys.executable, "-m", "smollm3_mix", "write", str(path), "--output-dir", str(tmp_path / "out")]
    command += [*limits, "--keep-dropped", str(tmp_path / "drops"), "--processes", "2"]
    written = len(list((tmp_path / "whole" / "data").iterdir()))
    assert written > 12
    said = killed_at_work(command, tmp_path / "out" / atomic_files.WORK_FOLDER, written, kills)
    assert f"The dropped documents are in {tmp_path / 'drops'}, with their reasons." in said
    assert content(tmp_path / "drops") == content(tmp_path / "all")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_move_that_was_cut_off_is_finished(
    whole: Callable[[], tuple[Path, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, expected = whole()

    def cut_off(work: Path, folder: Path) -> None:
        folder.mkdir()
        first = min((work / dropped_documents.FOLDER).iterdir())
        first.replace(folder / first.name)
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(dropped_documents, "publish", cut_off)
        with pytest.raises(Crash):
            write(path, tmp_path / "out", max_shard_size=PART, keep_dropped=tmp_path / "drops")
    write(path, tmp_path / "out", max_shard_size=PART, keep_dropped=tmp_path / "drops")
    assert content(tmp_path / "drops") == content(expected / "drops")


def test_folders_that_will_not_do(recipe_file: Make, tmp_path: Path) -> None:
    path, out = make(recipe_file), tmp_path / "out"
    for folder in (out, out / "drops", tmp_path):
        with pytest.raises(OutputError, match=r"lie in each other\. Choose a folder beside it with --keep-dropped\."):
            write(path, out, keep_dropped=folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "train-00000-00000.parquet").write_text("another's")
    with pytest.raises(OutputError, match=r"full holds 'train-00000-00000.parquet'\. Choose a new or empty folder"):
        write(path, out, keep_dropped=tmp_path / "full")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file is no folder\. Choose a new or empty one with --keep-dropped\."):
        write(path, out, keep_dropped=tmp_path / "file")
    assert not out.exists()


def test_over_a_finished_mix(recipe_file: Make, tmp_path: Path) -> None:
    path = make(recipe_file)
    all_stats = write(path, tmp_path / "out", keep_dropped=tmp_path / "drops")
    assert write(path, tmp_path / "out", keep_dropped=tmp_path / "drops") == all_stats
    with pytest.raises(OutputError, match=r"is finished, and its dropped documents are not in \S+other\. Name"):
        write(path, tmp_path / "out", keep_dropped=tmp_path / "other")
    write(path, tmp_path / "plain")
    with pytest.raises(OutputError, match="asked for with keep_dropped=None, not True"):
        write(path, tmp_path / "plain", keep_dropped=tmp_path / "other")


def test_row_groups_of_dropped_documents_end_at_their_rows_or_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dropped_documents, "GROUP_ROWS", 4)
    monkeypatch.setattr(dropped_documents, "GROUP_BYTES", 100)
    row = {"reason": "too_short", "source": "a", "id": "i", "file": "f", "row": 0}
    part = dropped_documents.DroppedShards()
    part.begin(tmp_path / "train-00000-00000.parquet")
    for rows, length in ((3, 1), (1, 1), (2, 1), (1, 98), (1, 1)):
        part.add(pa.RecordBatch.from_pylist([{**row, "text": "x" * length}] * rows, DROPPED_SCHEMA))
    part.end()
    file = pq.ParquetFile(tmp_path / "train-00000-00000.parquet").metadata
    assert [file.row_group(n).num_rows for n in range(file.num_row_groups)] == [4, 3, 1]


def test_difference_of_requests_shows_what_only_one_of_them_has() -> None:
    old = {"max_shard_size": 1, "format": "parquet"}
    assert differing(old, {**old, "max_shard_size": 2, "keep_dropped": True}) == (
        "max_shard_size=1, not 2, keep_dropped=None, not True"
    )
