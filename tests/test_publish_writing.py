"""Mixes pushed part by part while they are written."""

import os
import subprocess
import sys

import pytest
from doors import ROOT
from huggingface_hub import HfApi
from kills import bulky, command, kill_push

from smollm3_mix.errors import OutputError
from smollm3_mix.hub import repository
from smollm3_mix.hub.hub_target import HubTarget
from smollm3_mix.hub.push_mix import push_to_hub
from smollm3_mix.output import lane_writer, uploads
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.read_recipe import load_recipe

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub, to its client
OPEN = {key: {"name": f"sources/{key}", "license": "CC0-1.0"} for key in "abc"}


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch):
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 25)


def test_the_repository_equals_that_of_a_push_and_the_disk_is_bounded(hub, api, recipe_file, tmp_path, monkeypatch):
    recipe = load_recipe(recipe_file(sources=OPEN))
    hub.slow = 100_000
    seen = []
    whole_parts = uploads.wait_for_room

    def counted(work, most, check):
        seen.append(len(list((work / "data").glob("*.parquet"))))
        whole_parts(work, most, check)

    monkeypatch.setattr(sys.modules["smollm3_mix.output.lane_pool"], "wait_for_room", counted)
    all_stats = write(recipe, tmp_path / "a", max_shard_size=1, push_to=HubTarget(recipe, "org/shipped", api=api)).stats
    assert list((tmp_path / "a/data").iterdir()) == []
    assert len(seen) > 3 * uploads.MAX_WAITING
    assert max(seen) <= uploads.MAX_WAITING + 1
    hub.slow = None
    assert write(recipe, tmp_path / "b", max_shard_size=1).stats == all_stats
    push_to_hub(tmp_path / "b", "org/pushed", api=api)
    shipped, pushed = hub.repos["org/shipped"].tree(), hub.repos["org/pushed"].tree()
    named = shipped.pop("README.md").replace(b"org/shipped", b"org/pushed").replace(b"# shipped", b"# pushed")
    assert named == pushed.pop("README.md")
    assert shipped == pushed
    before = len(hub.commits)
    assert (
        write(recipe, tmp_path / "a", max_shard_size=1, push_to=HubTarget(recipe, "org/shipped", api=api)).stats
        == all_stats
    )
    assert len(hub.commits) == before


def test_killed_writes_end_as_an_undisturbed_one(hub, api, tmp_path, monkeypatch, kills):
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 4)
    file = bulky(tmp_path)
    write(file, tmp_path / "b", max_shard_size=1)
    push_to_hub(tmp_path / "b", "org/whole", api=api)
    whole = hub.repos["org/whole"].tree()
    data = {name: body for name, body in whole.items() if name.endswith(".parquet")}
    asked = ["write", file, "--output-dir", tmp_path / "a", "--max-shard-size", "1", "--push-to", "org/torn"]
    kill_push(hub, lambda: command(hub, tmp_path / "home", *asked, rows=4), data, kills)
    torn = hub.repos["org/torn"].tree()
    assert torn.pop("README.md") == whole.pop("README.md").replace(b"org/whole", b"org/torn").replace(
        b"# whole", b"# torn"
    )
    assert torn == whole


def test_the_command_says_how_to_load_what_is_on_the_hub(hub, recipe_file, tmp_path):
    quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONPATH": str(ROOT)}
    there = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_writer", "HF_HOME": str(tmp_path / "home")}
    asked = ["write", str(recipe_file(sources=OPEN)), "--output-dir", str(tmp_path / "a"), "--push-to", "org/mix"]
    typed = [sys.executable, "-m", "smollm3_mix", *asked]
    wrote = subprocess.run(typed, env=os.environ | quiet | there, capture_output=True, text=True, check=True)
    *_, result, usage = wrote.stdout.splitlines()
    assert " of validation to org/mix in " in result
    assert usage == 'Load them: datasets.load_dataset("org/mix", "toy", split="train", streaming=True)'


@pytest.mark.parametrize("processes", [1, 2])
def test_a_hub_that_fails_ends_the_write_and_it_goes_on(hub, api, recipe_file, tmp_path, processes):
    recipe = load_recipe(recipe_file(sources=OPEN))
    asked = {"max_shard_size": 1, "processes": processes}
    outlet = HubTarget(recipe, "org/mix", api=api)
    problems = [500] * repository.TRIES
    outlet.begin = lambda *of: (HubTarget.begin(outlet, *of), hub.problems.extend(problems))
    with pytest.raises(OutputError, match="cannot write to org/mix"):
        write(recipe, tmp_path / "a", push_to=outlet, **asked)
    hub.problems.clear()
    write(recipe, tmp_path / "a", push_to=HubTarget(recipe, "org/mix", api=api), **asked)
    assert "README.md" in hub.repos["org/mix"].tree()


def test_parts_that_went_elsewhere_are_not_forgotten(hub, api, recipe_file, tmp_path):
    recipe = load_recipe(recipe_file(sources=OPEN))

    class Falls(HubTarget):
        def finish(self, *_):
            raise OutputError("gone")

    with pytest.raises(OutputError, match="gone"):
        write(recipe, tmp_path / "a", max_shard_size=1, push_to=Falls(recipe, "org/mix", api=api))
    for other in (None, HubTarget(recipe, "org/other", api=api)):
        with pytest.raises(OutputError) as refused:
            write(recipe, tmp_path / "a", max_shard_size=1, push_to=other)
        assert str(refused.value) == (
            f"parts of the mix in {tmp_path}/a went to org/mix@main/toy already. Give the same --push-to, "
            f"--config-name and --revision again to go on, or remove {tmp_path}/a/.writing."
        )
    write(recipe, tmp_path / "a", max_shard_size=1, push_to=HubTarget(recipe, "org/mix", api=api))
    assert "README.md" in hub.repos["org/mix"].tree()


def test_access_is_tested_before_a_source_is_read(hub, recipe_file, tmp_path):
    recipe = load_recipe(recipe_file(sources=OPEN))
    hub.create("org/mix")
    with pytest.raises(OutputError, match="cannot write to org/mix: "):
        HubTarget(recipe, "org/mix", api=HfApi(endpoint=hub.endpoint, token="hf_reader"))
