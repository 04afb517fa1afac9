"""Mixes of more files than a folder of the Hub should have: where they lie, and that nobody minds."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter

import pytest
from datasets import load_dataset
from doors import ROOT, run
from hypothesis import given
from hypothesis import strategies as st
from small_tokenizer import save
from test_publish import LOAD, OPEN, environment

from smollm3_mix.hub.hub_target import HubTarget
from smollm3_mix.hub.push_mix import push_to_hub
from smollm3_mix.output import lane_writer, output_layout
from smollm3_mix.output.write_mix import write
from smollm3_mix.packing.packed_mix import open_packed
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.verification.verify_mix import verify

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub, to its client

FEW = 5
"""Files of a split in a folder, in these tests."""


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 12)
    monkeypatch.setattr(output_layout, "FOLDER_FILES", FEW)


def many(recipe_file):
    """A recipe whose mix has about 30 files of train in 2 lanes, and more than FEW of validation."""
    return load_recipe(recipe_file("many", OPEN, holdout={"fraction": 0.25}, weigh_by="bytes"))


@pytest.fixture(scope="module")
def made(shared_recipe_file, tmp_path_factory):
    """Writes the mix once, as soon as the constants are small; gives its recipe and its folder."""

    @functools.cache
    def make():
        recipe, folder = many(shared_recipe_file), tmp_path_factory.mktemp("many") / "whole"
        write(recipe, folder, max_shard_size=1)
        return recipe, folder

    return make


@pytest.fixture
def whole(made):
    return made()


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@given(lanes=st.integers(1, 40), deep=st.integers(1, 40))
def test_no_folder_has_more_files_than_are_meant(lanes, deep):
    counts = Counter(output_layout.folder_of(lane, part, lanes) for part in range(deep) for lane in range(lanes))
    assert max(counts.values()) <= output_layout.FOLDER_FILES
    assert len(counts) == -(-lanes * deep // output_layout.FOLDER_FILES)  # and none is opened before the last is full


def test_folders_hold_few_files_and_the_first_ones_lie_where_they_always_did(whole):
    _, folder = whole
    names = output_layout.data_files(folder / "data")
    for split in ("train", "validation"):
        mine = [name for name in names if output_layout.shard_base(name).startswith(split)]
        counts = Counter(name.rpartition("/")[0] for name in mine)
        assert len(counts) > 1
        assert max(counts.values()) <= FEW
        assert counts[""] == FEW
    assert "train-00000-00000.parquet" in names
    assert "00001/train-00001-00002.parquet" in names  # the sixth of two lanes, counted part by part


def test_every_split_loads_and_all_is_recounted(whole, tmp_path):
    folder = tmp_path / "whole"
    shutil.copytree(whole[1], folder)
    assert verify(folder).problems == ()
    stats = json.loads((folder / "stats.json").read_bytes())
    for split, counts in stats["splits"].items():
        rows = load_dataset(str(folder), split=split, streaming=True)
        assert Counter(row["source"] for row in rows) == {
            source: own["emitted"] for source, own in counts["sources"].items() if own["emitted"]
        }
    missing = folder / "data" / "00001" / "train-00001-00002.parquet"
    missing.rename(folder / "data" / "train-00001-00002.parquet")
    size = stats["files"]["00001/train-00001-00002.parquet"]
    assert verify(folder).problems[:2] == [
        f"data/00001/train-00001-00002.parquet is missing; stats.json says {size:,} bytes",
        "data/train-00001-00002.parquet is not in stats.json",
    ]


def test_it_is_pushed_and_loads_without_the_package(hub, api, whole, tmp_path, monkeypatch):
    _, folder = whole
    push_to_hub(folder, "org/many", api=api)
    here = {f"many/{name}": content for name, content in tree(folder).items()}
    there = hub.repos["org/many"].tree()
    assert {name: body for name, body in there.items() if name.startswith("many/")} == here
    for key, value in environment(hub).items():
        monkeypatch.setenv(key, value)
    count = json.loads((folder / "stats.json").read_bytes())["splits"]["train"]["total"]["emitted"]
    assert run(LOAD, tmp_path, hub.endpoint, repository="org/many") == {"many": [count, True, ["a", "b", "c"]]}


def test_pushed_while_it_is_written_it_is_the_same(hub, api, whole, tmp_path):
    recipe, folder = whole
    all_stats = write(recipe, tmp_path / "sent", max_shard_size=1, push_to=HubTarget(recipe, "org/sent", api=api)).stats
    push_to_hub(folder, "org/pushed", api=api)
    sent, pushed = hub.repos["org/sent"].tree(), hub.repos["org/pushed"].tree()
    assert sent.pop("README.md") == pushed.pop("README.md").replace(b"org/pushed", b"org/sent").replace(
        b"# pushed", b"# sent"
    )
    assert sent == pushed
    assert output_layout.data_files(tmp_path / "sent" / "data") == []
    assert (
        write(recipe, tmp_path / "sent", max_shard_size=1, push_to=HubTarget(recipe, "org/sent", api=api)).stats
        == all_stats
    )


CODE = """
import os, signal, sys
from smollm3_mix.output import lane_writer as parts
from smollm3_mix.output import output_layout as layout
from smollm3_mix.output.write_mix import write
parts.GROUP_ROWS, layout.FOLDER_FILES = 12, 5
saved = parts._save
def save(job, lane, groups, part, **rest):
    saved(job, lane, groups, part, **rest)
    if part == 7:
        os.kill(os.getpid(), signal.SIGKILL)
parts._save = save
write(sys.argv[1], sys.argv[2], max_shard_size=1)
"""


def test_killed_among_folders_it_goes_on(whole, tmp_path):
    recipe, folder = whole
    asked = [sys.executable, "-c", CODE, str(recipe.file), str(tmp_path / "torn")]
    killed = subprocess.run(asked, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "torn/.writing/data/00002").is_dir()
    write(recipe, tmp_path / "torn", max_shard_size=1)
    assert tree(tmp_path / "torn") == tree(folder)


def test_it_is_packed_in_its_order(whole, tmp_path):
    pytest.importorskip("tokenizers", reason="packs with a tokenizer of its own: pip install tokenizers")
    recipe, folder = whole
    options = {"tokenizer": save(tmp_path / "tokenizer.json"), "sequence_length": 64}
    for split in ("train", "validation"):
        live = list(open_packed(recipe, split=split, **options).mix.stream())
        stored = list(open_packed(folder, split=split, **options).mix.stream())
        assert [record["id"] for record in stored] == [record["id"] for record in live]
