"""Saved states of several readers made one, so that any other number of readers can go on from it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from smollm3_mix.errors import StateError
from smollm3_mix.mix.state.state_codec import STATE_VERSION
from smollm3_mix.recipe.model import Recipe

CURSOR = "smollm3_mix"
"""Key of a stream's state within the state of an `IterableDataset`."""

_MOVING = ("lanes", "going", "turn")
"""Keys of a stream's state that differ from reader to reader."""


def merge_states(states: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One state of all lanes from those of all readers, for any number of readers that share them out anew.

    Each reader that loads it takes the lanes that are its own. The states may be those of streams, of
    `smollm3_mix.torch_loader.mix_loader.loader`, or of `IterableDataset`s; those that a torchdata `StatefulDataLoader` keeps for its workers
    are found within its own. What comes out is of the same kind: for a stream or loader, or for an `IterableDataset`.

    Nothing is read. The next record is of the lane that has given the fewest, of several the first.

    Args:
        states: one for each reader, such as each rank; all of one kind, saved by the same mix.

    Raises:
        StateError: no state of a mix is among them, they are of different mixes or kinds, a lane is there twice or not
            at all, or a reader was in the middle of something that cannot be shared out.
    """
    found = [part for number, state in enumerate(states) for part in _parts(state, f"state {number}")]
    if not found:
        raise StateError("there is no state of a mix among these; pass what state_dict() of each reader gave.")
    kinds = {"examples_iterable" in part for _, part in found}
    if len(kinds) > 1:
        raise StateError(
            "some of these states are of datasets and some of loaders or streams; pass one kind at a time."
        )
    if kinds == {False}:
        return _merged([(where, part) for where, part in found])
    cursors = [(where, _cursor(part, where)) for where, part in found]
    around = [_with_cursor(part, None) for _, part in found]
    for (where, _), each in zip(found, around, strict=True):
        if each != around[0]:
            raise StateError(
                f"{where} lies within a table or batch, or counts what one reader alone has taken, and cannot be "
                "shared out. Save states of a dataset that gives records, without take(), skip() or batched map(), or "
                "use smollm3_mix.torch_loader.mix_loader.loader."
            )
    begun = [(where, cursor) for where, cursor in cursors if cursor is not None]
    return _with_cursor(around[0], _merged(begun, fresh=len(begun) < len(cursors)) if begun else None)


def check_version(where: str, state: Mapping[str, Any]) -> None:
    """Nothing, where a stream's state is written as this version of the package does.

    Raises:
        StateError: another version wrote it.
    """
    form = state.get("form", 1)
    if form != STATE_VERSION:
        raise StateError(
            f"{where} is written in form {form}, and this version of smollm3_mix reads form {STATE_VERSION}. "
            "Go on with the version that saved it, or start afresh."
        )


def check_lanes(state: Mapping[str, Any], lanes: Iterable[int]) -> None:
    """Nothing, where a stream's state is of these lanes, or of more.

    Raises:
        StateError: it lacks one.
    """
    saved, wanted = sorted(at["lane"] for at in state["lanes"]), sorted(lanes)
    if not set(wanted) <= {*saved, *state["going"]}:
        raise StateError(
            f"this state is of lanes {saved}, but lanes {wanted} are to be read. "
            "Load the state of the same lanes, or merge_states() of all."
        )


def next_lane_position(turn: int | None, lanes: Sequence[int]) -> int:
    """Place among the lanes that go on of the one that gives next: the state's, or where it is another reader's, the
    first that comes after it.
    """
    if turn in lanes:
        return lanes.index(turn)
    return next((place for place, lane in enumerate(lanes) if turn is not None and lane > turn), 0)


def find_stream_state(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state of a stream of all lanes that is within a state of any kind; None where nothing was given yet.

    Raises:
        StateError: as `merge_states` does.
    """
    merged = merge_states([state])
    return merged if "lanes" in merged else _cursor(merged, "the state")


def _parts(state: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every state of a stream or of a dataset within `state`, with its place."""
    if isinstance(state, Mapping):
        if {"fingerprint", "lanes", "going"} <= state.keys() or {"examples_iterable", "epoch"} <= state.keys():
            yield where, state
            return
        since = state.get("_steps_since_snapshot", 0)
        if since:
            raise StateError(
                f"{where} was saved {since} batches after the last snapshot of its workers. "
                "Give the StatefulDataLoader snapshot_every_n_steps=1, or save where it divides the step."
            )
        for key, value in state.items():
            yield from _parts(value, f"{where}, {key}")
    elif isinstance(state, list | tuple):
        for number, value in enumerate(state):
            yield from _parts(value, f"{where}, {number}")


def _cursor(state: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """The stream's state within a dataset's; None at the start.

    Raises:
        StateError: there is none, or there are several.
    """
    found = list(_cursors(state))
    if len(found) != 1:
        what = "no mix" if not found else f"{len(found)} mixes, or one mix read as tables,"
        raise StateError(
            f"{where} is of a dataset with {what} in it; one mix that gives records was expected. "
            "Take the states of the mix itself, before it is interleaved, shuffled or formatted."
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
    """A dataset's state with another state of its stream."""
    if isinstance(state, Mapping):
        return {key: cursor if key == CURSOR else _with_cursor(value, cursor) for key, value in state.items()}
    return [_with_cursor(value, cursor) for value in state] if isinstance(state, list) else state


def _merged(parts: list[tuple[str, Any]], *, fresh: bool = False) -> dict[str, Any]:
    """One stream's state. `fresh`: there are readers that had not begun, so lanes may be missing."""
    first_place, first = parts[0]
    places: dict[int, str] = {}
    for where, part in parts:
        check_version(where, part)
        _check_same(first_place, first, where, part)
        for lane in part["lanes"]:
            before = places.setdefault(lane["lane"], where)
            if before != where:
                raise StateError(
                    f"lane {lane['lane']} is in two states: {before}, and {where}. Pass one state of each reader, all "
                    "saved at the same step."
                )
    lanes = sorted((lane for _, part in parts for lane in part["lanes"]), key=lambda lane: lane["lane"])
    missing = sorted(set(range(first["num_lanes"])) - places.keys() - set(_going(parts)))
    if missing and not fresh:
        raise StateError(
            f"these {len(parts)} states lack lanes {', '.join(map(str, missing))} of {first['num_lanes']}. "
            "Pass the states of all readers, of every rank and worker."
        )
    going = sorted({*_going(parts), *missing})
    records = {lane["lane"]: lane["records"] for lane in lanes}
    turn = min(going, key=lambda lane: (records.get(lane, 0), lane), default=None)
    turn = first["turn"] if len(parts) == 1 else turn
    return {**first, "going": going, "turn": turn, "lanes": lanes}


def _going(parts: list[tuple[str, Any]]) -> list[int]:
    return [lane for _, part in parts for lane in part["going"]]


def _check_same(first_place: str, first: Mapping[str, Any], where: str, part: Mapping[str, Any]) -> None:
    """Nothing, where two states are of the same mix."""
    if part["fingerprint"] != first["fingerprint"]:
        one, other = Recipe.from_dict(first["recipe"]), Recipe.from_dict(part["recipe"])
        differ = "\n  ".join(one.diff(other)) or "the version of the package"
        raise StateError(
            f"{first_place} was saved by recipe {one.name} {one.fingerprint[:7]}, and {where} by {other.name} "
            f"{other.fingerprint[:7]}. They differ in:\n  {differ}\n"
            "Pass states of one run."
        )
    for name in sorted(first.keys() - set(_MOVING) - {"recipe"}):
        if part.get(name) != first[name]:
            raise StateError(
                f"{first_place} was saved with {name}={first[name]!r}, and {where} with {name}={part.get(name)!r}. "
                "Pass states of one run."
            )
