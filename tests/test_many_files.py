"""Mixes with more files than the Hub recommends per folder."""

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

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # raised inside huggingface_hub

FOLDER_FILES = 5
"""Maximum number of files of a split in a folder, in these tests."""


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 12)
    monkeypatch.setattr(output_layout, "FOLDER_FILES", FOLDER_FILES)


def many_files_recipe(recipe_file):
    """Return a recipe whose mix has about 30 train files in 2 lanes, and more validation files than a folder holds."""
    return load_recipe(recipe_file("many", OPEN, holdout={"fraction": 0.25}, weigh_by="bytes"))


@pytest.fixture(scope="module")
def made(shared_recipe_file, tmp_path_factory):
    """Return a function that writes the mix once and returns its recipe and folder. Call it with small constants."""

    @functools.cache
    def make():
        recipe, folder = many_files_recipe(shared_recipe_file), tmp_path_factory.mktemp("many") / "mix"
        write(recipe, folder, max_shard_size=1)
        return recipe, folder

    return make


@pytest.fixture
def mix(made):
    return made()


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@given(lanes=st.integers(1, 40), shards=st.integers(1, 40))
def test_shard_folder_keeps_folders_below_the_limit(lanes, shards):
    counts = Counter(output_layout.shard_folder(lane, shard, lanes) for shard in range(shards) for lane in range(lanes))
    assert max(counts.values()) <= output_layout.FOLDER_FILES
    assert len(counts) == -(
        -lanes * shards // output_layout.FOLDER_FILES
    )  # a folder is full before the next one starts


def test_later_shards_are_in_subfolders(mix):
    _, folder = mix
    names = output_layout.data_files(folder / "data")
    for split in ("train", "validation"):
        own = [name for name in names if output_layout.shard_base(name).startswith(split)]
        counts = Counter(name.rpartition("/")[0] for name in own)
        assert len(counts) > 1
        assert max(counts.values()) <= FOLDER_FILES
        assert counts[""] == FOLDER_FILES
    assert "train-00000-00000.parquet" in names
    assert "00001/train-00001-00002.parquet" in names  # the sixth file of two lanes, counted by shard


def test_every_split_loads_and_is_verified(mix, tmp_path):
    folder = tmp_path / "mix"
    shutil.copytree(mix[1], folder)
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
    assert verify(folder).problems[:2] == (
        f"data/00001/train-00001-00002.parquet is missing, but stats.json says {size:,} bytes",
        "data/train-00001-00002.parquet is not in stats.json",
    )


def test_pushed_mix_loads_without_the_package(hub, mix, tmp_path, monkeypatch):
    _, folder = mix
    push_to_hub(folder, "org/many", token="hf_writer")
    local = {f"many/{name}": content for name, content in tree(folder).items()}
    remote = hub.repos["org/many"].tree()
    assert {name: body for name, body in remote.items() if name.startswith("many/")} == local
    for key, value in environment(hub).items():
        monkeypatch.setenv(key, value)
    count = json.loads((folder / "stats.json").read_bytes())["splits"]["train"]["total"]["emitted"]
    assert run(LOAD, tmp_path, hub.endpoint, repository="org/many") == {"many": [count, True, ["a", "b", "c"]]}


def test_push_to_gives_the_files_of_a_push(hub, mix, tmp_path):
    recipe, folder = mix
    stats = write(recipe, tmp_path / "sent", max_shard_size=1, push_to=HubTarget("org/sent", token="hf_writer")).stats
    push_to_hub(folder, "org/pushed", token="hf_writer")
    sent, pushed = hub.repos["org/sent"].tree(), hub.repos["org/pushed"].tree()
    assert sent.pop("README.md") == pushed.pop("README.md").replace(b"org/pushed", b"org/sent").replace(
        b"# pushed", b"# sent"
    )
    assert sent == pushed
    assert output_layout.data_files(tmp_path / "sent" / "data") == []
    assert (
        write(recipe, tmp_path / "sent", max_shard_size=1, push_to=HubTarget("org/sent", token="hf_writer")).stats
        == stats
    )


CODE = """
import os, signal, sys
from smollm3_mix.output import lane_writer, output_layout
from smollm3_mix.output.write_mix import write
lane_writer.GROUP_ROWS, output_layout.FOLDER_FILES = 12, 5
original = lane_writer._save
def save(job, lane, groups, shards, **options):
    original(job, lane, groups, shards, **options)
    if shards == 7:
        os.kill(os.getpid(), signal.SIGKILL)
lane_writer._save = save
write(sys.argv[1], sys.argv[2], max_shard_size=1)
"""


def test_write_resumes_when_killed_between_subfolders(mix, tmp_path):
    recipe, folder = mix
    command = [sys.executable, "-c", CODE, str(recipe.file), str(tmp_path / "resumed")]
    killed = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "resumed/.writing/data/00002").is_dir()
    write(recipe, tmp_path / "resumed", max_shard_size=1)
    assert tree(tmp_path / "resumed") == tree(folder)


def test_packed_documents_are_in_the_order_of_the_mix(mix, tmp_path):
    pytest.importorskip("tokenizers", reason="packs with a tokenizer of its own: pip install tokenizers")
    recipe, folder = mix
    options = {"tokenizer": save(tmp_path / "tokenizer.json"), "sequence_length": 64}
    for split in ("train", "validation"):
        live = list(open_packed(recipe, split=split, **options).mix.stream())
        stored = list(open_packed(folder, split=split, **options).mix.stream())
        assert [record["id"] for record in stored] == [record["id"] for record in live]
