"""Saved states of a stream: whether they belong to a mix, and the parts of each lane."""

from collections.abc import Mapping
from typing import Any

from smollm3_mix.errors import StateError
from smollm3_mix.mix.protocols import LaneProtocol, MixProtocol
from smollm3_mix.mix.state.dedup_state_file import DedupStateFile
from smollm3_mix.mix.state.merge_states import check_version
from smollm3_mix.mix.state.state_codec import decode_state, decode_text, encode_state, encode_text
from smollm3_mix.recipe.read_recipe import recipe_from_dict


def check_state(mix: MixProtocol, state: Mapping[str, Any]) -> None:
    """Raise StateError unless `state` was saved by this mix. The message shows the difference."""
    if "fingerprint" in state:
        check_version("This state", state)
    keys = ("recipe", "fingerprint", "split", "limits", "active_lanes", "next_lane", "continued", "lanes")
    missing = [key for key in keys if key not in state]
    if missing:
        raise StateError(f"This is not the state of a mix: it has no {missing[0]!r}. Pass a result of state_dict().")
    recipe = mix.recipe
    if state["fingerprint"] != recipe.fingerprint:
        other = recipe_from_dict(state["recipe"])
        differ = other.diff(recipe) or ["the version of the package"]
        differ_lines = "\n  ".join(differ)
        raise StateError(
            f"This state was saved by recipe {other.name} {state['fingerprint'][:7]}, but the mix is {recipe.name} "
            f"{recipe.fingerprint[:7]}. They differ in:\n  {differ_lines}\n"
            "Load the recipe of the state (Recipe.from_dict(state['recipe'])), or start again without the state.",
            differences=differ,
        )
    saved = {"split": state["split"], **state["limits"]}
    for name, value in {"split": mix.split, **mix.limits.to_dict()}.items():
        if saved.get(name) != value:
            raise StateError(
                f"This state was saved with {name}={saved.get(name)!r}, but the mix has {name}={value!r}. "
                f"Open the mix with {name}={saved.get(name)!r}.",
                differences=[f"{name}: {saved.get(name)!r} → {value!r}"],
            )


def open_dedup_state(mix: MixProtocol, lane: int) -> DedupStateFile | None:
    """Return the dedup state file of a lane. None if states contain the dedup state."""
    if mix.dedup_state_dir is None:
        return None
    return DedupStateFile(mix.dedup_state_dir, f"{mix.split}-{lane:05d}.dedup")


def save_lane(lane: LaneProtocol, unread: int, file: DedupStateFile | None) -> dict[str, Any]:
    """Return a lane's complete state. The dedup state is encoded in it, or appended to the file."""
    if file is not None and lane.dedup_digest is not None:
        dedup_state: Any = file.append(lane)
    else:
        dedup_state = encode_text(lane.dedup_log()[0])
    return {
        **encode_state(lane.state_dict(unread)),
        "row_decisions": {i: encode_text(log) for i, log in lane.decision_logs().items() if log},
        "dedup_state": dedup_state,
    }


def restore_dedup_state(lane: LaneProtocol, at: Mapping[str, Any], file: DedupStateFile | None) -> None:
    """Restore the dedup state of a blank lane from its saved state.

    Raises:
        StateError: If the dedup state is in a file that is missing or has other content.
    """
    dedup_state = at["dedup_state"]
    if isinstance(dedup_state, str):
        lane.restore_dedup_state([decode_text(dedup_state)])
    elif file is not None:
        lane.restore_dedup_state([file.read(dedup_state)])
    else:
        raise StateError(
            f"The dedup state of lane {lane.number} is in the file {dedup_state['file']!r}. "
            "Open the mix with dedup_state_dir= the folder of that file."
        )


def row_decisions(at: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the row decisions of the first passes from a lane's saved state, by source id."""
    return {source: decode_text(log) for source, log in at["row_decisions"].items()}


def restore_lane(mix: MixProtocol, at: Mapping[str, Any], file: DedupStateFile | None) -> LaneProtocol:
    """Return a lane at its saved position.

    Raises:
        StateError: If the lane cannot reach that position.
    """
    lane = mix.blank_lane(at["lane"])
    restore_dedup_state(lane, at, file)
    lane.load_state_dict(decode_state(at, mix.recipe), row_decisions(at))
    remaining = at["records"] - lane.emitted  # records emitted after the saved position
    while remaining and lane.fill():
        remaining -= len(lane.pull(remaining))
    if remaining:
        raise StateError(
            f"Lane {lane.number} had emitted {at['records']:,} records when the state was saved, and ends after "
            f"{lane.emitted:,} now. The files of the sources have changed. Start again without the state."
        )
    return lane
