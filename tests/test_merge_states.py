"""Any number of nodes and workers reads the same records, and resumes from the states of any other number."""

import functools
import itertools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets.distributed import split_dataset_by_node
from doors import stream, write_lanes

from smollm3_mix.errors import StateError
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.state.merge_states import merge_states, next_lane_position
from smollm3_mix.mix.stream import Stream

NODES, WORKERS = (1, 2, 3, 4, 8), (0, 1, 2, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lanes(tmp_path_factory.mktemp("elastic"), 300, block={"rows": 8})


def mix(folder: Path, lanes: int) -> Mix:
    return open_mix(folder / f"{lanes}.yaml")


@functools.cache
def by_lane(folder: Path, lanes: int) -> dict[int, list[tuple[str, str]]]:
    opened = mix(folder, lanes)
    return {lane: keys(opened.stream([lane])) for lane in range(lanes)}


@functools.cache
def everything(folder: Path) -> list[tuple[str, str]]:
    """Return the sorted records of a dataset with 8 lanes."""
    return sorted(keys(stream(folder / "8.yaml")))


def keys(records: Any) -> list[tuple[str, str]]:
    return [(record["source"], record["id"]) for record in records]


def test_nodes_and_workers_receive_each_lane_once(folder: Path) -> None:
    for lanes, nodes, workers in itertools.product((8, 12), NODES, WORKERS):
        dataset = stream(folder / f"{lanes}.yaml")._ex_iterable
        split_lanes = []
        for node in range(nodes):
            if dataset.num_shards % nodes:  # the condition of `datasets` for splitting shards
                pytest.fail(f"{lanes} lanes are not divided by {nodes} nodes")
            mine = dataset.shard_data_sources(nodes, node, contiguous=False)
            split_lanes += [
                mine.shard_data_sources(workers, worker, contiguous=False).lanes for worker in range(workers)
            ]
            if not workers:
                split_lanes.append(mine.lanes)
        assert sorted(lane for part in split_lanes for lane in part) == list(range(lanes))
        assert all(part == sorted(part) for part in split_lanes)


@pytest.mark.parametrize("nodes", NODES)
@pytest.mark.parametrize("lanes", [8, 12])
def test_each_node_yields_its_lanes_round_robin(folder: Path, lanes: int, nodes: int) -> None:
    whole = by_lane(folder, lanes)
    for node in range(nodes):
        emitted = keys(split_dataset_by_node(stream(folder / f"{lanes}.yaml"), rank=node, world_size=nodes))
        mine = [whole[lane] for lane in range(node, lanes, nodes)]
        rounds = itertools.zip_longest(*mine)
        assert emitted == [record for each in rounds for record in each if record is not None]


@pytest.mark.parametrize("count", [3, 5])
def test_contiguous_shards_have_complete_lanes(folder: Path, count: int) -> None:
    dataset = stream(folder / "8.yaml")
    parts = [keys(dataset.shard(count, each)) for each in range(count)]
    assert sorted(record for part in parts for record in part) == everything(folder)
    assert all(parts)


def test_dataset_warns_when_nodes_do_not_divide_the_lanes(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "smollm3_mix"):
        next(iter(split_dataset_by_node(stream(folder / "12.yaml"), rank=0, world_size=7)))
        next(iter(split_dataset_by_node(stream(folder / "12.yaml"), rank=0, world_size=13)))
    assert [record.getMessage() for record in caplog.records] == [
        (
            "7 nodes read 12 lanes: nodes have 1 or 2 lanes, and those with fewer end earlier. "
            "Set `lanes` to a multiple of 7."
        ),
        (
            "13 nodes read 12 lanes: each node reads and cleans the whole mix and keeps one record in 13. "
            "Set `lanes` to a multiple of 13."
        ),
    ]


def test_more_nodes_than_lanes_yield_each_record_once(folder: Path) -> None:
    parts = [
        keys(split_dataset_by_node(stream(folder / "8.yaml", max_samples=60), rank=node, world_size=11))
        for node in range(11)
    ]
    assert sorted(record for part in parts for record in part) == sorted(
        keys(stream(folder / "8.yaml", max_samples=60))
    )


# States of some readers, loaded by others


def saved(opened: Mix, readers: Sequence[Sequence[int]], records: Sequence[int], *, rest: int = 0) -> tuple[Any, Any]:
    """Return the states of readers after these numbers of records, and the records. `rest` follow an older state."""
    states, emitted = [], []
    for lanes, count in zip(readers, records, strict=True):
        reader = opened.stream(lanes)
        iterator = iter(reader)
        emitted += keys(itertools.islice(iterator, count - rest))
        state = reader.state_dict()
        emitted += keys(itertools.islice(iterator, rest))
        states.append(reader.snapshot(since=state) if rest else reader.state_dict())
        reader.close()
    return json.loads(json.dumps(states)), emitted


def resumed(opened: Mix, lanes: Sequence[int], state: Any) -> Stream:
    reader = opened.stream(lanes)
    reader.load_state_dict(state)
    return reader


def split_lanes(lanes: int, readers: int) -> list[list[int]]:
    return [list(range(lanes))[reader::readers] for reader in range(readers)]


@pytest.mark.parametrize("rest", [0, 5])
@pytest.mark.parametrize(("before", "after"), [(4, 3), (4, 8), (1, 4), (3, 1), (8, 2)])
def test_merged_state_resumes_with_another_number_of_readers(folder: Path, before: int, after: int, rest: int) -> None:
    opened = mix(folder, 8)
    whole = by_lane(folder, 8)
    states, emitted = saved(opened, split_lanes(8, before), [96 // before] * before, rest=rest)
    merged = merge_states(states)
    for lanes in split_lanes(8, after):
        emitted += keys(resumed(opened, lanes, merged))
    assert sorted(emitted) == sorted(record for lane in whole.values() for record in lane)


def test_merged_state_resumes_in_the_order_of_one_reader(folder: Path) -> None:
    opened = mix(folder, 8)
    whole = keys(opened.stream())
    for count in (1, 3, 4, 7, 30):  # per reader: within and between rounds
        states, _ = saved(opened, split_lanes(8, 2), [count, count])
        assert keys(itertools.islice(resumed(opened, range(8), merge_states(states)), 40)) == whole[2 * count :][:40]


def test_merged_state_resumes_with_the_lane_that_emitted_the_fewest(folder: Path) -> None:
    opened = mix(folder, 8)
    whole = by_lane(folder, 8)
    states, _ = saved(opened, split_lanes(8, 2), [20, 11])
    reader = resumed(opened, range(8), merge_states(states))
    assert keys(itertools.islice(reader, 3)) == [whole[7][2], whole[0][5], whole[1][3]]


def test_merged_state_keeps_exhausted_lanes_inactive(folder: Path) -> None:
    opened = mix(folder, 8)
    states, emitted = saved(opened, split_lanes(8, 2), [10**6, 9])
    assert states[0]["active_lanes"] == []
    for lanes in split_lanes(8, 3):
        emitted += keys(resumed(opened, lanes, merge_states(states)))
    assert sorted(emitted) == sorted(keys(opened.stream()))


def test_datasets_resume_from_a_merged_state(folder: Path) -> None:
    emitted, states = [], []
    for node in range(2):
        dataset = split_dataset_by_node(stream(folder / "8.yaml"), rank=node, world_size=2)
        for record in itertools.islice(dataset, 21):
            emitted.append((record["source"], record["id"]))
            state = dataset.state_dict()
        states.append(state)
    merged = json.loads(json.dumps(merge_states(states)))
    assert set(merged) >= {"examples_iterable", "epoch"}
    for node in range(4):
        dataset = split_dataset_by_node(stream(folder / "8.yaml"), rank=node, world_size=4)
        dataset.load_state_dict(merged)  # after the split, which makes a new dataset
        emitted += keys(dataset)
    assert sorted(emitted) == everything(folder)


def test_merge_states_accepts_a_dataset_that_has_not_begun(folder: Path) -> None:
    begun = split_dataset_by_node(stream(folder / "8.yaml"), rank=0, world_size=2)
    emitted = keys(itertools.islice(begun, 9))
    pending = split_dataset_by_node(stream(folder / "8.yaml"), rank=1, world_size=2)
    merged = merge_states([begun.state_dict(), pending.state_dict()])
    dataset = stream(folder / "8.yaml")
    dataset.load_state_dict(merged)
    assert sorted(emitted + keys(dataset)) == everything(folder)


# What cannot be merged


def message(*states: Any) -> str:
    with pytest.raises(StateError) as raised:
        merge_states(states)
    return str(raised.value)


def test_merge_states_rejects_incompatible_states(folder: Path) -> None:
    opened = mix(folder, 8)
    (left, right), _ = saved(opened, split_lanes(8, 2), [5, 5])
    assert message(left) == (
        "This state lacks lanes 1, 3, 5, 7 of 8. Pass the states of all readers, of every rank and worker."
    )
    assert message(left, right, left) == (
        "Lane 0 is in two states: state 0 and state 2. Pass one state of each reader, all saved at the same step."
    )
    (limited,), _ = saved(open_mix(folder / "8.yaml", max_samples=50), [[1, 3, 5, 7]], [2])
    assert message(left, limited) == (
        f"state 0 was saved with limits={left['limits']!r}, and state 1 with limits={limited['limits']!r}. "
        "Pass states of one run."
    )
    (other,), _ = saved(open_mix(folder / "8.yaml", seed=8), [[1, 3, 5, 7]], [2])
    assert message(left, other) == (
        f"state 0 was saved by recipe 8 {left['fingerprint'][:7]}, and state 1 by 8 {other['fingerprint'][:7]}. "
        "They differ in:\n  seed: 7 → 8\nPass states of one run."
    )
    assert message({}, [1]) == "No mix state found. Pass the result of state_dict() from every reader."


def test_merge_states_rejects_incompatible_states_of_datasets(folder: Path) -> None:
    def state(change: Any, node: int) -> Any:
        dataset = change(split_dataset_by_node(stream(folder / "8.yaml"), rank=node, world_size=2))
        for _ in itertools.islice(dataset, 3 + node):
            found = dataset.state_dict()
        return found

    opened = mix(folder, 8)
    assert message(opened.stream().state_dict(), state(lambda dataset: dataset, 0)) == (
        "Some of these states belong to datasets and some to loaders or streams. Merge states of one kind."
    )
    taken = [state(lambda dataset: dataset.take(9), node) for node in range(2)]
    assert message(*taken) == (
        "state 1 is inside a table or batch, or counts the records of a single reader. It cannot be merged. "
        "Save states of a dataset that yields records, without take(), skip() or batched map(), or use "
        "smollm3_mix.MixLoader."
    )
    for since in (1, 3):
        assert message({"_snapshot": {}, "_steps_since_snapshot": since}) == (
            f"state 0 was saved {since} batches after the last snapshot of its workers. "
            "Pass snapshot_every_n_steps=1 to StatefulDataLoader, or save at a multiple of its snapshot interval."
        )


def test_stream_rejects_a_state_without_its_lanes(folder: Path) -> None:
    opened = mix(folder, 8)
    (left, _), _ = saved(opened, split_lanes(8, 2), [5, 5])
    with pytest.raises(StateError) as raised:
        resumed(opened, [0, 1], left)
    assert str(raised.value) == (
        "This state has lanes [0, 2, 4, 6], but the reader has lanes [0, 1]. "
        "Load the state of the same lanes, or merge_states() of all readers."
    )


# The next lane


def test_state_of_one_reader_keeps_its_order_of_lanes(folder: Path) -> None:
    opened = mix(folder, 8)
    order = [5, 2, 7, 0, 1, 3, 4, 6]
    for count in (3, 8, 13):
        (state,), _ = saved(opened, [order], [count])
        merged = merge_states([state])
        assert (merged["next_lane"], merged["active_lanes"]) == (order[count % 8], sorted(order))
        assert [at["records"] for at in merged["lanes"]] == [
            len(range(order.index(lane), count, 8)) for lane in range(8)
        ]


def test_state_counts_records_of_each_lane_when_reads_end_within_a_round(folder: Path) -> None:
    opened = mix(folder, 12)
    reader = opened.stream(range(5))
    emitted: list[int] = []
    for rows in (3, 4, 11, 1, 6):
        emitted += reader.read_with_lanes(rows)[1].tolist()
        records = {at["lane"]: at["records"] for at in reader.state_dict()["lanes"]}
        assert records == {lane: emitted.count(lane) for lane in range(5)}


def test_next_lane_position_skips_lanes_of_other_readers() -> None:
    lanes = [1, 4, 6]
    assert [next_lane_position(turn, lanes) for turn in range(8)] == [0, 0, 1, 1, 1, 2, 2, 0]
    assert next_lane_position(None, lanes) == 0
    assert next_lane_position(4, [6, 4, 1]) == 1
