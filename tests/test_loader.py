"""The torch door: batches that no number of workers changes, shared out to any number of ranks, resumed exactly."""

import itertools
import json
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from doors import write_lanes, write_recipe, write_sources

import smollm3_mix
import smollm3_mix.errors
import smollm3_mix.packing.packed_mix
import smollm3_mix.torch_loader.mix_loader
from smollm3_mix.errors import StateError
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.mix.state.merge_states import merge_states

pytest.importorskip("torch", reason="the torch door needs the extra torch")

import torch.distributed
import torch.multiprocessing
from torch.utils.data import get_worker_info

Key = tuple[str, str]

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # on a machine of few cores
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # Arrow beside fork
]


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


def loader(mix: Any, batch_size: int = 24, rank: int = 0, world_size: int = 1, **more: Any) -> Any:
    return smollm3_mix.MixLoader(mix, batch_size, rank=rank, world_size=world_size, **more)


# What comes out


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_the_stream_whatever_the_workers(eight: Mix, workers: int) -> None:
    whole = keys(eight.stream())
    assert len(whole) > 8 * 3 * 64  # several blocks of every lane
    batches = list(loader(eight, num_workers=workers))
    assert [len(batch) for batch in batches[:-1]] == [24] * (len(batches) - 1)
    assert flat(batches) == whole


def test_records_and_arrow_hold_the_same(eight: Mix) -> None:
    records, arrow = (list(itertools.islice(loader(eight, format=form), 9)) for form in ("records", "arrow"))
    assert [batch.to_pylist() for batch in arrow] == records
    assert records[0] == list(itertools.islice(eight.stream(), 24))
    columns = next(iter(loader(eight, format="torch")))
    assert columns["tokens"].tolist() == [record["tokens"] for record in records[0]]
    assert columns["text"] == [record["text"] for record in records[0]]


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("lanes", [8, 12])
def test_every_number_of_ranks_and_workers_gives_the_same_global_batches(
    folder: Path, lanes: int, workers: int
) -> None:
    mix = open_mix(folder / f"{lanes}.yaml", max_samples=600)
    whole, by_lane = keys(mix.stream()), {lane: keys(mix.stream([lane])) for lane in range(lanes)}
    home = {key: lane for lane, given in by_lane.items() for key in given}
    for ranks in (1, 2, 3, 4, 8):
        size = 2 * lanes // ranks
        shares = [list(loader(mix, size, rank, ranks, num_workers=workers)) for rank in range(ranks)]
        found: dict[int, list[Key]] = {lane: [] for lane in range(lanes)}
        for key in flat(batch for share in shares for batch in share):
            found[home[key]].append(key)
        assert found == by_lane, ranks  # each record once, each lane in its order
        if lanes % ranks == 0:
            together = [sorted(flat(batches)) for batches in zip(*shares, strict=True)]
            assert together == [sorted(whole[at : at + 2 * lanes]) for at in range(0, len(whole), 2 * lanes)]


def test_lanes_that_end_at_different_places_leave_the_round(folder: Path) -> None:
    mix = open_mix(folder / "8.yaml", max_tokens=9000)
    lengths = {len(list(mix.stream([lane]))) for lane in range(8)}
    assert len(lengths) > 1
    assert flat(loader(mix, 7, num_workers=3)) == keys(mix.stream())


def test_collate_and_drop_last(eight: Mix) -> None:
    assert list(itertools.islice(loader(eight, 5, collate_fn=len), 3)) == [5, 5, 5]
    limited = open_mix(eight.recipe, max_samples=52)
    assert list(loader(limited, 24, collate_fn=len)) == [24, 24, 4]
    assert list(loader(limited, 24, collate_fn=len, drop_last=True)) == [24, 24]


@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_workers_start_in_any_way(eight: Mix, context: str) -> None:
    batches = itertools.islice(loader(eight, num_workers=2, workers={"multiprocessing_context": context}), 20)
    assert flat(batches) == keys(itertools.islice(eight.stream(), 480))


