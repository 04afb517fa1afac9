"""Mixes and indexes of a Ray cluster with several nodes: the files of a single process, also if nodes are killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial

import fsspec
import pytest
import yaml
from conftest import WORDS, parquet
from doors import ROOT

from smollm3_mix.errors import OutputError
from smollm3_mix.output import output_layout
from smollm3_mix.storage import atomic_files
from smollm3_mix.storage.url_store import UrlStore

pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of Ray

LANES = 4
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
STORE = 80_000_000
"""Bytes of the object store of a node, near the minimum of Ray."""


@pytest.fixture(autouse=True)
def _off_the_network():
    """Replace the guard against network access, because the processes of Ray use the address of this machine."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a recipe whose lanes have several shards, and with the mix of a single process."""
    folder = tmp_path_factory.mktemp("ray")
    draw = random.Random(5)
    datasets = []
    for key, count, weight in (("a", 110_000, 0.6), ("b", 50_000, 0.3), ("c", 8_000, 0.1)):
        texts = [f"{key} {n}: " + " ".join(draw.choices(WORDS, k=9)) for n in range(count)]
        texts[count // 2 :: 1000] = texts[: len(texts[count // 2 :: 1000])]
        parquet(folder / key, texts, files=4, group=2000)
        datasets.append({"name": key, "id": key, "weight": weight, "max_passes": 3 if key == "c" else 1})
    top = {"description": "Toys.", "lanes": LANES, "holdout": {"fraction": 0.01}, "on_exhausted": "stop"}
    content = {**top, "dedup": {"exact": True, "near": True, "memory": "64MiB"}, "datasets": datasets}
    (folder / "mine.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    run(folder, "write", "mine.yaml", "--output-dir", "one", *SHARDS)
    return folder


@pytest.fixture(scope="module")
def cluster():
    """Return a cluster whose head runs no tasks. `add_node` adds nodes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        yield cluster
        cluster.shutdown()


SHARDS = ("--max-shard-size", "1")


def add_node(cluster, **env):
    return cluster.add_node(num_cpus=1, object_store_memory=STORE, env_vars={**os.environ, **env})


def start(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "smollm3_mix", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **QUIET, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder, *arguments, code=0):
    """Run a command to its end, check its exit code, and return its output."""
    process = start(folder, *arguments)
    output, errors = process.communicate()
    assert process.returncode == code, errors
    return output + errors


def ray_flags(cluster):
    return ("--executor", "ray", "--address", cluster.address)


def content(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def busy(nodes):
    """Return the processes of each node that runs a job, by its position in the list of nodes."""
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[tuple[int, str]]] = {}
    for pid, parent, title in (line.split(maxsplit=2) for line in table.splitlines()):
        children.setdefault(int(parent), []).append((int(pid), title))
    found = {}
    for position, node in enumerate(nodes):
        own = [(each.process.pid, "") for processes in node.all_processes.values() for each in processes]
        for pid, _ in own:
            own += children.get(pid, [])
        if any(title.startswith("ray::run_job") for _, title in own):
            found[position] = [pid for pid, _ in own]
    return found


def kill_busy(nodes):
    """Kill all processes of a node that runs a job, as in a power failure."""
    position, processes = next(iter(busy(nodes).items()))
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    del nodes[position]


def finished_shards(work, seen=()):
    """Return the inodes of shards that states count, by name, for unfinished lanes and without those in `seen`."""
    found = {}
    for state in work.glob("train-?????.json"):
        saved = json.loads(state.read_bytes())
        names = [f"{state.stem}-{shard:05d}.parquet" for shard in range(saved["shards"])]
        if not saved["done"]:
            found |= {name: (work / output_layout.DATA / name).stat().st_ino for name in names if name not in seen}
    return found


def wait_for(condition, process):
    while not (found := condition()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    return found


def test_files_do_not_depend_on_killed_nodes_or_their_number(folder, cluster):
    expected = content(folder / "one")
    assert sum(name.startswith("data/train") for name in expected) >= 2 * LANES
    nodes = [add_node(cluster)]
    run(folder, "write", "mine.yaml", "--output-dir", "nodes1", *SHARDS, *ray_flags(cluster))
    assert content(folder / "nodes1") == expected
    nodes.append(add_node(cluster))
    process = start(folder, "write", "mine.yaml", "--output-dir", "nodes2", *SHARDS, *ray_flags(cluster))
    work, seen = folder / "nodes2" / atomic_files.WORK_FOLDER, {}
    wait_for((work / output_layout.REQUEST).exists, process)
    second = run(folder, "write", "mine.yaml", "--output-dir", "nodes2", *SHARDS, code=1)
    assert "nodes2 is locked by another process" in second
    for _ in range(2):
        seen |= wait_for(partial(finished_shards, work, seen), process)
        kill_busy(nodes)
    nodes += [add_node(cluster), add_node(cluster)]
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert errors.count("was lost") >= 2
    assert content(folder / "nodes2") == expected
    assert seen == {
        name: (folder / "nodes2" / output_layout.DATA / name).stat().st_ino for name in seen
    }  # none was written again
    nodes += [add_node(cluster), add_node(cluster)]
    run(folder, "write", "mine.yaml", "--output-dir", "nodes4", *SHARDS, *ray_flags(cluster))
    assert content(folder / "nodes4") == expected
    run(folder, "index", "mine.yaml", "--output-dir", "idx1")
    run(folder, "index", "mine.yaml", "--output-dir", "idx4", *ray_flags(cluster))
    assert content(folder / "idx4") == content(folder / "idx1")
    for each in nodes:
        cluster.remove_node(each)


def test_nodes_without_a_shared_folder_write_to_a_bucket(folder, cluster, bucket):
    nodes = [add_node(cluster), add_node(cluster)]
    process = start(folder, "write", "mine.yaml", "--output-dir", bucket, *SHARDS, *ray_flags(cluster))

    def has_shard():
        states = UrlStore(bucket).read_all(f"{atomic_files.WORK_FOLDER}/train-{lane:05d}.json" for lane in range(LANES))
        return any(json.loads(state)["shards"] and not json.loads(state)["done"] for state in states if state)

    wait_for(has_shard, process)
    second = run(folder, "write", "mine.yaml", "--output-dir", bucket, *SHARDS, code=1)
    assert f"{bucket} is locked by process {process.pid} on " in second
    process.kill()  # its lock remains
    process.communicate()
    process = start(folder, "write", "mine.yaml", "--output-dir", bucket, *SHARDS, *ray_flags(cluster))
    wait_for(lambda: busy(nodes), process)
    kill_busy(nodes)
    nodes.append(add_node(cluster))
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "was lost" in errors
    fs = fsspec.filesystem("s3")
    root = bucket.removeprefix("s3://")
    files = {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)}
    assert files == content(folder / "one")
    for each in nodes:
        cluster.remove_node(each)


def test_write_keeps_finished_shards_when_the_disk_of_a_node_is_full(folder, cluster, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import resource, sys\n"
        "if any('default_worker' in each for each in sys.orig_argv):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))\n"
    )
    small = add_node(cluster, PYTHONPATH=str(tmp_path))
    output = run(folder, "write", "mine.yaml", "--output-dir", "full", *SHARDS, *ray_flags(cluster), code=1)
    assert "error: node " in output
    assert (
        "File too large. Finished shards are kept. Free some space, then repeat the same command to resume." in output
    )
    cluster.remove_node(small)
    large = add_node(cluster)
    run(folder, "write", "mine.yaml", "--output-dir", "full", *SHARDS, *ray_flags(cluster))
    assert content(folder / "full") == content(folder / "one")
    cluster.remove_node(large)


def test_write_refuses_nodes_with_other_versions(folder, cluster, tmp_path):
    (tmp_path / "xxhash-0.1.dist-info").mkdir()
    (tmp_path / "xxhash-0.1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: xxhash\nVersion: 0.1\n")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/sitecustomize.py").write_text("import sys\nsys.modules['smollm3_mix'] = None\n")
    nodes = [add_node(cluster, PYTHONPATH=str(tmp_path)), add_node(cluster, PYTHONPATH=str(tmp_path / "bare"))]
    output = run(folder, "write", "mine.yaml", "--output-dir", "never", *SHARDS, *ray_flags(cluster), code=1)
    assert "2 of the nodes would not write the same bytes as this machine:\n  node " in output
    assert ": xxhash 0.1, here " in output
    assert ": smollm3_mix with the extra ray cannot be imported (" in output
    assert "Install the same versions on all nodes, then repeat the same command." in output
    assert not list((folder / "never").rglob("*.parquet"))
    for each in nodes:
        cluster.remove_node(each)


def test_executor_fails_when_a_job_or_node_is_lost_for_good(cluster, monkeypatch):
    from smollm3_mix.executors import ray_executor, ray_tasks

    def exit_worker(job, report):
        import os

        os._exit(1)

    one = add_node(cluster)
    with ray_executor.RayExecutor(cluster.address) as executor:
        assert executor.map(lambda job, report: job + 1, [1, 2], print, None) == [2, 3]
        with pytest.raises(
            OutputError, match=r"^job 0 was lost 5 times without a progress report \(.*\)\. Finished work is"
        ):
            executor.map(exit_worker, [0], print, None)
        monkeypatch.setattr(ray_tasks, "NODE_SECONDS", 5.0)
        raylet = one.all_processes["raylet"][0].process.pid
        os.kill(raylet, signal.SIGSTOP)
        try:
            with pytest.raises(OutputError, match=r"^node .* has not answered within 5 seconds\. Check its Ray logs"):
                executor.map(exit_worker, [0], print, None)
        finally:
            os.kill(raylet, signal.SIGCONT)
    cluster.remove_node(one)


def test_executor_fails_when_the_cluster_is_unreachable(folder):
    output = run(
        folder, "write", "mine.yaml", "--output-dir", "n", "--executor", "ray", "--address", "127.0.0.1:1", code=1
    )
    assert (
        "error: the Ray cluster at 127.0.0.1:1 cannot be reached ([Errno 111] Connection refused). Check that its head "
        "runs: `ray status --address 127.0.0.1:1`. Start a head with `ray start --head --port 6379` and pass --address "
        "HOST:6379, or leave --address out to start Ray on this machine.\n"
    ) in output
    assert not (folder / "n").exists()


def test_inspect_node_reports_a_missing_shared_folder():
    from smollm3_mix.executors import ray_node

    assert ray_node.inspect_node("/nowhere", "/nowhere/x.seen") == (ray_node.versions(), False)
    assert ray_node.not_shared_message("node far", "/mix/.writing/x.seen") == (
        "node far does not see /mix/.writing. Name a folder on a file system that all nodes share, or a URL such as "
        "s3://bucket/mix."
    )
