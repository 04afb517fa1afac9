"""Records and windows that follow a resume at five positions of each kind of stream, as digests."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import golden_names as names
from golden_cases import EXACT, HOLDOUT, NEAR, Case, Digests, digest, stages, values, window
from golden_data import write_recipe
from small_tokenizer import save

POSITIONS = (1, 40, 64, 107, 150)


def resumed(opened: Callable[[], Any], row: Callable[[Any], list[Any]]) -> Digests:
    """Return the digests of what follows each position, from states that have been JSON.

    Args:
        opened: Opens the stream at its start.
        row: Returns the values of a record or window.
    """
    whole = list(map(row, finished(opened())))
    stream, states = opened(), {}
    for number, _ in enumerate(itertools.islice(stream, POSITIONS[-1]), 1):
        if number in POSITIONS:
            states[number] = json.dumps(stream.state_dict())
    close(stream)
    found = {}
    for position, state in states.items():
        after = opened()
        after.load_state_dict(json.loads(state))
        rest = list(map(row, finished(after)))
        assert rest == whole[position:], f"other records follow position {position} after a resume"
        found[f"after {position}"] = digest(rest)
    assert len(found) == len(POSITIONS)
    return found


def finished(stream: Any) -> Iterator[Any]:
    """Yield what a stream yields, then close its files."""
    yield from stream
    close(stream)


def close(stream: Any) -> None:
    """Close the files of a stream. The dataset of `datasets` has none to close."""
    if hasattr(stream, "close"):
        stream.close()


def resumed_mix(folder: Path) -> Digests:
    """Return digests of a mix with near duplicates, a source read several times, and a holdout."""
    recipe = write_recipe(folder, sources={"c": {"max_passes": 3}}, **NEAR, **HOLDOUT)
    return resumed(names.open_mix(recipe).stream, values)


def resumed_iid(folder: Path) -> Digests:
    """Return digests of a mix in random order that repeats its sources, with the dedup state in a folder."""
    recipe = write_recipe(folder, order="iid", on_exhausted="repeat", lanes=2, **EXACT)
    mix = names.open_mix(recipe, max_samples=400, **names.with_state_folder(folder / "seen"))
    return resumed(mix.stream, values)


def resumed_curriculum(folder: Path) -> Digests:
    """Return digests of a curriculum, with positions in each of its three stages."""
    return resumed(names.open_mix(stages(folder)).stream, values)


def resumed_packed(folder: Path) -> Digests:
    """Return digests of windows of tokens."""
    tokenizer = save(folder / "tokenizer.json")
    recipe = write_recipe(folder, lanes=2)
    mix = names.open_packed(recipe, tokenizer=tokenizer, sequence_length=48, max_tokens=14_000)
    return resumed(mix.stream, window)


def resumed_dataset(folder: Path) -> Digests:
    """Return digests of the streaming dataset of `datasets`."""
    recipe = write_recipe(folder, **EXACT)
    return resumed(lambda: names.load(recipe, cache_dir=str(folder / "cache"), max_samples=260), values)


def merged_states(folder: Path) -> Digests:
    """Return digests of all lanes after the merged state of two readers, each of which had some of the lanes."""
    mix = names.open_mix(write_recipe(folder, lanes=4, **NEAR))
    found = {}
    for count in (10, 33):
        readers = [mix.stream(lanes) for lanes in ([0, 3], [2, 1])]
        for reader in readers:
            assert len(list(itertools.islice(reader, count))) == count
        after = mix.stream()
        after.load_state_dict(names.merge_states([reader.state_dict() for reader in readers]))
        found[f"after 2 x {count}"] = digest(map(values, finished(after)))
    return found


RESUMES: tuple[Case, ...] = (
    resumed_mix,
    resumed_iid,
    resumed_curriculum,
    resumed_packed,
    resumed_dataset,
    merged_states,
)