def test_persistent_workers_begin_again(eight: Mix) -> None:
    kept = loader(eight, num_workers=2, persistent_workers=True)
    whole = keys(itertools.islice(eight.stream(), 240))
    for _ in range(2):
        assert flat(itertools.islice(kept, 10)) == whole
    kept.load_state_dict(kept.state_dict())
    assert flat(itertools.islice(kept, 1)) == keys(itertools.islice(eight.stream(), 240, 264))
    assert flat(itertools.islice(kept, 10)) == whole


# Resume


@pytest.mark.parametrize(("size", "workers"), [(1, 0), (7, 0), (24, 2)])
def test_resumes_after_every_batch(folder: Path, size: int, workers: int) -> None:
    mix = open_mix(folder / "8.yaml", max_samples=2600 if workers else 700)
    whole, first = keys(mix.stream()), loader(mix, size, num_workers=workers)
    states = [first.state_dict()]
    for _ in first:
        states.append(json.loads(json.dumps(first.state_dict())))  # noqa: PERF401 - state_dict() moves with `first`
    again = loader(mix, size)
    for position in range(0, len(states), 1 if size == 1 and len(states) < 100 else 9):
        again.load_state_dict(states[position])
        assert flat(itertools.islice(again, 70)) == whole[position * size :][: 70 * size]
    again.load_state_dict(states[-1])
    assert list(again) == []


def test_a_state_rests_on_an_older_one_where_asking_takes_long(eight: Mix, monkeypatch: pytest.MonkeyPatch) -> None:
    from smollm3_mix.torch_loader import worker_blocks

    monkeypatch.setattr(worker_blocks, "PATIENCE", 10**9)
    whole, first = keys(eight.stream()), loader(eight, 50)
    list(itertools.islice(first, 20))
    again = loader(eight, 50)
    again.load_state_dict(first.state_dict())
    assert flat(again) == whole[1000:]


@pytest.mark.parametrize("steps", [0, 1, 11, 60])
def test_a_state_of_two_by_two_goes_on_at_four_by_one_and_one_by_three(eight: Mix, steps: int) -> None:
    whole = keys(eight.stream())
    states, given = [], []
    for rank in range(2):
        mine = loader(eight, 12, rank, 2, num_workers=2)
        given += flat(itertools.islice(mine, steps))
        states.append(json.loads(json.dumps(mine.state_dict())))
    assert sorted(given) == sorted(whole[: steps * 24])
    merged = merge_states(states)
    for ranks, workers in ((4, 1), (1, 3)):
        rest = []
        for rank in range(ranks):
            mine = loader(eight, 24 // ranks, rank, ranks, num_workers=workers)
            mine.load_state_dict(merged)
            rest.append(list(mine))
        first = [sorted(flat(batches)) for batches in itertools.islice(zip(*rest, strict=False), 10)]
        assert first == [sorted(whole[at : at + 24]) for at in range(24 * steps, 24 * steps + 240, 24)]
        assert sorted(given + flat(batch for batches in rest for batch in batches)) == sorted(whole)


def test_loaders_and_streams_take_each_others_states(eight: Mix) -> None:
    whole, first = keys(eight.stream()), loader(eight, 13)
    list(itertools.islice(first, 5))
    reader = eight.stream()
    reader.load_state_dict(first.state_dict())
    assert keys(itertools.islice(reader, 20)) == whole[65:85]
    first.load_state_dict(reader.state_dict())
    assert flat(itertools.islice(first, 3)) == whole[85:124]


def test_a_fresh_iteration_starts_over_and_the_state_follows_it(eight: Mix) -> None:
    first = loader(eight)
    start = first.state_dict()
    one = flat(itertools.islice(first, 2))
    assert flat(itertools.islice(first, 2)) == one
    first.load_state_dict(start)
    assert flat(itertools.islice(first, 2)) == one


def test_states_beside_a_folder_for_what_dedup_remembers(folder: Path, tmp_path: Path) -> None:
    mix = open_mix(folder / "8.yaml", dedup_state_dir=tmp_path)
    whole, first = keys(mix.stream()), loader(mix, num_workers=2)
    list(itertools.islice(first, 9))
    state = first.state_dict()
    assert {lane["dedup_state"]["file"] for lane in state["lanes"]} == {f"train-{lane:05d}.dedup" for lane in range(8)}
    again = loader(mix, num_workers=2)
    again.load_state_dict(state)
    assert flat(again) == whole[9 * 24 :]


# Trouble


class Killed:
    """A mix whose worker with lane 1 kills itself after some reads, once `under_way` lies there."""

    def __init__(self, mix: Mix, number: int, under_way: Path) -> None:
        self._mix, self._number, self._under_way = mix, number, under_way
        self.num_lanes = mix.num_lanes

    def stream(self, lanes: Any) -> Any:
        reader, reads = self._mix.stream(lanes), itertools.count()
        original = reader.read_with_lanes

        def read(rows: int) -> Any:
            if get_worker_info() is not None and 1 in lanes and next(reads) == 6:
                while not self._under_way.exists():  # torch may see a dead worker before the first batch
                    time.sleep(0.01)
                os.kill(os.getpid(), self._number)
            return original(rows)

        reader.read_with_lanes = read
        return reader


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no signals to kill with")
def test_a_killed_worker_is_an_error_and_the_run_goes_on_from_the_last_state(eight: Mix, tmp_path: Path) -> None:
    mix = Killed(eight, signal.SIGKILL, tmp_path / "under-way")
    dying = loader(mix, 24, num_workers=2, workers={"multiprocessing_context": "fork"})
    given: list[Key] = []

    def train() -> None:
        for batch in dying:
            given.extend(keys(batch))
            (tmp_path / "under-way").touch()

    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid.*\) (is killed by signal|exited unexpectedly)"):
        train()
    assert given
    again = loader(eight, 24, num_workers=2)
    again.load_state_dict(dying.state_dict())
    assert given + flat(again) == keys(eight.stream())


