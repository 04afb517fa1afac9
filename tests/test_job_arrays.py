"""Lanes written by separate calls and committed by `finish`: the files of a single call."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import parquet
from hub import hub

from smollm3_mix.cli.main import main
from smollm3_mix.errors import OutputError
from smollm3_mix.output import lane_writer, output_layout
from smollm3_mix.output.finish import finish
from smollm3_mix.output.write_mix import write
from smollm3_mix.storage import atomic_files, folder_lock


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def path(recipe_file):
    return recipe_file(lanes=4, holdout={"fraction": 0.1, "tokens": 500})


def test_finish_gives_the_files_of_a_single_write(path, tmp_path):
    write(path, tmp_path / "one", max_shard_size=4000)
    for lane in (2, 0, 3, 1):
        write(path, tmp_path / "some", max_shard_size=4000, only_lanes=[lane])
    finish(tmp_path / "some")
    assert content(tmp_path / "some") == content(tmp_path / "one")


def test_finish_names_missing_lanes(path, tmp_path):
    write(path, tmp_path / "some", only_lanes=[1, 2])
    with pytest.raises(OutputError, match=r"lacks 2 of 4 lanes: 0, 3\. .*--lanes 4 --only-lanes 0"):
        finish(tmp_path / "some")


def test_finish_names_an_unfinished_lane(path, tmp_path, monkeypatch):
    monkeypatch.setattr(lane_writer, "GROUP_BYTES", 1_000)
    write(path, tmp_path / "some", max_shard_size=1_000, only_lanes=[0, 1, 3])
    stop = iter([None] * 3)
    with pytest.raises(StopIteration):
        write(path, tmp_path / "some", max_shard_size=1_000, only_lanes=[2], on_progress=lambda _: next(stop))
    (state,) = (tmp_path / "some").rglob("train-00002.json")
    assert json.loads(state.read_bytes())["shards"] > 0
    with pytest.raises(OutputError, match=r"lacks 1 of 4 lanes: 2\. .*--lanes 4 --only-lanes 2"):
        finish(tmp_path / "some")


@pytest.mark.parametrize("format_name", ["parquet", "by-source"])
def test_finish_reads_only_the_folder(recipe_file, tmp_path, format_name):
    missing = {"c": {"name": str(tmp_path / "missing")}}
    path = recipe_file(lanes=2, sources=missing, holdout={"fraction": 0.1, "tokens": 500}, exclude="list.txt")
    (tmp_path / "list.txt").write_text("own-1\nown-2\n")
    arguments = {"max_shard_size": 4000, "format": format_name, "skip_unreadable": True}
    write(path, tmp_path / "one", **arguments)
    for lane in (1, 0):
        write(path, tmp_path / "some", only_lanes=[lane], **arguments)
    shutil.rmtree(tmp_path / "sources")
    (tmp_path / "list.txt").unlink()
    finish(tmp_path / "some")
    assert "c" in json.loads((tmp_path / "some" / output_layout.STATS).read_bytes())["skipped"]
    assert content(tmp_path / "some") == content(tmp_path / "one")


def test_finish_needs_no_hub(tmp_path):
    parquet(tmp_path / "web", [f"number {n} of many" for n in range(100)])
    recipe = tmp_path / "hub.yaml"
    recipe.write_text("lanes: 2\ndatasets:\n  - {name: org/web, weight: 1}\non_exhausted: stop\n")
    some = tmp_path / "some"
    with hub("org/web", tmp_path / "web") as endpoint:
        env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache")}
        command = [sys.executable, "-m", "smollm3_mix", "write", recipe, "--output-dir", some, "--lanes", "2"]
        subprocess.run([*command, "--only-lanes", "0-1"], check=True, env=env)
    env |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}  # its server has stopped
    subprocess.run([sys.executable, "-m", "smollm3_mix", "finish", some], check=True, env=env)
    assert len(list(some.glob("data/*.parquet"))) == 2


def test_finish_refuses_lanes_of_another_version(path, tmp_path):
    write(path, tmp_path / "some", only_lanes=[0, 1, 2, 3])
    request_file = tmp_path / "some" / atomic_files.WORK_FOLDER / output_layout.REQUEST
    saved = json.loads(request_file.read_bytes())
    request_file.write_text(json.dumps({**saved, "request": {**saved["request"], "version": "0.0.1"}}))
    with pytest.raises(OutputError, match=r"was written by smollm3_mix 0\.0\.1, but this is .*\. Finish it with the"):
        finish(tmp_path / "some")


def test_write_refuses_a_lane_that_another_writer_has_locked(path, tmp_path):
    out = tmp_path / "some"
    write(path, out, only_lanes=[1])
    with folder_lock.folder_lock(out, shared=True), folder_lock.folder_lock(out, name="locks/train-00002"):
        with pytest.raises(OutputError, match=r"train-00002 of .* is locked by another process"):
            write(path, out, only_lanes=[2])
        write(path, out, only_lanes=[0, 3])
        with pytest.raises(OutputError, match="is locked by another process"):
            write(path, out)


def test_write_refuses_another_recipe_and_keeps_the_lanes(path, tmp_path):
    write(path, tmp_path / "some", only_lanes=[1])
    before = content(tmp_path / "some")
    with pytest.raises(OutputError, match="unfinished run of a different mix"):
        write(path, tmp_path / "some", seed=9, only_lanes=[2])
    assert {k: v for k, v in content(tmp_path / "some").items() if k in before and "lock" not in k} == {
        k: v for k, v in before.items() if "lock" not in k
    }


def write_command(path, out, *more):
    return [str(each) for each in ("write", path, "--output-dir", out, "--max-shard-size", 4000, *more)]


def test_commands_with_only_lanes_and_finish_give_the_files_of_one_command(path, tmp_path, capsys):
    dropped, some = tmp_path / "dropped", tmp_path / "some"
    assert main([*write_command(path, tmp_path / "one"), "--keep-dropped", str(tmp_path / "one-dropped")]) == 0
    for lanes in ("2-3", "0", "1"):
        assert (
            main([*write_command(path, some, "--lanes", 4, "--only-lanes", lanes), "--keep-dropped", str(dropped)]) == 0
        )
    assert "After all lanes are written: smollm3-mix finish" in capsys.readouterr().out
    assert main(["finish", str(some)]) != 0
    assert "was written with --keep-dropped. Name the same folder: finish" in capsys.readouterr().err
    for _ in range(2):  # a repeated call changes nothing
        assert main(["finish", str(some), "--keep-dropped", str(dropped)]) == 0
        assert content(some) == content(tmp_path / "one")
        assert content(dropped) == content(tmp_path / "one-dropped")


@pytest.mark.parametrize(
    ("lanes", "message"),
    [
        ("3-4", "--only-lanes must be within 0-3 (the mix has 4 lanes), got [3, 4]"),
        ("3-1", "expected lanes such as 3 or 0-15, got '3-1'"),
        ("-1", "expected lanes such as 3 or 0-15, got '-1'"),
        ("0,1", "expected lanes such as 3 or 0-15, got '0,1'"),
    ],
)
def test_write_refuses_invalid_lanes(path, tmp_path, capsys, lanes, message):
    try:
        code = main(write_command(path, tmp_path / "some", "--lanes", 4, "--only-lanes", lanes))
    except SystemExit as error:  # of argparse
        code = error.code
    assert code != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "some").exists()


def test_write_of_some_lanes_resumes_when_killed(path, tmp_path):
    write(path, tmp_path / "one", max_shard_size=4000)
    out = tmp_path / "some"
    arguments = write_command(path, out, "--lanes", 4, "--only-lanes", "0-2")
    process = subprocess.Popen([sys.executable, "-m", "smollm3_mix", *arguments], stderr=subprocess.DEVNULL)
    while process.poll() is None and not (out / atomic_files.WORK_FOLDER / "train-00000.json").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.wait()
    write(path, out, max_shard_size=4000, only_lanes=[3])
    with pytest.raises(OutputError, match=r"lacks \d of 4 lanes"):
        finish(out)
    assert main(arguments) == 0
    finish(out)
    assert content(out) == content(tmp_path / "one")
