"""Mixes written to URLs: the files of a folder after any failure, and one writer at a time."""

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


def fail_from(monkeypatch, number):
    """Make the store fail from this request to write, copy or remove on. Return the list of requests."""
    requests = []

    def failing(name):
        original = getattr(MemoryFileSystem, name)

        def request(self, *args, **options):
            requests.append((name, args[0]))
            if len(requests) >= number:
                raise OSError("the store is gone")
            return original(self, *args, **options)

        return request

    for name in ("pipe_file", "put_file", "cp_file", "rm_file", "rm"):
        monkeypatch.setattr(MemoryFileSystem, name, failing(name))
    return requests


def write_until(monkeypatch, path, number):
    with monkeypatch.context() as patch:
        fail_from(patch, number)
        with pytest.raises(OutputError, match="the store is gone"):
            write(path, URL, max_shard_size=1)


def test_write_gives_the_files_of_a_folder_at_a_url(path, tmp_path):
    stats = write(path, tmp_path / "one", max_shard_size=1, keep_dropped=tmp_path / "dropped").stats
    assert write(path, URL, max_shard_size=1, keep_dropped=tmp_path / "url-dropped").stats == stats
    assert stored() == content(tmp_path / "one")
    assert content(tmp_path / "url-dropped") == content(tmp_path / "dropped")
    before = dict(MemoryFileSystem.store)
    assert write(path, URL, max_shard_size=1, keep_dropped=tmp_path / "url-dropped").stats == stats
    assert before == MemoryFileSystem.store


def test_write_accepts_a_file_url(path, tmp_path):
    write(path, tmp_path / "one", max_shard_size=1)
    write(path, f"file://{tmp_path}/two", max_shard_size=1)
    assert content(tmp_path / "two") == content(tmp_path / "one")


def test_write_to_a_url_resumes_after_any_failed_request(path, tmp_path, monkeypatch):
    write(path, tmp_path / "one", max_shard_size=1)
    expected = content(tmp_path / "one")
    with monkeypatch.context() as patch:
        requests = fail_from(patch, 10**9)
        write(path, URL, max_shard_size=1)
    assert stored() == expected
    shards = sum("/data/" in str(path_) and name == "put_file" for name, path_ in requests)
    for number in range(1, len(requests), len(requests) // 6):
        fsspec.filesystem("memory").rm("/bucket", recursive=True)
        write_until(monkeypatch, path, number)
        files = stored()
        assert (
            output_layout.CARD not in files
            or {k: v for k, v in files.items() if not k.startswith(atomic_files.WORK_FOLDER)} == expected
        )
        kept = finished_shards(files)
        with monkeypatch.context() as patch:
            resumed = fail_from(patch, 10**9)
            write(path, URL, max_shard_size=1, take_over=True)
        assert stored() == expected
        sent = sum("/data/" in str(path_) and name == "put_file" for name, path_ in resumed)
        assert sent <= shards - len(kept)


def finished_shards(files):
    """Return the names of the shards that states count."""
    lanes = (f"{atomic_files.WORK_FOLDER}/train", f"{atomic_files.WORK_FOLDER}/validation")
    states = [json.loads(data) for name, data in files.items() if name.startswith(lanes) and name.endswith(".json")]
    names = [
        f"{atomic_files.WORK_FOLDER}/{name}" for state in states for name in state["sent"] if name.startswith("data/")
    ]
    return [name for name in names if name in files]


def test_write_to_a_url_needs_no_current_listing(path, tmp_path, monkeypatch):
    write(path, tmp_path / "one", max_shard_size=1)
    write_until(monkeypatch, path, 20)
    monkeypatch.setattr(MemoryFileSystem, "ls", lambda *_, **__: [])
    monkeypatch.setattr(MemoryFileSystem, "find", lambda *_, **__: [])
    write(path, URL, max_shard_size=1, take_over=True)
    monkeypatch.undo()
    assert stored() == content(tmp_path / "one")


def test_write_names_a_lost_shard_of_a_url(path, monkeypatch):
    write_until(monkeypatch, path, 12)
    lost = finished_shards(stored())[0]
    del MemoryFileSystem.store[f"/bucket/mix/{lost}"]
    with pytest.raises(OutputError) as error:
        write(path, URL, max_shard_size=1, take_over=True)
    assert str(error.value) == (
        f"{URL}/{lost} is missing, but a state counts it. Restore it, or delete {URL}/.writing to start again."
    )


def test_url_is_locked_for_one_writer(path, monkeypatch):
    store = UrlStore(URL)
    with store.locked(take_over=False) as first:
        owner = f"process {os.getpid()} on {socket.gethostname()} since "
        with pytest.raises(OutputError) as error:
            write(path, URL)
        assert str(error.value).startswith(f"{URL} is locked by {owner}")
        assert str(error.value).endswith(
            ". Wait for it to finish. If that process is no longer running, repeat the command with --take-over."
        )
        with store.locked(take_over=True):
            with pytest.raises(OutputError) as error:
                first.send({"x": b"late"})
            assert str(error.value).startswith(f"{URL} was taken over by another writer: {owner}")
            assert str(error.value).endswith(". The files of this writer are kept. Run only one writer per URL.")
    assert stored() == {}


def test_lock_of_an_ended_process_is_replaced(path):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    lock = {"id": "x", "host": socket.gethostname(), "process": int(ended.stdout), "since": "then"}
    fsspec.filesystem("memory").pipe_file(f"/bucket/mix/{LOCK_FILE}", json.dumps(lock).encode())
    write(path, URL)
    assert output_layout.CARD in stored()


def test_write_refuses_a_url_with_other_files_or_another_mix(path, recipe_file):
    write(path, URL, max_samples=50)
    with pytest.raises(OutputError) as error:
        write(path, URL, max_samples=60)
    assert str(error.value) == (
        f"{URL} already contains a different mix (max_samples: 50 → 60). "
        "Choose another --output-dir or delete this one."
    )
    fsspec.filesystem("memory").pipe_file("/bucket/other/notes.txt", b"mine")
    with pytest.raises(OutputError) as error:
        write(path, "memory://bucket/other")
    assert str(error.value) == (
        "memory://bucket/other contains 'notes.txt', which is not part of a written mix. "
        "Choose a new or empty URL with --output-dir."
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num-proc", "2"], f"{URL} is visible to this process only. Leave --num-proc and --executor out"),
        (["--only-lanes", "0"], f"--only-lanes needs a folder that all writers see, got {URL}."),
        (["--address", "a:1"], "--address requires --executor ray."),
    ],
)
def test_write_refuses_incompatible_options(path, capsys, flags, message):
    assert main(["write", str(path), "--output-dir", URL, *flags]) == 1
    assert message in capsys.readouterr().err
    assert stored() == {}


