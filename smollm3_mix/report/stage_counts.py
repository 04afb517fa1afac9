"""Statistics per stage of a written curriculum, and their verification."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smollm3_mix.mix.interleave import discrepancy_bound
from smollm3_mix.mix.mix_stats import DiscrepancyTracker, MixStats
from smollm3_mix.recipe.curriculum import AnyRecipe, Curriculum

Ints = npt.NDArray[np.int64]


def count_stages(recipe: AnyRecipe, work: Path, all_stats: Mapping[str, MixStats]) -> dict[str, Any]:
    """Return the `splits` of stats.json, and the `stages` of a curriculum.

    A stage has its name, its tokens, statistics by split, and the records of each lane.
    """
    splits = {split: {"total": stats.total.__dict__, "sources": stats.to_dict()} for split, stats in all_stats.items()}
    if isinstance(recipe, Curriculum):
        return {"splits": splits, "stages": _stages(recipe, work, sorted(all_stats))}
    return {"splits": splits}


def _stages(curriculum: Curriculum, work: Path, splits: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": stage.name, "tokens": stage.tokens, "splits": {}, "records": {}} for stage in curriculum.stages
    ]
    sums: list[dict[str, MixStats]] = [{} for _ in found]
    for split in splits:
        for path in sorted(work.glob(f"{split}-*.json")):
            for number, plain in enumerate(json.loads(path.read_bytes())["stages"]):
                stats = MixStats.from_dict(plain)
                sums[number][split] = sums[number].get(split, MixStats({})) + stats
                found[number]["records"][path.stem] = stats.total.emitted
    for stage, by_split in zip(found, sums, strict=True):
        stage["splits"] = {split: stats.to_dict() for split, stats in by_split.items()}
    return found


class StageCount:
    """Counts one lane of a written curriculum, stage by stage.

    Args:
        curriculum: Pinned curriculum.
        label: Label of the lane, such as `train-00003`.
        saved: `stages` of stats.json.
        ends: Number of tokens of this lane at which each stage ends.
        ids: Source ids by the numbers that `add` receives.
    """

    def __init__(
        self,
        curriculum: Curriculum,
        label: str,
        saved: Sequence[dict[str, Any]],
        ends: Sequence[int],
        ids: Sequence[str],
    ) -> None:
        self._label, self._saved, self._ends, self._ids = label, saved, ends, list(ids)
        self._curriculum = curriculum
        self._stops = np.cumsum([stage["records"].get(label, 0) for stage in saved]).tolist()
        self._shares = [np.array([s.recipe.shares.get(source, 0.0) for source in ids]) for s in curriculum.stages]
        self._discrepancies = [DiscrepancyTracker(shares) for shares in self._shares]
        self._records = self._tokens = 0
        self.problems: list[str] = []

    def add(self, sources: Ints, counted: Ints, units: Ints) -> None:
        """Count the next records: source number, tokens and units of each, int64[records]."""
        totals = self._tokens + np.cumsum(counted)
        start = 0
        for number, stop in enumerate(self._stops):
            end = min(stop - self._records, len(sources))
            if end <= start:
                continue
            mine = slice(start, end)
            self._discrepancies[number].add(sources[mine], units[mine])
            self._check_switch(number, end, totals, counted, ended=end == stop - self._records)
            start = end
        self._records += len(sources)
        self._tokens = int(totals[-1]) if len(totals) else self._tokens

    def _check_switch(self, number: int, end: int, totals: Ints, counted: Ints, *, ended: bool) -> None:
        """Check that a stage before another one ends with the record that reaches its tokens."""
        name, target = self._curriculum.stages[number].name, self._ends[number]
        before = int(totals[end - 1] - counted[end - 1])
        last = number + 1 == len(self._stops) or self._stops[number + 1] == self._stops[number]
        if before >= target:
            self.problems.append(f"{self._label}: stage {name!r} continues after its {target:,} tokens")
        elif ended and not last and totals[end - 1] < target and self._bounded(number):
            self.problems.append(
                f"{self._label}: stage {name!r} ends at {int(totals[end - 1]):,} tokens, expected {target:,}"
            )

    def _bounded(self, number: int) -> bool:
        """Return True if the discrepancy has a bound. Validation has none, because it drops exhausted sources."""
        return self._curriculum.stages[number].recipe.bounded and not self._label.startswith("validation")

    def close(self) -> None:
        """Compare the discrepancies with the bound of each stage."""
        if self._records != self._stops[-1]:
            self.problems.append(
                f"{self._label}: its files have {self._records:,} records, but its stages emitted {self._stops[-1]:,}"
            )
        for number, stage in enumerate(self._curriculum.stages):
            if not self._bounded(number):
                continue
            stats = MixStats.from_dict(self._saved[number]["splits"].get("train", {}))
            longest = np.array([float(stats.sources[i].longest) if i in stats.sources else 0.0 for i in self._ids])
            bound = discrepancy_bound(self._shares[number], longest)
            self.problems += [
                f"{self._label}: in stage {stage.name!r} the discrepancy of '{source}' is up to "
                f"{largest:,.0f} {stage.recipe.weigh_by}, but its bound is {most:,.0f}"
                for source, largest, most in zip(self._ids, self._discrepancies[number].largest, bound, strict=True)
                if largest > most * (1 + 1e-9)
            ]
