"""Protocols of lanes and mixes: the parts that streams and readers use."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.record_chunk import RecordChunk
from smollm3_mix.mix.source_stream import SourceStream
from smollm3_mix.mix.state.dedup_state_file import HasDedupState
from smollm3_mix.recipe.curriculum import AnyRecipe


class LaneProtocol(HasDedupState, Protocol):
    """A lane of a recipe (`Lane`) or of a curriculum (`CurriculumLane`)."""

    number: int

    @property
    def streams(self) -> Sequence[SourceStream]:
        """The source streams of the lane, in recipe order."""

    @property
    def pending(self) -> int:
        """Number of records that can be pulled without reading."""

    def fill(self) -> bool:
        """Make at least one record pending. Return False at the end of the lane."""

    def pull(self, rows: int) -> RecordChunk:
        """Return the next records: at most `rows`, and at most `pending`."""

    def pending_documents(self) -> list[pa.RecordBatch]:
        """Return the accepted documents of the current blocks that were not pulled, by source, in placement order."""

    def stats(self, unread: int = 0) -> MixStats:
        """Return the statistics up to the last record pulled, without the last `unread` records."""

    def stage_stats(self, unread: int = 0) -> list[MixStats]:
        """Return the statistics of each stage that has begun."""

    def state_dict(self, unread: int = 0) -> dict[str, Any]:
        """Return the position after the last record pulled, without the last `unread` records."""

    def load_state_dict(self, state: dict[str, Any], decisions: dict[str, bytes]) -> None:
        """Resume at the position of `state`. Call `restore_dedup_state` first."""

    @property
    def emitted(self) -> int:
        """Number of records pulled since the start of the lane, including those before a loaded state."""

    def decision_logs(self) -> dict[str, bytes]:
        """Return the row decisions of the first pass of every source, by source id."""

    def restore_dedup_state(self, logs: Iterable[bytes]) -> None:
        """Restore the dedup state from the results of `dedup_log`, in order."""

    def close(self) -> None:
        """Close all files."""


class MixProtocol(Protocol):
    """The mix of a recipe (`RecipeMix`) or of a curriculum (`CurriculumMix`)."""

    @property
    def split(self) -> str:
        """The split that is read, `"train"` or `"validation"`."""

    @property
    def recipe(self) -> AnyRecipe:
        """The recipe with every source pinned."""

    @property
    def dedup_state_dir(self) -> str | None:
        """Folder for the dedup state. None if states contain the dedup state."""

    @property
    def start(self) -> Mapping[str, Any] | None:
        """State of another mix from which the mix continues."""

    @property
    def num_lanes(self) -> int:
        """Number of lanes of the split."""

    @property
    def limits(self) -> Limits:
        """Limits of the whole mix."""

    def lane(self, number: int) -> LaneProtocol:
        """Return one lane at its start."""

    def blank_lane(self, number: int) -> LaneProtocol:
        """Return one lane into which a state can be loaded."""
