"""Some lanes here, some there, and a commit: the files of one writer."""

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


def test_pieces_and_finish_give_the_files_of_one_writer(path, tmp_path):
    write(path, tmp_path / "one", max_shard_size=4000)
    for lane in (2, 0, 3, 1):
        write(path, tmp_path / "some", max_shard_size=4000, only=[lane])
    finish(tmp_path / "some")
    assert content(tmp_path / "some") == content(tmp_path / "one")


def test_finish_names_the_lanes_that_lack(path, tmp_path):
    write(path, tmp_path / "some", only=[1, 2])
    with pytest.raises(OutputError, match=r"lacks 2 of 4 lanes: 0, 3\. .*--lanes 0 --part-of 4"):
        finish(tmp_path / "some")


def test_finish_names_a_lane_that_was_not_written_to_its_end(path, tmp_path, monkeypatch):
    monkeypatch.setattr(lane_writer, "GROUP_BYTES", 1_000)
    write(path, tmp_path / "some", max_shard_size=1_000, only=[0, 1, 3])
    stop = iter([None] * 3)
    with pytest.raises(StopIteration):
        write(path, tmp_path / "some", max_shard_size=1_000, only=[2], on_progress=lambda _: next(stop))
    (state,) = (tmp_path / "some").rglob("train-00002.json")
    assert json.loads(state.read_bytes())["parts"] > 0
    with pytest.raises(OutputError, match=r"lacks 1 of 4 lanes: 2\. .*--lanes 2 --part-of 4"):
        finish(tmp_path / "some")


@pytest.mark.parametrize("form", ["parquet", "by-source"])
def test_finish_opens_nothing_but_the_folder(recipe_file, tmp_path, form):
    gone = {"c": {"name": str(tmp_path / "gone")}}
    path = recipe_file(lanes=2, sources=gone, holdout={"fraction": 0.1, "tokens": 500}, exclude="list.txt")
    (tmp_path / "list.txt").write_text("own-1\nown-2\n")
    asked = {"max_shard_size": 4000, "format": form, "skip_unreadable": True}
    write(path, tmp_path / "one", **asked)
    for lane in (1, 0):
        write(path, tmp_path / "some", only=[lane], **asked)
    shutil.rmtree(tmp_path / "sources")
    (tmp_path / "list.txt").unlink()
    finish(tmp_path / "some")
    assert "c" in json.loads((tmp_path / "some" / output_layout.STATS).read_bytes())["skipped"]
    assert content(tmp_path / "some") == content(tmp_path / "one")


def test_a_mix_of_the_hub_is_finished_where_there_is_none(tmp_path):
    parquet(tmp_path / "web", [f"number {n} of many" for n in range(100)])
    recipe = tmp_path / "hub.yaml"
    recipe.write_text("lanes: 2\ndatasets:\n  - {name: org/web, weight: 1}\non_exhausted: stop\n")
    some = tmp_path / "some"
    with hub("org/web", tmp_path / "web") as endpoint:
        env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache")}
        words = [sys.executable, "-m", "smollm3_mix", "write", recipe, "--output-dir", some, "--part-of", "2"]
        subprocess.run([*words, "--lanes", "0-1"], check=True, env=env)
    env |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}  # its address answers no more
    subprocess.run([sys.executable, "-m", "smollm3_mix", "finish", some], check=True, env=env)
    assert len(list(some.glob("data/*.parquet"))) == 2


def test_what_another_version_began_is_not_finished(path, tmp_path):
    write(path, tmp_path / "some", only=[0, 1, 2, 3])
    note = tmp_path / "some" / atomic_files.WORK_FOLDER / output_layout.REQUEST
    saved = json.loads(note.read_bytes())
    note.write_text(json.dumps({**saved, "request": {**saved["request"], "version": "0.0.1"}}))
    with pytest.raises(OutputError, match=r"was written by smollm3_mix 0\.0\.1, and this is .*\. Finish it with the"):
        finish(tmp_path / "some")


def test_a_lane_has_one_writer_and_no_commit_beside_it(path, tmp_path):
    out = tmp_path / "some"
    write(path, out, only=[1])
    with folder_lock.folder_lock(out, shared=True), folder_lock.folder_lock(out, name="locks/train-00002"):
        with pytest.raises(OutputError, match=r"train-00002 of .* is being written by another process"):
            write(path, out, only=[2])
        write(path, out, only=[0, 3])
        with pytest.raises(OutputError, match="is being written by another process"):
            write(path, out)


def test_another_recipe_is_refused_and_nothing_is_lost(path, tmp_path):
    write(path, tmp_path / "some", only=[1])
    before = content(tmp_path / "some")
    with pytest.raises(OutputError, match="unfinished write of another mix"):
        write(path, tmp_path / "some", seed=9, only=[2])
    assert {k: v for k, v in content(tmp_path / "some").items() if k in before and "lock" not in k} == {
        k: v for k, v in before.items() if "lock" not in k
    }


def command(path, out, *more):
    return [str(each) for each in ("write", path, "--output-dir", out, "--max-shard-size", 4000, *more)]


def test_commands_of_an_array_and_finish_give_the_files_of_one_command(path, tmp_path, capsys):
    dropped, some = tmp_path / "dropped", tmp_path / "some"
    assert main([*command(path, tmp_path / "one"), "--keep-dropped", str(tmp_path / "one-dropped")]) == 0
    for lanes in ("2-3", "0", "1"):
        assert main([*command(path, some, "--part-of", 4, "--lanes", lanes), "--keep-dropped", str(dropped)]) == 0
    assert "When all lanes are written: smollm3-mix finish" in capsys.readouterr().out
    assert main(["finish", str(some)]) != 0
    assert "written with --keep-dropped. Name that folder again" in capsys.readouterr().err
    for _ in range(2):  # once more changes nothing
        assert main(["finish", str(some), "--keep-dropped", str(dropped)]) == 0
        assert content(some) == content(tmp_path / "one")
        assert content(dropped) == content(tmp_path / "one-dropped")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lanes", "0-3"], "--lanes 0-3 names lanes; say of how many: --part-of 64"),
        (["--part-of", "4"], "--part-of 4 needs the lanes to write: --lanes 0-3"),
        (["--part-of", "4", "--lanes", "3-1"], "--lanes 3-1 holds no lane; the first comes first: --lanes 1-3"),
        (["--part-of", "4", "--lanes", "3-4"], "--lanes must lie in 0-3 with --part-of 4, got [3, 4]"),
    ],
)
def test_lanes_that_make_no_sense_are_refused(path, tmp_path, capsys, flags, message):
    assert main(command(path, tmp_path / "some", *flags)) != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "some").exists()


def test_a_piece_killed_and_run_again_is_as_if_nothing_had_been(path, tmp_path):
    write(path, tmp_path / "one", max_shard_size=4000)
    out = tmp_path / "some"
    piece = command(path, out, "--part-of", 4, "--lanes", "0-2")
    process = subprocess.Popen([sys.executable, "-m", "smollm3_mix", *piece], stderr=subprocess.DEVNULL)
    while process.poll() is None and not (out / atomic_files.WORK_FOLDER / "train-00000.json").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.wait()
    write(path, out, max_shard_size=4000, only=[3])
    with pytest.raises(OutputError, match=r"lacks \d of 4 lanes"):
        finish(out)
    assert main(piece) == 0
    finish(out)
    assert content(out) == content(tmp_path / "one")
