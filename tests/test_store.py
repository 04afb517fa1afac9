"""Mixes written to URLs: the files of a folder, whatever is cut off, and one writer at a time."""

import json
import os
import socket
import subprocess
import sys

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from smollm3_mix.cli.main import main
from smollm3_mix.errors import MissingExtraError, OutputError
from smollm3_mix.output import lane_writer, output_layout
from smollm3_mix.output.write_mix import write
from smollm3_mix.storage import atomic_files
from smollm3_mix.storage.locations import open_store
from smollm3_mix.storage.url_store import LOCK_FILE, UrlStore

URL = "memory://bucket/mix"


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def stored(url=URL):
    fs, root = fsspec.core.url_to_fs(url)
    fs.invalidate_cache()
    return {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)} if fs.exists(root) else {}


@pytest.fixture
def path(recipe_file, monkeypatch):
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 20)
    dedup = {"exact": True, "near": True, "memory": "8MiB"}
    return recipe_file(
        lanes=2, sizes=(120, 60, 20), holdout={"fraction": 0.1}, dedup=dedup, sources={"c": {"max_passes": 2}}
    )


@pytest.fixture(autouse=True)
def empty():
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def put_off(monkeypatch, at):
    """The store breaks at its request number `at` to write, copy or remove, and at all that follow."""
    asked = []

    def broken(name):
        whole = getattr(MemoryFileSystem, name)

        def ask(self, *args, **more):
            asked.append((name, args[0]))
            if len(asked) >= at:
                raise OSError("the store is gone")
            return whole(self, *args, **more)

        return ask

    for name in ("pipe_file", "put_file", "cp_file", "rm_file", "rm"):
        monkeypatch.setattr(MemoryFileSystem, name, broken(name))
    return asked


def cut_off(monkeypatch, path, at):
    with monkeypatch.context() as patch:
        put_off(patch, at)
        with pytest.raises(OutputError, match="the store is gone"):
            write(path, URL, max_shard_size=1)


def test_a_store_holds_what_a_folder_would(path, tmp_path):
    all_stats = write(path, tmp_path / "one", max_shard_size=1, keep_dropped=tmp_path / "dropped").stats
    assert write(path, URL, max_shard_size=1, keep_dropped=tmp_path / "far").stats == all_stats
    assert stored() == content(tmp_path / "one")
    assert content(tmp_path / "far") == content(tmp_path / "dropped")
    before = dict(MemoryFileSystem.store)
    assert write(path, URL, max_shard_size=1, keep_dropped=tmp_path / "far").stats == all_stats
    assert before == MemoryFileSystem.store


def test_a_file_url_is_a_folder(path, tmp_path):
    write(path, tmp_path / "one", max_shard_size=1)
    write(path, f"file://{tmp_path}/two", max_shard_size=1)
    assert content(tmp_path / "two") == content(tmp_path / "one")


