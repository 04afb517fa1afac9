"""Mixes that are uploaded shard by shard while they are written."""

import os
import shutil
import subprocess
import sys

import pytest
from doors import ROOT
from kills import bulky, command, kill_push

from smollm3_mix.errors import HubError, OutputError
from smollm3_mix.hub import repository
from smollm3_mix.hub.hub_target import HubTarget
from smollm3_mix.hub.push_mix import push_to_hub
from smollm3_mix.output import lane_pool, lane_writer, uploads
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.read_recipe import load_recipe

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # raised inside huggingface_hub
OPEN = {key: {"name": f"sources/{key}", "license": "CC0-1.0"} for key in "abc"}


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch):
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 25)


def test_push_to_gives_the_files_of_a_push_and_limits_pending_shards(hub, recipe_file, tmp_path, monkeypatch):
    recipe = load_recipe(recipe_file(sources=OPEN))
    hub.slow = 100_000
    pending = []
    original = uploads.wait_for_uploads

    def wait_for_uploads(work, max_pending, check):
        pending.append(len(list((work / "data").glob("*.parquet"))))
        original(work, max_pending, check)

    monkeypatch.setattr(lane_pool, "wait_for_uploads", wait_for_uploads)
    stats = write(recipe, tmp_path / "a", max_shard_size=1, push_to=HubTarget("org/written", token="hf_writer")).stats
    assert list((tmp_path / "a/data").iterdir()) == []
    assert len(pending) > 3 * uploads.MAX_PENDING
    assert max(pending) <= uploads.MAX_PENDING + 1
    hub.slow = None
    assert write(recipe, tmp_path / "b", max_shard_size=1).stats == stats
    push_to_hub(tmp_path / "b", "org/pushed", token="hf_writer")
    written, pushed = hub.repos["org/written"].tree(), hub.repos["org/pushed"].tree()
    card = written.pop("README.md").replace(b"org/written", b"org/pushed").replace(b"# written", b"# pushed")
    assert card == pushed.pop("README.md")
    assert written == pushed
    before = len(hub.commits)
    assert (
        write(recipe, tmp_path / "a", max_shard_size=1, push_to=HubTarget("org/written", token="hf_writer")).stats
        == stats
    )
    assert len(hub.commits) == before


def test_push_to_resumes_when_the_write_is_killed(hub, tmp_path, monkeypatch, kills):
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 4)
    file = bulky(tmp_path)
    write(file, tmp_path / "b", max_shard_size=1)
    push_to_hub(tmp_path / "b", "org/complete", token="hf_writer")
    complete = hub.repos["org/complete"].tree()
    data = {name: body for name, body in complete.items() if name.endswith(".parquet")}
    arguments = ["write", file, "--output-dir", tmp_path / "a", "--max-shard-size", "1", "--push-to", "org/killed"]
    kill_push(hub, lambda: command(hub, tmp_path / "home", *arguments, rows=4), data, kills)
    killed = hub.repos["org/killed"].tree()
    assert killed.pop("README.md") == complete.pop("README.md").replace(b"org/complete", b"org/killed").replace(
        b"# complete", b"# killed"
    )
    assert killed == complete


def test_write_command_prints_how_to_load_from_the_hub(hub, recipe_file, tmp_path):
    quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONPATH": str(ROOT)}
    access = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_writer", "HF_HOME": str(tmp_path / "home")}
    arguments = ["write", str(recipe_file(sources=OPEN)), "--output-dir", str(tmp_path / "a"), "--push-to", "org/mix"]
    command = [sys.executable, "-m", "smollm3_mix", *arguments]
    finished = subprocess.run(command, env=os.environ | quiet | access, capture_output=True, text=True, check=True)
    *_, result, usage = finished.stdout.splitlines()
    assert " validation records to org/mix in " in result
    assert usage == 'Load it: datasets.load_dataset("org/mix", "toy", split="train", streaming=True)'


@pytest.mark.parametrize("num_proc", [1, 2])
def test_write_resumes_after_the_hub_failed(hub, recipe_file, tmp_path, num_proc):
    recipe = load_recipe(recipe_file(sources=OPEN))
    options = {"max_shard_size": 1, "num_proc": num_proc}

    class FailingTarget(HubTarget):
        def begin(self, *arguments):
            super().begin(*arguments)
            hub.problems.extend([500] * repository.ATTEMPTS)

    with pytest.raises(HubError, match="cannot write to org/mix"):
        write(recipe, tmp_path / "a", push_to=FailingTarget("org/mix", token="hf_writer"), **options)
    hub.problems.clear()
    write(recipe, tmp_path / "a", push_to=HubTarget("org/mix", token="hf_writer"), **options)
    assert "README.md" in hub.repos["org/mix"].tree()


def test_write_refuses_another_upload_target_when_it_resumes(hub, api, recipe_file, tmp_path):
    recipe = load_recipe(recipe_file(sources=OPEN))

    class FailingTarget(HubTarget):
        def finish(self, *_):
            raise OutputError("gone")

    with pytest.raises(OutputError, match="gone"):
        write(recipe, tmp_path / "a", max_shard_size=1, push_to=FailingTarget("org/mix", token="hf_writer"))
    for other in (None, HubTarget("org/other", token="hf_writer")):
        with pytest.raises(OutputError) as error:
            write(recipe, tmp_path / "a", max_shard_size=1, push_to=other)
        assert str(error.value) == (
            f"Shards of the mix in {tmp_path}/a were already uploaded to org/mix@main/toy. Repeat the command with the "
            f"same --push-to, --config-name and --revision to resume, or delete {tmp_path}/a/.writing."
        )
    write(recipe, tmp_path / "a", max_shard_size=1, push_to=HubTarget("org/mix", token="hf_writer"))
    assert "README.md" in hub.repos["org/mix"].tree()


def test_write_checks_access_before_it_reads_a_source(hub, recipe_file, tmp_path):
    hub.create("org/mix")
    recipe = recipe_file(sources=OPEN)
    shutil.rmtree(tmp_path / "sources")
    with pytest.raises(HubError, match="cannot write to org/mix: "):
        write(recipe, tmp_path / "a", push_to=HubTarget("org/mix", token="hf_reader"))
