"""Dedup indexes of curricula, with unreadable sources, at URLs and on the Hub, with late listings and full disks."""

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
    """Sources a, b and c. Source b repeats texts of a, and c repeats texts of both."""
    monkeypatch.chdir(tmp_path)
    texts = {key: [text(f"{key}{n}") for n in range(count)] for key, count in (("a", 120), ("b", 80), ("c", 60))}
    texts["b"][::5] = texts["a"][:16]
    texts["c"][::4] = texts["a"][50:65]
    texts["c"][1::10] = texts["b"][41:71:5]
    for key, documents in texts.items():
        parquet(tmp_path / key, documents, files=3)
    return texts


def recipe(name, ids, **top):
    content = {**TOP, **top, "datasets": [{"name": key, "id": key, "weight": n + 1} for n, key in enumerate(ids)]}
    Path(name).write_text(yaml.safe_dump(content, sort_keys=False))
    return name


def curriculum(name="curriculum.yaml", second=None, **common):
    """Write a curriculum of two stages: a and b, then b and c until they are exhausted."""
    recipe("one.yaml", "ab")
    recipe("two.yaml", "bc", **(second or {}))
    stages = [{"recipe": "one.yaml", "tokens": 2000}, {"recipe": "two.yaml", "tokens": 1_000_000}]
    content = {"description": "Toys.", "dedup": {**DEDUP, "memory": "64MiB"}, **common, "stages": stages}
    Path(name).write_text(yaml.safe_dump(content, sort_keys=False))
    return name


def indexed(path="idx", name="indexed.yaml", **common):
    """Write the same curriculum with a dedup index."""
    return curriculum(name, dedup={**DEDUP, "index": path}, **common)


def texts_of(recipe):
    return Counter(record["text"] for record in open_mix(recipe).stream())


def test_curriculum_index_covers_all_stages_for_any_lanes(sources):
    for lanes, stages_seed in ((1, 1), (4, 9), (16, 3)):
        build_index(curriculum(lanes=lanes, seed=stages_seed), f"idx{lanes}")
    assert tree("idx1") == tree("idx4") == tree("idx16")
    counts = json.loads(Path("idx1/index.json").read_text())["counts"]
    assert {key: mine["documents"] for key, mine in counts.items()} == {"a": 120, "b": 80, "c": 60}
    copies = {key: mine["duplicates"] for key, mine in counts.items()}
    assert (copies["b"], copies["c"]) == (16, 21)
    for lanes in (1, 4):
        records = list(open_mix(indexed("idx1", lanes=lanes)).stream())
        assert max(Counter(record["text"] for record in records).values()) == 1
        assert {record["source"] for record in records} == {"a", "b", "c"}
        before = set(sources["a"]) | set(sources["b"])
        assert not any(record["source"] == "c" and record["text"] in before for record in records)


def test_curriculum_with_index_resumes_in_any_stage(sources):
    build_index(curriculum(), "idx")
    mix = open_mix(indexed())
    complete = [record["id"] for record in mix.stream()]
    for position in range(0, len(complete), 31):
        stream = mix.stream()
        first = [record["id"] for record in itertools.islice(stream, position)]
        state = json.loads(json.dumps(stream.state_dict()))
        resumed = mix.stream()
        resumed.load_state_dict(state)
        assert first + [record["id"] for record in resumed] == complete


def test_build_index_raises_when_stages_filter_a_source_differently(sources):
    with pytest.raises(RecipeError) as error:
        build_index(curriculum(second={"filters": {"min_chars": 40}}), "idx")
    problem = (
        "dedup.index: stages 'one' and 'two' read source 'b' differently (filters.min_chars: 10 → 40), so its "
        "documents differ. Make the rules equal, or give one of them another id"
    )
    assert str(error.value) == f"curriculum.yaml: {problem}"
    build_index(curriculum(), "idx")
    with pytest.raises(RecipeError) as error:
        open_mix(indexed(second={"filters": {"min_chars": 40}}))
    assert str(error.value) == f"indexed.yaml: {problem}"


def test_shipped_curriculum_has_no_disagreements():
    assert disagreements(load_recipe("curriculum")) == []


def test_index_command_skips_unreadable_sources(sources, capsys):
    shutil.move("c", "elsewhere")
    parquet(Path("c"), ["1"], files=1, other=["2"])
    table = pq.read_table("c/part-00.parquet")
    pq.write_table(table.drop_columns("text"), "c/part-00.parquet")
    command = ["index", recipe("mine.yaml", "abc", dedup=DEDUP), "--output-dir", "idx"]
    assert main(command) == 1
    assert "--skip-unreadable" in capsys.readouterr().err
    assert main([*command, "--skip-unreadable"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:4]] == ["a", "b"]
    path = recipe("indexed.yaml", "abc", dedup={**DEDUP, "index": "idx"})
    texts = Counter(record["text"] for record in open_mix(path, skip_unreadable=True).stream())
    assert set(texts.values()) == {1}
    shutil.rmtree("c")
    shutil.move("elsewhere", "c")  # now the index belongs to another mix
    with pytest.raises(RecipeError, match=r"sources\.c: absent → read"):
        open_mix(path)


