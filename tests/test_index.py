"""The dedup index: duplicates against a reference, bytes, interruptions, damage and unexpected files."""

import functools
import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, OrderedDict
from dataclasses import asdict
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
import yaml
from conftest import WORDS, jsonl, parquet, use_hub
from hub import COMMIT, hub
from hypothesis import given
from hypothesis import strategies as st
from network_faults import Faults

from smollm3_mix.cli.main import main
from smollm3_mix.dedup_index import build_index as index_builder
from smollm3_mix.dedup_index import index_units
from smollm3_mix.dedup_index.build_index import build_index
from smollm3_mix.errors import OutputError, RecipeError, SourceError, StateError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.sources import dedup_lookup
from smollm3_mix.sources.dedup_lookup import DedupIndex, IndexEntry
from smollm3_mix.text.dedup import duplicate_rows
from smollm3_mix.text.dedup.dedup_options import Near
from smollm3_mix.text.dedup.duplicate_rows import DuplicateRows
from smollm3_mix.text.dedup.minhash import minhash_signatures, signature_agreement
from smollm3_mix.text.dedup.text_hashes import hash_texts
from smollm3_mix.verification.verify_mix import verify

NEAR = {"bands": 14, "rows": 4}


@functools.cache
def text(name: str, words: int = 60) -> str:
    """Return random words that depend on the name only."""
    rng = np.random.default_rng(list(hashlib.sha256(name.encode()).digest()[:8]))
    return " ".join(f"{WORDS[a]}{b}" for a, b in rng.integers([len(WORDS), 50], size=(words, 2)))


