"""Dedup indexes of curricula, over some of the sources, at URLs and on the Hub; stores that list late, full disks."""

import itertools
import json
import shutil
from collections import Counter
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import parquet
from fsspec.implementations.memory import MemoryFileSystem
from test_index import text, tree

from smollm3_mix.cli.main import main
from smollm3_mix.dedup_index import build_index as index_builder
from smollm3_mix.dedup_index import index_units
from smollm3_mix.dedup_index.build_index import build_index
from smollm3_mix.errors import OutputError, RecipeError, SourceError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.recipe.index_scope import disagreements
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.storage import folder_lock

DEDUP = {"exact": True, "near": {"bands": 14, "rows": 4}}
TOP = {"lanes": 2, "block": {"rows": 16, "bytes": 8000}, "on_exhausted": "renormalize", "filters": {"min_chars": 10}}


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Sources a, b and c, of which b repeats texts of a, and c of both."""
    monkeypatch.chdir(tmp_path)
    texts = {key: [text(f"{key}{n}") for n in range(count)] for key, count in (("a", 120), ("b", 80), ("c", 60))}
    texts["b"][::5] = texts["a"][:16]
    texts["c"][::4] = texts["a"][50:65]
    texts["c"][1::10] = texts["b"][41:71:5]
    for key, of in texts.items():
        parquet(tmp_path / key, of, files=3)
    return texts


def recipe(name, ids, **top):
    content = {**TOP, **top, "datasets": [{"name": key, "id": key, "weight": n + 1} for n, key in enumerate(ids)]}
    Path(name).write_text(yaml.safe_dump(content, sort_keys=False))
    return name


def course(name="course.yaml", second=None, **common):
    """A curriculum of two stages: a and b, then b and c to their ends."""
    recipe("one.yaml", "ab")
    recipe("two.yaml", "bc", **(second or {}))
    stages = [{"recipe": "one.yaml", "tokens": 2000}, {"recipe": "two.yaml", "tokens": 1_000_000}]
    content = {"description": "Toys.", "dedup": {**DEDUP, "memory": "64MiB"}, **common, "stages": stages}
    Path(name).write_text(yaml.safe_dump(content, sort_keys=False))
    return name


def looking(at="idx", name="looked.yaml", **common):
    return course(name, dedup={**DEDUP, "index": at}, **common)


def texts_of(what):
    return Counter(record["text"] for record in open_mix(what).stream())


def test_curriculum_index_covers_all_stages_for_any_lanes(sources):
    for lanes, stages_seed in ((1, 1), (4, 9), (16, 3)):
        build_index(course(lanes=lanes, seed=stages_seed), f"idx{lanes}")
    assert tree("idx1") == tree("idx4") == tree("idx16")
    counts = json.loads(Path("idx1/index.json").read_text())["counts"]
    assert {key: mine["documents"] for key, mine in counts.items()} == {"a": 120, "b": 80, "c": 60}
    copies = {key: mine["duplicates"] for key, mine in counts.items()}
    assert (copies["b"], copies["c"]) == (16, 21)
    for lanes in (1, 4):
        given = list(open_mix(looking("idx1", lanes=lanes)).stream())
        assert max(Counter(record["text"] for record in given).values()) == 1
        assert {record["source"] for record in given} == {"a", "b", "c"}
        before = set(sources["a"]) | set(sources["b"])
        assert not any(record["source"] == "c" and record["text"] in before for record in given)


def test_curriculum_with_index_resumes_in_any_stage(sources):
    build_index(course(), "idx")
    mix = open_mix(looking())
    whole = [record["id"] for record in mix.stream()]
    for position in range(0, len(whole), 31):
        stream = mix.stream()
        begun = [record["id"] for record in itertools.islice(stream, position)]
        state = json.loads(json.dumps(stream.state_dict()))
        again = mix.stream()
        again.load_state_dict(state)
        assert begun + [record["id"] for record in again] == whole


def test_build_index_raises_when_stages_filter_a_source_differently(sources):
    with pytest.raises(RecipeError) as error:
        build_index(course(second={"filters": {"min_chars": 40}}), "idx")
    said = (
        "dedup.index: stages 'one' and 'two' read source 'b' differently (filters.min_chars: 10 → 40), so it has not "
        "the same documents in both; make it so, or give one of them another id"
    )
    assert str(error.value) == f"course.yaml: {said}"
    build_index(course(), "idx")
    with pytest.raises(RecipeError) as error:
        open_mix(looking(second={"filters": {"min_chars": 40}}))
    assert str(error.value) == f"looked.yaml: {said}"


def test_shipped_curriculum_has_no_disagreements():
    assert disagreements(load_recipe("curriculum")) == []


def test_index_command_skips_unreadable_sources(sources, capsys):
    shutil.move("c", "elsewhere")
    parquet(Path("c"), ["1"], files=1, other=["2"])
    table = pq.read_table("c/part-00.parquet")
    pq.write_table(table.drop_columns("text"), "c/part-00.parquet")
    command = ["index", recipe("mine.yaml", "abc", dedup=DEDUP), "--out", "idx"]
    assert main(command) == 1
    assert "--skip-unreadable" in capsys.readouterr().err
    assert main([*command, "--skip-unreadable"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:4]] == ["a", "b"]
    looked = recipe("looked.yaml", "abc", dedup={**DEDUP, "index": "idx"})
    texts = Counter(record["text"] for record in open_mix(looked, skip_unreadable=True).stream())
    assert set(texts.values()) == {1}
    shutil.rmtree("c")
    shutil.move("elsewhere", "c")  # and with it the index is another mix's
    with pytest.raises(RecipeError, match=r"sources\.c: absent → read"):
        open_mix(looked)


def test_build_index_uploads_work_dir_to_url(sources, tmp_path):
    build_index(course(), "here")
    store = fsspec.filesystem("memory")
    for url in ("memory://indexes/two", f"file://{tmp_path}/far/away"):
        built = build_index(course(), url, work="work")
        assert built.index.location == "work"
        fs, root = fsspec.core.url_to_fs(url)
        there = {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)}
        assert there == tree("here") == tree("work")
        assert texts_of(looking(url)) == texts_of(looking("here"))
    store.pipe("/indexes/two/drops/000/000099.rows", b"of an older index")
    assert main(["index", course(), "--out", "memory://indexes/two/", "--work", "work"]) == 0
    assert not store.exists("/indexes/two/drops/000/000099.rows")
    assert build_index(course(), "memory://indexes/two", work="work").read == 0


def test_build_index_uploads_to_hub_in_one_commit(sources, hub, api):
    url = "hf://datasets/writer/index/course"
    build_index(course(), url, work="work", token="hf_writer")
    repository = hub.repos["writer/index"]
    assert repository.private
    there = {name: data for name, data in repository.tree().items() if name.startswith("course/")}
    assert there == {f"course/{name}": data for name, data in tree("work").items()}
    commits = len(repository.branches["main"])
    Path("b/part-00.parquet").unlink()
    build_index(course(), url, work="work", token="hf_writer")
    assert len(repository.branches["main"]) == commits + 1
    there = {name: data for name, data in repository.tree().items() if name.startswith("course/")}
    assert there == {f"course/{name}": data for name, data in tree("work").items()}
    with pytest.raises(OutputError, match=r"^hf://datasets/reader/index: the index cannot be written there \(.*403"):
        build_index(course(), "hf://datasets/reader/index", work="work", token="hf_reader")
    with pytest.raises(OutputError) as error:
        build_index(course(), "hf://models/index", work="work")
    assert str(error.value) == (
        "hf://models/index: expected hf://datasets/<owner>/<name>[@<branch>][/<folder>] after --out"
    )


def test_build_index_requires_work_dir_only_for_url(sources):
    with pytest.raises(OutputError) as error:
        build_index(course(), "s3://bucket/idx")
    assert str(error.value) == (
        "s3://bucket/idx: an index is built on this machine and copied there at the end. Name a folder for it, from "
        "which later builds go on, with --work DIR (work=)."
    )
    with pytest.raises(OutputError) as error:
        build_index(course(), "idx", work="work")
    assert str(error.value) == (
        "idx is a folder, in which the index is built. Leave --work (work=) to an --out that is a URL."
    )


def test_open_mix_reads_index_from_store_with_late_listing(sources, monkeypatch):
    build_index(course(), "memory://indexes/late", work="work")
    monkeypatch.setattr(MemoryFileSystem, "find", lambda *_, **__: {})
    assert texts_of(looking("memory://indexes/late")) == texts_of(looking("work"))
    store = fsspec.filesystem("memory")
    store.rm("/indexes/late/drops/001/000002.rows")
    with pytest.raises(RecipeError, match=r"memory://indexes/late/drops/001/000002\.rows is missing, but index\.json"):
        open_mix(looking("memory://indexes/late"))


def test_build_index_resumes_after_full_disk(sources, monkeypatch):
    whole = build_index(course(), "whole")
    full = OSError(28, "No space left on device")
    original, done = index_units.read_unit, []

    def until_full(job):
        if len(done) == 4:
            raise full
        original(job)
        done.append(job)

    monkeypatch.setattr(index_builder, "read_unit", until_full)
    with pytest.raises(OutputError) as error:
        build_index(course(), "idx")
    assert str(error.value) == (
        "cannot write in idx: [Errno 28] No space left on device. Mend this and give the same command again: it "
        "goes on from there."
    )
    monkeypatch.setattr(index_builder, "read_unit", original)
    assert build_index(course(), "idx").read == whole.units - 4
    assert tree("idx") == tree("whole")


def test_build_index_locks_folder(sources):
    with folder_lock.folder_lock(Path("idx")), pytest.raises(OutputError) as error:
        build_index(course(), "idx")
    assert str(error.value) == (
        "idx is being written by another process (database is locked). Wait for it, or choose another --out."
    )
    build_index(course(), "idx")


def test_build_index_raises_source_error_when_a_file_is_damaged(sources):
    path = Path("b/part-01.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + b"\xff" * 200 + whole[204:])
    with pytest.raises(SourceError, match=r"source 'b': b/part-01\.parquet is damaged or incomplete") as error:
        build_index(course(), "idx")
    assert not isinstance(error.value, OutputError)
