"""Written mixes: deterministic bytes, resumed after any interruption, checked by `verify`."""

import functools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import document, parquet
from kills import CODE, kill_write

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix_stats import MixStats, SourceStats
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.output import lane_writer, output_layout
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.report.source_rows import sparse_sources
from smollm3_mix.schema import RECORD_SCHEMA
from smollm3_mix.storage import atomic_files
from smollm3_mix.verification.verify_mix import verify

SHARD_SIZE = 4_000


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch):
    monkeypatch.setattr(lane_writer, "GROUP_BYTES", 1_500)


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()
    }


def records(folder, split="train"):
    return {
        lane: [
            row
            for path in sorted((folder / "data").glob(f"{split}-{lane:05d}-*"))
            for row in pq.read_table(path).to_pylist()
        ]
        for lane in range(4)
    }


def test_files_contain_the_records_of_each_lane(recipe_file, tmp_path):
    path = recipe_file(lanes=3, holdout={"fraction": 0.1, "tokens": 500})
    stats = write(path, tmp_path / "out", max_shard_size=SHARD_SIZE).stats
    mix = open_mix(path)
    for lane in range(3):
        assert records(tmp_path / "out")[lane] == list(mix.stream([lane]))
    assert records(tmp_path / "out", "validation")[0] == list(open_mix(path, split="validation").stream())
    assert stats["train"].total.emitted == sum(len(r) for r in records(tmp_path / "out").values())
    names = [path.name for path in sorted((tmp_path / "out" / "data").iterdir())]
    assert len([name for name in names if name.startswith("train-00000-")]) > 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "data",
        "recipe.yaml",
        "stats.json",
    ]
    assert pq.read_schema(tmp_path / "out" / "data" / names[0]).equals(RECORD_SCHEMA)


def groups_by_loop(sizes, max_shard_size):
    """Return the number of records of each row group of each shard, for records of these sizes."""
    shards, rows, group_size, shard_size = [[]], 0, 0, 0
    for size in sizes:
        rows, group_size = rows + 1, group_size + size
        if rows == lane_writer.GROUP_ROWS or group_size >= lane_writer.GROUP_BYTES:
            shards[-1].append(rows)
            rows, group_size, shard_size = 0, 0, shard_size + group_size
        if shard_size >= max_shard_size:
            shards.append([])
            shard_size = 0
    return [shard for shard in [*shards[:-1], [*shards[-1], rows] if rows else shards[-1]] if shard]


def test_row_groups_and_shards_end_at_the_record_that_reaches_their_size(recipe_file, tmp_path, monkeypatch):
    path = recipe_file(lanes=1)
    sizes = [len(record["text"].encode()) for record in open_mix(path, max_samples=90).stream()]
    monkeypatch.setattr(lane_writer, "PULL", 3)
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 8)
    monkeypatch.setattr(lane_writer, "GROUP_BYTES", sum(sizes[:7]))
    first = groups_by_loop(sizes, sum(sizes))[0]
    max_shard_size = sum(sizes[: sum(first[:3])])
    expected = groups_by_loop(sizes, max_shard_size)
    assert expected[0] == first[:3]
    assert {7, 8} <= {rows for shard in expected for rows in shard}
    write(path, tmp_path / "out", max_shard_size=max_shard_size, max_samples=90)
    files = [pq.ParquetFile(file).metadata for file in sorted((tmp_path / "out" / "data").iterdir())]
    assert [[file.row_group(n).num_rows for n in range(file.num_row_groups)] for file in files] == expected


def test_write_gives_the_same_bytes_when_repeated(recipe_file, tmp_path):
    path = recipe_file(lanes=3)
    write(path, tmp_path / "one", max_shard_size=SHARD_SIZE)
    write(path, tmp_path / "two", max_shard_size=SHARD_SIZE)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_write_gives_the_same_bytes_with_more_processes(recipe_file, tmp_path, monkeypatch):
    monkeypatch.undo()  # worker processes have the constants of the package
    path = recipe_file(lanes=3)
    reports = []
    write(path, tmp_path / "one")
    write(path, tmp_path / "two", num_proc=2, on_progress=reports.append)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert {progress.label for progress in reports} <= {"train-00000", "train-00001", "train-00002"}


def test_write_gives_another_order_when_the_seed_differs(recipe_file, tmp_path):
    write(recipe_file(), tmp_path / "one", max_samples=100)
    write(recipe_file(), tmp_path / "two", max_samples=100, seed=8)
    assert [r["id"] for r in records(tmp_path / "one")[0]] != [r["id"] for r in records(tmp_path / "two")[0]]