def edited(original: str, every: int = 40) -> str:
    """Return the text with every `every`-th word replaced."""
    words = original.split()
    words[5::every] = [f"other{n}" for n in range(len(words[5::every]))]
    return " ".join(words)


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Sources a (Parquet, 5 files), b (JSON lines) and c, with copies and near copies within and across them."""
    monkeypatch.chdir(tmp_path)
    texts = {key: [text(f"{key}{n}") for n in range(count)] for key, count in (("a", 150), ("b", 80), ("c", 60))}
    for n in range(0, 60, 4):
        texts["c"][n] = texts["a"][2 * n]  # across sources
        texts["b"][n] = edited(texts["a"][2 * n + 1])
        texts["a"][140 - n // 6] = texts["a"][n + 1]  # across files, and so lanes
    texts["b"][3], texts["b"][5] = "too short", edited(texts["b"][6])
    parquet(tmp_path / "a", texts["a"], files=5)
    jsonl(tmp_path / "b", texts["b"])
    parquet(tmp_path / "c", texts["c"], files=1)
    return texts


def recipe(name="mine.yaml", ids="abc", **top):
    """Write a recipe of the sources with these ids, which ends when all sources are exhausted."""
    content = {
        "lanes": 2,
        "seed": 7,
        "block": {"rows": 16, "bytes": 8000},
        "on_exhausted": "renormalize",
        "filters": {"min_chars": 20},
        "dedup": {"exact": True, "near": NEAR},
        **top,
        "datasets": [{"name": key, "id": key, "weight": 1 + number} for number, key in enumerate(ids)],
    }
    Path(name).write_text(yaml.safe_dump(content, sort_keys=False))
    return name


def indexed(name="indexed.yaml", path="idx", **top):
    """Write the same recipe with a dedup index."""
    dedup = top.pop("dedup", {"exact": True, "near": NEAR})
    return recipe(name, dedup={**dedup, "index": path}, **top)


def texts_of(mix):
    return Counter(record["text"] for record in mix.stream())


def tree(folder="idx"):
    """Return the content of every file of an index that readers need."""
    files = [Path(folder, "index.json"), *sorted(Path(folder, "drops").rglob("*.rows"))]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def expected(texts, near, least=20):
    """Return the decision on each document: whether an earlier document has its text, or one of its bands."""
    rows = [
        (key, n, each) for key, documents in texts.items() for n, each in enumerate(documents) if len(each) >= least
    ]
    hashes = hash_texts(pa.array([each for *_, each in rows]))[:, 0].tolist()
    bands = minhash_signatures(pa.array([each for *_, each in rows]), near)
    first_hash, first_band, decisions = {}, {}, {}
    for row, (key, n, _) in enumerate(rows):
        similar = False
        for band, value in enumerate(bands[row].tolist()):
            first = first_band.setdefault((band, value), row)
            similar |= first != row and signature_agreement(bands[[row]], bands[[first]], near)[0] >= near.jaccard
        same = first_hash.setdefault(hashes[row], row) != row
        decisions[key, n] = "duplicate" if same else "near_duplicate" if similar else None
    return decisions


def decisions_of(folder, sizes):
    """Return the decision of the index on each row. Rows are numbered over all files of a source."""
    index = dedup_lookup.parse_manifest(Path(folder, "index.json").read_bytes(), folder)
    decisions = {}
    for key, (files, rows) in sizes.items():
        each = -(-rows // len(files))
        for number, file in enumerate(files):
            found = index.of(key, f"{key}/{file}")
            count = min(each, rows - number * each)
            codes = np.zeros(count, int) if found is None else found.codes(np.arange(count))
            names = (None, "duplicate", "near_duplicate")
            decisions |= {(key, number * each + n): names[code] for n, code in enumerate(codes)}
    return decisions


SIZES = {
    "a": ([f"part-{n:02d}.parquet" for n in range(5)], 150),
    "b": (["all.jsonl"], 80),
    "c": (["part-00.parquet"], 60),
}


@pytest.mark.parametrize("jaccard", [0.0, 0.7])
def test_index_matches_reference_for_any_memory(corpus, jaccard):
    near = Near(**NEAR, jaccard=jaccard)
    path = recipe(dedup={"exact": True, "near": {**NEAR, "jaccard": jaccard}})
    built = build_index(path, "idx")
    reference = expected(corpus, near)
    decisions = decisions_of("idx", SIZES)
    assert {row: decision for row, decision in decisions.items() if row in reference} == reference
    assert decisions["b", 3] is None  # a document that the filters drop is not compared
    counts = Counter(reference.values())
    total = Counter()
    for mine in built.stats.values():
        total += Counter(asdict(mine))
    assert (total["rows"], total["documents"]) == (290, 289)
    assert (total["duplicates"], total["near_duplicates"]) == (counts["duplicate"], counts["near_duplicate"])
    assert counts["duplicate"] >= 25
    assert counts["near_duplicate"] >= 8
    build_index(path, "small", memory=3000)  # many ranges of keys instead of one
    assert tree("small") == tree("idx")


def test_index_bytes_do_not_depend_on_lanes_seed_weights_or_processes(corpus):
    trees = []
    for lanes, processes, more in ((1, 1, {}), (4, 2, {"seed": 99}), (16, 1, {"weigh_by": "documents"})):
        build_index(recipe(lanes=lanes, **more), f"idx{lanes}", num_proc=processes)
        trees.append(tree(f"idx{lanes}"))
    assert trees[0] == trees[1] == trees[2]
    assert len(trees[0]) == 4


def test_mix_with_index_yields_the_same_records_for_any_lanes(corpus):
    build_index(recipe(), "idx")
    emitted = [texts_of(open_mix(indexed(lanes=lanes))) for lanes in (1, 4, 16)]
    assert emitted[0] == emitted[1] == emitted[2]
    assert set(emitted[0].values()) == {1}
    # The index finds at least as many of the planted near duplicates as one lane with a dedup state.
    without_index = texts_of(open_mix(recipe("plain.yaml", lanes=1)))
    pairs = [(corpus["a"][2 * n + 1], corpus["b"][n]) for n in range(0, 60, 4)]
    with_index, with_state = (
        sum(not (one in texts and other in texts) for one, other in pairs) for texts in (emitted[0], without_index)
    )
    assert with_index >= with_state >= 12
    # Every dropped document is connected by keys with an emitted one.
    assert sum(emitted[0].values()) >= 0.98 * sum(without_index.values())
    stream = open_mix(indexed(lanes=4)).stream()
    for _ in stream:
        pass
    dropped = Counter()
    for counts in stream.stats.sources.values():
        dropped += Counter(counts.dropped)
    reference = Counter(decision for decision in expected(corpus, Near(**NEAR)).values() if decision)
    assert dropped == reference + Counter(too_short=1)


def test_index_compares_both_splits(corpus):
    build_index(recipe(), "idx")
    build_index(recipe(holdout={"fraction": 0.4}), "idx-holdout")
    assert tree("idx-holdout") == tree("idx")
    mix = indexed(holdout={"fraction": 0.4})
    train, validation = (texts_of(open_mix(mix, split=split)) for split in ("train", "validation"))
    assert min(len(train), len(validation)) > 9
    assert train + validation == texts_of(open_mix(indexed("all.yaml")))


def test_mix_with_index_resumes_at_any_record_without_dedup_state(corpus):
    build_index(recipe(), "idx")
    mix = open_mix(indexed(lanes=3))
    complete = [record["id"] for record in mix.stream()]
    for count in range(0, len(complete), 17):
        stream = mix.stream()
        first = [record["id"] for _, record in zip(range(count), stream, strict=False)]
        state = json.loads(json.dumps(stream.state_dict()))
        assert all(lane["dedup_state"] == lane0["dedup_state"] for lane in state["lanes"] for lane0 in state["lanes"])
        resumed = pickle.loads(pickle.dumps(mix)).stream()
        resumed.load_state_dict(state)
        assert first + [record["id"] for record in resumed] == complete


def test_fingerprint_depends_on_index_digest_and_not_on_path(corpus):
    build_index(recipe(), "idx")
    mix = open_mix(indexed())
    digest = json.loads(Path("idx/index.json").read_text())["digest"]
    assert mix.recipe.dedup.index.digest == digest
    assert mix.recipe.fingerprint != open_mix(recipe("plain.yaml")).recipe.fingerprint
    state = mix.stream().state_dict()
    shutil.move("idx", "moved")  # the fingerprint does not depend on the path
    moved = open_mix(indexed("moved.yaml", path="moved"))
    assert moved.recipe.fingerprint == mix.recipe.fingerprint
    moved.stream().load_state_dict(state)
    assert load_recipe("indexed.yaml").replace(seed=7).to_yaml().count("path: idx") == 1
    parquet(Path("c"), [text(f"new{n}") for n in range(9)], files=1)
    build_index(recipe(), "idx")
    with pytest.raises(StateError, match=r"dedup\.index\.digest: "):
        open_mix(indexed()).stream().load_state_dict(state)
    pinned = {"exact": True, "near": NEAR, "index": {"path": "idx", "digest": digest}}
    other = json.loads(Path("idx/index.json").read_text())["digest"]
    with pytest.raises(RecipeError) as error:
        open_mix(recipe("pinned.yaml", dedup=pinned))
    assert str(error.value) == (
        f"pinned.yaml: dedup.index: idx has digest {other[:12]}…, but the recipe is pinned to {digest[:12]}…. "
        "Restore the old index, or remove `digest` from the recipe."
    )


def test_open_mix_lists_differences_when_index_belongs_to_another_mix(corpus):
    build_index(recipe(ids="ab"), "idx")
    with pytest.raises(RecipeError) as error:
        open_mix(indexed(dedup={"exact": True, "near": {**NEAR, "bands": 9}}, clean="code"))
    assert str(error.value).splitlines()[0] == (
        "indexed.yaml: dedup.index: the index at idx belongs to another mix. Differences (index → recipe):"
    )
    lines = [line.strip() for line in str(error.value).splitlines()[1:]]
    assert "sources.c: absent → read" in lines
    assert "dedup.near.bands: 14 → 9" in lines
    assert "sources.a.clean.profile: 'prose' → 'code'" in lines
    assert lines[-1] == (
        "Fix the recipe, or update the index. Build it with `smollm3-mix index indexed.yaml --output-dir idx`. "
        "Unchanged sources are not read again."
    )
    parquet(Path("a"), [text("x")], files=1)  # other files make another revision
    with pytest.raises(RecipeError, match=r"sources\.a\.revision: 'files-\w+' → 'files-\w+'"):
        open_mix(indexed(ids="ab"))


def test_open_mix_prints_build_command_when_index_is_missing(corpus):
    with pytest.raises(RecipeError) as error:
        open_mix(indexed())
    assert str(error.value) == (
        "indexed.yaml: dedup.index: no index found at idx. "
        "Build it with `smollm3-mix index indexed.yaml --output-dir idx`."
    )
    build_index("indexed.yaml", "idx")  # the same recipe can build the index
    assert texts_of(open_mix("indexed.yaml"))


def test_last_used_duplicate_rows_stay_in_the_cache(tmp_path, monkeypatch):
    entries = {}
    for number in range(3):
        content = DuplicateRows(np.arange(number, 10, dtype=np.uint32), np.zeros(0, np.uint32)).to_bytes()
        (tmp_path / f"{number}.rows").write_bytes(content)
        entries[str(number)] = IndexEntry(f"{number}.rows", 10 - number, 0, hashlib.sha256(content).hexdigest())
    index = DedupIndex(str(tmp_path), {}, {"one": entries}, {})
    monkeypatch.setattr(dedup_lookup, "_cached", OrderedDict())
    monkeypatch.setattr(dedup_lookup, "CACHE_BYTES", 80)
    first, second = index.of("one", "0"), index.of("one", "1")
    assert index.of("one", "0") is first
    third = index.of("one", "2")
    assert list(dedup_lookup._cached.values()) == [first, third]
    assert index.of("one", "0") is first
    again = index.of("one", "1")
    assert again is not second
    assert again.duplicates.tolist() == second.duplicates.tolist()


def test_open_mix_reports_truncated_or_damaged_index(corpus):
    build_index(recipe(), "idx")
    drops = sorted(Path("idx/drops").rglob("*.rows"))
    complete = drops[0].read_bytes()
    drops[0].write_bytes(complete[:-4])
    with pytest.raises(RecipeError) as error:
        open_mix(indexed())
    assert str(error.value) == (
        f"indexed.yaml: dedup.index: idx/drops/000/{drops[0].name} has {len(complete) - 4} bytes, but index.json lists "
        f"{len(complete)} bytes. Build it with `smollm3-mix index indexed.yaml --output-dir idx`."
    )
    drops[0].write_bytes(complete + b"\0" * 4)
    with pytest.raises(RecipeError, match=rf"{drops[0].name} has {len(complete) + 4} bytes, but index\.json lists "):
        open_mix(indexed())
    drops[0].unlink()
    with pytest.raises(RecipeError, match=rf"idx/drops/000/{drops[0].name} is missing, but index\.json lists "):
        open_mix(indexed())
    drops[0].write_bytes(b"\xff" + complete[1:])
    dedup_lookup._cached.clear()  # an earlier test has cached the intact rows
    with pytest.raises(SourceError) as damaged:
        texts_of(open_mix(indexed()))
    assert str(damaged.value) == (
        f"dedup index at {Path('idx').resolve()}: drops/000/{drops[0].name} has SHA-256 "
        f"{hashlib.sha256(drops[0].read_bytes()).hexdigest()[:12]}…, but index.json lists "
        f"{hashlib.sha256(complete).hexdigest()[:12]}…. The file is damaged or belongs to another build. "
        "Build the index again: `smollm3-mix index` reuses its earlier work."
    )
    manifest = Path("idx/index.json")
    for broken in (
        manifest.read_bytes()[:-9],
        b"[]",
        manifest.read_bytes().replace(b'"version": 1', b'"version": 9'),
        b"",
    ):
        original = manifest.read_bytes()
        manifest.write_bytes(broken)
        with pytest.raises(RecipeError, match=r"idx/index\.json is damaged or of another version\. Build it"):
            open_mix(indexed())
        manifest.write_bytes(original)
    assert build_index(recipe(), "idx").units_read == 0  # the index is written again from its keys
    assert texts_of(open_mix(indexed()))


def test_build_index_reads_only_new_sources(corpus):
    first = build_index(recipe(ids="ac"), "idx")
    assert (first.units_read, first.units) == (6, 6)
    second = build_index(recipe(ids="abc", seed=3), "idx")
    assert (second.units_read, second.units) == (1, 7)
    build_index(recipe(), "fresh")
    assert tree("idx") == tree("fresh")
    assert build_index(recipe(), "idx").units_read == 0
    keys = sorted(Path("idx/keys").iterdir())
    keys[0].write_bytes(keys[0].read_bytes()[:-100])  # truncated
    assert build_index(recipe(), "idx").units_read == 1
    assert build_index(recipe(filters={"min_chars": 30}), "idx").units_read == 7  # other filters, other documents
    assert len(list(Path("idx/keys").iterdir())) == 7


def test_build_index_splits_long_files_and_units(corpus, monkeypatch):
    build_index(recipe(), "idx")
    monkeypatch.setattr(index_units, "UNIT_BYTES", 2000)
    monkeypatch.setattr(index_units, "SEGMENT_BYTES", 1500)
    monkeypatch.setattr(index_builder, "WINDOW", 3)
    split = build_index(recipe(), "split")
    assert split.units > 20
    assert tree("split") == tree("idx")


def test_build_index_reads_modified_file_again(corpus):
    build_index(recipe(ids="b"), "idx")
    file = Path("b/all.jsonl")
    file.write_bytes(b"".join(reversed(file.read_bytes().splitlines(keepends=True))))  # the same size
    assert build_index(recipe(ids="b"), "idx").units_read == 1


def test_build_index_raises_when_a_file_has_too_many_rows(corpus, monkeypatch):
    monkeypatch.setattr(duplicate_rows, "MAX_ROW", 79)
    assert build_index(recipe(ids="b"), "idx").stats["b"].rows == 80
    monkeypatch.setattr(duplicate_rows, "MAX_ROW", 78)
    with pytest.raises(SourceError, match=r"b/all\.jsonl has more than 78 rows, which an index cannot number"):
        build_index(recipe(ids="b"), "other")


def test_build_index_resumes_after_kill(corpus):
    parquet(Path("d"), [text(f"d{n}") for n in range(3000)], files=30)
    build_index(recipe(ids="abcd"), "complete")
    command = [sys.executable, "-m", "smollm3_mix", "index", "mine.yaml", "--output-dir", "idx"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while len(list(Path("idx/keys").glob("*.arrow"))) < 9 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()
    done = len(list(Path("idx/keys").glob("*.arrow")))
    assert done >= 9
    assert not Path("idx/index.json").exists()
    built = build_index("mine.yaml", "idx")
    assert (built.units_read, built.units) == (37 - done, 37)
    assert tree("idx") == tree("complete")
    assert sorted(path.name for path in Path("idx").iterdir()) == ["drops", "index.json", "keys"]


def test_build_index_raises_when_folder_contains_other_files(corpus):
    Path("idx").mkdir()
    Path("idx/thesis.tex").write_text("x")
    with pytest.raises(OutputError) as error:
        build_index(recipe(), "idx")
    assert str(error.value) == (
        "idx contains 'thesis.tex', which is not part of an index. Choose a new or empty folder with --output-dir."
    )
    with pytest.raises(OutputError, match=r"idx/thesis\.tex is a file\. Choose a new or empty folder"):
        build_index(recipe(), "idx/thesis.tex")
    with pytest.raises(RecipeError) as invalid:
        build_index(recipe(dedup={"exact": False}), "new")
    assert str(invalid.value) == (
        "mine.yaml: dedup: expected exact: true or near, got neither. There is nothing to index"
    )


def test_open_mix_reads_index_from_url(corpus):
    build_index(recipe(), "idx")
    local = texts_of(open_mix(indexed()))
    store = fsspec.filesystem("memory")
    store.put("idx", "/indexes/one", recursive=True)
    assert texts_of(open_mix(indexed(path="memory://indexes/one"))) == local
    store.pipe("/indexes/one/drops/000/000004.rows", b"")
    with pytest.raises(RecipeError, match=r"memory://indexes/one/drops/000/000004\.rows has 0 bytes"):
        open_mix("indexed.yaml")
    with pytest.raises(
        RecipeError, match=r"no index found at memory://indexes/none\. Build it with .* --output-dir DIR"
    ):
        open_mix(indexed(path="memory://indexes/none"))


def test_open_mix_pins_index_on_hub_to_commit(corpus, monkeypatch):
    build_index(recipe(), "idx")
    local = texts_of(open_mix(indexed()))
    shutil.copytree("idx", "repo/stage1", ignore=shutil.ignore_patterns("keys"))
    with hub("org/index", Path("repo").resolve()) as endpoint:
        use_hub(monkeypatch, endpoint)
        mix = open_mix(indexed(path="hf://datasets/org/index/stage1"))
        assert mix.resolved.dedup_index.location == f"hf://datasets/org/index@{COMMIT}/stage1"
        assert texts_of(mix) == local
        with pytest.raises(RecipeError, match=r"no index found at hf://datasets/org/index/stage9\. Build it"):
            open_mix(indexed(path="hf://datasets/org/index/stage9"))
    with hub("org/index", Path("repo").resolve(), problems=Faults(lasting=("/resolve/",))) as endpoint:
        use_hub(monkeypatch, endpoint)
        with pytest.raises(RecipeError, match=r"hf://datasets/org/index/stage9: the Hub cannot be reached \("):
            open_mix(indexed(path="hf://datasets/org/index/stage9"))


def test_verify_checks_duplicates_across_lanes_with_index(corpus):
    build_index(recipe(), "idx")
    write(indexed(lanes=3), "out")
    assert verify("out").problems == ()
    assert (
        f"index: {{path: idx, digest: {open_mix('indexed.yaml').resolved.dedup_index.digest}}}"
        in Path("out/recipe.yaml").read_text()
    )
    write(recipe(lanes=3), "lanes")  # each lane has a dedup state of its own
    assert verify("lanes").problems == ()
    shutil.copy("out/recipe.yaml", "lanes/recipe.yaml")
    assert any(
        problem.endswith(" records repeat a text of another lane, which the dedup index drops")
        for problem in verify("lanes").problems
    )


def test_index_command_prints_counts(corpus, capsys):
    assert main(["index", recipe(), "--output-dir", "idx", "--memory", "1MiB"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["source", "rows", "documents", "duplicates", "near", "duplicates"]
    assert [line.split()[:3] for line in printed[2:5]] == [["a", "150", "150"], ["b", "80", "79"], ["c", "60", "60"]]
    assert printed[-1] == "Use it: add `index: idx` to `dedup` in the recipe."
    assert main(["plan", indexed()]) == 0
    assert "Dedup looks up duplicates of all lanes in the index at idx. It has no state." in capsys.readouterr().out


@given(
    st.lists(st.integers(0, 2**32 - 1), unique=True),
    st.lists(st.integers(0, 2**32 - 1), unique=True),
    st.lists(st.integers(0, 2**33), unique=True, min_size=1),
)
def test_duplicate_rows_returns_code_of_each_row(one, two, rows):
    near = sorted(set(two) - set(one))
    queried = np.array(sorted({*rows, *one[::2], *near[::2]}))
    written = DuplicateRows(np.array(sorted(one), np.uint32), np.array(near, np.uint32))
    read = DuplicateRows.from_bytes(written.to_bytes(), len(one))
    assert read.codes(queried).tolist() == [1 if row in one else 2 if row in near else 0 for row in queried.tolist()]
    assert written.nbytes == 4 * (len(one) + len(near))


def test_index_build_has_repr_html_and_dict(corpus):
    progress = []
    built = build_index(recipe(), "idx", num_proc=2, on_progress=progress.append)
    assert repr(built) == f"IndexBuild('idx', 3 sources, {built.nbytes:,} bytes)"
    assert built._repr_html_().count("<tr>") == 4
    content = json.loads(json.dumps(built.to_dict()))
    assert content["stats"]["a"]["rows"] == built.stats["a"].rows == 150
    assert (content["units"], content["units_read"]) == (7, 7)
    for step in ("pass 1, parts of files", "pass 2, ranges of keys"):
        mine = [each for each in progress if each.step == step]
        assert [each.done for each in mine] == list(range(mine[0].total + 1))


def test_build_index_rejects_invalid_sizes(corpus):
    with pytest.raises(ValueError, match=r"^num_proc must be a whole number above 0"):
        build_index(recipe(), "idx", num_proc=0)
    with pytest.raises(ValueError, match=r"^memory must be "):
        build_index(recipe(), "idx", memory="0MiB")
