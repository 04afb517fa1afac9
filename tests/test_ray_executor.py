"""Mixes and indexes made on a Ray cluster of several nodes: the files of one process, whoever is killed meanwhile."""

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
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

LANES = 4
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
STORE = 80_000_000
"""Bytes of a node's object store: Ray's least, nearly."""


@pytest.fixture(autouse=True)
def _off_the_network():
    """No guard here: Ray's processes find each other by this machine's own address."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a recipe whose lanes have several parts each, and what one process makes of it."""
    place = tmp_path_factory.mktemp("engine")
    draw = random.Random(5)
    datasets = []
    for key, count, weight in (("a", 110_000, 0.6), ("b", 50_000, 0.3), ("c", 8_000, 0.1)):
        texts = [f"{key} {n}: " + " ".join(draw.choices(WORDS, k=9)) for n in range(count)]
        texts[count // 2 :: 1000] = texts[: len(texts[count // 2 :: 1000])]
        parquet(place / key, texts, files=4, group=2000)
        datasets.append({"name": key, "id": key, "weight": weight, "max_passes": 3 if key == "c" else 1})
    top = {"description": "Toys.", "lanes": LANES, "holdout": {"fraction": 0.01}, "on_exhausted": "stop"}
    content = {**top, "dedup": {"exact": True, "near": True, "memory": "64MiB"}, "datasets": datasets}
    (place / "mine.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    ran(place, "write", "mine.yaml", "--output-dir", "one", *PARTS)
    return place


@pytest.fixture(scope="module")
def cluster():
    """A cluster whose head does no work; nodes come with `node`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        yield cluster
        cluster.shutdown()


PARTS = ("--max-shard-size", "1")


def node(cluster, **env):
    return cluster.add_node(num_cpus=1, object_store_memory=STORE, env_vars={**os.environ, **env})


def start(place, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "smollm3_mix", *map(str, arguments)],
        cwd=place,
        env={**os.environ, **QUIET, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ran(place, *arguments, code=0):
    """What the command said, once it has ended."""
    process = start(place, *arguments)
    out, said = process.communicate()
    assert process.returncode == code, said
    return out + said


def on(cluster):
    return ("--engine", "ray", "--address", cluster.address)


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def busy(nodes):
    """Processes of each node that is at a job, by its place among the nodes."""
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[tuple[int, str]]] = {}
    for pid, parent, title in (line.split(maxsplit=2) for line in table.splitlines()):
        children.setdefault(int(parent), []).append((int(pid), title))
    found = {}
    for place, node in enumerate(nodes):
        mine = [(each.process.pid, "") for processes in node.all_processes.values() for each in processes]
        for pid, _ in mine:
            mine += children.get(pid, [])
        if any(title.startswith("ray::do") for _, title in mine):
            found[place] = [pid for pid, _ in mine]
    return found


def kill_busy(nodes):
    """Kill a node that is at a lane, as a machine that loses its power: all its processes, without a word."""
    place, doomed = next(iter(busy(nodes).items()))
    for pid in doomed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    del nodes[place]


def begun(work, seen=()):
    """Parts that states count, and their i-nodes, by name; of lanes that are not done, without those seen."""
    found = {}
    for state in work.glob("train-?????.json"):
        saved = json.loads(state.read_bytes())
        names = [f"{state.stem}-{part:05d}.parquet" for part in range(saved["parts"])]
        if not saved["done"]:
            found |= {name: (work / output_layout.DATA / name).stat().st_ino for name in names if name not in seen}
    return found


def wait_for(what, process):
    while not (found := what()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    return found


def test_nodes_that_are_killed_change_nothing_and_no_number_of_nodes_does(place, cluster):
    whole = content(place / "one")
    assert sum(name.startswith("data/train") for name in whole) >= 2 * LANES
    nodes = [node(cluster)]
    ran(place, "write", "mine.yaml", "--output-dir", "on1", *PARTS, *on(cluster))
    assert content(place / "on1") == whole
    nodes.append(node(cluster))
    process = start(place, "write", "mine.yaml", "--output-dir", "on2", *PARTS, *on(cluster))
    work, seen = place / "on2" / atomic_files.WORK_FOLDER, {}
    wait_for((work / output_layout.REQUEST).exists, process)
    again = ran(place, "write", "mine.yaml", "--output-dir", "on2", *PARTS, code=1)
    assert "on2 is being written by another process" in again
    for _ in range(2):
        seen |= wait_for(partial(begun, work, seen), process)
        kill_busy(nodes)
    nodes += [node(cluster), node(cluster)]
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert said.count("was lost") >= 2
    assert content(place / "on2") == whole
    assert seen == {
        name: (place / "on2" / output_layout.DATA / name).stat().st_ino for name in seen
    }  # none was made again
    nodes += [node(cluster), node(cluster)]
    ran(place, "write", "mine.yaml", "--output-dir", "on4", *PARTS, *on(cluster))
    assert content(place / "on4") == whole
    ran(place, "index", "mine.yaml", "--out", "idx1")
    ran(place, "index", "mine.yaml", "--out", "idx4", *on(cluster))
    assert content(place / "idx4") == content(place / "idx1")
    for each in nodes:
        cluster.remove_node(each)


def test_nodes_that_share_no_disk_write_to_a_bucket(place, cluster, bucket):
    nodes = [node(cluster), node(cluster)]
    process = start(place, "write", "mine.yaml", "--output-dir", bucket, *PARTS, *on(cluster))

    def part():
        states = UrlStore(bucket).read_all(f"{atomic_files.WORK_FOLDER}/train-{lane:05d}.json" for lane in range(LANES))
        return any(json.loads(state)["parts"] and not json.loads(state)["done"] for state in states if state)

    wait_for(part, process)
    again = ran(place, "write", "mine.yaml", "--output-dir", bucket, *PARTS, code=1)
    assert f"{bucket} is being written by process {process.pid} of " in again
    process.kill()  # the command itself; its claim stays, of a process that has ended
    process.communicate()
    process = start(place, "write", "mine.yaml", "--output-dir", bucket, *PARTS, *on(cluster))
    wait_for(lambda: busy(nodes), process)
    kill_busy(nodes)
    nodes.append(node(cluster))
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert "was lost" in said
    fs = fsspec.filesystem("s3")
    begin = bucket.removeprefix("s3://")
    there = {path.removeprefix(f"{begin}/"): fs.cat_file(path) for path in fs.find(begin)}
    assert there == content(place / "one")
    for each in nodes:
        cluster.remove_node(each)


def test_a_node_whose_disk_takes_no_more_says_so_and_what_is_whole_is_kept(place, cluster, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import resource, sys\n"
        "if any('default_worker' in each for each in sys.orig_argv):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))\n"
    )
    small = node(cluster, PYTHONPATH=str(tmp_path))
    said = ran(place, "write", "mine.yaml", "--output-dir", "full", *PARTS, *on(cluster), code=1)
    assert "OutputError: node " in said
    assert "File too large. Whole parts are kept: make room and run the same command again to go on." in said
    cluster.remove_node(small)
    large = node(cluster)
    ran(place, "write", "mine.yaml", "--output-dir", "full", *PARTS, *on(cluster))
    assert content(place / "full") == content(place / "one")
    cluster.remove_node(large)


def test_nodes_with_other_versions_are_refused_before_anything_is_written(place, cluster, tmp_path):
    (tmp_path / "xxhash-0.1.dist-info").mkdir()
    (tmp_path / "xxhash-0.1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: xxhash\nVersion: 0.1\n")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/sitecustomize.py").write_text("import sys\nsys.modules['smollm3_mix'] = None\n")
    nodes = [node(cluster, PYTHONPATH=str(tmp_path)), node(cluster, PYTHONPATH=str(tmp_path / "bare"))]
    said = ran(place, "write", "mine.yaml", "--output-dir", "never", *PARTS, *on(cluster), code=1)
    assert "2 of the nodes would not write the same bytes as this machine:\n  node " in said
    assert ": xxhash 0.1, here " in said
    assert ": smollm3_mix with the extra ray cannot be imported (" in said
    assert "Install the same versions on all of them, then give the same command again." in said
    assert not list((place / "never").rglob("*.parquet"))
    for each in nodes:
        cluster.remove_node(each)


def test_a_job_that_ends_every_worker_and_a_node_that_does_not_answer(cluster, monkeypatch):
    from smollm3_mix.executors import ray_executor
    from smollm3_mix.executors import ray_executor as engine

    def dies(job, report):
        import os

        os._exit(1)

    one = node(cluster)
    with ray_executor.RayExecutor(cluster.address) as connected:
        assert connected.each(lambda job, report: job + 1, [1, 2], print, None) == [2, 3]
        with pytest.raises(
            OutputError, match=r"^job 0 was lost 5 times without having reported anything \(.*\)\. What is"
        ):
            connected.each(dies, [0], print, None)
        monkeypatch.setattr(engine, "LOOK", 5.0)
        raylet = one.all_processes["raylet"][0].process.pid
        os.kill(raylet, signal.SIGSTOP)
        try:
            with pytest.raises(
                OutputError, match=r"^node .* has not answered for 5 seconds\. Look into the logs of its"
            ):
                connected.each(dies, [0], print, None)
        finally:
            os.kill(raylet, signal.SIGCONT)
    cluster.remove_node(one)


def test_a_cluster_that_does_not_answer(place):
    said = ran(place, "write", "mine.yaml", "--output-dir", "n", "--engine", "ray", "--address", "127.0.0.1:1", code=1)
    assert (
        "OutputError: the Ray cluster at 127.0.0.1:1 cannot be reached ([Errno 111] Connection refused). See that its "
        "head runs (`ray status --address 127.0.0.1:1`; it is started by `ray start --head --port 6379`) and give its "
        "--address host:6379; without --address, Ray is started on this machine.\n"
    ) in said
    assert not (place / "n").exists()


def test_a_folder_that_a_node_does_not_see():
    from smollm3_mix.executors import ray_node

    assert ray_node.look("/nowhere", "/nowhere/x.seen") == (ray_node.versions(), False)
    assert ray_node.unshared("node far", "/mix/.writing/x.seen") == (
        "node far does not see /mix/.writing. Name a folder on a file system that all nodes share, or a URL such as "
        "s3://bucket/mix."
    )