def test_build_index_uploads_work_dir_to_url(sources, tmp_path):
    build_index(curriculum(), "local")
    store = fsspec.filesystem("memory")
    for url in ("memory://indexes/two", f"file://{tmp_path}/far/away"):
        built = build_index(curriculum(), url, work_dir="work")
        assert built.output_dir == url
        fs, root = fsspec.core.url_to_fs(url)
        uploaded = {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)}
        assert uploaded == tree("local") == tree("work")
        assert texts_of(indexed(url)) == texts_of(indexed("local"))
    store.pipe("/indexes/two/drops/000/000099.rows", b"of an older index")
    assert main(["index", curriculum(), "--output-dir", "memory://indexes/two/", "--work-dir", "work"]) == 0
    assert not store.exists("/indexes/two/drops/000/000099.rows")
    assert build_index(curriculum(), "memory://indexes/two", work_dir="work").units_read == 0


def test_build_index_uploads_to_hub_in_one_commit(sources, hub, api):
    url = "hf://datasets/writer/index/curriculum"
    build_index(curriculum(), url, work_dir="work", token="hf_writer")
    repository = hub.repos["writer/index"]
    assert repository.private
    uploaded = {name: data for name, data in repository.tree().items() if name.startswith("curriculum/")}
    assert uploaded == {f"curriculum/{name}": data for name, data in tree("work").items()}
    commits = len(repository.branches["main"])
    Path("b/part-00.parquet").unlink()
    build_index(curriculum(), url, work_dir="work", token="hf_writer")
    assert len(repository.branches["main"]) == commits + 1
    uploaded = {name: data for name, data in repository.tree().items() if name.startswith("curriculum/")}
    assert uploaded == {f"curriculum/{name}": data for name, data in tree("work").items()}
    with pytest.raises(OutputError, match=r"^hf://datasets/reader/index: cannot write the index \(.*403"):
        build_index(curriculum(), "hf://datasets/reader/index", work_dir="work", token="hf_reader")
    with pytest.raises(OutputError) as error:
        build_index(curriculum(), "hf://models/index", work_dir="work")
    assert str(error.value) == (
        "--output-dir must be hf://datasets/<owner>/<name>[@<branch>][/<folder>], got hf://models/index."
    )


def test_build_index_requires_work_dir_only_for_url(sources):
    with pytest.raises(OutputError) as error:
        build_index(curriculum(), "s3://bucket/idx")
    assert str(error.value) == (
        "s3://bucket/idx: an index is built in a local folder, then copied to the URL. "
        "Name a folder, which later builds reuse, with --work-dir DIR (work_dir=)."
    )
    with pytest.raises(OutputError) as error:
        build_index(curriculum(), "idx", work_dir="work")
    assert str(error.value) == (
        "--output-dir idx is a folder, in which the index is built. "
        "--work-dir (work_dir=) is only for a URL. Leave it out."
    )


def test_open_mix_reads_index_from_store_with_late_listing(sources, monkeypatch):
    build_index(curriculum(), "memory://indexes/late", work_dir="work")
    monkeypatch.setattr(MemoryFileSystem, "find", lambda *_, **__: {})
    assert texts_of(indexed("memory://indexes/late")) == texts_of(indexed("work"))
    store = fsspec.filesystem("memory")
    store.rm("/indexes/late/drops/001/000002.rows")
    with pytest.raises(RecipeError, match=r"memory://indexes/late/drops/001/000002\.rows is missing, but index\.json"):
        open_mix(indexed("memory://indexes/late"))


def test_build_index_resumes_after_full_disk(sources, monkeypatch):
    complete = build_index(curriculum(), "complete")
    full = OSError(28, "No space left on device")
    original, done = index_units.read_unit, []

    def until_full(job):
        if len(done) == 4:
            raise full
        original(job)
        done.append(job)

    monkeypatch.setattr(index_builder, "read_unit", until_full)
    with pytest.raises(OutputError) as error:
        build_index(curriculum(), "idx")
    assert str(error.value) == (
        "cannot write in idx: [Errno 28] No space left on device. "
        "Fix the problem, then repeat the same command to resume."
    )
    monkeypatch.setattr(index_builder, "read_unit", original)
    assert build_index(curriculum(), "idx").units_read == complete.units - 4
    assert tree("idx") == tree("complete")


def test_build_index_locks_folder(sources):
    with folder_lock.folder_lock(Path("idx")), pytest.raises(OutputError) as error:
        build_index(curriculum(), "idx")
    assert str(error.value) == (
        "idx is locked by another process (database is locked). Wait for it to finish, or choose another --output-dir."
    )
    build_index(curriculum(), "idx")


def test_build_index_raises_source_error_when_a_file_is_damaged(sources):
    path = Path("b/part-01.parquet")
    original = path.read_bytes()
    path.write_bytes(original[:4] + b"\xff" * 200 + original[204:])
    with pytest.raises(SourceError, match=r"source 'b': b/part-01\.parquet is damaged or incomplete") as error:
        build_index(curriculum(), "idx")
    assert not isinstance(error.value, OutputError)
