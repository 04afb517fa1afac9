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

pytest.importorskip("torch", reason="workers of torch's DataLoader are tested: pip install torch")
stateful_dataloader = pytest.importorskip(
    "torchdata.stateful_dataloader", reason="its states are tested: pip install torchdata"
)

from torch.utils.data import DataLoader  # noqa: E402 - only if torch is installed

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


def keys(batch: list[dict[str, Any]]) -> list[Key]:
    return [(record["source"], record["id"]) for record in batch]


def flat(batches: Any) -> list[Key]:
    return [key for batch in batches for key in batch]


def lanes_of(recipe: Path) -> dict[int, list[Key]]:
    mix = open_mix(recipe)
    return {lane: keys(list(mix.stream([lane]))) for lane in range(mix.num_lanes)}


def plain_loader(dataset: Any, workers: int, batch_size: int = 1) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size=batch_size, num_workers=workers, collate_fn=keys)


def stateful_loader(dataset: Any, workers: int, batch_size: int, **more: Any) -> Any:
    return stateful_dataloader.StatefulDataLoader(
        dataset, batch_size=batch_size, num_workers=workers, collate_fn=keys, **more
    )


def dataset_of_rank(recipe: Path, rank: int, ranks: int) -> Any:
    return split_dataset_by_node(stream(recipe), rank=rank, world_size=ranks) if ranks > 1 else stream(recipe)


@pytest.mark.parametrize("lanes", [8, 12])
def test_ranks_and_workers_yield_each_record_once_and_each_lane_in_order(folder: Path, lanes: int) -> None:
    recipe = folder / f"{lanes}.yaml"
    by_lane = lanes_of(recipe)
    lane_of = {key: lane for lane, found in by_lane.items() for key in found}
    for ranks, workers in itertools.product((1, 2, 3, 4, 8), (0, 1, 2, 4)):
        found: dict[int, list[Key]] = {lane: [] for lane in by_lane}
        # workers read the ranks with the most and the fewest lanes, which is enough
        for rank in range(ranks):
            count = workers if rank in (0, ranks - 1) else 0
            for key in flat(plain_loader(dataset_of_rank(recipe, rank, ranks), count)):
                found[lane_of[key]].append(key)
        assert found == by_lane, (ranks, workers)


def test_worker_with_several_lanes_interleaves_them_round_robin(folder: Path) -> None:
    by_lane = lanes_of(folder / "8.yaml")
    lane_of = {key: lane for lane, found in by_lane.items() for key in found}
    emitted = flat(itertools.islice(plain_loader(stream(folder / "8.yaml"), 2, batch_size=4), 6))
    assert [lane_of[key] for key in emitted] == [0, 2, 4, 6, 1, 3, 5, 7] * 3


def test_default_collation_of_torch_accepts_records(folder: Path) -> None:
    batch = next(iter(DataLoader(stream(folder / "8.yaml"), batch_size=4)))
    assert [len(column) for column in batch.values()] == [4] * 7
    assert batch["meta"] == ["{}"] * 4


def test_records_are_the_same_with_more_workers_than_lanes(folder: Path) -> None:
    assert sorted(flat(plain_loader(dataset_of_rank(folder / "8.yaml", 0, 4), 3))) == sorted(
        flat(plain_loader(dataset_of_rank(folder / "8.yaml", 0, 4), 0))
    )


def test_spawned_and_persistent_workers_yield_the_same_batches_again(folder: Path) -> None:
    expected = flat(plain_loader(stream(folder / "8.yaml"), 2))
    kept = DataLoader(
        stream(folder / "8.yaml"),
        batch_size=1,
        num_workers=2,
        collate_fn=keys,
        persistent_workers=True,
        multiprocessing_context="spawn",
    )
    assert flat(kept) == flat(kept) == expected


@pytest.mark.parametrize(("workers", "size"), [(0, 1), (0, 5), (2, 5), (3, 4)])
def test_stateful_dataloader_resumes_after_every_batch(folder: Path, workers: int, size: int) -> None:
    recipe = folder / "8.yaml"
    batches, states = [], []
    loader = stateful_loader(stream(recipe, max_samples=120), workers, size)
    for batch in loader:
        batches.append(batch)
        states.append(pickle.loads(pickle.dumps(loader.state_dict())))
    for position in range(0, len(states), 1 if not workers else 4):
        again = stateful_loader(stream(recipe, max_samples=120), workers, size)
        again.load_state_dict(states[position])
        assert list(again) == batches[position + 1 :]


@pytest.mark.parametrize("batches", [1, 2, 7])
def test_merged_states_resume_with_other_numbers_of_ranks_and_workers(folder: Path, batches: int) -> None:
    recipe = folder / "8.yaml"
    emitted, states = [], []
    for rank in range(2):
        loader = stateful_loader(dataset_of_rank(recipe, rank, 2), 2, 3)
        emitted += flat(itertools.islice(loader, batches))
        states.append(loader.state_dict())
    merged = json.loads(json.dumps(merge_states(states)))
    expected = sorted(key for found in lanes_of(recipe).values() for key in found)
    for ranks, workers in ((4, 1), (1, 3)):
        rest = []
        for rank in range(ranks):
            dataset = dataset_of_rank(recipe, rank, ranks)
            dataset.load_state_dict(merged)
            rest += flat(plain_loader(dataset, workers, batch_size=2))
        assert sorted(emitted + rest) == expected


def test_merge_states_rejects_a_state_between_snapshots(folder: Path) -> None:
    loader = stateful_loader(stream(folder / "8.yaml"), 2, 3, snapshot_every_n_steps=4)
    list(itertools.islice(loader, 6))
    with pytest.raises(ValueError, match=r"state 0 was saved 2 batches after the last snapshot of its workers"):
        merge_states([loader.state_dict()])


def test_set_epoch_keeps_the_order_and_states_apply_to_their_epoch_only(folder: Path) -> None:
    dataset = stream(folder / "8.yaml")
    expected = flat(plain_loader(dataset, 0))
    list(itertools.islice(dataset, 10))
    state = dataset.state_dict()
    dataset.set_epoch(1)
    assert flat(plain_loader(dataset, 0)) == expected
    dataset.load_state_dict(state)  # ignored, because it belongs to epoch 0
    assert flat(plain_loader(dataset, 0)) == expected
    dataset.set_epoch(0)
    assert flat(plain_loader(dataset, 0)) == expected[10:]


def test_shuffle_buffer_is_lost_on_resume(folder: Path) -> None:
    def build() -> Any:
        return stream(folder / "8.yaml").shuffle(seed=1, buffer_size=20)

    dataset = build()
    emitted = flat([keys(list(itertools.islice(dataset, 30)))])
    state = dataset.state_dict()
    again = build()
    again.load_state_dict(state)
    expected, rest = flat(plain_loader(stream(folder / "8.yaml"), 0)), flat(plain_loader(again, 0))
    lost = set(expected) - set(emitted) - set(rest)
    assert 0 < len(lost) <= 20
    assert not set(emitted) & set(rest)
