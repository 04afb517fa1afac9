"""`MixLoader`: batches that do not depend on the workers, are divided among any number of ranks, and resume exactly."""

import itertools
import json
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doors import WITHOUT_EXTRAS, run, write_lanes, write_recipe, write_sources

import smollm3_mix
from smollm3_mix.errors import StateError
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.state.merge_states import merge_states
from smollm3_mix.torch_loader import worker_blocks

Key = tuple[str, str]

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)  # Arrow's threads


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lanes(tmp_path_factory.mktemp("loader"), 1800)


@pytest.fixture(scope="module")
def eight(folder: Path) -> Mix:
    return open_mix(folder / "8.yaml")


@pytest.fixture(autouse=True)
def _no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def keys(records: Any) -> list[Key]:
    return [(record["source"], record["id"]) for record in records]


def flat(batches: Any) -> list[Key]:
    return [key for batch in batches for key in keys(batch)]


def make_loader(mix: Any, batch_size: int = 24, rank: int = 0, world_size: int = 1, **options: Any) -> Any:
    return smollm3_mix.MixLoader(mix, batch_size, rank=rank, world_size=world_size, **options)


# Batches


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_equal_the_stream_for_any_number_of_workers(eight: Mix, workers: int) -> None:
    expected = keys(eight.stream())
    assert len(expected) > 8 * 3 * 64  # several blocks of every lane
    batches = list(make_loader(eight, num_workers=workers))
    assert [len(batch) for batch in batches[:-1]] == [24] * (len(batches) - 1)
    assert flat(batches) == expected


def test_formats_contain_the_same_records(eight: Mix) -> None:
    records, arrow, columns = (
        list(itertools.islice(make_loader(eight, format=format_name), 9))
        for format_name in ("records", "arrow", "numpy")
    )
    assert records[0] == list(itertools.islice(eight.stream(), 24))
    assert [batch.to_pylist() for batch in arrow] == records
    for batch, expected in zip(columns, records, strict=True):
        assert list(batch) == list(expected[0])
        assert isinstance(batch["tokens"], np.ndarray)
        assert batch["tokens"].tolist() == [record["tokens"] for record in expected]
        assert batch["text"] == [record["text"] for record in expected]


def test_torch_format_contains_tensors(eight: Mix) -> None:
    torch = pytest.importorskip("torch", reason="the format needs the extra torch")
    records, columns = (next(iter(make_loader(eight, format=name, num_workers=2))) for name in ("records", "torch"))
    assert isinstance(columns["tokens"], torch.Tensor)
    assert columns["tokens"].tolist() == [record["tokens"] for record in records]
    assert columns["text"] == [record["text"] for record in records]


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("lanes", [8, 12])
def test_global_batches_are_the_same_for_any_ranks_and_workers(folder: Path, lanes: int, workers: int) -> None:
    mix = open_mix(folder / f"{lanes}.yaml", max_samples=600)
    expected, by_lane = keys(mix.stream()), {lane: keys(mix.stream([lane])) for lane in range(lanes)}
    lane_of = {key: lane for lane, emitted in by_lane.items() for key in emitted}
    for ranks in (1, 2, 3, 4, 8):
        size = 2 * lanes // ranks
        shares = [list(make_loader(mix, size, rank, ranks, num_workers=workers)) for rank in range(ranks)]
        found: dict[int, list[Key]] = {lane: [] for lane in range(lanes)}
        for key in flat(batch for share in shares for batch in share):
            found[lane_of[key]].append(key)
        assert found == by_lane, ranks  # each record once, each lane in its order
        if lanes % ranks == 0:
            together = [sorted(flat(batches)) for batches in zip(*shares, strict=True)]
            assert together == [sorted(expected[at : at + 2 * lanes]) for at in range(0, len(expected), 2 * lanes)]


def test_loader_skips_exhausted_lanes(folder: Path) -> None:
    mix = open_mix(folder / "8.yaml", max_tokens=9000)
    lengths = {len(list(mix.stream([lane]))) for lane in range(8)}
    assert len(lengths) > 1
    assert flat(make_loader(mix, 7, num_workers=3)) == keys(mix.stream())


