"""Protocols of a lane and of a mix, as readers use them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from smollm3_mix.mix.mix_stats import Tally
from smollm3_mix.mix.record_chunk import Chunk
from smollm3_mix.mix.source_stream import Line
from smollm3_mix.mix.state.dedup_state_file import Remembers
from smollm3_mix.recipe.model import Recipe


class LaneLike(Remembers, Protocol):
    """Lane as a stream uses it: of one recipe (`Lane`), or of a curriculum (`StagedLane`)."""

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
    """Mix as a stream uses it: of one recipe (`Mix`), or of a curriculum (`CurriculumMix`)."""

    @property
    def split(self) -> str:
        """Train or validation."""

    @property
    def recipe(self) -> Recipe:
        """The recipe that is read, with every source pinned."""

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
