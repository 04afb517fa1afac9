"""Prefetching from a slow Hub gives the same mix sooner, in bounded memory, and its threads end with the stream."""

import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import resumes_everywhere
from hub import COMMIT, hub
from network_faults import Faults

from smollm3_mix.errors import SourceError
from smollm3_mix.mix.interleave import Concatenation, Exact, Iid, stream_key
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.sources import prefetch
from smollm3_mix.sources.source_files import SourceFile

Remote = Callable[..., Mix]

SMALL = {"sizes": (150, 75, 24)}
"""Documents of the sources."""


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def no_threads() -> bool:
    """Return True if all threads end soon."""
    until = time.monotonic() + 10
    while threads() and time.monotonic() < until:
        time.sleep(0.01)
    return not threads()


@pytest.fixture(autouse=True)
def _no_threads_of_others() -> None:
    gc.collect()
    assert no_threads()


@pytest.fixture
def problems() -> Faults:
    return Faults()


@pytest.fixture
def remote(recipe_file: Any, tmp_path: Path, problems: Faults, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    """Serve local files from a Hub and open a recipe over them."""
    import huggingface_hub

    with contextlib.ExitStack() as stack:
        name = f"org/{tmp_path.name}"  # footers are cached by URL

        def there(file: SourceFile) -> SourceFile:
            return file._replace(url=f"hf://datasets/{name}@{COMMIT}/{Path(file.url).relative_to(tmp_path)}")

        def make(**top: Any) -> Mix:
            mix = open_mix(recipe_file(**SMALL | top))
            endpoint = stack.enter_context(hub(name, tmp_path, problems=problems))
            monkeypatch.setattr(
                huggingface_hub, "hf_hub_url", lambda repo, path, **_: f"{endpoint}/datasets/{repo}/resolve/main/{path}"
            )
            found = {
                id_: replace(each, files=tuple(there(file) for file in each.files))
                for id_, each in mix.resolved.sources.items()
            }
            return replace(mix, resolved=replace(mix.resolved, sources=found))

        yield make
        gc.collect()
        assert no_threads()  # while the Hub runs, because a pending read would retry for long


@pytest.mark.parametrize("top", [{}, {"order": "iid"}, {"weighted": False}], ids=["exact", "iid", "unweighted"])
def test_prefetching_does_not_change_the_mix(
    remote: Remote, recipe_file: Any, monkeypatch: pytest.MonkeyPatch, top: dict[str, Any]
) -> None:
    expected = open_mix(recipe_file(**SMALL, **top)).stream()
    records = list(expected)
    mix = remote(**top)
    for allowed in ("64MiB", "9kB", "0"):
        monkeypatch.setenv(prefetch.PREFETCH_VARIABLE, allowed)
        stream = mix.stream()
        assert list(stream) == records
        assert stream.stats == expected.stats


def test_state_does_not_contain_prefetched_blocks(remote: Remote) -> None:
    sources = {"c": {"max_passes": 2}}
    assert resumes_everywhere(remote(sources=sources, sizes=(54, 27, 8), lanes=1), few=3) > 50


def test_several_reads_run_at_once(remote: Remote, problems: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    mix = remote(lanes=1)
    at_once, most, counting = [0], [0], threading.Lock()
    strike = problems.strike

    def watched(handler: Any) -> bool:
        with counting:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        time.sleep(0.02)
        struck = strike(handler)
        with counting:
            at_once[0] -= 1
        return struck

    stream = mix.stream()
    stream.read(1)  # opens every source, always at once
    problems.strike = watched  # type: ignore[method-assign]
    for allowed, expected in (("0", {1}), ("64MiB", range(2, prefetch.THREADS + 2))):
        most[0] = 0
        monkeypatch.setenv(prefetch.PREFETCH_VARIABLE, allowed)
        stream = mix.stream()
        for _ in range(200):
            stream.read(1)
            if stream.stats.total.emitted == 1:
                most[0] = 0  # ignores the opening
        stream.close()
        assert no_threads()
        assert most[0] in expected


def test_prefetched_bytes_stay_within_the_budget(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(prefetch.PREFETCH_VARIABLE, "9000")
    budgets, sizes = [], [0]
    adjust = prefetch.PrefetchBudget.adjust

    def watched(self: prefetch.PrefetchBudget, size: int) -> None:
        adjust(self, size)
        budgets.append(self)
        sizes.append(sum(budget.used for budget in set(budgets)))

    monkeypatch.setattr(prefetch.PrefetchBudget, "adjust", watched)
    mix = remote(block={"rows": 1000, "bytes": 3000}, sizes=(400, 200, 60))
    stream = mix.stream()
    while stream.read(64).num_rows:
        pass
    stream.close()  # a source that has not ended may have a block ready
    assert no_threads()
    block = 6000  # bytes of texts, ids and offsets of the largest block
    assert 0 < max(sizes) <= 9000 + mix.num_lanes * block
    assert {budget.used for budget in budgets} == {0}


def test_first_lane_leaves_budget_to_other_lanes(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(prefetch.PREFETCH_VARIABLE, "9000")
    sizes, take = set(), prefetch.PrefetchBudget.take

    def watched(self: prefetch.PrefetchBudget, size: int) -> bool:
        sizes.add(self.size)
        return take(self, size)

    monkeypatch.setattr(prefetch.PrefetchBudget, "take", watched)
    with contextlib.closing(remote(lanes=3, block={"rows": 5}).stream()) as stream:
        assert stream.read(30).num_rows
        while not sizes and stream.read(1).num_rows:  # on a busy machine blocks may be taken before a thread begins
            pass
    assert sizes == {3000}


def test_concurrent_threads_do_not_use_the_same_budget(
    remote: Remote, problems: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = remote(lanes=1, block={"rows": 5}).lane(0)
    blocks = [line._blocks for line in lane.streams]
    assert not any(each.at_end() for each in blocks)
    lane._prefetch_schedule.close()
    monkeypatch.setenv(prefetch.PREFETCH_VARIABLE, str(min(each.bytes for each in blocks)))
    budget = prefetch.PrefetchBudget()
    strike = problems.strike

    def slow(handler: Any) -> bool:
        time.sleep(0.2)  # all threads have started
        return strike(handler)

    problems.strike = slow  # type: ignore[method-assign]
    for each in blocks:
        each.prefetch(2, budget)
    until = time.monotonic() + 10
    while any(each._working for each in blocks) and time.monotonic() < until:
        time.sleep(0.01)
    assert sum(len(each._ready) for each in blocks) == len(blocks) + 1
    lane.close()
    assert budget.used == 0


def test_error_is_raised_at_its_block_with_the_same_message(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mix = remote(lanes=1)
    gone = max((tmp_path / "sources" / "a").glob("*.parquet"))
    content = gone.read_bytes()
    outcomes = []
    for allowed in ("0", "64MiB"):
        monkeypatch.setenv(prefetch.PREFETCH_VARIABLE, allowed)
        gone.unlink()
        stream = mix.stream()
        records: list[Any] = []
        with pytest.raises(SourceError) as caught:
            records.extend(stream)
        state = stream.state_dict()
        with pytest.raises(SourceError) as again:
            stream.read(1)
        assert str(again.value) == str(caught.value)
        gone.write_bytes(content)
        with contextlib.closing(mix.stream()) as healthy:
            healthy.load_state_dict(state)
            outcomes.append((records, str(caught.value), list(healthy)))
        stream.close()
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0]
    assert outcomes[0][1].endswith(
        "part-04.parquet was removed after the mix was opened. Open the mix again, or restore the file."
    )


def test_threads_start_with_reading_and_end_with_the_stream(remote: Remote, recipe_file: Any) -> None:
    local = open_mix(recipe_file()).stream()
    local.read(1000)
    assert not threads()  # local files need no threads
    mix = remote()
    stream = mix.stream()
    assert not threads()
    for _ in range(60):
        stream.read(1)
    assert threads()
    stream.close()
    assert no_threads()
    assert stream.read(5).num_rows  # a closed stream can continue
    for _ in stream:
        pass
    assert no_threads()
    forgotten = mix.stream()
    for _ in range(60):
        forgotten.read(1)
    assert threads()
    del forgotten
    gc.collect()
    assert no_threads()


def test_prefetching_can_be_disabled(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(prefetch.PREFETCH_VARIABLE, "0")
    stream = remote().stream()
    while stream.read(1000).num_rows:
        assert not threads()
    monkeypatch.setenv(prefetch.PREFETCH_VARIABLE, "lots")
    with pytest.raises(ValueError) as refused:
        list(remote().stream())
    assert str(refused.value) == (
        "SMOLLM3_MIX_PREFETCH: expected a whole number, got 'lots'. "
        "Set the variable to a size such as 64MiB, or to 0 to disable prefetching."
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_during_a_read_leaves_parent_and_child_working(remote: Remote, problems: Faults) -> None:
    mix = remote()
    expected = [record["id"] for record in mix.stream()]
    problems._latency = 0.005
    for position in (40, 60):
        stream, emitted = mix.stream(), []
        while len(emitted) < position:
            emitted += stream.read(1)["id"].to_pylist()
        child = os.fork()
        if child == 0:
            try:
                rest = [record["id"] for record in stream]
                os._exit(0 if emitted + rest == expected else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert emitted + [record["id"] for record in stream] == expected


def test_process_exits_soon_without_closing_streams(remote: Remote, problems: Faults, tmp_path: Path) -> None:
    import pickle

    import huggingface_hub

    mix = remote()
    endpoint = huggingface_hub.hf_hub_url("", "").partition("/datasets/")[0]
    (tmp_path / "mix.pickle").write_bytes(pickle.dumps(mix))
    code = (
        "import pickle, sys, huggingface_hub\n"
        "huggingface_hub.hf_hub_url = lambda repo, path, **_: f'{sys.argv[1]}/datasets/{repo}/resolve/main/{path}'\n"
        "stream = pickle.load(open(sys.argv[2], 'rb')).stream()\n"
        "for _ in range(50): stream.read(1)\n"
        "print('read')"
    )
    problems._latency = 0.01
    command = [sys.executable, "-c", code, endpoint, str(tmp_path / "mix.pickle")]
    root = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("read\n", "")


def test_predicted_order_matches_reads_of_equal_blocks() -> None:
    shares = np.array([0.53, 0.29, 0.18])
    keys = [stream_key("place", 0, 0, name) for name in "abc"]
    exact, iid, sizes = Exact(shares, keys), Iid(shares, 7), (5, 7, 11)
    for order in (exact, iid):
        for source in range(3):
            order.place(source, np.full(200, sizes[source]), last=False)
    read: list[int] = []
    upcoming = exact.upcoming(12).tolist()
    while len(read) < 12:
        if not len(exact.ready()):
            read.append(exact.next_source())
            exact.place(read[-1], np.full(200, sizes[read[-1]]), last=False)
    assert read == upcoming
    assert iid.upcoming(3).tolist() == [0, 1, 0]
    exact.leave(0)
    assert 0 not in exact.upcoming(9)
    one = Concatenation(2)
    one.place(0, np.full(4, 1), last=False)
    assert one.upcoming(3).tolist() == [0, 0, 0]
