"""The state of a torchdata `StatefulDataLoader` has the shape that this package expects."""

from typing import Any

import pytest

from smollm3_mix.compat import torchdata

pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # raised inside torchdata
stateful_dataloader = pytest.importorskip("torchdata.stateful_dataloader")


class Numbers:
    """An iterable dataset with a state."""

    def __init__(self) -> None:
        self.position = 0

    def __iter__(self) -> Any:
        while self.position < 12:
            self.position += 1
            yield self.position

    def state_dict(self) -> dict[str, Any]:
        return {"fingerprint": "x", "lanes": [self.position]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        (self.position,) = state["lanes"]


def loader(num_workers: int, interval: int) -> Any:
    from torch.utils.data import IterableDataset

    dataset = type("Dataset", (Numbers, IterableDataset), {})()
    options = {"num_workers": num_workers, "snapshot_every_n_steps": interval, "batch_size": None}
    return stateful_dataloader.StatefulDataLoader(dataset, **options)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_state_counts_the_batches_since_the_last_snapshot(num_workers: int) -> None:
    reader = loader(num_workers, 3)
    iterator, counts = iter(reader), []
    for _ in range(6):
        next(iterator)
        counts.append(torchdata.steps_since_snapshot(reader.state_dict()))
    assert counts == ([1, 2, 0, 1, 2, 0] if num_workers else [0] * 6)


def test_states_of_workers_are_nested_in_the_state() -> None:
    reader = loader(1, 1)
    next(iter(reader))
    assert "'lanes': [1]" in str(reader.state_dict())


def test_other_states_count_no_batches() -> None:
    assert torchdata.steps_since_snapshot({"lanes": []}) == 0
