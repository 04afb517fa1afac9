"""Written mixes: the same bytes however they come about, resumed after any stop, checked by `verify`."""

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
from kills import CODE, killed_at_work

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

PART = 4_000


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


def test_files_hold_the_records_of_each_lane(recipe_file, tmp_path):
    path = recipe_file(lanes=3, holdout={"fraction": 0.1, "tokens": 500})
    all_stats = write(path, tmp_path / "out", max_shard_size=PART)
    mix = open_mix(path)
    for lane in range(3):
        assert records(tmp_path / "out")[lane] == list(mix.stream([lane]))
    assert records(tmp_path / "out", "validation")[0] == list(open_mix(path, split="validation").stream())
    assert all_stats["train"].total.emitted == sum(len(r) for r in records(tmp_path / "out").values())
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
    """Records of each row group of each part, for records of these sizes."""
    found, rows, size, of_part = [[]], 0, 0, 0
    for each in sizes:
        rows, size = rows + 1, size + each
        if rows == lane_writer.GROUP_ROWS or size >= lane_writer.GROUP_BYTES:
            found[-1].append(rows)
            rows, size, of_part = 0, 0, of_part + size
        if of_part >= max_shard_size:
            found.append([])
            of_part = 0
    return [part for part in [*found[:-1], [*found[-1], rows] if rows else found[-1]] if part]


def test_row_groups_and_parts_end_at_the_record_that_reaches_their_size(recipe_file, tmp_path, monkeypatch):
    path = recipe_file(lanes=1)
    sizes = [len(record["text"].encode()) for record in open_mix(path, max_samples=90).stream()]
    monkeypatch.setattr(lane_writer, "PULL", 3)
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 8)
    monkeypatch.setattr(lane_writer, "GROUP_BYTES", sum(sizes[:7]))
    first = groups_by_loop(sizes, sum(sizes))[0]
    max_shard_size = sum(sizes[: sum(first[:3])])
    expected = groups_by_loop(sizes, max_shard_size)
    assert expected[0] == first[:3]
    assert {7, 8} <= {rows for part in expected for rows in part}
    write(path, tmp_path / "out", max_shard_size=max_shard_size, max_samples=90)
    files = [pq.ParquetFile(file).metadata for file in sorted((tmp_path / "out" / "data").iterdir())]
    assert [[file.row_group(n).num_rows for n in range(file.num_row_groups)] for file in files] == expected


def test_the_same_bytes_again_and_with_more_processes(recipe_file, tmp_path):
    path = recipe_file(lanes=3)
    write(path, tmp_path / "one", max_shard_size=PART)
    write(path, tmp_path / "two", max_shard_size=PART)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_worker_processes_write_the_same_bytes(recipe_file, tmp_path, monkeypatch):
    monkeypatch.undo()  # worker processes have the constants of the package
    path = recipe_file(lanes=3)
    heard = []
    write(path, tmp_path / "one")
    write(path, tmp_path / "two", processes=2, on_progress=heard.append)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert {progress.label for progress in heard} <= {"train-00000", "train-00001", "train-00002"}


def test_another_seed_gives_another_order(recipe_file, tmp_path):
    write(recipe_file(), tmp_path / "one", max_samples=100)
    write(recipe_file(), tmp_path / "two", max_samples=100, seed=8)
    assert [r["id"] for r in records(tmp_path / "one")[0]] != [r["id"] for r in records(tmp_path / "two")[0]]


def test_a_finished_mix_is_left_alone(recipe_file, tmp_path):
    path = recipe_file()
    first = write(path, tmp_path / "out", max_samples=50)
    before = content(tmp_path / "out")
    assert write(path, tmp_path / "out", max_samples=50) == first
    assert content(tmp_path / "out") == before
    with pytest.raises(
        OutputError, match=r"holds another mix: it was asked for with max_samples=50, not 60\. Choose another"
    ):
        write(path, tmp_path / "out", max_samples=60)