def test_write_by_source_refuses_a_url(path, capsys):
    assert main(["write", str(path), "--format", "by-source", "--output-dir", URL]) == 1
    assert f"--format by-source needs a local folder, got {URL}." in (capsys.readouterr().err)


def test_write_refuses_an_unknown_protocol(path):
    with pytest.raises(OutputError, match=r"^nowhere://x: cannot read README\.md: Protocol not known: nowhere\."):
        write(path, "nowhere://x")
    assert open_store("s3://bucket/mix/", None) == UrlStore("s3://bucket/mix")


def test_executor_names_the_extra_when_ray_is_missing(path, tmp_path, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("smollm3_mix.executors.ray")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["write", str(path), "--output-dir", str(tmp_path / "out"), "--executor", "ray"]) == 1
    assert (
        "error: RayExecutor (--executor ray) needs Ray. Install it: pip install 'smollm3_mix[ray]'"
        in capsys.readouterr().err
    )


def test_verify_refuses_a_url(capsys):
    assert main(["verify", URL]) == 1
    assert (
        f"error: {URL} is a URL, but verify reads every file several times. Copy the mix to a folder first"
        in capsys.readouterr().err
    )


def test_write_names_the_package_when_a_protocol_needs_one(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingExtraError, match=r"^gs://bucket/mix: .*gcsfs.*Install the package that fsspec needs"):
        write(path, "gs://bucket/mix")


@pytest.mark.filterwarnings("ignore")  # warnings of moto and botocore
def test_write_gives_the_files_of_a_folder_on_s3(path, bucket, tmp_path, capsys):
    from datasets import load_dataset

    stats = write(path, tmp_path / "one", max_shard_size=1).stats
    assert write(path, bucket, max_shard_size=1).stats == stats
    assert stored(bucket) == content(tmp_path / "one")
    with UrlStore(bucket).locked(take_over=False), pytest.raises(OutputError, match="is locked by process"):
        UrlStore(bucket).locked(take_over=False).__enter__()
    with pytest.raises(
        OutputError, match=r"^cannot write none/mix/\.writing/writer\.json: .*\. Create the bucket, or choose"
    ):
        write(path, "s3://none/mix")
    assert not fsspec.filesystem("s3").exists("none")
    assert main(["write", str(path), "--output-dir", bucket, "--max-shard-size", "1"]) == 0
    arguments = f'"parquet", data_files="{bucket}/data/**/train-*.parquet", split="train", streaming=True)'
    assert f"Load it: datasets.load_dataset({arguments}\n" in capsys.readouterr().out
    files = f"{bucket}/data/**/train-*.parquet"
    rows = load_dataset("parquet", data_files=files, split="train", streaming=True)
    assert sum(1 for _ in rows) == stats["train"].total.emitted


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # raised inside huggingface_hub
def test_write_gives_the_files_of_a_folder_in_a_private_repository(path, hub, tmp_path):
    url, options = "hf://datasets/writer/mix/two", {"max_shard_size": 1, "token": "hf_writer"}
    stats = write(path, tmp_path / "one", max_shard_size=1).stats

    class Stop(Exception):
        pass

    def stop(progress):
        if progress.label == "train-00001":
            raise Stop

    with pytest.raises(Stop):
        write(path, url, on_progress=stop, **options)
    repository = hub.repos["writer/mix"]
    assert repository.private
    before = finished_shards({name.removeprefix("two/"): data for name, data in repository.tree().items()})
    assert before
    hub.sent.clear()
    lock = open_store(url, "hf_writer").locked(take_over=False)
    with lock, pytest.raises(OutputError, match=f"{url} is locked by process {os.getpid()}"):
        write(path, url, **options)
    assert write(path, url, **options).stats == stats
    files = {name.removeprefix("two/"): data for name, data in repository.tree().items() if name.startswith("two/")}
    assert files == content(tmp_path / "one")
    assert sum(name.startswith("data/") for name in files) == len(before) + len(hub.sent)  # none was sent twice
    assert write(path, url, **options).stats == stats
    repository.private = False
    with pytest.raises(OutputError) as error:
        write(path, "hf://datasets/writer/mix/three", **options)
    assert str(error.value) == (
        "hf://datasets/writer/mix/three is public, but only `smollm3-mix push` checks whether the texts may be public. "
        "Write to a private repository, or write to a folder and push it."
    )
    with pytest.raises(OutputError) as error:
        write(path, "hf://models/mix", **options)
    assert str(error.value) == (
        "--output-dir must be hf://datasets/<owner>/<name>[@<branch>][/<folder>], got hf://models/mix."
    )
