"""States of a stream: what they hold beside each lane's place, and whether they belong to a mix."""

from collections.abc import Mapping
from typing import Any

from smollm3_mix.errors import StateError
from smollm3_mix.mix.protocols import LaneProtocol, MixProtocol
from smollm3_mix.mix.state.dedup_state_file import DedupStateFile
from smollm3_mix.mix.state.merge_states import check_version
from smollm3_mix.mix.state.state_codec import decode_state, decode_text, encode_state, encode_text
from smollm3_mix.recipe.model import Recipe


def check_state(mix: MixProtocol, state: Mapping[str, Any]) -> None:
    """Nothing, where the state was saved by this mix.

    Raises:
        StateError: it was not; the message shows the difference.
    """
    keys = ("recipe", "fingerprint", "split", "limits", "going", "turn", "went_on", "lanes")
    missing = [key for key in keys if key not in state]
    if missing:
        raise StateError(f"this is no state of a mix: it has no {missing[0]!r}. Pass what state_dict() gave.")
    check_version("this state", state)
    recipe = mix.recipe
    if state["fingerprint"] != recipe.fingerprint:
        other = Recipe.from_dict(state["recipe"])
        differ = "\n  ".join(other.diff(recipe)) or "the version of the package"
        raise StateError(
            f"this state was saved by recipe {other.name} {state['fingerprint'][:7]}, but the mix is {recipe.name} "
            f"{recipe.fingerprint[:7]}. They differ in:\n  {differ}\n"
            "Load the recipe saved in the state (Recipe.from_dict(state['recipe'])) or start afresh."
        )
    was, now = {"split": state["split"], **state["limits"]}, {"split": mix.split, **mix.asked}
    for name, value in now.items():
        if was.get(name) != value:
            raise StateError(
                f"this state was saved with {name}={was.get(name)!r}, but the mix has {name}={value!r}. "
                "Open the mix as it was."
            )


def open_dedup_state(mix: MixProtocol, lane: int) -> DedupStateFile | None:
    """Where a mix keeps what dedup remembers of a lane; None where states keep it themselves."""
    return None if mix.dedup_state_dir is None else DedupStateFile(mix.dedup_state_dir, f"{mix.split}-{lane:05d}.seen")


def save_lanes(lane: LaneProtocol, unread: int, file: DedupStateFile | None) -> dict[str, Any]:
    """A lane's state with all that it remembers, as text or in its file."""
    if file is not None and lane.dedup_digest is not None:
        seen: Any = file.append(lane)
    else:
        seen = encode_text(lane.dedup_log()[0])
    return {
        **encode_state(lane.state_dict(unread)),
        "row_decisions": {i: encode_text(log) for i, log in lane.logs().items() if log},
        "seen": seen,
    }


def restore_dedup_state(lane: LaneProtocol, at: Mapping[str, Any], file: DedupStateFile | None) -> None:
    """Let a blank lane remember what it did when `at` was saved.

    Raises:
        StateError: that is in a file, which is not at hand or holds something else.
    """
    seen = at["seen"]
    if isinstance(seen, str):
        lane.restore_dedup_state([decode_text(seen)])
    elif file is not None:
        lane.restore_dedup_state([file.read(seen)])
    else:
        raise StateError(
            f"this state keeps what dedup remembers of lane {lane.number} in the file {seen['file']!r}. "
            "Open the mix with dedup_state_dir= the folder that holds it."
        )


def row_decisions(at: Mapping[str, Any]) -> dict[str, bytes]:
    """Verdicts of the first passes in a lane's state, by source id."""
    return {source: decode_text(log) for source, log in at["row_decisions"].items()}


def restore_lanes(mix: MixProtocol, at: Mapping[str, Any], file: DedupStateFile | None) -> LaneProtocol:
    """A lane that stands where it was saved.

    Raises:
        StateError: it does not come there any more.
    """
    lane = mix.blank(at["lane"])
    restore_dedup_state(lane, at, file)
    lane.load_state_dict(decode_state(at, mix.recipe), row_decisions(at))
    since = at["records"] - lane.emitted  # records that the lane gave after what is saved of it
    while since and lane.fill():
        since -= len(lane.pull(since))
    if since:
        raise StateError(
            f"lane {lane.number} had given {at['records']:,} records when the state was saved and ends after "
            f"{lane.emitted:,} now. The sources' files have changed; start afresh."
        )
    return lane
