"""Resuming the streaming dataset: after any record, without replay. Runs on every supported `datasets`."""

import json
import pickle
import time
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets.distributed import split_dataset_by_node
from doors import stream, write_recipe, write_sources

from smollm3_mix.builder import examples_iterable
from smollm3_mix.errors import StateError
from smollm3_mix.mix.stream import Stream


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    write_sources(folder / "sources", rows=60)
    return write_recipe(folder / "mine.yaml", folder / "sources", lanes=3, block={"rows": 8})


def ids(examples: Any) -> list[str]:
    return [example["id"] for example in examples]


def table_ids(tables: Any) -> list[str]:
    return [one for table in tables for one in table["id"].to_pylist()]


@pytest.mark.parametrize("ratio", [0, 10**9])
def test_dataset_resumes_after_every_record(recipe: Path, ratio: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # 0: every state comes from the stream. 10**9: every state refers to the first one.
    monkeypatch.setattr(examples_iterable, "STATE_COST_RATIO", ratio)
    dataset = stream(recipe, max_samples=48)
    found, states = [], [dataset.state_dict()]
    for record in dataset:
        found.append(record["id"])
        states.append(json.loads(json.dumps(dataset.state_dict())))
    assert len(found) == 48
    fresh = stream(recipe, max_samples=48)
    for position, state in enumerate(states):
        fresh.load_state_dict(state)
        assert ids(fresh) == found[position:]


@pytest.mark.parametrize(("batch_size", "ratio"), [(1, 0), (5, 0), (5, 10**9)])
def test_dataset_resumes_after_every_arrow_batch(
    recipe: Path, batch_size: int, ratio: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples_iterable, "STATE_COST_RATIO", ratio)
    # several tables, so that states are inside and between tables
    monkeypatch.setattr(examples_iterable.MixExamples.__init__, "__defaults__", (16,))
    dataset = stream(recipe, max_samples=45).with_format("arrow")
    found, states = [[]], [dataset.state_dict()]
    for table in dataset.iter(batch_size=batch_size):
        found.append(table["id"].to_pylist())
        states.append(json.loads(json.dumps(dataset.state_dict())))
    fresh = stream(recipe, max_samples=45).with_format("arrow")
    for position, state in enumerate(states):
        fresh.load_state_dict(state)
        rest = [one for batch in found[position + 1 :] for one in batch]
        assert table_ids(fresh.iter(batch_size=batch_size)) == rest


def test_dataset_resumes_through_map_and_take(recipe: Path) -> None:
    def build() -> Any:
        return stream(recipe).map(lambda record: {"length": len(record["text"])}).take(50)

    dataset, found, states = build(), [], []
    for record in dataset:
        found.append(record["id"])
        states.append(dataset.state_dict())
    for position in (0, 7, 31, 49):
        fresh = build()
        fresh.load_state_dict(states[position])
        assert ids(fresh) == found[position + 1 :]


def test_interleaved_mixes_resume(recipe: Path) -> None:
    def build() -> Any:
        return datasets.interleave_datasets([stream(recipe, max_samples=30), stream(recipe, max_samples=30, seed=8)])

    dataset, found, states = build(), [], []
    for record in dataset:
        found.append(record["id"])
        states.append(dataset.state_dict())
    for position in (0, 1, 20, 41):
        fresh = build()
        fresh.load_state_dict(states[position])
        assert ids(fresh) == found[position + 1 :]


def test_state_is_available_after_a_break(recipe: Path) -> None:
    complete, dataset = ids(stream(recipe)), stream(recipe)
    for position, _ in enumerate(dataset, 1):
        if position == 10:
            break
    state = pickle.loads(pickle.dumps(dataset.state_dict()))
    fresh = stream(recipe)
    fresh.load_state_dict(state)
    assert ids(fresh) == complete[10:]


def test_state_does_not_change_with_the_stream(recipe: Path) -> None:
    dataset = stream(recipe)
    iterator = iter(dataset)
    next(iterator)
    state = dataset.state_dict()
    before = json.dumps(state)
    next(iterator)
    assert json.dumps(state) == before


def test_dataset_can_be_pickled_while_it_is_read(recipe: Path) -> None:
    dataset = stream(recipe)
    iterator = iter(dataset)
    first = next(iterator)["id"]
    copy = pickle.loads(pickle.dumps(dataset))
    assert ids(copy)[0] == first
    copy.load_state_dict(dataset.state_dict())
    assert ids(copy) == ids(iterator)


def test_finished_dataset_resumes_at_its_end(recipe: Path) -> None:
    dataset = stream(recipe)
    assert ids(dataset)
    fresh = stream(recipe)
    fresh.load_state_dict(dataset.state_dict())
    assert ids(fresh) == []


def test_node_resumes_its_own_lanes(recipe: Path) -> None:
    for rank in range(3):
        dataset = split_dataset_by_node(stream(recipe), rank=rank, world_size=3)
        iterator = iter(dataset)
        next(iterator)
        state, rest = dataset.state_dict(), ids(iterator)
        fresh = split_dataset_by_node(stream(recipe), rank=rank, world_size=3)
        fresh.load_state_dict(state)
        assert ids(fresh) == rest


def test_dataset_resumes_without_replay(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = stream(recipe)
    iterator = iter(dataset)
    for _ in range(60):
        next(iterator)
    state = dataset.state_dict()
    emitted: list[Any] = []
    original = Stream.__iter__
    monkeypatch.setattr(Stream, "__iter__", lambda self: (emitted.append(one) or one for one in original(self)))
    monkeypatch.setattr(Stream, "read", lambda self, rows: pytest.fail(f"read {rows} records again"))
    fresh = stream(recipe)
    fresh.load_state_dict(state)
    assert next(iter(fresh)) == next(iterator)
    assert len(emitted) == 1


def test_frequent_states_cost_a_fraction_of_the_time(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # as if the dedup state had millions of documents
    requested: list[float] = []
    original = Stream.snapshot

    def slow(self: Stream, since: Any = None) -> dict[str, Any]:
        if since is None:
            requested.append(time.monotonic())
            time.sleep(0.05)
        return original(self, since)

    monkeypatch.setattr(Stream, "snapshot", slow)
    dataset, start = stream(recipe), time.monotonic()
    found = []
    for record in dataset:
        found.append(record["id"])
        state = dataset.state_dict()
    assert len(requested) <= 2 + (time.monotonic() - start) / (examples_iterable.STATE_COST_RATIO * 0.05)
    fresh = stream(recipe)
    fresh.load_state_dict(state)
    assert ids(fresh) == []


def test_state_of_another_recipe_is_refused_when_iteration_starts(recipe: Path) -> None:
    other = stream(recipe, seed=8)
    next(iter(other))
    dataset = stream(recipe)
    dataset.load_state_dict(other.state_dict())
    with pytest.raises(StateError, match="This state was saved by"):
        next(iter(dataset))


def test_state_of_other_lanes_is_refused(recipe: Path) -> None:
    node = split_dataset_by_node(stream(recipe), rank=0, world_size=3)
    next(iter(node))
    dataset = stream(recipe)
    dataset.load_state_dict(node.state_dict())
    with pytest.raises(StateError):
        next(iter(dataset))


def test_state_of_another_dataset_is_refused(recipe: Path, tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"id": ["a", "b"]}).to_parquet(tmp_path / "a.parquet")
    other = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "a.parquet"), split="train", streaming=True, cache_dir=str(tmp_path)
    ).with_format("arrow")
    next(iter(other))
    dataset = stream(recipe).with_format("arrow")
    dataset.load_state_dict(other.state_dict())
    with pytest.raises(StateError) as error:
        next(iter(dataset))
    assert str(error.value) == (
        "This state belongs to another dataset: it has 'shard_idx', expected 'smollm3_mix'. "
        "Load the result of state_dict() of this dataset, or start without a state."
    )
