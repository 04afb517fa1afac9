"""The mix of a curriculum: stages one after another in each lane, every source going on where it stood."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from smollm3_mix.mix.lane import Lane
from smollm3_mix.mix.limits import Limits, lane_limit
from smollm3_mix.mix.mix_stats import MixStats, SourceStats
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.mix.record_chunk import RecordChunk
from smollm3_mix.mix.source_stream import SourceStream
from smollm3_mix.mix.state import continuation
from smollm3_mix.recipe.curriculum import Curriculum
from smollm3_mix.text.dedup.dedup_store import DedupStore


@dataclass(frozen=True)
class CurriculumMix(Mix):
    """A curriculum whose sources have been found; like the mix of one recipe in all that can be done with it.

    A stage ends, in each lane, with the record that reaches the lane's part of the tokens of all stages up to it; so
    what one stage gives too much, the next gives less, and stages do not drift. Within a stage shares hold as in a mix
    of its recipe alone, counted from its first record. What dedup remembers spans all stages.

    The validation split goes through the stages too, each with its part of `holdout.tokens`.
    """

    @property
    def curriculum(self) -> Curriculum:
        """The recipe of recipes, every source pinned."""
        recipe = self.plan.recipe
        if not isinstance(recipe, Curriculum):
            raise TypeError(f"expected a curriculum, got the recipe {recipe.name}")
        return recipe

    def stage(self, number: int) -> Mix:
        """The mix of one stage alone, without limits; all stages share the plan's files."""
        recipe = self.curriculum.stages[number].recipe
        resolved = {source.id: self.plan.resolved[source.id] for source in recipe.active}
        return Mix(replace(self.plan, recipe=recipe, resolved=resolved), self.split, ids=self.ids)

    def begin(self, stage: int, lane: int, limits: Limits, seen: DedupStore | None = None) -> Lane:
        """One lane of a stage of which nothing is known, keeping what later stages need to know of its sources."""
        repeat = any(each.recipe.on_exhausted == "repeat" for each in self.curriculum.stages)
        again = {source.id for source in self.plan.recipe.active if repeat or source.max_passes > 1}
        return self.stage(stage).blank(lane, limits, seen, again)

    def ends(self, lane: int) -> list[int]:
        """Tokens of a lane at which each stage ends."""
        return lane_ends(self.curriculum, self.split, lane)

    def lane(self, number: int) -> "CurriculumLane":  # type: ignore[override]  # a lane like any other
        """One lane at its start; nothing is read yet, but where it goes on from a state."""
        lane = self.blank(number)
        if self.start is not None:
            continuation.begin_continuation(lane.now, self.start, self)
        return lane

    def blank(self, number: int) -> "CurriculumLane":  # type: ignore[override]
        """One lane of which nothing is known, to load a state into."""
        return CurriculumLane(self, number)


def lane_ends(curriculum: Curriculum, split: str, lane: int) -> list[int]:
    """Tokens of a lane at which each stage of a curriculum ends."""
    lanes, ends = curriculum.lanes, curriculum.ends
    if split == "validation":
        lanes, held = 1, curriculum.holdout.tokens
        ends = tuple(max(1, round(end * held / curriculum.length)) for end in ends)
    return [lane_limit(end, lane, lanes) or 0 for end in ends]


