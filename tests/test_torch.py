"""The streaming dataset under torch: plain `DataLoader` workers and torchdata's `StatefulDataLoader`."""

import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from datasets.distributed import split_dataset_by_node
from doors import stream, write_recipe, write_sources

from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.state.merge_states import merge_states

pytest.importorskip("torch", reason="workers are torch's")
stateful_dataloader = pytest.importorskip("torchdata.stateful_dataloader", reason="its states are tested")

from torch.utils.data import DataLoader  # noqa: E402 - only where there is torch

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # on a machine of few cores
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # Arrow beside fork
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),  # torchdata calls it
    pytest.mark.filterwarnings("ignore:Length of IterableDataset:UserWarning"),
]

Key = tuple[str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch")
    write_sources(folder / "sources", rows=180)
    for lanes in (8, 12):
        write_recipe(
            folder / f"{lanes}.yaml", folder / "sources", lanes=lanes, block={"rows": 8}, dedup={"exact": True}
        )
    return folder


def first(batch: list[dict[str, Any]]) -> list[Key]:
    return [(record["source"], record["id"]) for record in batch]


def flat(batches: Any) -> list[Key]:
    return [key for batch in batches for key in batch]


def lanes_of(recipe: Path) -> dict[int, list[Key]]:
    mix = open_mix(recipe)
    return {lane: first(list(mix.stream([lane]))) for lane in range(mix.num_lanes)}


def data(dataset: Any, workers: int, batch_size: int = 1) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size=batch_size, num_workers=workers, collate_fn=first)


def stateful(dataset: Any, workers: int, batch_size: int, **more: Any) -> Any:
    return stateful_dataloader.StatefulDataLoader(
        dataset, batch_size=batch_size, num_workers=workers, collate_fn=first, **more
    )


def node(recipe: Path, rank: int, ranks: int) -> Any:
    return split_dataset_by_node(stream(recipe), rank=rank, world_size=ranks) if ranks > 1 else stream(recipe)


@pytest.mark.parametrize("lanes", [8, 12])
def test_nodes_and_workers_give_each_record_once_and_each_lane_in_order(folder: Path, lanes: int) -> None:
    recipe = folder / f"{lanes}.yaml"
    whole = lanes_of(recipe)
    home = {key: lane for lane, keys in whole.items() for key in keys}
    for ranks, workers in itertools.product((1, 2, 3, 4, 8), (0, 1, 2, 4)):
        found: dict[int, list[Key]] = {lane: [] for lane in whole}
        # each rank of many is like the others; those with the most and the fewest lanes are read by workers
        for rank in range(ranks):
            count = workers if rank in (0, ranks - 1) else 0
            for key in flat(data(node(recipe, rank, ranks), count)):
                found[home[key]].append(key)
        assert found == whole, (ranks, workers)


def test_a_worker_with_several_lanes_gives_one_record_of_each_in_turn(folder: Path) -> None:
    whole = lanes_of(folder / "8.yaml")
    home = {key: lane for lane, keys in whole.items() for key in keys}
    given = flat(itertools.islice(data(stream(folder / "8.yaml"), 2, batch_size=4), 6))
    assert [home[key] for key in given] == [0, 2, 4, 6, 1, 3, 5, 7] * 3


def test_torchs_own_collation_takes_records_as_they_come(folder: Path) -> None:
    batch = next(iter(DataLoader(stream(folder / "8.yaml"), batch_size=4)))
    assert [len(column) for column in batch.values()] == [4] * 7
    assert batch["meta"] == ["{}"] * 4


def test_more_workers_than_lanes_stand_idle(folder: Path) -> None:
    assert sorted(flat(data(node(folder / "8.yaml", 0, 4), 3))) == sorted(flat(data(node(folder / "8.yaml", 0, 4), 0)))


def test_spawned_and_persistent_workers_give_the_same_again(folder: Path) -> None:
    whole = flat(data(stream(folder / "8.yaml"), 2))
    kept = DataLoader(
        stream(folder / "8.yaml"),
        batch_size=1,
        num_workers=2,
        collate_fn=first,
        persistent_workers=True,
        multiprocessing_context="spawn",
    )
    assert flat(kept) == flat(kept) == whole


@pytest.mark.parametrize(("workers", "size"), [(0, 1), (0, 5), (2, 5), (3, 4)])
def test_a_stateful_dataloader_resumes_after_every_batch(folder: Path, workers: int, size: int) -> None:
    recipe = folder / "8.yaml"
    batches, states = [], []
    began = stateful(stream(recipe, max_samples=120), workers, size)
    for batch in began:
        batches.append(batch)
        states.append(pickle.loads(pickle.dumps(began.state_dict())))
    for position in range(0, len(states), 1 if not workers else 4):
        again = stateful(stream(recipe, max_samples=120), workers, size)
        again.load_state_dict(states[position])
        assert list(again) == batches[position + 1 :]


@pytest.mark.parametrize("batches", [1, 2, 7])
def test_states_of_two_by_two_go_on_at_four_by_one_and_one_by_three(folder: Path, batches: int) -> None:
    recipe = folder / "8.yaml"
    given, states = [], []
    for rank in range(2):
        began = stateful(node(recipe, rank, 2), 2, 3)
        given += flat(itertools.islice(began, batches))
        states.append(began.state_dict())
    merged = json.loads(json.dumps(merge_states(states)))
    whole = sorted(key for keys in lanes_of(recipe).values() for key in keys)
    for ranks, workers in ((4, 1), (1, 3)):
        rest = []
        for rank in range(ranks):
            dataset = node(recipe, rank, ranks)
            dataset.load_state_dict(merged)
            rest += flat(data(dataset, workers, batch_size=2))
        assert sorted(given + rest) == whole


def test_a_state_between_snapshots_is_refused(folder: Path) -> None:
    began = stateful(stream(folder / "8.yaml"), 2, 3, snapshot_every_n_steps=4)
    list(itertools.islice(began, 6))
    with pytest.raises(ValueError, match=r"state 0 was saved 2 batches after the last snapshot of its workers"):
        merge_states([began.state_dict()])


def test_set_epoch_gives_the_same_order_and_a_state_is_of_its_epoch(folder: Path) -> None:
    dataset = stream(folder / "8.yaml")
    whole = flat(data(dataset, 0))
    list(itertools.islice(dataset, 10))
    state = dataset.state_dict()
    dataset.set_epoch(1)
    assert flat(data(dataset, 0)) == whole
    dataset.load_state_dict(state)  # of epoch 0, so it is not gone on from
    assert flat(data(dataset, 0)) == whole
    dataset.set_epoch(0)
    assert flat(data(dataset, 0)) == whole[10:]


def test_a_shuffle_buffer_is_lost_on_resume(folder: Path) -> None:
    def build() -> Any:
        return stream(folder / "8.yaml").shuffle(seed=1, buffer_size=20)

    dataset = build()
    given = flat([first(list(itertools.islice(dataset, 30)))])
    state = dataset.state_dict()
    again = build()
    again.load_state_dict(state)
    whole, rest = flat(data(stream(folder / "8.yaml"), 0)), flat(data(again, 0))
    lost = set(whole) - set(given) - set(rest)
    assert 0 < len(lost) <= 20
    assert not set(given) & set(rest)
