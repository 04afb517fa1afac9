"""The order of several workers' blocks and the states between batches, without worker processes."""

import json
from typing import Any

import pytest
from doors import write_recipe, write_sources

from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.recipe_mix import Mix

pytest.importorskip("torch", reason="the torch door needs the extra torch")

from smollm3_mix.torch_loader.lane_turns import LaneMerger, Reader

from smollm3_mix.torch_loader import worker_blocks

READERS = (1, 2, 4)


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Mix:
    """Four lanes that end at different places."""
    folder = tmp_path_factory.mktemp("turns")
    write_sources(folder / "sources", rows=120)
    return open_mix(write_recipe(folder / "four.yaml", folder / "sources", lanes=4), max_tokens=700)


@pytest.fixture(params=[0, 10**9], ids=["states with every block", "one state"], autouse=True)
def _patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_blocks, "PATIENCE", request.param)


def keys(records: Any) -> list[tuple[str, str]]:
    return [(record["source"], record["id"]) for record in records]


def turns(mix: Mix, readers: int, state: dict[str, Any] | None = None) -> LaneMerger:
    """All lanes, shared by so many readers, from a state on."""
    made = LaneMerger(mix.stream([0]).state_dict(), range(mix.num_lanes), state)
    shares = min(readers, len(made.lanes))
    blocks = [worker_blocks.WorkerBlocks(mix, made.lanes, (share, shares), state, None) for share in range(shares)]
    made.begin([Reader(iter(each), each) for each in blocks])
    return made


def taken(made: LaneMerger, rows: int = 5) -> list[tuple[str, str]]:
    """The next records, so many of them or fewer at the end."""
    chunk = made.take(rows)
    return [] if chunk is None else keys(chunk.records())


@pytest.mark.parametrize("readers", READERS)
def test_readers_give_one_record_of_each_lane_in_turn(mix: Mix, readers: int) -> None:
    lengths = {len(list(mix.stream([lane]))) for lane in range(4)}
    assert len(lengths) > 2
    made, found = turns(mix, readers), []
    while given := taken(made):
        found += given
    assert found == keys(mix.stream())


@pytest.mark.parametrize("readers", READERS)
def test_states_between_batches_go_on_with_any_number_of_readers(mix: Mix, readers: int) -> None:
    whole, made = keys(mix.stream()), turns(mix, readers)
    for place in range(0, len(whole) + 5, 5):
        state = json.loads(json.dumps(made.place().state_dict()))
        assert sum(lane["records"] for lane in state["lanes"]) == min(place, len(whole)) or not place
        if place % 25 == 0 or place > len(whole) - 20:  # where lanes end
            assert taken(turns(mix, READERS[place // 5 % 3], state), 9) == whole[place : place + 9]
        assert taken(made) == whole[place : place + 5]


def test_states_hold_the_lanes_of_their_rank_alone(mix: Mix) -> None:
    made = turns(mix, 2)
    taken(made, 30)
    state = made.place().state_dict()
    mine = LaneMerger(mix.stream([0]).state_dict(), [1, 3], state).place().state_dict()
    assert mine["lanes"] == [lane for lane in state["lanes"] if lane["lane"] in (1, 3)]
    assert mine["active_lanes"] == [lane for lane in state["active_lanes"] if lane in (1, 3)]


@pytest.mark.parametrize("records", range(1, 10))
def test_a_state_saved_right_after_a_resume_is_the_one_loaded(mix: Mix, records: int) -> None:
    made = turns(mix, 2)
    taken(made, records)
    state = made.place().state_dict()
    resumed = turns(mix, 1, state)
    assert resumed.place().state_dict()["turn"] == state["turn"] == records % 4
