"""The dedup index: what it drops, against a plain reading of the rule; its bytes; stops, damage, strangers."""

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
from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pytest
import yaml
from conftest import WORDS, jsonl, parquet
from hub import COMMIT, hub
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.cli.main import main
from smollm3_mix.dedup_index import build_index as index_builder
from smollm3_mix.dedup_index import index_units
from smollm3_mix.dedup_index.build_index import build_index
from smollm3_mix.errors import OutputError, RecipeError, SourceError, StateError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.sources import dedup_lookup
from smollm3_mix.text.dedup import duplicate_rows
from smollm3_mix.text.dedup.dedup_options import Near
from smollm3_mix.text.dedup.duplicate_rows import DuplicateRows
from smollm3_mix.text.dedup.minhash import minhash_signatures, signature_agreement
from smollm3_mix.text.dedup.text_hashes import hash_texts
from smollm3_mix.verification.verify_mix import verify

NEAR = {"bands": 14, "rows": 4}


@functools.cache
def text(name: str, words: int = 60) -> str:
    """Words drawn for a name, and for no other one alike."""
    rng = np.random.default_rng(list(hashlib.sha256(name.encode()).digest()[:8]))
    return " ".join(f"{WORDS[a]}{b}" for a, b in rng.integers([len(WORDS), 50], size=(words, 2)))


def edited(original: str, every: int = 40) -> str:
    """The text with one word in so many replaced."""
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
    """A recipe over the sources with these ids, that goes on until all have ended."""
    content = {
        "lanes": 2,
        "seed": 7,
        "block": {"rows": 16, "bytes": 8000},
        "on_exhausted": "renormalize",
        "filters": {"min_chars": 20},
        "dedup": {"exact": True, "near": NEAR},
        **top,
        "datasets": [{"name": key, "id": key, "weight": 1 + place} for place, key in enumerate(ids)],
    }
    Path(name).write_text(yaml.safe_dump(content, sort_keys=False))
    return name


def indexed(name="looked.yaml", at="idx", **top):
    """The same, which looks up in an index."""
    dedup = top.pop("dedup", {"exact": True, "near": NEAR})
    return recipe(name, dedup={**dedup, "index": at}, **top)


def texts_of(mix):
    return Counter(record["text"] for record in mix.stream())


def tree(folder="idx"):
    """Every file of an index that readers need."""
    files = [Path(folder, "index.json"), *sorted(Path(folder, "drops").rglob("*.rows"))]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def expected(texts, near, least=20):
    """Verdict on each document by the rule, in words: who has an earlier one with its text, or one of its bands."""
    import pyarrow as pa

    rows = [(key, n, each) for key, of in texts.items() for n, each in enumerate(of) if len(each) >= least]
    prints = hash_texts(pa.array([each for *_, each in rows]))[:, 0].tolist()
    bands = minhash_signatures(pa.array([each for *_, each in rows]), near)
    first_print, first_band, said = {}, {}, {}
    for place, (key, n, _) in enumerate(rows):
        alike = False
        for band, value in enumerate(bands[place].tolist()):
            first = first_band.setdefault((band, value), place)
            alike |= first != place and signature_agreement(bands[[place]], bands[[first]], near)[0] >= near.jaccard
        same = first_print.setdefault(prints[place], place) != place
        said[key, n] = "duplicate" if same else "near_duplicate" if alike else None
    return said