def test_collate_fn_and_drop_last_apply_to_every_batch(eight: Mix) -> None:
    assert list(itertools.islice(make_loader(eight, 5, collate_fn=len), 3)) == [5, 5, 5]
    limited = open_mix(eight.recipe, max_samples=52)
    assert list(make_loader(limited, 24, collate_fn=len)) == [24, 24, 4]
    assert list(make_loader(limited, 24, collate_fn=len, drop_last=True)) == [24, 24]


@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_workers_start_with_any_start_method(eight: Mix, context: str) -> None:
    if context not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this platform has no {context}")
    for chosen in (context, multiprocessing.get_context(context)):
        batches = itertools.islice(make_loader(eight, num_workers=2, multiprocessing_context=chosen), 10)
        assert flat(batches) == keys(itertools.islice(eight.stream(), 240))


def test_persistent_workers_start_over_in_each_iteration(eight: Mix) -> None:
    loader = make_loader(eight, num_workers=2, persistent_workers=True)
    expected = keys(itertools.islice(eight.stream(), 240))
    workers = []
    for _ in range(2):
        assert flat(itertools.islice(loader, 10)) == expected
        workers.append({process.pid for process in multiprocessing.active_children()})
    assert workers[0] == workers[1]
    loader.load_state_dict(loader.state_dict())
    assert flat(itertools.islice(loader, 1)) == keys(itertools.islice(eight.stream(), 240, 264))
    assert flat(itertools.islice(loader, 10)) == expected


def test_workers_stop_when_their_iterator_is_deleted(eight: Mix) -> None:
    before = set(multiprocessing.active_children())
    batches = iter(make_loader(eight, num_workers=2))
    next(batches)
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    del batches
    assert not any(worker.is_alive() for worker in workers)


# States


@pytest.mark.parametrize(("size", "workers"), [(1, 0), (7, 0), (24, 2)])
def test_loader_resumes_after_every_batch(folder: Path, size: int, workers: int) -> None:
    mix = open_mix(folder / "8.yaml", max_samples=2600 if workers else 700)
    expected, first = keys(mix.stream()), make_loader(mix, size, num_workers=workers)
    states = [first.state_dict()]
    for _ in first:
        states.append(json.loads(json.dumps(first.state_dict())))  # noqa: PERF401 - state_dict() moves with `first`
    again = make_loader(mix, size)
    for position in range(0, len(states), 1 if size == 1 and len(states) < 100 else 9):
        assert again.load_state_dict(states[position]) is None
        assert flat(itertools.islice(again, 70)) == expected[position * size :][: 70 * size]
    again.load_state_dict(states[-1])
    assert list(again) == []


def test_state_continues_from_an_older_lane_state_when_states_are_expensive(
    eight: Mix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_blocks, "STATE_COST_RATIO", 10**9)
    expected, first = keys(eight.stream()), make_loader(eight, 50)
    list(itertools.islice(first, 20))
    again = make_loader(eight, 50)
    again.load_state_dict(first.state_dict())
    assert flat(again) == expected[1000:]


