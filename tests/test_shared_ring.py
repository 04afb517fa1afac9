"""`SharedRing` never overwrites unreleased batches, and workers read only a limited number of blocks ahead."""

import itertools
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from doors import write_lanes
from hypothesis import given
from hypothesis import strategies as st

import smollm3_mix
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.torch_loader import mix_loader, worker_blocks
from smollm3_mix.torch_loader.shared_ring import SharedRing
from smollm3_mix.torch_loader.worker_process import WorkerOptions

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)  # Arrow's threads


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Mix:
    return open_mix(write_lanes(tmp_path_factory.mktemp("ring"), 1800) / "8.yaml")


def keys(records: Any) -> list[tuple[str, str]]:
    return [(record["source"], record["id"]) for record in records]


def flat(batches: Any) -> list[tuple[str, str]]:
    return [key for batch in batches for key in keys(batch)]


def make_batch(number: int, size: int) -> pa.RecordBatch:
    """Return a batch that is a slice, like those that workers send."""
    texts = pa.array(["before", *(f"{number} " * size for number in range(number, number + 3)), "after"])
    return pa.RecordBatch.from_pydict({"text": texts, "row": pa.array(np.arange(5))}).slice(1, 3)


@given(st.lists(st.tuples(st.integers(0, 900), st.booleans(), st.integers(0, 3))), st.integers(5_000, 20_000))
def test_ring_keeps_batches_until_they_are_released(steps: list[tuple[int, bool, int]], size: int) -> None:
    ring, unreleased = SharedRing(size), []
    for number, (length, release_each, count) in enumerate(steps):
        batch = make_batch(number, length)
        if (span := ring.write(batch)) is not None:
            unreleased.append((span, batch, ring.read(span)))
        elif not unreleased:
            assert batch.nbytes > size - 5_000  # an empty ring rejects only batches that may not fit
        for _, written, found in unreleased:
            assert found.equals(written)
        for _ in range(min(count, len(unreleased))):
            span, _, _ = unreleased.pop(0)
            if release_each or not unreleased:  # releasing the newest batch releases all
                ring.release(span)


def test_ring_rejects_batches_when_full_and_ignores_an_older_release() -> None:
    ring = SharedRing(20_000)
    spans = [span for span in (ring.write(make_batch(n, 800)) for n in range(9)) if span is not None]
    assert 1 < len(spans) < 9
    ring.release(spans[-1])
    ring.release(spans[0])
    assert ring.write(make_batch(3, 800)) is not None
    while ring.write(make_batch(4, 800)) is not None:
        pass
    ring.begin()  # a new iteration
    assert ring.write(make_batch(5, 800)) is not None


def _write(ring: SharedRing, spans: Any) -> None:
    spans.put(ring.write(make_batch(7, 50)))


@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_ring_is_readable_when_another_process_writes(start_method: str) -> None:
    if start_method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this platform has no {start_method}")
    ring, context = SharedRing(20_000), multiprocessing.get_context(start_method)
    spans = context.SimpleQueue()
    process = context.Process(target=_write, args=(ring, spans))
    process.start()
    assert ring.read(spans.get()).equals(make_batch(7, 50))
    process.join()