def test_cut_off_anywhere_it_is_no_mix_and_goes_on(path, tmp_path, monkeypatch):
    write(path, tmp_path / "one", max_shard_size=1)
    whole = content(tmp_path / "one")
    with monkeypatch.context() as patch:
        requests = put_off(patch, 10**9)
        write(path, URL, max_shard_size=1)
    assert stored() == whole
    made = sum("/data/" in str(at) and name == "put_file" for name, at in requests)
    for at in range(1, len(requests), len(requests) // 6):
        fsspec.filesystem("memory").rm("/bucket", recursive=True)
        cut_off(monkeypatch, path, at)
        cut = stored()
        assert (
            output_layout.CARD not in cut
            or {k: v for k, v in cut.items() if not k.startswith(atomic_files.WORK_FOLDER)} == whole
        )
        kept = counted(cut)
        with monkeypatch.context() as patch:
            again = put_off(patch, 10**9)
            write(path, URL, max_shard_size=1, take_over=True)
        assert stored() == whole
        sent = sum("/data/" in str(where) and name == "put_file" for name, where in again)
        assert sent <= made - len(kept)


def counted(there):
    """Parts that states count."""
    ours = (f"{atomic_files.WORK_FOLDER}/train", f"{atomic_files.WORK_FOLDER}/validation")
    states = [json.loads(data) for name, data in there.items() if name.startswith(ours) and name.endswith(".json")]
    names = [
        f"{atomic_files.WORK_FOLDER}/{name}" for state in states for name in state["sent"] if name.startswith("data/")
    ]
    return [name for name in names if name in there]


def test_a_store_that_lists_late_has_the_mix_all_the_same(path, tmp_path, monkeypatch):
    write(path, tmp_path / "one", max_shard_size=1)
    cut_off(monkeypatch, path, 20)
    monkeypatch.setattr(MemoryFileSystem, "ls", lambda *_, **__: [])
    monkeypatch.setattr(MemoryFileSystem, "find", lambda *_, **__: [])
    write(path, URL, max_shard_size=1, take_over=True)
    monkeypatch.undo()
    assert stored() == content(tmp_path / "one")


def test_a_part_that_is_lost_is_named(path, monkeypatch):
    cut_off(monkeypatch, path, 12)
    lost = counted(stored())[0]
    del MemoryFileSystem.store[f"/bucket/mix/{lost}"]
    with pytest.raises(OutputError) as error:
        write(path, URL, max_shard_size=1, take_over=True)
    assert str(error.value) == (
        f"{URL}/{lost} is gone, which a state counts. Put it back, or remove {URL}/.writing to begin anew."
    )


def test_two_writers_are_kept_apart(path, monkeypatch):
    there = UrlStore(URL)
    with there.claimed(take_over=False) as first:
        who = f"process {os.getpid()} of {socket.gethostname()}, since "
        with pytest.raises(OutputError) as error:
            write(path, URL)
        assert str(error.value).startswith(f"{URL} is being written by {who}")
        assert str(error.value).endswith(
            ". Wait for it; if it is gone, which nobody but you can know, give the same command with --take-over."
        )
        with there.claimed(take_over=True):
            with pytest.raises(OutputError) as error:
                first.send({"x": b"late"})
            assert str(error.value).startswith(f"{URL} is another writer's now: {who}")
            assert str(error.value).endswith(" has claimed it. What this one wrote is kept. Let only one write there.")
    assert stored() == {}


def test_a_claim_of_a_process_that_has_ended_is_no_claim(path):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    claim = {"id": "x", "host": socket.gethostname(), "process": int(ended.stdout), "since": "then"}
    fsspec.filesystem("memory").pipe_file(f"/bucket/mix/{LOCK_FILE}", json.dumps(claim).encode())
    write(path, URL)
    assert output_layout.CARD in stored()


def test_another_mix_is_refused(path, recipe_file):
    write(path, URL, max_samples=50)
    with pytest.raises(OutputError) as error:
        write(path, URL, max_samples=60)
    assert str(error.value) == (
        f"{URL} holds another mix: it was asked for with max_samples=50, not 60. "
        "Choose another --output-dir, or remove that one."
    )
    fsspec.filesystem("memory").pipe_file("/bucket/other/notes.txt", b"mine")
    with pytest.raises(OutputError) as error:
        write(path, "memory://bucket/other")
    assert str(error.value) == (
        "memory://bucket/other holds 'notes.txt', which is no part of a written mix. "
        "Choose an empty or new place with --output-dir."
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--processes", "2"], f"{URL} is the memory of this process alone. Leave --processes and --engine out"),
        (["--lanes", "0", "--part-of", "2"], f"the jobs of an array share no {URL}, so --part-of does not go with it"),
        (["--address", "a:1"], "--address a:1 is of a Ray cluster. Add --engine ray."),
    ],
)
def test_what_does_not_go_together_is_refused(path, capsys, flags, message):
    assert main(["write", str(path), "--output-dir", URL, *flags]) == 1
    assert message in capsys.readouterr().err
    assert stored() == {}


def test_a_mix_by_source_needs_a_folder(path, capsys):
    assert main(["write", str(path), "--by-source", URL]) == 1
    assert f"--by-source needs a folder, since what is stored is counted in its files; got {URL}." in (
        capsys.readouterr().err
    )


def test_urls_that_cannot_be_written(path):
    with pytest.raises(OutputError, match=r"^nowhere://x: cannot read README\.md: Protocol not known: nowhere\."):
        write(path, "nowhere://x")
    assert open_store("s3://bucket/mix/", None) == UrlStore("s3://bucket/mix")