def test_write_changes_nothing_when_the_mix_is_finished(recipe_file, tmp_path):
    path = recipe_file()
    first = write(path, tmp_path / "out", max_samples=50).stats
    before = content(tmp_path / "out")
    assert write(path, tmp_path / "out", max_samples=50).stats == first
    assert content(tmp_path / "out") == before
    with pytest.raises(
        OutputError, match=r"already contains a different mix \(max_samples: 50 → 60\)\. Choose another"
    ):
        write(path, tmp_path / "out", max_samples=60)


def test_write_refuses_a_folder_with_other_files(recipe_file, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(
        OutputError, match=r"contains 'thesis.tex', which is not part of a written mix\. Choose a new or empty folder"
    ):
        write(recipe_file(), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


class Crash(Exception):
    pass


@pytest.fixture(scope="module")
def complete(shared_recipe_file, tmp_path_factory):
    """Return a function that writes the mix of a policy once and returns its recipe and files."""

    @functools.cache
    def make(policy):
        path = shared_recipe_file(policy, lanes=2, on_exhausted=policy, holdout={"fraction": 0.1, "tokens": 500})
        out = tmp_path_factory.mktemp("complete") / "out"
        write(path, out, max_shard_size=SHARD_SIZE)
        return path, content(out)

    return make


@pytest.mark.parametrize("after", [1, 2, 5, 9, 14])
@pytest.mark.parametrize("policy", ["stop", "repeat"])
def test_write_resumes_after_a_crash(complete, tmp_path, after, policy):
    path, expected = complete(policy)
    calls = 0

    def crash(_):
        nonlocal calls
        calls += 1
        if calls == after:
            raise Crash

    with pytest.raises(Crash):
        write(path, tmp_path / "out", max_shard_size=SHARD_SIZE, on_progress=crash)
    assert not (tmp_path / "out" / "data").exists()  # an unfinished mix cannot be loaded
    write(path, tmp_path / "out", max_shard_size=SHARD_SIZE)
    assert content(tmp_path / "out") == expected


def test_resumed_write_restores_the_dedup_state_of_every_shard(recipe_file, tmp_path):
    path = recipe_file(lanes=1, sources={"a": {"weight": 0}, "b": {"weight": 0}})
    texts = [document("c", n % 8 + n // 16 * 8) for n in range(96)]  # each block of 8 comes twice in a row
    parquet(tmp_path / "sources" / "c", texts, files=1, group=8)
    stats = write(path, tmp_path / "complete", max_shard_size=SHARD_SIZE).stats
    assert stats["train"].total.dropped == {"duplicate": 48}
    for groups in (4, 7):
        stop = iter([None] * groups)
        with pytest.raises(StopIteration):
            write(path, tmp_path / f"{groups}", max_shard_size=SHARD_SIZE, on_progress=lambda _, stop=stop: next(stop))
        write(path, tmp_path / f"{groups}", max_shard_size=SHARD_SIZE)
        assert content(tmp_path / f"{groups}") == content(tmp_path / "complete")


def test_resumed_write_drops_in_later_passes_what_the_first_pass_dropped(recipe_file, tmp_path):
    path = recipe_file(lanes=1, sources={"c": {"weight": 2, "max_passes": 3}})
    parquet(tmp_path / "sources" / "c", [document("c", n % 12) for n in range(24)], files=1)
    limits = {"max_shard_size": 1_500, "max_samples": 60}
    stats = write(path, tmp_path / "complete", **limits).stats
    assert stats["train"].sources["c"].dropped == {"duplicate": 12, "dropped_in_first_pass": 24}
    crash = iter([None] * 5)
    with pytest.raises(StopIteration):
        write(path, tmp_path / "out", on_progress=lambda _: next(crash), **limits)
    (state,) = (tmp_path / "out" / ".writing").glob("train-00000.json")
    assert json.loads(state.read_bytes())["stats"]["c"]["passes"] == 2
    write(path, tmp_path / "out", **limits)
    assert content(tmp_path / "out") == content(tmp_path / "complete")


def test_write_refuses_an_unfinished_run_of_another_mix(recipe_file, tmp_path):
    def crash(_):
        raise Crash

    with pytest.raises(Crash):
        write(recipe_file(), tmp_path / "out", on_progress=crash)
    for other, differs in (
        ({"seed": 9}, "fingerprint: "),
        ({"max_shard_size": SHARD_SIZE}, f"max_shard_size: .* → {SHARD_SIZE}"),
    ):
        with pytest.raises(OutputError, match=rf"contains an unfinished run of a different mix \({differs}"):
            write(recipe_file(), tmp_path / "out", **other)


@pytest.fixture(scope="module")
def before_commit(complete, tmp_path_factory):
    """Return a function that writes a mix up to its commit once and returns the folder."""
    folder = tmp_path_factory.mktemp("cut") / "out"

    @functools.cache
    def make():
        def crash(_):
            raise Crash

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(output_layout, "publish_files", crash)
            with pytest.raises(Crash):
                write(complete("stop")[0], folder, max_shard_size=SHARD_SIZE)
        return folder

    return make


@pytest.mark.parametrize("moved", [0, 1, 2, 3, 4])
def test_write_completes_an_interrupted_commit(complete, before_commit, tmp_path, moved):
    out, (path, expected) = tmp_path / "out", complete("stop")
    shutil.copytree(before_commit(), out)
    for name in output_layout.RESULT[:moved]:
        (out / atomic_files.WORK_FOLDER / name).replace(out / name)
    write(path, out, max_shard_size=SHARD_SIZE)
    assert content(out) == expected


def test_write_resumes_when_killed_at_random_moments(recipe_file, tmp_path, monkeypatch, kills):
    monkeypatch.undo()
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 40)
    path = recipe_file(lanes=3, on_exhausted="repeat")
    write(path, tmp_path / "complete", max_shard_size=1, max_tokens=60_000)
    complete = content(tmp_path / "complete")
    command = [sys.executable, "-c", CODE, "40", "write", str(path), "--output-dir", str(tmp_path / "out")]
    command += ["--max-tokens", "60000", "--max-shard-size", "1"]
    written = sum(name.startswith("data") for name in complete)
    assert written > 12
    kill_write(command, tmp_path / "out" / atomic_files.WORK_FOLDER, written, kills)
    assert content(tmp_path / "out") == complete


def test_write_refuses_a_folder_that_another_writer_has_locked(recipe_file, tmp_path):
    path = recipe_file()

    def second(_):
        with pytest.raises(
            OutputError, match=r"out is locked by another process .* Wait for it to finish, or choose another"
        ):
            write(path, tmp_path / "out")
        raise Crash

    with pytest.raises(Crash):
        write(path, tmp_path / "out", on_progress=second)


def test_write_resumes_after_the_disk_was_full(recipe_file, tmp_path):
    """A limit of the file size replaces a full disk. The limit needs a process of its own."""
    pytest.importorskip("resource", reason="no file size limits on this platform")
    path = recipe_file(lanes=1, on_exhausted="repeat")
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "from smollm3_mix.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = ["write", str(path), "--output-dir", str(tmp_path / "out"), "--max-tokens", "200000"]
    failed = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert failed.returncode == 1, failed.stderr
    assert failed.stderr.startswith("error: ")
    assert "Free some space, then repeat the same command to resume." in failed.stderr
    write(path, tmp_path / "out", max_tokens=200_000)
    assert verify(tmp_path / "out").problems == ()


def test_card_loads_and_has_the_statistics(recipe_file, tmp_path):
    datasets = pytest.importorskip("datasets")
    path = recipe_file(holdout={"fraction": 0.1, "tokens": 500})
    stats = write(path, tmp_path / "out", max_shard_size=SHARD_SIZE).stats
    loaded = datasets.load_dataset(str(tmp_path / "out"), streaming=True)
    assert set(loaded) == {"train", "validation"}
    assert [r["id"] for r in loaded["train"]] == [r["id"] for lane in records(tmp_path / "out").values() for r in lane]
    card = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["configs"][0]["config_name"] == "default"
    for source, counts in stats["train"].sources.items():
        assert f"| {source} |" in card
        assert f"{counts.emitted_units:,}" in card
    assert "$" not in card.split("---", 2)[2]


def test_pinned_recipe_rebuilds_the_same_files(recipe_file, tmp_path):
    write(recipe_file(), tmp_path / "one", max_samples=80)
    write(tmp_path / "one" / "recipe.yaml", tmp_path / "two", max_samples=80)
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert {n: c for n, c in one.items() if n.startswith("data")} == {
        n: c for n, c in two.items() if n.startswith("data")
    }


def test_verify_finds_no_problem_in_an_undamaged_mix(recipe_file, tmp_path):
    stats = write(
        recipe_file(lanes=3, holdout={"fraction": 0.1, "tokens": 500}), tmp_path / "out", max_shard_size=SHARD_SIZE
    ).stats
    report = verify(tmp_path / "out")
    assert report.problems == ()
    for source, counts in stats["train"].sources.items():
        found = report.stats["train"].sources[source]
        assert (found.emitted, found.emitted_units) == (counts.emitted, counts.emitted_units)
        assert found.max_discrepancy == pytest.approx(counts.max_discrepancy)


@pytest.fixture(scope="module")
def undamaged(shared_recipe_file, tmp_path_factory):
    """Return a function that writes a mix of one lane once and returns its folder."""
    folder = tmp_path_factory.mktemp("undamaged") / "out"

    @functools.cache
    def make():
        write(shared_recipe_file(lanes=1), folder, max_shard_size=SHARD_SIZE)
        return folder

    return make


@pytest.mark.parametrize(
    "damage, problem",
    [
        (lambda d: d["files"][1].unlink(), r"data/train-00000-00001.parquet is missing"),
        (
            lambda d: d["files"][1].write_bytes(d["files"][1].read_bytes()[:-9]),
            r"train-00000-00001.parquet cannot be read",
        ),
        (
            lambda d: shutil.copy(d["files"][0], d["files"][0].with_name("train-00009-00000.parquet")),
            "is not in stats.json",
        ),
        (lambda d: rewrite(d["files"][0], lambda rows: rows[1:]), r"emitted is \d+ in the files and \d+ in stats.json"),
        (lambda d: rewrite(d["files"][0], lambda rows: [rows[0], *rows]), "records repeat an earlier text of the lane"),
        (
            lambda d: rewrite(d["files"][0], lambda rows: [{**rows[0], "text": "x"}, *rows[1:]]),
            r"tokens, but its text has 1",
        ),
        (
            lambda d: rewrite(d["files"][0], lambda rows: [{**rows[0], "source": "z"}, *rows[1:]]),
            "source 'z' is not in the recipe",
        ),
        (
            lambda d: d["recipe"].write_text(d["recipe"].read_text().replace("0.6", "0.2")),
            "the discrepancy of 'a' is up to",
        ),
    ],
)
def test_verify_finds_every_kind_of_damage(undamaged, tmp_path, damage, problem):
    folder = tmp_path / "out"
    shutil.copytree(undamaged(), folder)
    damage({"files": sorted((folder / "data").iterdir()), "recipe": folder / "recipe.yaml"})
    assert any(re.search(problem, found) for found in verify(folder).problems), verify(folder).problems


def rewrite(path, change):
    import pyarrow as pa

    rows = change(pq.read_table(path).to_pylist())
    pq.write_table(pa.Table.from_pylist(rows, RECORD_SCHEMA), path)


def test_verify_finds_validation_text_in_train(recipe_file, tmp_path):
    folder = tmp_path / "out"
    write(recipe_file(lanes=1, holdout={"fraction": 0.1, "tokens": 500}), folder, max_shard_size=SHARD_SIZE)
    held_out = sorted((folder / "data").glob("validation-*"))[0]
    train = sorted((folder / "data").glob("train-*"))[0]
    rewrite(train, lambda rows: [*rows, pq.read_table(held_out).to_pylist()[0]])
    assert "1 records of train have a text that is in validation" in verify(folder).problems


def test_verify_refuses_a_folder_without_a_finished_mix(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "unfinished" / ".writing").mkdir(parents=True)
    remedy = "Name the folder of a mix that `smollm3-mix write` has finished."
    for name, message in {
        "unfinished": " is not finished: it has no data. Repeat the `smollm3-mix write` command to finish it.",
        "missing": f" does not exist. {remedy}",
        "file": f" is a file. {remedy}",
        "": " is not a written mix (it has no data). Name the folder of a finished `write` command.",
    }.items():
        with pytest.raises(OutputError) as error:
            verify(tmp_path / name)
        assert str(error.value) == f"{tmp_path / name}{message}"


def test_sparse_sources_ignores_the_only_source():
    mixed = [{"name": key, "weight": 1} for key in "ab"]
    counts = SourceStats(read=9, emitted=9, emitted_bytes=36, emitted_tokens=9, emitted_units=9, longest=1)
    for sources, warned in ((mixed[:1], False), (mixed, True)):
        recipe = Recipe.from_dict({"datasets": sources})
        warning = sparse_sources(recipe, MixStats({source.id: counts for source in recipe.active}), 1)
        assert (warning is not None) is warned


def test_stats_file_has_the_totals(recipe_file, tmp_path):
    write(recipe_file(), tmp_path / "out", max_samples=10)
    saved = json.loads((tmp_path / "out" / "stats.json").read_text())
    assert saved["splits"]["train"]["total"]["emitted"] == 10


def test_write_refuses_a_mix_that_is_larger_than_the_disk(recipe_file, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 5000, 5000))
    with pytest.raises(
        OutputError, match=r"has 5,\d+ bytes available, but the mix needs about [\d,]+\. Set --max-tokens, "
    ):
        write(recipe_file(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write(recipe_file(), tmp_path / "out", max_tokens=500)
