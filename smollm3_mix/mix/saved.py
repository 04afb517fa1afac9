"""States of a stream: what they hold beside each lane's place, and whether they belong to a mix."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from smollm3_mix.errors import StateError
from smollm3_mix.mix.chunk import Chunk
from smollm3_mix.mix.line import Line
from smollm3_mix.mix.packed import from_text, packed, text, unpacked
from smollm3_mix.mix.seen_file import Remembers, SeenFile
from smollm3_mix.mix.states import check_form
from smollm3_mix.recipe import Recipe
from smollm3_mix.tally import Tally


class LaneLike(Remembers, Protocol):
    """What a stream asks of a lane: of one recipe (`Lane`), or of a curriculum (`StagedLane`)."""

    number: int

    @property
    def lines(self) -> Sequence[Line]:
        """Its sources."""

    @property
    def pending(self) -> int:
        """Records that can be pulled without reading anything."""

    def fill(self) -> bool:
        """Make at least one record pending; False when the lane has ended."""

    def pull(self, rows: int) -> Chunk:
        """The next records, at most `rows` and at most `pending`."""

    def waiting(self) -> list[pa.RecordBatch]:
        """Documents of the current blocks that were accepted and not pulled, source by source, in the order laid."""

    def tally(self, unread: int = 0) -> Tally:
        """Counts after the last record pulled, less the last `unread` of the pulled ones."""

    def tallies(self, unread: int = 0) -> list[Tally]:
        """The same for each stage that has begun."""

    def state_dict(self, unread: int = 0) -> dict[str, Any]:
        """Where the lane stands after the last record pulled, less `unread`."""

    def load_state_dict(self, state: dict[str, Any], verdicts: dict[str, bytes]) -> None:
        """Stand where `state_dict` was taken, after `restore_seen`."""

    @property
    def given(self) -> int:
        """Records pulled since the lane's start, those before a state that was loaded included."""

    def logs(self) -> dict[str, bytes]:
        """Verdicts of the first pass of every source, by source id."""

    def restore_seen(self, logs: Iterable[bytes]) -> None:
        """Remember again what `seen_log` gave, in order."""

    def close(self) -> None:
        """Close all files."""


class Readable(Protocol):
    """What a stream asks of a mix: of one recipe (`Mix`), or of a curriculum (`CurriculumMix`)."""

    @property
    def split(self) -> str:
        """Train or validation."""

    @property
    def recipe(self) -> Recipe:
        """What is read, every source pinned."""

    @property
    def seen_dir(self) -> str | None:
        """Folder in which states keep what dedup remembers; None: in themselves."""

    @property
    def start(self) -> Mapping[str, Any] | None:
        """The state that the mix goes on from."""

    @property
    def num_lanes(self) -> int:
        """Lanes of this split."""

    @property
    def asked(self) -> dict[str, int | None]:
        """The limits of the whole mix by name."""

    def lane(self, number: int) -> LaneLike:
        """One lane at its start."""

    def blank(self, number: int) -> LaneLike:
        """One lane of which nothing is known, to load a state into."""


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
