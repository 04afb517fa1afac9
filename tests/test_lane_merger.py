"""The order of several workers' blocks, and the states between batches, without worker processes."""

import json
from typing import Any

import pytest
from doors import write_recipe, write_sources

from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.torch_loader import worker_blocks
from smollm3_mix.torch_loader.lane_merger import LaneMerger, WorkerReader

READERS = (1, 2, 4)


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Mix:
    """Return a mix with four lanes of different lengths."""
    folder = tmp_path_factory.mktemp("merger")
    write_sources(folder / "sources", rows=120)
    return open_mix(write_recipe(folder / "four.yaml", folder / "sources", lanes=4), max_tokens=700)


@pytest.fixture(params=[0, 10**9], ids=["a state per block", "one state"], autouse=True)
def _state_cost_ratio(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_blocks, "STATE_COST_RATIO", request.param)


def keys(records: Any) -> list[tuple[str, str]]:
    return [(record["source"], record["id"]) for record in records]


def merge(mix: Mix, readers: int, state: dict[str, Any] | None = None) -> LaneMerger:
    """Return a merger of all lanes, with this number of readers, that resumes from a state."""
    merger = LaneMerger(mix.stream([0]).state_dict(), range(mix.num_lanes), state)
    shares = min(readers, len(merger.lanes))
    blocks = [worker_blocks.WorkerBlocks(mix, merger.lanes, (share, shares), state, None) for share in range(shares)]
    merger.begin([WorkerReader(iter(each), each) for each in blocks])
    return merger


def take(merger: LaneMerger, rows: int = 5) -> list[tuple[str, str]]:
    """Return the keys of the next records, fewer than `rows` at the end."""
    chunk = merger.take(rows)
    return [] if chunk is None else keys(chunk.records())


@pytest.mark.parametrize("readers", READERS)
def test_merger_interleaves_lanes_round_robin(mix: Mix, readers: int) -> None:
    lengths = {len(list(mix.stream([lane]))) for lane in range(4)}
    assert len(lengths) > 2
    merger, found = merge(mix, readers), []
    while emitted := take(merger):
        found += emitted
    assert found == keys(mix.stream())


@pytest.mark.parametrize("readers", READERS)
def test_merger_resumes_between_batches_with_any_number_of_readers(mix: Mix, readers: int) -> None:
    expected, merger = keys(mix.stream()), merge(mix, readers)
    for position in range(0, len(expected) + 5, 5):
        state = json.loads(json.dumps(merger.position().state_dict()))
        assert sum(lane["records"] for lane in state["lanes"]) == min(position, len(expected)) or not position
        if position % 25 == 0 or position > len(expected) - 20:  # where lanes end
            resumed = merge(mix, READERS[position // 5 % 3], state)
            assert take(resumed, 9) == expected[position : position + 9]
        assert take(merger) == expected[position : position + 5]


def test_position_contains_only_the_lanes_of_its_rank(mix: Mix) -> None:
    merger = merge(mix, 2)
    take(merger, 30)
    state = merger.position().state_dict()
    own = LaneMerger(mix.stream([0]).state_dict(), [1, 3], state).position().state_dict()
    assert own["lanes"] == [lane for lane in state["lanes"] if lane["lane"] in (1, 3)]
    assert own["active_lanes"] == [lane for lane in state["active_lanes"] if lane in (1, 3)]


@pytest.mark.parametrize("records", range(1, 10))
def test_position_right_after_a_resume_has_the_loaded_next_lane(mix: Mix, records: int) -> None:
    merger = merge(mix, 2)
    take(merger, records)
    state = merger.position().state_dict()
    resumed = merge(mix, 1, state)
    assert resumed.position().state_dict()["next_lane"] == state["next_lane"] == records % 4