def test_an_error_in_a_worker_is_raised_here(folder: Path, tmp_path: Path) -> None:
    write_sources(tmp_path / "sources", rows=400)
    mix = open_mix(write_recipe(tmp_path / "broken.yaml", tmp_path / "sources", lanes=2))
    (tmp_path / "sources/alpha/0.parquet").write_bytes(b"no parquet any more")
    with pytest.raises(smollm3_mix.SourceError, match="alpha"):
        list(loader(mix, num_workers=2))


def test_what_cannot_be_meant_is_refused(eight: Mix, folder: Path) -> None:
    def message(*arguments: Any, error: type[Exception] = ValueError, **keywords: Any) -> str:
        with pytest.raises(error) as refused:
            loader(*arguments, **keywords)
        return str(refused.value)

    assert message(eight, 0) == "batch_size must be a whole number of at least 1, got 0"
    assert message(eight, 8.0) == "batch_size must be a whole number of at least 1, got 8.0"
    assert message(eight, num_workers=-1) == "num_workers must be a whole number of at least 0, got -1"
    assert message(eight, num_workers="2") == "num_workers must be a whole number of at least 0, got '2'"
    assert message(eight, format="numpy") == "format must be records, arrow, torch, got 'numpy'"
    assert message(eight, 24, 2, 2) == "expected a rank from 0 to world_size - 1, got rank=2, world_size=2"
    assert message(eight, 24, 0, None) == "give rank and world_size together or neither, got rank=0, world_size=None"
    assert message(eight, 24, 3, 9) == (
        "9 ranks cannot share 8 lanes: rank 8 and above would have none. Set `lanes` to a multiple of 9."
    )
    assert message(eight, error=TypeError, seed=3, lanes=2) == (
        "the mix is open already; give seed, lanes to open_mix() instead"
    )
    assert message(eight, error=TypeError, persistent_workers=True, timeout=9) == (
        "persistent_workers, timeout: how workers run goes into `workers`, as in workers={'persistent_workers': …}"
    )


