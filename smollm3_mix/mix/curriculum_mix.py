"""The mix of a curriculum: its stages in sequence in each lane, with sources that continue from stage to stage."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from smollm3_mix.mix.lane import Lane
from smollm3_mix.mix.limits import Limits, lane_limit
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.mix_stats import MixStats, SourceStats
from smollm3_mix.mix.recipe_mix import RecipeMix
from smollm3_mix.mix.record_chunk import RecordChunk
from smollm3_mix.mix.source_stream import SourceStream
from smollm3_mix.mix.state import continuation
from smollm3_mix.recipe.curriculum import Curriculum
from smollm3_mix.text.dedup.dedup_store import DedupStore


@dataclass(frozen=True, repr=False)
class CurriculumMix(Mix):
    """The mix of a curriculum.

    In each lane, a stage ends with the record that reaches the lane's part of the tokens of all stages so far. If a
    stage overshoots its token budget by part of a document, the next stage is shortened by the same amount. Overshoot
    does not accumulate. Within a stage, shares hold as in a mix of its recipe alone, from its first record on. The
    dedup state spans all stages.

    The validation split has all stages too, each with its part of `holdout.tokens`.
    """

    @property
    def curriculum(self) -> Curriculum:
        """The curriculum with every source pinned."""
        recipe = self.resolved.recipe
        if not isinstance(recipe, Curriculum):
            raise TypeError(f"CurriculumMix needs a curriculum, got the recipe {recipe.name!r}.")
        return recipe

    def stage(self, number: int) -> RecipeMix:
        """Return the mix of one stage, without limits. All stages share the resolved files."""
        recipe = self.curriculum.stages[number].recipe
        sources = {source.id: self.resolved.sources[source.id] for source in recipe.active}
        return RecipeMix(replace(self.resolved, recipe=recipe, sources=sources), self.split, ids=self.ids)

    def stage_lane(self, stage: int, lane: int, limits: Limits, dedup_store: DedupStore | None = None) -> Lane:
        """Return one lane of a stage without a state. It keeps the row decisions that later stages need."""
        repeat = any(each.recipe.on_exhausted == "repeat" for each in self.curriculum.stages)
        reread = {source.id for source in self.resolved.recipe.active if repeat or source.max_passes > 1}
        return self.stage(stage).blank_lane(lane, limits, dedup_store, reread)

    def stage_ends(self, lane: int) -> list[int]:
        """Return the number of tokens of a lane at which each stage ends."""
        return lane_ends(self.curriculum, self.split, lane)

    def lane(self, number: int) -> "CurriculumLane":
        """Return one lane at its start. Reads nothing, unless the mix continues from a state."""
        lane = self.blank_lane(number)
        if self.start is not None:
            continuation.begin_continuation(lane.current, self.start, self)
        return lane

    def blank_lane(self, number: int) -> "CurriculumLane":
        """Return one lane into which a state can be loaded."""
        return CurriculumLane(self, number)


def lane_ends(curriculum: Curriculum, split: str, lane: int) -> list[int]:
    """Return the number of tokens of a lane at which each stage of a curriculum ends."""
    lanes, ends = curriculum.lanes, curriculum.ends
    if split == "validation":
        lanes, held_out = 1, curriculum.holdout.tokens
        ends = tuple(max(1, round(end * held_out / curriculum.total_tokens)) for end in ends)
    return [lane_limit(end, lane, lanes) or 0 for end in ends]


class CurriculumLane:
    """One lane of a curriculum: the lanes of its stages in sequence, resumable after any record.

    Args:
        mix: Mix of the curriculum.
        number: Number of the lane.

    Attributes:
        number: Number of the lane.
        stage: Number of the current stage.
        current: Lane of the current stage.
    """

    def __init__(self, mix: CurriculumMix, number: int) -> None:
        self.number, self.stage = number, 0
        self._mix, self._limits, self._ends = mix, mix.lane_limits(number), mix.stage_ends(number)
        self._done: list[MixStats] = []
        self.current = mix.stage_lane(0, number, self._remaining())

    @property
    def streams(self) -> Sequence[SourceStream]:
        """The source streams of the current stage, in the order of its recipe."""
        return self.current.streams

    @property
    def pending(self) -> int:
        """Number of records that can be pulled without reading."""
        return self.current.pending

    @property
    def emitted(self) -> int:
        """Number of records pulled since the first stage began, including those before a loaded state."""
        return self._emitted_before()[0] + self.current.emitted

    @property
    def dedup_digest(self) -> str | None:
        """Digest of the complete `dedup_log`. None without dedup."""
        return self.current.dedup_digest

    def fill(self) -> bool:
        """Make at least one record pending. Return False at the end of the last stage."""
        while not self.current.fill():
            if not self._next_stage():
                return False
        return True

    def pull(self, rows: int) -> RecordChunk:
        """Return the next records of one stage: at most `rows`, and at most `pending`."""
        return self.current.pull(rows)

    def pending_documents(self) -> list[pa.RecordBatch]:
        """Return the accepted documents of the stage's current blocks that were not pulled, by source."""
        return self.current.pending_documents()

    def stats(self, unread: int = 0) -> MixStats:
        """Return the statistics of all stages up to the last record pulled, without the last `unread` records."""
        inactive = {
            source: SourceStats(read=rows, pending=rows)
            for source, saved in self.current.inactive.items()
            if (rows := continuation.pending_documents(saved["stream"]))
        }
        empty = MixStats.empty(source.id for source in self._mix.recipe.active)
        return sum([*self.stage_stats(unread), MixStats(inactive)], empty)

    def stage_stats(self, unread: int = 0) -> list[MixStats]:
        """Return the statistics of each stage that has begun.

        A document that is pending when a stage ends counts as read by the stage that emits it.
        """
        return [*self._done, self.current.stats(unread)]

    def state_dict(self, unread: int = 0) -> dict[str, Any]:
        """Return the position in the current stage, the number of the stage and the statistics of earlier stages."""
        done = [stats.to_dict() for stats in self._done]
        return {**self.current.state_dict(unread), "stage": self.stage, "done": done}

    def load_state_dict(self, state: dict[str, Any], decisions: dict[str, bytes]) -> None:
        """Resume at the position of `state`. Call `restore_dedup_state` first."""
        self.stage, self._done = state["stage"], [MixStats.from_dict(stats) for stats in state["done"]]
        self._open_stage()
        self.current.load_state_dict(state, decisions)

    def decision_logs(self) -> dict[str, bytes]:
        """Return the row decisions of the first pass of every source, by source id."""
        return self.current.decision_logs()

    def dedup_log(self, since: int = 0) -> tuple[bytes, int]:
        """Return the dedup state from document number `since` on, and the total number of documents."""
        return self.current.dedup_log(since)

    def restore_dedup_state(self, logs: Iterable[bytes]) -> None:
        """Restore the dedup state from the results of `dedup_log`, in order. Call `load_state_dict` afterwards."""
        self.current.restore_dedup_state(logs)

    def close(self) -> None:
        """Close all files."""
        self.current.close()

    def _emitted_before(self) -> tuple[int, int, int]:
        """Return the records, tokens and bytes that earlier stages emitted."""
        total = sum((stats.total for stats in self._done), SourceStats())
        return total.emitted, total.emitted_tokens, total.emitted_bytes

    def _remaining(self) -> Limits:
        """Return the limits of the current stage: its end, and what remains of the limits of the lane."""
        end = self._ends[self.stage]
        tokens = end if self._limits.max_tokens is None else min(end, self._limits.max_tokens)
        return replace(self._limits, max_tokens=tokens).remaining(*self._emitted_before())

    def _next_stage(self) -> bool:
        """Begin the next stage. Return False if there is none, or if the lane has ended in this stage."""
        stats = self.current.stats()
        total = sum((each.total for each in [*self._done, stats]), SourceStats())
        stopped = total.emitted_tokens < self._ends[self.stage] and self.current.stops
        finished = self._limits.reached(total.emitted, total.emitted_tokens, total.emitted_bytes)
        if finished or stopped or self.stage + 1 == len(self._ends):
            return False
        saved, decisions = self.current.state_dict(), self.current.decision_logs()
        (recipe,) = self._mix.stage(self.stage).recipe.recipes
        self.current.close()
        for source in stats.sources.values():
            source.read, source.pending = source.read - source.pending, 0
        self._done.append(stats)
        self.stage += 1
        self._open_stage()
        continuation.continue_lane(self.current, saved, recipe, self._mix.num_lanes, decisions)
        return True

    def _open_stage(self) -> None:
        """Replace the current lane by one of the current stage. It keeps only the dedup state."""
        before = self.current
        self.current = self._mix.stage_lane(self.stage, self.number, self._remaining(), before.dedup_store)
        for stream in self.current.streams:
            stream.on_drop = before.streams[0].on_drop