class CurriculumLane:
    """One lane of a curriculum: the lanes of its stages one after another, resumable after any record.

    Args:
        mix: of the curriculum.
        number: of the lane.

    Attributes:
        number: of the lane.
        stage: number of the stage that it is in.
        now: the lane of that stage.
    """

    def __init__(self, mix: CurriculumMix, number: int) -> None:
        self.number, self.stage = number, 0
        self._mix, self._limits, self._ends = mix, mix.limits(number), mix.ends(number)
        self._done: list[MixStats] = []
        self.now = mix.begin(0, number, self._left())

    @property
    def lines(self) -> Sequence[SourceStream]:
        """The sources of the stage, in its recipe's order."""
        return self.now.lines

    @property
    def pending(self) -> int:
        """Records that can be pulled without reading anything."""
        return self.now.pending

    @property
    def emitted(self) -> int:
        """Records pulled since the first stage began, those before a state that was loaded included."""
        return self._given()[0] + self.now.emitted

    @property
    def dedup_digest(self) -> str | None:
        """Digest of all that `seen_log` gives from the start; None without dedup."""
        return self.now.dedup_digest

    def fill(self) -> bool:
        """Make at least one record pending; False when the last stage has ended."""
        while not self.now.fill():
            if not self._go_on():
                return False
        return True

    def pull(self, rows: int) -> RecordChunk:
        """The next records, at most `rows` and at most `pending`; all of one stage."""
        return self.now.pull(rows)

    def pending_documents(self) -> list[pa.RecordBatch]:
        """Documents of the stage's current blocks that were accepted and not pulled, source by source."""
        return self.now.pending_documents()

    def stats(self, unread: int = 0) -> MixStats:
        """Counts of all stages after the last record pulled, less the last `unread` of the pulled ones."""
        inactive = {
            source: SourceStats(read=rows, pending=rows)
            for source, at in self.now.inactive.items()
            if (rows := continuation.pending_documents(at["line"]))
        }
        return sum([*self.all_stats(unread), MixStats(inactive)], MixStats.empty(s.id for s in self._mix.recipe.active))

    def all_stats(self, unread: int = 0) -> list[MixStats]:
        """Counts of each stage that has begun. What waits when a stage ends counts as read by the one that gives it."""
        return [*self._done, self.now.stats(unread)]

    def state_dict(self, unread: int = 0) -> dict[str, Any]:
        """Where the lane stands: that of its stage, which one that is, and the counts of those before."""
        done = [stats.to_dict() for stats in self._done]
        return {**self.now.state_dict(unread), "stage": self.stage, "done": done}

    def load_state_dict(self, state: dict[str, Any], decisions: dict[str, bytes]) -> None:
        """Stand where `state_dict` was taken, after `restore_seen`. Reads the current block of each source."""
        self.stage, self._done = state["stage"], [MixStats.from_dict(stats) for stats in state["done"]]
        self._begin()
        self.now.load_state_dict(state, decisions)

    def logs(self) -> dict[str, bytes]:
        """Verdicts of the first pass of every source, by source id."""
        return self.now.logs()

    def dedup_log(self, since: int = 0) -> tuple[bytes, int]:
        """What dedup remembers from its document number `since` on, and how many documents it remembers in all."""
        return self.now.dedup_log(since)

    def restore_dedup_state(self, logs: Iterable[bytes]) -> None:
        """Remember again what `seen_log` gave, in order; before `load_state_dict`."""
        self.now.restore_dedup_state(logs)

    def close(self) -> None:
        """Close all files."""
        self.now.close()

    def _given(self) -> tuple[int, int, int]:
        """Records, tokens and bytes given by the stages before this one."""
        total = sum((stats.total for stats in self._done), SourceStats())
        return total.emitted, total.emitted_tokens, total.emitted_bytes

    def _left(self) -> Limits:
        """What the stage may give: up to its end, and to the limits of the whole."""
        end = self._ends[self.stage]
        tokens = end if self._limits.tokens is None else min(end, self._limits.tokens)
        return replace(self._limits, tokens=tokens).after(*self._given())

    def _go_on(self) -> bool:
        """Begin the next stage; False where there is none, or where the lane has ended in this one."""
        stats = self.now.stats()
        given = sum((each.total for each in [*self._done, stats]), SourceStats())
        stopped = given.emitted_tokens < self._ends[self.stage] and self.now.stops
        over = self._limits.reached(given.emitted, given.emitted_tokens, given.emitted_bytes)
        if over or stopped or self.stage + 1 == len(self._ends):
            return False
        saved, logs = self.now.state_dict(), self.now.logs()
        recipe = self._mix.stage(self.stage).recipe
        self.now.close()
        for counts in stats.sources.values():
            counts.read, counts.pending = counts.read - counts.pending, 0
        self._done.append(stats)
        self.stage += 1
        self._begin()
        continuation.continue_lane(self.now, saved, recipe, self._mix.num_lanes, logs)
        return True

    def _begin(self) -> None:
        """Have the lane of the stage at hand, of which nothing is known but what dedup remembers."""
        before = self.now
        self.now = self._mix.begin(self.stage, self.number, self._left(), before.seen)
        for line in self.now.lines:
            line.on_drop = before.lines[0].on_drop