def said_by(built, sizes):
    """Verdict on each row by the index; file paths are `<source>/part-00.parquet`, rows counted in each."""
    said = {}
    for key, (files, rows) in sizes.items():
        each = -(-rows // len(files))
        for number, file in enumerate(files):
            dropset = built.index.of(key, f"{key}/{file}")
            count = min(each, rows - number * each)
            codes = np.zeros(count, int) if dropset is None else dropset.codes(np.arange(count))
            said |= {(key, number * each + n): (None, "duplicate", "near_duplicate")[c] for n, c in enumerate(codes)}
    return said


SIZES = {
    "a": ([f"part-{n:02d}.parquet" for n in range(5)], 150),
    "b": (["all.jsonl"], 80),
    "c": (["part-00.parquet"], 60),
}


@pytest.mark.parametrize("jaccard", [0.0, 0.7])
def test_index_matches_reference_for_any_memory(corpus, jaccard):
    near = Near(**NEAR, jaccard=jaccard)
    made = recipe(dedup={"exact": True, "near": {**NEAR, "jaccard": jaccard}})
    built = build_index(made, "idx")
    wanted = expected(corpus, near)
    said = said_by(built, SIZES)
    assert {place: verdict for place, verdict in said.items() if place in wanted} == wanted
    assert said["b", 3] is None  # what the judge drops is no duplicate of anything
    counts = Counter(wanted.values())
    total = Counter()
    for mine in built.index.counts.values():
        total += Counter(mine)
    assert (total["rows"], total["documents"]) == (290, 289)
    assert (total["duplicates"], total["near_duplicates"]) == (counts["duplicate"], counts["near_duplicate"])
    assert counts["duplicate"] >= 25
    assert counts["near_duplicate"] >= 8
    build_index(made, "small", memory=3000)  # many ranges of keys in place of one
    assert tree("small") == tree("idx")


def test_index_bytes_do_not_depend_on_lanes_seed_weights_or_processes(corpus):
    trees = []
    for lanes, processes, more in ((1, 1, {}), (4, 2, {"seed": 99}), (16, 1, {"weigh_by": "documents"})):
        build_index(recipe(lanes=lanes, **more), f"idx{lanes}", processes=processes)
        trees.append(tree(f"idx{lanes}"))
    assert trees[0] == trees[1] == trees[2]
    assert len(trees[0]) == 4


def test_mix_with_index_yields_the_same_records_for_any_lanes(corpus):
    build_index(recipe(), "idx")
    given = [texts_of(open_mix(indexed(lanes=lanes))) for lanes in (1, 4, 16)]
    assert given[0] == given[1] == given[2]
    assert set(given[0].values()) == {1}
    # Of planted near duplicates, at least as many are found as by one lane that remembers.
    live = texts_of(open_mix(recipe("live.yaml", lanes=1)))
    pairs = [(corpus["a"][2 * n + 1], corpus["b"][n]) for n in range(0, 60, 4)]
    found, lived = (sum(not (one in got and other in got) for one, other in pairs) for got in (given[0], live))
    assert found >= lived >= 12
    # Each document that is gone hangs together with one that came out.
    assert sum(given[0].values()) >= 0.98 * sum(live.values())
    stream = open_mix(indexed(lanes=4)).stream()
    for _ in stream:
        pass
    said = Counter()
    for counts in stream.stats.sources.values():
        said += Counter(counts.dropped)
    wanted = Counter(verdict for verdict in expected(corpus, Near(**NEAR)).values() if verdict)
    assert said == wanted + Counter(too_short=1)


def test_index_compares_both_splits(corpus):
    build_index(recipe(), "idx")
    build_index(recipe(holdout={"fraction": 0.4}), "held")
    assert tree("held") == tree("idx")
    mix = indexed(holdout={"fraction": 0.4})
    train, held = (texts_of(open_mix(mix, split=split)) for split in ("train", "validation"))
    assert min(len(train), len(held)) > 9
    assert train + held == texts_of(open_mix(indexed("all.yaml")))


def test_mix_with_index_resumes_at_any_record_without_dedup_state(corpus):
    build_index(recipe(), "idx")
    mix = open_mix(indexed(lanes=3))
    whole = [record["id"] for record in mix.stream()]
    for read_first in range(0, len(whole), 17):
        stream = mix.stream()
        given = [record["id"] for _, record in zip(range(read_first), stream, strict=False)]
        state = json.loads(json.dumps(stream.state_dict()))
        assert all(lane["dedup_state"] == lane0["dedup_state"] for lane in state["lanes"] for lane0 in state["lanes"])
        again = pickle.loads(pickle.dumps(mix)).stream()
        again.load_state_dict(state)
        assert given + [record["id"] for record in again] == whole


def test_fingerprint_depends_on_index_digest_and_not_on_path(corpus):
    build_index(recipe(), "idx")
    mix = open_mix(indexed())
    digest = json.loads(Path("idx/index.json").read_text())["digest"]
    assert mix.recipe.dedup.index.digest == digest
    assert mix.recipe.fingerprint != open_mix(recipe("plain.yaml")).recipe.fingerprint
    state = mix.stream().state_dict()
    shutil.move("idx", "moved")  # its place is no part of it
    moved = open_mix(indexed("moved.yaml", at="moved"))
    assert moved.recipe.fingerprint == mix.recipe.fingerprint
    moved.stream().load_state_dict(state)
    assert load_recipe("looked.yaml").replace(seed=7).to_yaml().count("path: idx") == 1
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
        "looked.yaml: dedup.index: the index at idx belongs to another mix. Differences (index → recipe):"
    )
    lines = [line.strip() for line in str(error.value).splitlines()[1:]]
    assert "sources.c: absent → read" in lines
    assert "dedup.near.bands: 14 → 9" in lines
    assert "sources.a.clean.profile: 'prose' → 'code'" in lines
    assert lines[-1] == (
        "Fix the recipe, or update the index. Build it with `smollm3-mix index looked.yaml --output-dir idx`. "
        "Unchanged sources are not read again."
    )
    parquet(Path("a"), [text("x")], files=1)  # other files: another revision
    with pytest.raises(RecipeError, match=r"sources\.a\.revision: 'files-\w+' → 'files-\w+'"):
        open_mix(indexed(ids="ab"))