@pytest.mark.parametrize("size", [4_096, 60_000])
def test_loader_emits_batches_that_do_not_fit_into_the_ring(
    eight: Mix, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(mix_loader, "SharedRing", lambda: SharedRing(size))
    for format_name, rows in (("records", 24), ("arrow", 1500)):
        batches = smollm3_mix.MixLoader(eight, rows, num_workers=2, format=format_name)
        found = flat(batch if format_name == "records" else batch.to_pylist() for batch in batches)
        assert found == keys(eight.stream())


def test_batches_keep_their_content_when_the_ring_is_reused(eight: Mix) -> None:
    batches = list(smollm3_mix.MixLoader(eight, 40, num_workers=2, format="arrow"))
    assert flat(batch.to_pylist() for batch in batches) == keys(eight.stream())


def test_blocks_are_split_when_records_are_large(eight: Mix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_blocks, "BLOCK_BYTES", 2_000)
    blocks = list(worker_blocks.WorkerBlocks(eight, range(8), (1, 3), None, None))
    assert len(blocks) > 20
    assert max(block.records.nbytes for block in blocks) < 3 * 2_000
    assert keys(row for block in blocks for row in block.records.to_pylist()) == keys(eight.stream([1, 4, 7]))
    positions = np.concatenate([block.positions for block in blocks])
    assert positions[:4].tolist() == [1, 4, 7, 9]  # round × 8 + lane
    assert (np.diff(positions) > 0).all()


class CountingMix:
    """A mix that counts, in one file per worker, the records that the worker has read."""

    def __init__(self, mix: Mix, folder: Path) -> None:
        self._mix, self._folder, self.num_lanes = mix, folder, mix.num_lanes

    def stream(self, lanes: Any) -> Any:
        stream = self._mix.stream(lanes)
        original = stream.read_with_lanes

        def read(rows: int) -> Any:
            found = original(rows)
            with (self._folder / str(min(lanes, default=""))).open("a") as file:
                file.write("." * found[0].num_rows)
            return found

        stream.read_with_lanes = read
        return stream


@pytest.mark.parametrize("prefetch_factor", [1, WorkerOptions().prefetch_factor])
def test_workers_with_fewer_lanes_read_no_further_ahead(
    eight: Mix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefetch_factor: int
) -> None:
    monkeypatch.setattr(worker_blocks, "MAX_ROWS", 16)
    counting = CountingMix(eight, tmp_path)
    loader = smollm3_mix.MixLoader(counting, 40, num_workers=3, prefetch_factor=prefetch_factor)  # 3, 3 and 2 lanes
    list(itertools.islice(loader, 50))
    for first, lanes in ((0, 3), (1, 3), (2, 2)):
        read = (tmp_path / str(first)).stat().st_size
        assert 250 * lanes <= read <= 250 * lanes + 16 * (prefetch_factor + 3)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no signals to kill with")
def test_loader_raises_when_a_worker_is_killed_while_it_sends(eight: Mix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mix_loader, "SharedRing", lambda: SharedRing(4_096))  # all blocks go through the pipe
    before = set(multiprocessing.active_children())
    batches = iter(smollm3_mix.MixLoader(eight, 24, num_workers=1, prefetch_factor=20))
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - before
    time.sleep(1)  # the pipe is full, and a block is sent in part
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"^loader worker 0 exited with code -9\."):
        list(batches)


def test_iterator_raises_when_persistent_workers_are_reused(eight: Mix) -> None:
    loader = smollm3_mix.MixLoader(eight, 24, num_workers=2, persistent_workers=True)
    first = iter(loader)
    next(first)
    second = iter(loader)
    with pytest.raises(RuntimeError) as error:
        next(first)
    assert str(error.value) == (
        "The persistent workers of this iterator are used by a newer iterator. "
        "Make one MixLoader per simultaneous iteration."
    )
    assert keys(next(second)) == keys(itertools.islice(eight.stream(), 24))


def test_worker_init_fn_is_called_with_the_number_of_each_worker(eight: Mix, tmp_path: Path) -> None:
    def initialize(number: int) -> None:
        (tmp_path / str(number)).touch()

    options = {"worker_init_fn": initialize, "multiprocessing_context": "fork", "persistent_workers": True}
    loader = smollm3_mix.MixLoader(eight, 24, num_workers=3, **options)
    for _ in range(2):
        next(iter(loader))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


def test_workers_leave_the_random_numbers_of_torch_unchanged(eight: Mix) -> None:
    torch = pytest.importorskip("torch", reason="its random numbers are compared")
    found = []
    for workers in (0, 3):
        torch.manual_seed(5)
        next(iter(smollm3_mix.MixLoader(eight, 24, num_workers=workers, format="torch")))
        found.append(torch.rand(3).tolist())
    assert found[0] == found[1]