def test_states_of_other_mixes_and_ranks_are_refused_at_once(eight: Mix, folder: Path) -> None:
    first = loader(eight, 8, 0, 2)
    next(iter(first))
    with pytest.raises(StateError) as refused:
        loader(eight, 8, 1, 4).load_state_dict(first.state_dict())
    assert str(refused.value) == (
        "This state has lanes [0, 2, 4, 6], but the reader has lanes [1, 5]. "
        "Load the state of the same lanes, or merge_states() of all readers."
    )
    with pytest.raises(StateError, match="seed: 7 → 8"):
        loader(folder / "8.yaml", seed=8).load_state_dict(first.state_dict())


def test_idle_workers_and_uneven_ranks_are_said(eight: Mix, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "smollm3_mix"):
        given = flat(itertools.islice(loader(eight, 9, 0, 3, num_workers=5), 4))
    assert [record.getMessage() for record in caplog.records] == [
        (
            "3 ranks read 8 lanes: ranks have 2 or 3 lanes, and those with fewer end sooner. "
            "Set `lanes` to a multiple of 3."
        ),
        "rank 0 has 3 lanes, so 2 of its 5 workers are not started.",
    ]
    assert given == keys(itertools.islice(eight.stream([0, 3, 6]), 36))


def test_windows_of_tokens_go_through_it_too(folder: Path, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="windows are of a tokenizer's tokens")
    words = ["alpha", "beta", "gamma", "word", *map(str, range(1800))]
    vocabulary = {word: number for number, word in enumerate(["<|end_of_text|>", "?", *words])}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="?"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model.save(str(tmp_path / "tokenizer.json"))
    windows = smollm3_mix.open_packed(folder / "8.yaml", tokenizer=tmp_path / "tokenizer.json", sequence_length=16)
    whole = [window["input_ids"].tolist() for window in windows]
    first, found, states = loader(windows, 8, num_workers=2, format="torch"), [], []
    for batch in first:
        found += batch["input_ids"].tolist()
        states.append((len(found), json.loads(json.dumps(first.state_dict()))))
    assert found == whole
    again = loader(windows, 4, format="torch")
    for count, state in states[::40]:
        again.load_state_dict(state)
        assert [row for batch in again for row in batch["input_ids"].tolist()] == whole[count:]
    parts = []
    for rank in range(2):
        mine = loader(windows, 4, rank, 2)
        list(itertools.islice(mine, 6))
        parts.append(mine.state_dict())
    again.load_state_dict(merge_states(parts))
    assert [row for batch in again for row in batch["input_ids"].tolist()] == whole[48:]


# Ranks


def test_rank_and_world_size_come_from_the_environment(eight: Mix, monkeypatch: pytest.MonkeyPatch) -> None:
    assert smollm3_mix.MixLoader(eight, 8).lanes == list(range(8))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert smollm3_mix.MixLoader(eight, 8).lanes == [1, 5]


def _rank(rank: int, recipe: str, meeting: str, out: str) -> None:
    torch.distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2)
    made = smollm3_mix.MixLoader(recipe if not rank else "only-rank-0-looks", 8)
    found = flat(itertools.islice(made, 5))
    Path(f"{out}{rank}").write_text(json.dumps([made.rank, made.lanes, found]), encoding="utf-8")
    try:
        smollm3_mix.MixLoader("there-is-no-such-recipe", 8)
    except smollm3_mix.RecipeError as error:
        Path(f"{out}{rank}.error").write_text(str(error), encoding="utf-8")
    torch.distributed.destroy_process_group()


def test_with_torch_distributed_rank_0_finds_the_sources_for_all(folder: Path, eight: Mix, tmp_path: Path) -> None:
    out = str(tmp_path / "rank-")
    torch.multiprocessing.spawn(_rank, (str(folder / "8.yaml"), str(tmp_path / "meeting"), out), nprocs=2)
    for rank in range(2):
        mine = list(range(rank, 8, 2))
        given = [list(key) for key in keys(itertools.islice(eight.stream(mine), 40))]
        assert json.loads(Path(f"{out}{rank}").read_text(encoding="utf-8")) == [rank, mine, given]
        assert "there-is-no-such-recipe" in Path(f"{out}{rank}.error").read_text(encoding="utf-8")