def test_open_mix_prints_build_command_when_index_is_missing(corpus):
    with pytest.raises(RecipeError) as error:
        open_mix(indexed())
    assert str(error.value) == (
        "looked.yaml: dedup.index: no index found at idx. "
        "Build it with `smollm3-mix index looked.yaml --output-dir idx`."
    )
    build_index("looked.yaml", "idx")  # of the very recipe that will look up in it
    assert texts_of(open_mix("looked.yaml"))


def test_open_mix_reports_truncated_or_damaged_index(corpus):
    build_index(recipe(), "idx")
    drops = sorted(Path("idx/drops").rglob("*.rows"))
    whole = drops[0].read_bytes()
    drops[0].write_bytes(whole[:-4])
    with pytest.raises(RecipeError) as error:
        open_mix(indexed())
    assert str(error.value) == (
        f"looked.yaml: dedup.index: idx/drops/000/{drops[0].name} has {len(whole) - 4} bytes, but index.json lists "
        f"{len(whole)} bytes. Build it with `smollm3-mix index looked.yaml --output-dir idx`."
    )
    drops[0].write_bytes(whole + b"\0" * 4)
    with pytest.raises(RecipeError, match=rf"{drops[0].name} has {len(whole) + 4} bytes, but index\.json lists "):
        open_mix(indexed())
    drops[0].unlink()
    with pytest.raises(RecipeError, match=rf"idx/drops/000/{drops[0].name} is missing, but index\.json lists "):
        open_mix(indexed())
    drops[0].write_bytes(b"\xff" + whole[1:])
    dedup_lookup._cached.clear()  # an earlier test has cached the intact rows
    with pytest.raises(SourceError) as damaged:
        texts_of(open_mix(indexed()))
    assert str(damaged.value) == (
        f"dedup index at {Path('idx').resolve()}: drops/000/{drops[0].name} has SHA-256 "
        f"{hashlib.sha256(drops[0].read_bytes()).hexdigest()[:12]}…, but index.json lists "
        f"{hashlib.sha256(whole).hexdigest()[:12]}…. The file is damaged or belongs to another build. "
        "Build the index again: `smollm3-mix index` reuses its earlier work."
    )
    manifest = Path("idx/index.json")
    for broken in (
        manifest.read_bytes()[:-9],
        b"[]",
        manifest.read_bytes().replace(b'"version": 1', b'"version": 9'),
        b"",
    ):
        kept = manifest.read_bytes()
        manifest.write_bytes(broken)
        with pytest.raises(RecipeError, match=r"idx/index\.json is damaged or of another version\. Build it"):
            open_mix(indexed())
        manifest.write_bytes(kept)
    assert build_index(recipe(), "idx").read == 0  # and what is known is written anew
    assert texts_of(open_mix(indexed()))