@pytest.mark.parametrize("steps", [0, 1, 11, 60])
def test_merged_states_resume_with_other_numbers_of_ranks_and_workers(eight: Mix, steps: int) -> None:
    expected = keys(eight.stream())
    states, emitted = [], []
    for rank in range(2):
        loader = make_loader(eight, 12, rank, 2, num_workers=2)
        emitted += flat(itertools.islice(loader, steps))
        states.append(json.loads(json.dumps(loader.state_dict())))
    assert sorted(emitted) == sorted(expected[: steps * 24])
    merged = merge_states(states)
    for ranks, workers in ((4, 1), (1, 3)):
        rest = []
        for rank in range(ranks):
            loader = make_loader(eight, 24 // ranks, rank, ranks, num_workers=workers)
            loader.load_state_dict(merged)
            rest.append(list(loader))
        first = [sorted(flat(batches)) for batches in itertools.islice(zip(*rest, strict=False), 10)]
        assert first == [sorted(expected[at : at + 24]) for at in range(24 * steps, 24 * steps + 240, 24)]
        assert sorted(emitted + flat(batch for batches in rest for batch in batches)) == sorted(expected)


def test_loaders_and_streams_exchange_states(eight: Mix) -> None:
    expected, loader = keys(eight.stream()), make_loader(eight, 13)
    list(itertools.islice(loader, 5))
    stream = eight.stream()
    stream.load_state_dict(loader.state_dict())
    assert keys(itertools.islice(stream, 20)) == expected[65:85]
    loader.load_state_dict(stream.state_dict())
    assert flat(itertools.islice(loader, 3)) == expected[85:124]


def test_every_iteration_starts_over_and_the_state_follows_the_newest(eight: Mix) -> None:
    loader = make_loader(eight)
    start = loader.state_dict()
    batches = flat(itertools.islice(loader, 2))
    assert flat(itertools.islice(loader, 2)) == batches
    loader.load_state_dict(start)
    assert flat(itertools.islice(loader, 2)) == batches


def test_loader_resumes_with_dedup_state_files(folder: Path, tmp_path: Path) -> None:
    mix = open_mix(folder / "8.yaml", dedup_state_dir=tmp_path)
    expected, first = keys(mix.stream()), make_loader(mix, num_workers=2)
    list(itertools.islice(first, 9))
    state = first.state_dict()
    assert {lane["dedup_state"]["file"] for lane in state["lanes"]} == {f"train-{lane:05d}.dedup" for lane in range(8)}
    again = make_loader(mix, num_workers=2)
    again.load_state_dict(state)
    assert flat(again) == expected[9 * 24 :]


# Errors


class WrappedMix:
    """A mix that calls a function before each read of a worker with lane 1."""

    def __init__(self, mix: Mix, before_read: Callable[[int], None]) -> None:
        self._mix, self._before_read = mix, before_read
        self.num_lanes = mix.num_lanes

    def stream(self, lanes: Any) -> Any:
        stream, reads = self._mix.stream(lanes), itertools.count()
        original = stream.read_with_lanes

        def read(rows: int) -> Any:
            if multiprocessing.parent_process() is not None and 1 in lanes:
                self._before_read(next(reads))
            return original(rows)

        stream.read_with_lanes = read
        return stream


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no signals to kill with")
def test_loader_raises_and_can_resume_when_a_worker_is_killed(eight: Mix, tmp_path: Path) -> None:
    def kill(reads: int) -> None:
        if reads == 6:
            while not (tmp_path / "first-batch").exists():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

    loader = make_loader(WrappedMix(eight, kill), 24, num_workers=2, multiprocessing_context="fork")
    emitted: list[Key] = []

    def train() -> None:
        for batch in loader:
            emitted.extend(keys(batch))
            (tmp_path / "first-batch").touch()

    with pytest.raises(RuntimeError) as error:
        train()
    assert str(error.value) == (
        "loader worker 1 exited with code -9. A negative code is a signal, such as -9 when the system was out of "
        "memory."
    )
    assert emitted
    again = make_loader(eight, 24, num_workers=2)
    again.load_state_dict(loader.state_dict())
    assert emitted + flat(again) == keys(eight.stream())


def test_loader_raises_when_a_worker_exceeds_the_timeout(eight: Mix) -> None:
    slow = WrappedMix(eight, lambda _: time.sleep(60))
    with pytest.raises(RuntimeError) as error:
        list(make_loader(slow, num_workers=2, timeout=0.5, multiprocessing_context="fork"))
    assert str(error.value) == (
        "loader worker 1 has made no block for 0.5 seconds. Raise timeout=, or pass 0 to wait forever."
    )


def test_loader_raises_the_error_of_a_worker(folder: Path, tmp_path: Path) -> None:
    write_sources(tmp_path / "sources", rows=400)
    mix = open_mix(write_recipe(tmp_path / "broken.yaml", tmp_path / "sources", lanes=2))
    (tmp_path / "sources/alpha/0.parquet").write_bytes(b"no parquet any more")
    with pytest.raises(smollm3_mix.SourceError, match="alpha") as error:
        list(make_loader(mix, num_workers=2))
    assert str(error.value.__cause__).startswith("in loader worker ")
    assert "Traceback" in str(error.value.__cause__)


class _LocalError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def test_loader_raises_the_text_of_an_error_that_cannot_be_pickled(eight: Mix) -> None:
    def fail(_: int) -> None:
        raise _LocalError("no", "pickle")

    with pytest.raises(RuntimeError, match=r"(?s)in loader worker 1:\n.*_LocalError: nopickle"):
        list(make_loader(WrappedMix(eight, fail), num_workers=2, multiprocessing_context="fork"))


def test_loader_rejects_invalid_arguments(eight: Mix) -> None:
    def message(*arguments: Any, error: type[Exception] = ValueError, **keywords: Any) -> str:
        with pytest.raises(error) as raised:
            make_loader(*arguments, **keywords)
        return str(raised.value)

    assert message(eight, 0) == "batch_size must be a whole number of at least 1, got 0."
    assert message(eight, 8.0) == "batch_size must be a whole number of at least 1, got 8.0."
    assert message(eight, num_workers=-1) == "num_workers must be a whole number of at least 0, got -1."
    assert message(eight, num_workers="2") == "num_workers must be a whole number of at least 0, got '2'."
    assert message(eight, prefetch_factor=0) == "prefetch_factor must be a whole number of at least 1, got 0."
    assert message(eight, format="tensor") == "format must be one of records, arrow, numpy, torch, got 'tensor'."
    assert message(eight, pin_memory=True) == "pin_memory=True needs format=\"torch\", got format='records'."
    assert message(eight, timeout=-1) == "timeout must not be negative, got -1. Pass 0 to wait forever."
    assert message(eight, 24, 2, 2) == "rank must be from 0 to world_size - 1, got rank=2, world_size=2."
    assert message(eight, 24, 0, None) == "rank and world_size must be given together, got rank=0, world_size=None."
    assert message(eight, 24, 3, 9) == (
        "9 ranks cannot share 8 lanes: rank 8 and above would have none. Set `lanes` to a multiple of 9."
    )
    assert message(eight, error=TypeError, seed=3, lanes=2) == (
        "Cannot override seed, lanes of a mix that is already open. Pass seed, lanes to open_mix() instead."
    )
    assert "persistent_workers" in message(eight, error=TypeError, persistant_workers=True)


def test_loader_rejects_states_of_other_mixes_and_ranks(eight: Mix, folder: Path) -> None:
    loader = make_loader(eight, 8, 0, 2)
    next(iter(loader))
    with pytest.raises(StateError) as error:
        make_loader(eight, 8, 1, 4).load_state_dict(loader.state_dict())
    assert str(error.value) == (
        "This state has lanes [0, 2, 4, 6], but the reader has lanes [1, 5]. "
        "Load the state of the same lanes, or merge_states() of all readers."
    )
    with pytest.raises(StateError, match="seed: 7 → 8"):
        make_loader(folder / "8.yaml", seed=8).load_state_dict(loader.state_dict())


def test_loader_warns_about_idle_workers_and_uneven_ranks(eight: Mix, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "smollm3_mix"):
        emitted = flat(itertools.islice(make_loader(eight, 9, 0, 3, num_workers=5), 4))
    assert [record.getMessage() for record in caplog.records] == [
        (
            "3 ranks read 8 lanes: ranks have 2 or 3 lanes, and those with fewer end earlier. "
            "Set `lanes` to a multiple of 3."
        ),
        "Rank 0 has 3 lanes, so 2 of its 5 workers are not started.",
    ]
    assert emitted == keys(itertools.islice(eight.stream([0, 3, 6]), 36))


# Token windows


def test_loader_batches_token_windows_and_resumes(folder: Path, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="windows need a tokenizer: pip install tokenizers")
    words = ["alpha", "beta", "gamma", "word", *map(str, range(1800))]
    vocabulary = {word: number for number, word in enumerate(["<|end_of_text|>", "?", *words])}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="?"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model.save(str(tmp_path / "tokenizer.json"))
    packed = smollm3_mix.open_packed(folder / "8.yaml", tokenizer=tmp_path / "tokenizer.json", sequence_length=16)
    expected = [window["input_ids"].tolist() for window in packed]
    first, found, states = make_loader(packed, 8, num_workers=2, format="numpy"), [], []
    for batch in first:
        assert batch["input_ids"].shape == batch["position_ids"].shape
        found += batch["input_ids"].tolist()
        states.append((len(found), json.loads(json.dumps(first.state_dict()))))
    assert found == expected
    again = make_loader(packed, 4, format="numpy")
    for count, state in states[::40]:
        again.load_state_dict(state)
        assert [row for batch in again for row in batch["input_ids"].tolist()] == expected[count:]
    parts = []
    for rank in range(2):
        loader = make_loader(packed, 4, rank, 2)
        list(itertools.islice(loader, 6))
        parts.append(loader.state_dict())
    again.load_state_dict(merge_states(parts))
    assert [row for batch in again for row in batch["input_ids"].tolist()] == expected[48:]


# Ranks


def test_rank_and_world_size_default_to_the_environment(eight: Mix, monkeypatch: pytest.MonkeyPatch) -> None:
    assert smollm3_mix.MixLoader(eight, 8).lanes == list(range(8))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert smollm3_mix.MixLoader(eight, 8).lanes == [1, 5]


def _run_rank(rank: int, recipe: str, rendezvous: str, output: str) -> None:
    import torch.distributed
    from torch.distributed.device_mesh import init_device_mesh

    torch.distributed.init_process_group("gloo", f"file://{rendezvous}", rank=rank, world_size=2)
    loader = smollm3_mix.MixLoader(recipe if not rank else "only-rank-0-opens", 8)
    found = flat(itertools.islice(loader, 5))
    meshes = init_device_mesh("cpu", (2, 1), mesh_dim_names=("dp", "tp"))
    by_mesh = {name: smollm3_mix.MixLoader(recipe, 8, device_mesh=meshes[name]).lanes for name in ("dp", "tp")}
    content = [loader.rank, loader.lanes, found, by_mesh]
    Path(f"{output}{rank}").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(smollm3_mix.RecipeError) as unknown:
        smollm3_mix.MixLoader("no-such-recipe", 8)
    with pytest.raises(ValueError, match="device_mesh") as two_dimensions:
        smollm3_mix.MixLoader(recipe, 8, device_mesh=meshes)
    errors = [str(unknown.value), str(two_dimensions.value)]
    Path(f"{output}{rank}.error").write_text(json.dumps(errors), encoding="utf-8")
    torch.distributed.destroy_process_group()


def test_ranks_default_to_torch_distributed_and_rank_0_resolves_the_sources(
    folder: Path, eight: Mix, tmp_path: Path
) -> None:
    multiprocessing = pytest.importorskip("torch.multiprocessing", reason="torch.distributed needs the extra torch")
    output = str(tmp_path / "rank-")
    multiprocessing.spawn(_run_rank, (str(folder / "8.yaml"), str(tmp_path / "rendezvous"), output), nprocs=2)
    for rank in range(2):
        lanes = list(range(rank, 8, 2))
        emitted = [list(key) for key in keys(itertools.islice(eight.stream(lanes), 40))]
        by_mesh = {"dp": lanes, "tp": list(range(8))}
        assert json.loads(Path(f"{output}{rank}").read_text(encoding="utf-8")) == [rank, lanes, emitted, by_mesh]
        unknown, two_dimensions = json.loads(Path(f"{output}{rank}.error").read_text(encoding="utf-8"))
        assert "no-such-recipe" in unknown
        assert two_dimensions == (
            "device_mesh must have one dimension, got 2. "
            "Pass the dimension of the data-parallel replicas, such as mesh['dp']."
        )


# Without torch

WITHOUT_TORCH = (
    WITHOUT_EXTRAS
    + """
import smollm3_mix
loader = smollm3_mix.MixLoader(recipe, 24, num_workers=2, format="numpy", max_samples=96)
counts = [len(batch["tokens"]) for batch in loader]
try:
    smollm3_mix.MixLoader(recipe, 24, format="torch")
except smollm3_mix.MissingExtraError as error:
    print(json.dumps([counts, str(error), error.package, error.extra]))
"""
)


def test_loader_works_without_torch_except_for_the_torch_format(folder: Path, tmp_path: Path) -> None:
    assert run(WITHOUT_TORCH, tmp_path, recipe=folder / "8.yaml") == [
        [24] * 4,
        'MixLoader(format="torch") needs torch. Install it: pip install "smollm3_mix[torch]"',
        "torch",
        "torch",
    ]
