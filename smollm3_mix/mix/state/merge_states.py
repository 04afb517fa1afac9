"""Merge the saved states of several readers, so that any number of readers can resume."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from smollm3_mix.compat import torchdata
from smollm3_mix.compat.hf_datasets import is_dataset_state
from smollm3_mix.errors import StateError
from smollm3_mix.mix.state.state_codec import STATE_VERSION
from smollm3_mix.recipe.read_recipe import recipe_from_dict

CURSOR = "smollm3_mix"
"""Key of a stream's state inside the state of an `IterableDataset`."""

_READER_KEYS = ("lanes", "active_lanes", "next_lane")
"""Keys of a stream's state that differ from reader to reader."""


def merge_states(states: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the states of all readers so that any number of readers can resume.

    Each reader that loads the merged state takes its own lanes from it. The states may belong to streams, to
    `MixLoader`s or to `IterableDataset`s. The states that a torchdata `StatefulDataLoader` keeps for its workers are
    found inside its own state. The merged state has the same kind.

    Reads no data. The next record comes from the lane that has emitted the fewest, or from the first of several.

    Args:
        states: One state per reader, such as each rank. All states have one kind and were saved by the same mix.

    Returns:
        One state of all lanes.

    Raises:
        StateError: If there is no state of a mix, the states belong to different mixes or kinds, a lane is repeated or
            missing, or a reader was in the middle of a table or batch.
    """
    found = [part for number, state in enumerate(states) for part in _parts(state, f"state {number}")]
    if not found:
        raise StateError("No mix state found. Pass the result of state_dict() from every reader.")
    kinds = {is_dataset_state(part) for _, part in found}
    if len(kinds) > 1:
        raise StateError(
            "Some of these states belong to datasets and some to loaders or streams. Merge states of one kind."
        )
    if kinds == {False}:
        return _merge_streams(list(found))
    cursors = [(where, _cursor(part, where)) for where, part in found]
    datasets = [_with_cursor(part, None) for _, part in found]
    for (where, _), dataset in zip(found, datasets, strict=True):
        if dataset != datasets[0]:
            raise StateError(
                f"{where} is inside a table or batch, or counts the records of a single reader. It cannot be merged. "
                "Save states of a dataset that yields records, without take(), skip() or batched map(), or use "
                "smollm3_mix.MixLoader."
            )
    begun = [(where, cursor) for where, cursor in cursors if cursor is not None]
    return _with_cursor(datasets[0], _merge_streams(begun, some_not_begun=len(begun) < len(cursors)) if begun else None)


def check_version(where: str, state: Mapping[str, Any]) -> None:
    """Raise StateError unless this version of the package can read the state."""
    version = state.get("version", 1)
    if version != STATE_VERSION:
        raise StateError(
            f"{where} has version {version}, but this version of smollm3_mix reads version {STATE_VERSION}. "
            "Resume with the version of the package that saved it, or start again without the state."
        )


def check_lanes(state: Mapping[str, Any], lanes: Iterable[int]) -> None:
    """Raise StateError unless a stream's state contains all of these lanes."""
    saved, requested = sorted(at["lane"] for at in state["lanes"]), sorted(lanes)
    if not set(requested) <= {*saved, *state["active_lanes"]}:
        raise StateError(
            f"This state has lanes {saved}, but the reader has lanes {requested}. "
            "Load the state of the same lanes, or merge_states() of all readers."
        )


def next_lane_position(next_lane: int | None, lanes: Sequence[int]) -> int:
    """Return the position of a state's next lane among a reader's active lanes.

    If another reader has that lane, return the position of the first lane with a higher number, or 0.
    """
    if next_lane in lanes:
        return lanes.index(next_lane)
    later = (position for position, lane in enumerate(lanes) if next_lane is not None and lane > next_lane)
    return next(later, 0)


def find_stream_state(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the state of a stream of all lanes inside a state of any kind. None if no record was emitted.

    Raises:
        StateError: If `merge_states` refuses the state.
    """
    merged = merge_states([state])
    return merged if "lanes" in merged else _cursor(merged, "the state")


def _parts(state: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every state of a stream or dataset inside `state`, with its location."""
    if isinstance(state, Mapping):
        if {"fingerprint", "lanes"} <= state.keys() or is_dataset_state(state):
            yield where, state
            return
        since = torchdata.steps_since_snapshot(state)
        if since:
            raise StateError(
                f"{where} was saved {since} batches after the last snapshot of its workers. "
                "Pass snapshot_every_n_steps=1 to StatefulDataLoader, or save at a multiple of its snapshot interval."
            )
        for key, value in state.items():
            yield from _parts(value, f"{where}, {key}")
    elif isinstance(state, list | tuple):
        for number, value in enumerate(state):
            yield from _parts(value, f"{where}, {number}")


def _cursor(state: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """Return the stream's state inside a dataset's state. None at the start.

    Raises:
        StateError: If there is none, or more than one.
    """
    found = list(_cursors(state))
    if len(found) != 1:
        content = "no mix" if not found else f"{len(found)} mixes, or one mix that is read as tables"
        raise StateError(
            f"{where} belongs to a dataset with {content}, expected one mix that yields records. "
            "Save the state of the mix itself, before it is interleaved, shuffled or formatted."
        )
    return found[0]


def _cursors(state: Any) -> Iterator[dict[str, Any] | None]:
    if isinstance(state, Mapping):
        for key, value in state.items():
            if key == CURSOR:
                yield value
            else:
                yield from _cursors(value)
    elif isinstance(state, list):
        for value in state:
            yield from _cursors(value)


def _with_cursor(state: Any, cursor: dict[str, Any] | None) -> Any:
    """Return a dataset's state with the state of its stream replaced."""
    if isinstance(state, Mapping):
        return {key: cursor if key == CURSOR else _with_cursor(value, cursor) for key, value in state.items()}
    return [_with_cursor(value, cursor) for value in state] if isinstance(state, list) else state


def _merge_streams(parts: list[tuple[str, Any]], *, some_not_begun: bool = False) -> dict[str, Any]:
    """Merge the states of streams. If some readers have not begun, lanes may be missing."""
    first_location, first = parts[0]
    locations: dict[int, str] = {}
    for where, part in parts:
        check_version(where, part)
        _check_same_mix(first_location, first, where, part)
        for lane in part["lanes"]:
            before = locations.setdefault(lane["lane"], where)
            if before != where:
                raise StateError(
                    f"Lane {lane['lane']} is in two states: {before} and {where}. Pass one state of each reader, all "
                    "saved at the same step."
                )
    lanes = sorted((lane for _, part in parts for lane in part["lanes"]), key=lambda lane: lane["lane"])
    missing = sorted(set(range(first["num_lanes"])) - locations.keys() - set(_active_lanes(parts)))
    if missing and not some_not_begun:
        raise StateError(
            f"{'This state lacks' if len(parts) == 1 else f'These {len(parts)} states lack'} lanes "
            f"{', '.join(map(str, missing))} of {first['num_lanes']}. "
            "Pass the states of all readers, of every rank and worker."
        )
    active = sorted({*_active_lanes(parts), *missing})
    records = {lane["lane"]: lane["records"] for lane in lanes}
    next_lane = min(active, key=lambda lane: (records.get(lane, 0), lane), default=None)
    next_lane = first["next_lane"] if len(parts) == 1 else next_lane
    return {**first, "active_lanes": active, "next_lane": next_lane, "lanes": lanes}


def _active_lanes(parts: list[tuple[str, Any]]) -> list[int]:
    return [lane for _, part in parts for lane in part["active_lanes"]]


def _check_same_mix(first_location: str, first: Mapping[str, Any], where: str, part: Mapping[str, Any]) -> None:
    """Raise StateError unless both states belong to the same mix."""
    if part["fingerprint"] != first["fingerprint"]:
        one, other = recipe_from_dict(first["recipe"]), recipe_from_dict(part["recipe"])
        differ = one.diff(other) or ["the version of the package"]
        differ_lines = "\n  ".join(differ)
        raise StateError(
            f"{first_location} was saved by recipe {one.name} {one.fingerprint[:7]}, and {where} by {other.name} "
            f"{other.fingerprint[:7]}. They differ in:\n  {differ_lines}\n"
            "Pass states of one run.",
            differences=differ,
        )
    for name in sorted(first.keys() - set(_READER_KEYS) - {"recipe"}):
        if part.get(name) != first[name]:
            raise StateError(
                f"{first_location} was saved with {name}={first[name]!r}, and {where} with {name}={part.get(name)!r}. "
                "Pass states of one run.",
                differences=[f"{name}: {first[name]!r} → {part.get(name)!r}"],
            )
