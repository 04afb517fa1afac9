"""What workers send: a ring of shared memory that never gives back what was written over, and blocks that wait."""

import itertools
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from doors import write_lanes
from hypothesis import given
from hypothesis import strategies as st

import smollm3_mix
import smollm3_mix.torch_loader.mix_loader
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.recipe_mix import Mix

pytest.importorskip("torch", reason="the torch door needs the extra torch")

import torch

from smollm3_mix.torch_loader import mix_loader, worker_blocks
from smollm3_mix.torch_loader.shared_ring import SharedRing

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # on a machine of few cores
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # Arrow beside fork
]


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Mix:
    return open_mix(write_lanes(tmp_path_factory.mktemp("ring"), 1800) / "8.yaml")


def keys(records: Any) -> list[tuple[str, str]]:
    return [(record["source"], record["id"]) for record in records]


def flat(given: Any) -> list[tuple[str, str]]:
    return [key for batch in given for key in keys(batch)]


def batch(number: int, size: int) -> pa.RecordBatch:
    """One that is a slice, as those that are sent."""
    texts = pa.array(["before", *(f"{number} " * size for number in range(number, number + 3)), "after"])
    return pa.RecordBatch.from_pydict({"text": texts, "row": pa.array(np.arange(5))}).slice(1, 3)


@given(st.lists(st.tuples(st.integers(0, 900), st.booleans(), st.integers(0, 3))), st.integers(5_000, 20_000))
def test_what_was_written_is_there_until_it_is_released(steps: list[tuple[int, bool, int]], size: int) -> None:
    ring, lying = SharedRing(size), []
    for number, (length, hurry, done) in enumerate(steps):
        sent = batch(number, length)
        if (place := ring.write(sent)) is not None:
            lying.append((place, sent, ring.read(place)))
        elif not lying:
            assert sent.nbytes > size - 5_000  # an empty ring refuses only what may not fit into it
        for _, was, found in lying:
            assert found.equals(was)
        for _ in range(min(done, len(lying))):
            place, _, _ = lying.pop(0)
            if hurry or not lying:  # the newest of several speaks for all
                ring.release(place)


def test_a_full_ring_takes_nothing_and_an_older_release_gives_nothing_back() -> None:
    ring = SharedRing(20_000)
    places = [place for place in (ring.write(batch(n, 800)) for n in range(9)) if place is not None]
    assert 1 < len(places) < 9
    ring.release(places[-1])
    ring.release(places[0])
    assert ring.write(batch(3, 800)) is not None
    while ring.write(batch(4, 800)) is not None:
        pass
    ring.begin()  # as where an iteration begins anew
    assert ring.write(batch(5, 800)) is not None


def _filled(ring: SharedRing, said: Any) -> None:
    said.put(ring.write(batch(7, 50)))


@pytest.mark.parametrize("context", ["spawn", "fork"])
def test_another_process_writes_into_it(context: str) -> None:
    if context not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this platform has no {context}")
    ring, way = SharedRing(20_000), multiprocessing.get_context(context)
    said = way.SimpleQueue()
    process = way.Process(target=_filled, args=(ring, said))
    process.start()
    assert ring.read(said.get()).equals(batch(7, 50))
    process.join()


@pytest.mark.parametrize("size", [4_096, 60_000])
def test_what_finds_no_room_in_the_ring_comes_all_the_same(
    eight: Mix, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(mix_loader, "SharedRing", lambda: SharedRing(size))
    for form, wanted in (("records", 24), ("arrow", 1500)):
        given = smollm3_mix.MixLoader(eight, wanted, num_workers=2, format=form)
        assert flat(each if form == "records" else each.to_pylist() for each in given) == keys(eight.stream())


def test_batches_stay_as_they_were_given(eight: Mix) -> None:
    given = list(smollm3_mix.MixLoader(eight, 40, num_workers=2, format="arrow"))
    assert flat(each.to_pylist() for each in given) == keys(eight.stream())


def test_a_block_is_cut_where_its_records_are_large(eight: Mix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_blocks, "BYTES", 2_000)
    blocks = list(worker_blocks.WorkerBlocks(eight, range(8), (1, 3), None, None))
    assert len(blocks) > 20
    assert max(block.records.nbytes for block in blocks) < 3 * 2_000
    assert keys(row for block in blocks for row in block.records.to_pylist()) == keys(eight.stream([1, 4, 7]))
    places = np.concatenate([block.places for block in blocks])
    assert places[:4].tolist() == [1, 4, 7, 9]  # round × 8 + lane
    assert (np.diff(places) > 0).all()


class Counted:
    """A mix that notes, in a file for each worker, how many records it has read."""

    def __init__(self, mix: Mix, notes: Path) -> None:
        self._mix, self._notes, self.num_lanes = mix, notes, mix.num_lanes

    def stream(self, lanes: Any) -> Any:
        reader = self._mix.stream(lanes)
        original = reader.read_with_lanes

        def read(rows: int) -> Any:
            found = original(rows)
            with (self._notes / str(min(lanes, default=""))).open("a") as note:
                note.write("." * found[0].num_rows)
            return found

        reader.read_with_lanes = read
        return reader


def test_a_worker_with_fewer_lanes_runs_no_further_ahead(
    eight: Mix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_blocks, "ROWS", 16)
    made = smollm3_mix.MixLoader(Counted(eight, tmp_path), 40, num_workers=3)  # 3, 3 and 2 lanes
    list(itertools.islice(made, 50))
    for first, lanes in ((0, 3), (1, 3), (2, 2)):
        read = (tmp_path / str(first)).stat().st_size
        assert 250 * lanes <= read <= 250 * lanes + 16 * (mix_loader.AHEAD + 3)


def test_an_iterator_whose_persistent_workers_were_taken_says_so(eight: Mix) -> None:
    kept = smollm3_mix.MixLoader(eight, 24, num_workers=2, persistent_workers=True)
    first = iter(kept)
    next(first)
    second = iter(kept)
    with pytest.raises(RuntimeError) as refused:
        next(first)
    assert str(refused.value) == (
        "the workers of this iterator are persistent, and another iteration has begun with them. "
        "Make a loader for each of two iterations at once."
    )
    assert keys(next(second)) == keys(itertools.islice(eight.stream(), 24))


def test_workers_change_nothing_in_torchs_random_numbers_and_know_their_own(eight: Mix, tmp_path: Path) -> None:
    def begun(number: int) -> None:
        (tmp_path / str(number)).touch()

    found = []
    for count in (0, 3):
        torch.manual_seed(5)
        how = {"worker_init_fn": begun, "multiprocessing_context": "fork"} if count else None
        next(iter(smollm3_mix.MixLoader(eight, 24, num_workers=count, workers=how)))
        found.append(torch.rand(3).tolist())
    assert found[0] == found[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]
