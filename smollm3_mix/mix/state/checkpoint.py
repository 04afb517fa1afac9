"""States of a stream: what they hold beside each lane's place, and whether they belong to a mix."""

from collections.abc import Mapping
from typing import Any

from smollm3_mix.errors import StateError
from smollm3_mix.mix.protocols import LaneLike, Readable
from smollm3_mix.mix.state.dedup_state_file import SeenFile
from smollm3_mix.mix.state.merge_states import check_form
from smollm3_mix.mix.state.state_codec import from_text, packed, text, unpacked
from smollm3_mix.recipe.model import Recipe


def check_state(mix: Readable, state: Mapping[str, Any]) -> None:
    """Nothing, where the state was saved by this mix.

    Raises:
        StateError: it was not; the message shows the difference.
    """
    keys = ("recipe", "fingerprint", "split", "limits", "going", "turn", "went_on", "lanes")
    missing = [key for key in keys if key not in state]
    if missing:
        raise StateError(f"this is no state of a mix: it has no {missing[0]!r}. Pass what state_dict() gave.")
    check_form("this state", state)
    recipe = mix.recipe
    if state["fingerprint"] != recipe.fingerprint:
        other = Recipe.from_dict(state["recipe"])
        differ = "\n  ".join(other.differences(recipe)) or "the version of the package"
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


def seen_file(mix: Readable, lane: int) -> SeenFile | None:
    """Where a mix keeps what dedup remembers of a lane; None where states keep it themselves."""
    return None if mix.seen_dir is None else SeenFile(mix.seen_dir, f"{mix.split}-{lane:05d}.seen")


def saved(lane: LaneLike, unread: int, file: SeenFile | None) -> dict[str, Any]:
    """A lane's state with all that it remembers, as text or in its file."""
    if file is not None and lane.seen_digest is not None:
        seen: Any = file.append(lane)
    else:
        seen = text(lane.seen_log()[0])
    return {
        **packed(lane.state_dict(unread)),
        "verdicts": {i: text(log) for i, log in lane.logs().items() if log},
        "seen": seen,
    }


def restore_seen(lane: LaneLike, at: Mapping[str, Any], file: SeenFile | None) -> None:
    """Let a blank lane remember what it did when `at` was saved.

    Raises:
        StateError: that is in a file, which is not at hand or holds something else.
    """
    seen = at["seen"]
    if isinstance(seen, str):
        lane.restore_seen([from_text(seen)])
    elif file is not None:
        lane.restore_seen([file.read(seen)])
    else:
        raise StateError(
            f"this state keeps what dedup remembers of lane {lane.number} in the file {seen['file']!r}. "
            "Open the mix with seen_dir= the folder that holds it."
        )


def verdicts(at: Mapping[str, Any]) -> dict[str, bytes]:
    """Verdicts of the first passes in a lane's state, by source id."""
    return {source: from_text(log) for source, log in at["verdicts"].items()}


def restored(mix: Readable, at: Mapping[str, Any], file: SeenFile | None) -> LaneLike:
    """A lane that stands where it was saved.

    Raises:
        StateError: it does not come there any more.
    """
    lane = mix.blank(at["lane"])
    restore_seen(lane, at, file)
    lane.load_state_dict(unpacked(at, mix.recipe), verdicts(at))
    since = at["records"] - lane.given  # records that the lane gave after what is saved of it
    while since and lane.fill():
        since -= len(lane.pull(since))
    if since:
        raise StateError(
            f"lane {lane.number} had given {at['records']:,} records when the state was saved and ends after "
            f"{lane.given:,} now. The sources' files have changed; start afresh."
        )
    return lane
