"""The mix of a curriculum: stages one after another in each lane, every source going on where it stood."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from smollm3_mix.mix.lane import Lane
from smollm3_mix.mix.limits import Limits, part
from smollm3_mix.mix.mix_stats import Counts, Tally
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.mix.record_chunk import Chunk
from smollm3_mix.mix.source_stream import Line
from smollm3_mix.mix.state import continuation
from smollm3_mix.recipe.curriculum import Curriculum
from smollm3_mix.text.dedup.dedup_store import Seen


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

    def begin(self, stage: int, lane: int, limits: Limits, seen: Seen | None = None) -> Lane:
        """One lane of a stage of which nothing is known, keeping what later stages need to know of its sources."""
        repeat = any(each.recipe.on_exhausted == "repeat" for each in self.curriculum.stages)
        again = {source.id for source in self.plan.recipe.active if repeat or source.max_passes > 1}
        return self.stage(stage).blank(lane, limits, seen, again)

    def ends(self, lane: int) -> list[int]:
        """Tokens of a lane at which each stage ends."""
        return lane_ends(self.curriculum, self.split, lane)

    def lane(self, number: int) -> "StagedLane":  # type: ignore[override]  # a lane like any other
        """One lane at its start; nothing is read yet, but where it goes on from a state."""
        lane = self.blank(number)
        if self.start is not None:
            continuation.begin(lane.now, self.start, self)
        return lane

    def blank(self, number: int) -> "StagedLane":  # type: ignore[override]
        """One lane of which nothing is known, to load a state into."""
        return StagedLane(self, number)


def lane_ends(curriculum: Curriculum, split: str, lane: int) -> list[int]:
    """Tokens of a lane at which each stage of a curriculum ends."""
    lanes, ends = curriculum.lanes, curriculum.ends
    if split == "validation":
        lanes, held = 1, curriculum.holdout.tokens
        ends = tuple(max(1, round(end * held / curriculum.length)) for end in ends)
    return [part(end, lane, lanes) or 0 for end in ends]


class StagedLane:
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
        self._done: list[Tally] = []
        self.now = mix.begin(0, number, self._left())

    @property
    def lines(self) -> Sequence[Line]:
        """The sources of the stage, in its recipe's order."""
        return self.now.lines

    @property
    def pending(self) -> int:
        """Records that can be pulled without reading anything."""
        return self.now.pending

    @property
    def given(self) -> int:
        """Records pulled since the first stage began, those before a state that was loaded included."""
        return self._given()[0] + self.now.given

    @property
    def seen_digest(self) -> str | None:
        """Digest of all that `seen_log` gives from the start; None without dedup."""
        return self.now.seen_digest

    def fill(self) -> bool:
        """Make at least one record pending; False when the last stage has ended."""
        while not self.now.fill():
            if not self._go_on():
                return False
        return True

    def pull(self, rows: int) -> Chunk:
        """The next records, at most `rows` and at most `pending`; all of one stage."""
        return self.now.pull(rows)

    def waiting(self) -> list[pa.RecordBatch]:
        """Documents of the stage's current blocks that were accepted and not pulled, source by source."""
        return self.now.waiting()

    def tally(self, unread: int = 0) -> Tally:
        """Counts of all stages after the last record pulled, less the last `unread` of the pulled ones."""
        parked = {
            source: Counts(read=rows, waiting=rows)
            for source, at in self.now.parked.items()
            if (rows := continuation.waiting(at["line"]))
        }
        return sum([*self.tallies(unread), Tally(parked)], Tally.empty(s.id for s in self._mix.recipe.active))

    def tallies(self, unread: int = 0) -> list[Tally]:
        """Counts of each stage that has begun. What waits when a stage ends counts as read by the one that gives it."""
        return [*self._done, self.now.tally(unread)]

    def state_dict(self, unread: int = 0) -> dict[str, Any]:
        """Where the lane stands: that of its stage, which one that is, and the counts of those before."""
        done = [tally.to_dict() for tally in self._done]
        return {**self.now.state_dict(unread), "stage": self.stage, "done": done}

    def load_state_dict(self, state: dict[str, Any], verdicts: dict[str, bytes]) -> None:
        """Stand where `state_dict` was taken, after `restore_seen`. Reads the current block of each source."""
        self.stage, self._done = state["stage"], [Tally.from_dict(tally) for tally in state["done"]]
        self._begin()
        self.now.load_state_dict(state, verdicts)

    def logs(self) -> dict[str, bytes]:
        """Verdicts of the first pass of every source, by source id."""
        return self.now.logs()

    def seen_log(self, since: int = 0) -> tuple[bytes, int]:
        """What dedup remembers from its document number `since` on, and how many documents it remembers in all."""
        return self.now.seen_log(since)

    def restore_seen(self, logs: Iterable[bytes]) -> None:
        """Remember again what `seen_log` gave, in order; before `load_state_dict`."""
        self.now.restore_seen(logs)

    def close(self) -> None:
        """Close all files."""
        self.now.close()

    def _given(self) -> tuple[int, int, int]:
        """Records, tokens and bytes given by the stages before this one."""
        total = sum((tally.total for tally in self._done), Counts())
        return total.given, total.given_tokens, total.given_bytes

    def _left(self) -> Limits:
        """What the stage may give: up to its end, and to the limits of the whole."""
        end = self._ends[self.stage]
        tokens = end if self._limits.tokens is None else min(end, self._limits.tokens)
        return replace(self._limits, tokens=tokens).after(*self._given())

    def _go_on(self) -> bool:
        """Begin the next stage; False where there is none, or where the lane has ended in this one."""
        tally = self.now.tally()
        given = sum((each.total for each in [*self._done, tally]), Counts())
        stopped = given.given_tokens < self._ends[self.stage] and self.now.stops
        over = self._limits.reached(given.given, given.given_tokens, given.given_bytes)
        if over or stopped or self.stage + 1 == len(self._ends):
            return False
        saved, logs = self.now.state_dict(), self.now.logs()
        recipe = self._mix.stage(self.stage).recipe
        self.now.close()
        for counts in tally.sources.values():
            counts.read, counts.waiting = counts.read - counts.waiting, 0
        self._done.append(tally)
        self.stage += 1
        self._begin()
        continuation.go_on(self.now, saved, recipe, self._mix.num_lanes, logs)
        return True

    def _begin(self) -> None:
        """Have the lane of the stage at hand, of which nothing is known but what dedup remembers."""
        before = self.now
        self.now = self._mix.begin(self.stage, self.number, self._left(), before.seen)
        for line in self.now.lines:
            line.on_drop = before.lines[0].on_drop