def test_an_engine_that_is_not_installed_says_what_to_install(path, tmp_path, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("smollm3_mix.executors.ray")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["write", str(path), "--output-dir", str(tmp_path / "out"), "--engine", "ray"]) == 1
    assert (
        "MissingExtraError: --engine ray needs Ray. Install it: pip install 'smollm3_mix[ray]'"
        in capsys.readouterr().err
    )


def test_a_url_is_not_verified(capsys):
    assert main(["verify", URL]) == 1
    assert (
        f"OutputError: {URL} is a URL, and what is verified is read several times. Copy it to a folder, and give "
        in (capsys.readouterr().err)
    )


def test_a_store_without_its_package_says_what_to_install(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingExtraError, match=r"^gs://bucket/mix: .*gcsfs.*Install what fsspec needs for it"):
        write(path, "gs://bucket/mix")


@pytest.mark.filterwarnings("ignore")  # moto's and botocore's own
def test_s3_holds_what_a_folder_would_and_decides_who_writes(path, bucket, tmp_path, capsys):
    from datasets import load_dataset

    all_stats = write(path, tmp_path / "one", max_shard_size=1).stats
    assert write(path, bucket, max_shard_size=1).stats == all_stats
    assert stored(bucket) == content(tmp_path / "one")
    with UrlStore(bucket).claimed(take_over=False), pytest.raises(OutputError, match="is being written by process"):
        UrlStore(bucket).claimed(take_over=False).__enter__()
    with pytest.raises(
        OutputError, match=r"^cannot write none/mix/\.writing/writer\.json: .*\. Make the bucket, or name"
    ):
        write(path, "s3://none/mix")
    assert not fsspec.filesystem("s3").exists("none")
    assert main(["write", str(path), "--output-dir", bucket, "--max-shard-size", "1"]) == 0
    said = f'"parquet", data_files="{bucket}/data/**/train-*.parquet", split="train", streaming=True)'
    assert f"Load them: datasets.load_dataset({said}\n" in capsys.readouterr().out
    files = f"{bucket}/data/**/train-*.parquet"
    rows = load_dataset("parquet", data_files=files, split="train", streaming=True)
    assert sum(1 for _ in rows) == all_stats["train"].total.emitted


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub, to its client
def test_the_hub_holds_what_a_folder_would_privately(path, hub, tmp_path):
    url, asked = "hf://datasets/writer/mix/two", {"max_shard_size": 1, "token": "hf_writer"}
    all_stats = write(path, tmp_path / "one", max_shard_size=1).stats

    class Stop(Exception):
        pass

    def stop(progress):
        if progress.label == "train-00001":
            raise Stop

    with pytest.raises(Stop):
        write(path, url, on_progress=stop, **asked)
    repository = hub.repos["writer/mix"]
    assert repository.private
    before = counted({name.removeprefix("two/"): data for name, data in repository.tree().items()})
    assert before
    hub.sent.clear()
    held, said = (
        open_store(url, "hf_writer").claimed(take_over=False),
        f"{url} is being written by process {os.getpid()}",
    )
    with held, pytest.raises(OutputError, match=said):
        write(path, url, **asked)
    assert write(path, url, **asked).stats == all_stats
    there = {name.removeprefix("two/"): data for name, data in repository.tree().items() if name.startswith("two/")}
    assert there == content(tmp_path / "one")
    assert sum(name.startswith("data/") for name in there) == len(before) + len(hub.sent)  # none went twice
    assert write(path, url, **asked).stats == all_stats
    repository.private = False
    with pytest.raises(OutputError) as error:
        write(path, "hf://datasets/writer/mix/three", **asked)
    assert str(error.value) == (
        "hf://datasets/writer/mix/three is public, and only `smollm3-mix push` asks whether all texts may be. "
        "Write to a folder and push it, or to a private repository."
    )
    with pytest.raises(OutputError) as error:
        write(path, "hf://models/mix", **asked)
    assert str(error.value) == (
        "hf://models/mix: expected hf://datasets/<owner>/<name>[@<branch>][/<folder>] as --output-dir"
    )