def test_a_folder_with_other_things_is_refused(recipe_file, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(
        OutputError, match=r"holds 'thesis.tex', which is no part of a written mix\. Choose an empty or new folder"
    ):
        write(recipe_file(), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


class Crash(Exception):
    pass


@pytest.fixture(scope="module")
def whole(shared_recipe_file, tmp_path_factory):
    """Writes the mix of a policy once, and returns its recipe and what its folder holds."""

    @functools.cache
    def make(policy):
        path = shared_recipe_file(policy, lanes=2, on_exhausted=policy, holdout={"fraction": 0.1, "tokens": 500})
        out = tmp_path_factory.mktemp("whole") / "out"
        write(path, out, max_shard_size=PART)
        return path, content(out)

    return make


@pytest.mark.parametrize("after", [1, 2, 5, 9, 14])
@pytest.mark.parametrize("policy", ["stop", "repeat"])
def test_goes_on_after_a_crash(whole, tmp_path, after, policy):
    path, expected = whole(policy)
    calls = 0

    def crash(_):
        nonlocal calls
        calls += 1
        if calls == after:
            raise Crash

    with pytest.raises(Crash):
        write(path, tmp_path / "out", max_shard_size=PART, on_progress=crash)
    assert not (tmp_path / "out" / "data").exists()  # nothing half-written can be loaded
    write(path, tmp_path / "out", max_shard_size=PART)
    assert content(tmp_path / "out") == expected


def test_resumed_write_remembers_the_texts_of_every_part(recipe_file, tmp_path):
    path = recipe_file(lanes=1, sources={"a": {"weight": 0}, "b": {"weight": 0}})
    texts = [document("c", n % 8 + n // 16 * 8) for n in range(96)]  # each block of 8 comes twice in a row
    parquet(tmp_path / "sources" / "c", texts, files=1, group=8)
    all_stats = write(path, tmp_path / "whole", max_shard_size=PART)
    assert all_stats["train"].total.dropped == {"duplicate": 48}
    for groups in (4, 7):
        stop = iter([None] * groups)
        with pytest.raises(StopIteration):
            write(path, tmp_path / f"{groups}", max_shard_size=PART, on_progress=lambda _, stop=stop: next(stop))
        write(path, tmp_path / f"{groups}", max_shard_size=PART)
        assert content(tmp_path / f"{groups}") == content(tmp_path / "whole")


def test_resumed_write_drops_in_later_passes_what_the_first_one_dropped(recipe_file, tmp_path):
    path = recipe_file(lanes=1, sources={"c": {"weight": 2, "max_passes": 3}})
    parquet(tmp_path / "sources" / "c", [document("c", n % 12) for n in range(24)], files=1)
    limits = {"max_shard_size": 1_500, "max_samples": 60}
    all_stats = write(path, tmp_path / "whole", **limits)
    assert all_stats["train"].sources["c"].dropped == {"duplicate": 12, "dropped_in_first_pass": 24}
    crash = iter([None] * 5)
    with pytest.raises(StopIteration):
        write(path, tmp_path / "out", on_progress=lambda _: next(crash), **limits)
    (state,) = (tmp_path / "out" / ".writing").glob("train-00000.json")
    assert json.loads(state.read_bytes())["stats"]["c"]["passes"] == 2
    write(path, tmp_path / "out", **limits)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_an_unfinished_write_of_another_mix_is_refused(recipe_file, tmp_path):
    def crash(_):
        raise Crash

    with pytest.raises(Crash):
        write(recipe_file(), tmp_path / "out", on_progress=crash)
    for other, differs in (({"seed": 9}, "fingerprint="), ({"max_shard_size": PART}, f"max_shard_size=.*, not {PART}")):
        with pytest.raises(
            OutputError, match=rf"holds the unfinished write of another mix: it was asked for with {differs}"
        ):
            write(recipe_file(), tmp_path / "out", **other)


@pytest.fixture(scope="module")
def cut_off(whole, tmp_path_factory):
    """Writes a mix up to its commit, once, and returns the folder."""
    folder = tmp_path_factory.mktemp("cut") / "out"

    @functools.cache
    def make():
        def crash(_):
            raise Crash

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(output_layout, "publish_files", crash)
            with pytest.raises(Crash):
                write(whole("stop")[0], folder, max_shard_size=PART)
        return folder

    return make


@pytest.mark.parametrize("moved", [0, 1, 2, 3, 4])
def test_a_commit_that_was_cut_off_is_finished(whole, cut_off, tmp_path, moved):
    out, (path, expected) = tmp_path / "out", whole("stop")
    shutil.copytree(cut_off(), out)
    for name in output_layout.RESULT[:moved]:
        (out / atomic_files.WORK_FOLDER / name).replace(out / name)
    write(path, out, max_shard_size=PART)
    assert content(out) == expected


def test_killed_at_random_moments_it_goes_on(recipe_file, tmp_path, monkeypatch, kills):
    monkeypatch.undo()
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 40)
    path = recipe_file(lanes=3, on_exhausted="repeat")
    write(path, tmp_path / "whole", max_shard_size=1, max_tokens=60_000)
    whole = content(tmp_path / "whole")
    command = [sys.executable, "-c", CODE, "40", "write", str(path), "--output-dir", str(tmp_path / "out")]
    command += ["--max-tokens", "60000", "--max-shard-size", "1"]
    written = sum(name.startswith("data") for name in whole)
    assert written > 12
    killed_at_work(command, tmp_path / "out" / atomic_files.WORK_FOLDER, written, kills)
    assert content(tmp_path / "out") == whole


def test_two_writers_at_once(recipe_file, tmp_path):
    path = recipe_file()

    def second(_):
        with pytest.raises(
            OutputError, match=r"out is being written by another process .* Wait for it, or choose another"
        ):
            write(path, tmp_path / "out")
        raise Crash

    with pytest.raises(Crash):
        write(path, tmp_path / "out", on_progress=second)


def test_a_full_disk_is_said_and_survived(recipe_file, tmp_path):
    """A file size limit stands in for the disk's end; it needs a process of its own."""
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
    assert "make room and run the same command again" in failed.stderr
    write(path, tmp_path / "out", max_tokens=200_000)
    assert verify(tmp_path / "out").problems == []


def test_the_card_loads_and_tells_the_truth(recipe_file, tmp_path):
    datasets = pytest.importorskip("datasets")
    path = recipe_file(holdout={"fraction": 0.1, "tokens": 500})
    all_stats = write(path, tmp_path / "out", max_shard_size=PART)
    loaded = datasets.load_dataset(str(tmp_path / "out"), streaming=True)
    assert set(loaded) == {"train", "validation"}
    assert [r["id"] for r in loaded["train"]] == [r["id"] for lane in records(tmp_path / "out").values() for r in lane]
    card = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["configs"][0]["config_name"] == "default"
    for source, counts in all_stats["train"].sources.items():
        assert f"| {source} |" in card
        assert f"{counts.emitted_units:,}" in card
    assert "$" not in card.split("---", 2)[2]


def test_the_pinned_recipe_rebuilds_the_same_files(recipe_file, tmp_path):
    write(recipe_file(), tmp_path / "one", max_samples=80)
    write(tmp_path / "one" / "recipe.yaml", tmp_path / "two", max_samples=80)
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert {n: c for n, c in one.items() if n.startswith("data")} == {
        n: c for n, c in two.items() if n.startswith("data")
    }


def test_verify_finds_nothing_where_all_is_well(recipe_file, tmp_path):
    all_stats = write(
        recipe_file(lanes=3, holdout={"fraction": 0.1, "tokens": 500}), tmp_path / "out", max_shard_size=PART
    )
    verdict = verify(tmp_path / "out")
    assert verdict.problems == []
    for source, counts in all_stats["train"].sources.items():
        found = verdict.all_stats["train"].sources[source]
        assert (found.emitted, found.emitted_units) == (counts.emitted, counts.emitted_units)
        assert found.max_discrepancy == pytest.approx(counts.max_discrepancy)


@pytest.fixture(scope="module")
def undamaged(shared_recipe_file, tmp_path_factory):
    """Writes a mix of one lane once, and returns its folder."""
    folder = tmp_path_factory.mktemp("undamaged") / "out"

    @functools.cache
    def make():
        write(shared_recipe_file(lanes=1), folder, max_shard_size=PART)
        return folder

    return make


@pytest.mark.parametrize(
    "damage, fault",
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
            r"tokens; its text gives 1",
        ),
        (
            lambda d: rewrite(d["files"][0], lambda rows: [{**rows[0], "source": "z"}, *rows[1:]]),
            "source 'z' is not in the recipe",
        ),
        (lambda d: d["recipe"].write_text(d["recipe"].read_text().replace("0.6", "0.2")), "the debt of 'a' reached"),
    ],
)
def test_verify_finds_every_damage(undamaged, tmp_path, damage, fault):
    folder = tmp_path / "out"
    shutil.copytree(undamaged(), folder)
    damage({"files": sorted((folder / "data").iterdir()), "recipe": folder / "recipe.yaml"})
    assert any(re.search(fault, found) for found in verify(folder).problems), verify(folder).problems


def rewrite(path, change):
    import pyarrow as pa

    rows = change(pq.read_table(path).to_pylist())
    pq.write_table(pa.Table.from_pylist(rows, RECORD_SCHEMA), path)


def test_verify_finds_validation_text_in_train(recipe_file, tmp_path):
    folder = tmp_path / "out"
    write(recipe_file(lanes=1, holdout={"fraction": 0.1, "tokens": 500}), folder, max_shard_size=PART)
    held = sorted((folder / "data").glob("validation-*"))[0]
    train = sorted((folder / "data").glob("train-*"))[0]
    rewrite(train, lambda rows: [*rows, pq.read_table(held).to_pylist()[0]])
    assert "1 records of train have a text that is in validation" in verify(folder).problems


def test_verify_refuses_what_is_no_finished_mix(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "begun" / ".writing").mkdir(parents=True)
    made = "Give the one that `smollm3-mix write` made."
    for name, said in {
        "begun": " is no finished mix: it has no data. Run `smollm3-mix write` again to finish it.",
        "gone": f" is not there; expected the folder of a written mix. {made}",
        "file": f" is a file; expected the folder of a written mix. {made}",
        "": " is no written mix: it has no data. Give a folder that `smollm3-mix write` made.",
    }.items():
        with pytest.raises(OutputError) as refused:
            verify(tmp_path / name)
        assert str(refused.value) == f"{tmp_path / name}{said}"


def test_few_documents_of_a_source_alone_are_no_matter():
    mixed = [{"name": key, "weight": 1} for key in "ab"]
    counts = SourceStats(read=9, emitted=9, emitted_bytes=36, emitted_tokens=9, emitted_units=9, longest=1)
    for sources, warned in ((mixed[:1], False), (mixed, True)):
        recipe = Recipe.from_dict({"datasets": sources})
        few = sparse_sources(recipe, MixStats({source.id: counts for source in recipe.active}), 1)
        assert (few is not None) is warned


def test_the_tally_is_json(recipe_file, tmp_path):
    write(recipe_file(), tmp_path / "out", max_samples=10)
    saved = json.loads((tmp_path / "out" / "stats.json").read_text())
    assert saved["splits"]["train"]["total"]["emitted"] == 10


def test_a_mix_that_does_not_fit_the_disk_is_refused_before_anything_is_read(recipe_file, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 5000, 5000))
    with pytest.raises(
        OutputError, match=r"has room for 5,\d+ bytes, and the mix would take about [\d,]+\. Give --max-tokens, "
    ):
        write(recipe_file(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write(recipe_file(), tmp_path / "out", max_tokens=500)