def test_build_index_reads_only_new_sources(corpus):
    first = build_index(recipe(ids="ac"), "idx")
    assert (first.read, first.units) == (6, 6)
    second = build_index(recipe(ids="abc", seed=3), "idx")
    assert (second.read, second.units) == (1, 7)
    build_index(recipe(), "fresh")
    assert tree("idx") == tree("fresh")
    assert build_index(recipe(), "idx").read == 0
    keys = sorted(Path("idx/keys").iterdir())
    keys[0].write_bytes(keys[0].read_bytes()[:-100])  # cut off behind our back
    assert build_index(recipe(), "idx").read == 1
    assert build_index(recipe(filters={"min_chars": 30}), "idx").read == 7  # other rules, other documents
    assert len(list(Path("idx/keys").iterdir())) == 7


def test_build_index_splits_long_files_and_units(corpus, monkeypatch):
    build_index(recipe(), "idx")
    monkeypatch.setattr(index_units, "UNIT", 2000)
    monkeypatch.setattr(index_units, "HELD", 1500)
    monkeypatch.setattr(index_builder, "WINDOW", 3)
    cut = build_index(recipe(), "cut")
    assert cut.units > 20
    assert tree("cut") == tree("idx")


def test_build_index_reads_modified_file_again(corpus):
    build_index(recipe(ids="b"), "idx")
    file = Path("b/all.jsonl")
    file.write_bytes(b"".join(reversed(file.read_bytes().splitlines(keepends=True))))  # of the same size
    assert build_index(recipe(ids="b"), "idx").read == 1


def test_build_index_raises_when_a_file_has_too_many_rows(corpus, monkeypatch):
    monkeypatch.setattr(duplicate_rows, "MOST", 79)
    assert build_index(recipe(ids="b"), "idx").index.counts["b"]["rows"] == 80
    monkeypatch.setattr(duplicate_rows, "MOST", 78)
    with pytest.raises(SourceError, match=r"b/all\.jsonl has more than 78 rows, which an index cannot number"):
        build_index(recipe(ids="b"), "other")


def test_build_index_resumes_after_kill(corpus):
    parquet(Path("d"), [text(f"d{n}") for n in range(3000)], files=30)
    build_index(recipe(ids="abcd"), "whole")
    command = [sys.executable, "-m", "smollm3_mix", "index", "mine.yaml", "--out", "idx"]
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
    assert (built.read, built.units) == (37 - done, 37)
    assert tree("idx") == tree("whole")
    assert sorted(path.name for path in Path("idx").iterdir()) == ["drops", "index.json", "keys"]


def test_build_index_raises_when_folder_contains_other_files(corpus):
    Path("idx").mkdir()
    Path("idx/thesis.tex").write_text("x")
    with pytest.raises(OutputError) as error:
        build_index(recipe(), "idx")
    assert str(error.value) == (
        "idx holds 'thesis.tex', which is no part of an index. Choose an empty or new folder with --out."
    )
    with pytest.raises(OutputError, match=r"idx/thesis\.tex is a file\. Choose an empty or new folder"):
        build_index(recipe(), "idx/thesis.tex")
    with pytest.raises(RecipeError) as fault:
        build_index(recipe(dedup={"exact": False}), "new")
    assert str(fault.value) == (
        "mine.yaml: dedup: expected exact: true or near, got neither; there is nothing to index"
    )


def test_open_mix_reads_index_from_url(corpus):
    build_index(recipe(), "idx")
    here = texts_of(open_mix(indexed()))
    store = fsspec.filesystem("memory")
    store.put("idx", "/indexes/one", recursive=True)
    assert texts_of(open_mix(indexed(at="memory://indexes/one"))) == here
    store.pipe("/indexes/one/drops/000/000004.rows", b"")
    with pytest.raises(RecipeError, match=r"memory://indexes/one/drops/000/000004\.rows has 0 bytes"):
        open_mix("looked.yaml")
    with pytest.raises(
        RecipeError, match=r"no index found at memory://indexes/none\. Build it with .* --output-dir DIR"
    ):
        open_mix(indexed(at="memory://indexes/none"))


def test_open_mix_pins_index_on_hub_to_commit(corpus, monkeypatch):
    build_index(recipe(), "idx")
    here = texts_of(open_mix(indexed()))
    shutil.copytree("idx", "repo/stage1", ignore=shutil.ignore_patterns("keys"))
    with hub("org/index", Path("repo").resolve()) as endpoint:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        mix = open_mix(indexed(at="hf://datasets/org/index/stage1"))
        assert mix.plan.dedup_index.location == f"hf://datasets/org/index@{COMMIT}/stage1"
        assert texts_of(mix) == here
        with pytest.raises(RecipeError, match=r"no index found at hf://datasets/org/index/stage9\. Build it"):
            open_mix(indexed(at="hf://datasets/org/index/stage9"))


def test_verify_checks_duplicates_across_lanes_with_index(corpus):
    build_index(recipe(), "idx")
    write(indexed(lanes=3), "out")
    assert verify("out").problems == ()
    assert (
        f"index: {{path: idx, digest: {open_mix('looked.yaml').plan.dedup_index.digest}}}"
        in Path("out/recipe.yaml").read_text()
    )
    write(recipe(lanes=3), "lanes")  # whose lanes each remember for themselves
    assert verify("lanes").problems == ()
    shutil.copy("out/recipe.yaml", "lanes/recipe.yaml")
    assert any(
        fault.endswith(" records repeat a text of another lane, which the dedup index drops")
        for fault in verify("lanes").problems
    )


def test_index_command_prints_counts(corpus, capsys):
    assert main(["index", recipe(), "--out", "idx", "--memory", "1MiB"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["source", "rows", "documents", "duplicates", "near", "duplicates"]
    assert [line.split()[:3] for line in shown[2:5]] == [["a", "150", "150"], ["b", "80", "79"], ["c", "60", "60"]]
    assert shown[-1] == "Use it: `dedup: {index: idx}` in the recipe, beside what its dedup says now."
    assert main(["plan", indexed()]) == 0
    assert "Dedup looks rows up in the index at idx, over all lanes, and remembers nothing." in capsys.readouterr().out


@given(
    st.lists(st.integers(0, 2**32 - 1), unique=True),
    st.lists(st.integers(0, 2**32 - 1), unique=True),
    st.lists(st.integers(0, 2**33), unique=True, min_size=1),
)
def test_duplicate_rows_returns_code_of_each_row(one, two, rows):
    near = sorted(set(two) - set(one))
    asked = np.array(sorted({*rows, *one[::2], *near[::2]}))
    dropset = DuplicateRows(np.array(sorted(one), np.uint32), np.array(near, np.uint32))
    again = DuplicateRows.from_bytes(dropset.to_bytes(), len(one))
    assert again.codes(asked).tolist() == [1 if row in one else 2 if row in near else 0 for row in asked.tolist()]
    assert dropset.nbytes == 4 * (len(one) + len(near))
