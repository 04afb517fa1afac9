"""Recount a mix of records in Parquet."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.mix.curriculum_mix import lane_ends
from smollm3_mix.mix.interleave import discrepancy_bound
from smollm3_mix.mix.mix_stats import DiscrepancyTracker, MixStats, SourceStats
from smollm3_mix.output import output_layout
from smollm3_mix.recipe.curriculum import AnyRecipe, Curriculum
from smollm3_mix.report.evidence import Evidence
from smollm3_mix.report.stage_counts import StageCount
from smollm3_mix.text.dedup.text_hashes import hash_texts
from smollm3_mix.text.lengths import byte_lengths, document_units
from smollm3_mix.tokenizer import recipe_tokenizer
from smollm3_mix.verification.verification_report import (
    Findings,
    TextHashes,
    count_problems,
    overlap_problems,
    read_batches,
)

Ints = npt.NDArray[np.int64]


def recount(folder: Path, saved: dict[str, Any], findings: Findings, evidence: Evidence | None) -> None:
    """Add statistics and problems to the findings; see `verify`.

    Args:
        folder: Folder of the mix.
        saved: Content of its stats.json.
        findings: Findings to extend.
        evidence: Collects every record for the report.
    """
    recipe = findings.recipe
    hashes: dict[str, list[TextHashes]] = {}
    for split, counts in saved["splits"].items():
        expected = MixStats.from_dict(counts["sources"])
        lanes: dict[str, list[str]] = {}
        for name in sorted(saved["files"], key=output_layout.shard_base):
            if output_layout.shard_base(name).startswith(f"{split}-") and (folder / output_layout.DATA / name).exists():
                lanes.setdefault(output_layout.shard_base(name).rsplit("-", 1)[0], []).append(name)
        total = MixStats.empty(source.id for source in recipe.active)
        for lane, names in lanes.items():
            counter = _Lane(recipe, lane, expected, evidence, saved.get("stages"))
            for name in names:
                counter.add_file(folder / output_layout.DATA / name)
            findings.problems += counter.problems()
            hashes.setdefault(split, []).append(counter.hashes)
            total += counter.stats
        findings.stats[split] = total
        findings.problems += count_problems(split, total, expected)
        findings.problems += _cross_lane_problems(recipe, split, hashes.get(split, []))
    findings.problems += overlap_problems(hashes)


class _Lane:
    """Statistics of one lane's files, in order."""

    def __init__(
        self,
        recipe: AnyRecipe,
        label: str,
        expected: MixStats,
        evidence: Evidence | None,
        stages: list[dict[str, Any]] | None,
    ) -> None:
        self._recipe, self._label, self._evidence = recipe, label, evidence
        self._ids = [source.id for source in recipe.active]
        self._numbers = {source: number for number, source in enumerate(self._ids)}
        self._ratios = np.array([source.tokens_per_byte for source in recipe.active])
        self._encoder = recipe_tokenizer.load_tokenizer(recipe)
        self._expected = expected
        shares = np.array([recipe.shares[source] for source in self._ids])
        self._shares, self._discrepancies = shares, DiscrepancyTracker(shares)
        self._problems: list[str] = []
        self._hashes: list[TextHashes] = []
        self.stats = MixStats.empty(self._ids)
        self._stages: StageCount | None = None
        if isinstance(recipe, Curriculum) and stages is not None:
            split, number = label.split("-")
            ends = lane_ends(recipe, split, int(number))
            self._stages = StageCount(recipe, label, stages, ends, self._ids)

    @property
    def hashes(self) -> TextHashes:
        """Hashes of all texts, uint64[records, 2]."""
        return np.concatenate(self._hashes) if self._hashes else np.empty((0, 2), np.uint64)

    def add_file(self, path: Path) -> None:
        """Count the records of one file."""
        for batch in read_batches(path, self._problems):
            names = batch["source"].to_pylist()
            unknown = sorted(set(names) - set(self._ids))
            if unknown:
                self._problems.append(f"{path.name}: source {unknown[0]!r} is not in the recipe")
                return
            sources = np.array([self._numbers[name] for name in names], dtype=np.int64)
            lengths = byte_lengths(batch["text"])
            written = batch["tokens"].to_numpy()
            counted = self._counted(batch["text"], lengths, sources)
            if counted is None:
                counted = written
            wrong = np.flatnonzero(counted != written)
            if len(wrong):
                first = int(wrong[0])
                self._problems.append(
                    f"{path.name}: record {batch['id'][first].as_py()!r} has {written[first]} tokens, "
                    f"but its text has {counted[first]}"
                )
            self._hashes.append(hash_texts(batch["text"]))
            units = document_units(self._recipe.weigh_by, lengths, written.astype(np.int64))
            self._discrepancies.add(sources, units)
            if self._stages is not None:
                self._stages.add(sources, written.astype(np.int64), units)
            self._count(sources, lengths, written, units)
            if self._evidence is not None:
                self._evidence.add(self._label, batch, sources, units)

    def _counted(self, texts: pa.StringArray, lengths: Ints, sources: Ints) -> Ints | None:
        """Return the tokens of each text by the recipe's method. None if they are from a column of the source."""
        if self._recipe.tokens == "column":
            return None
        if self._encoder is not None:
            return self._encoder.count(texts)
        return np.maximum(1, np.rint(lengths * self._ratios[sources])).astype(np.int64)

    def _count(self, sources: Ints, lengths: Ints, counted: Ints, units: Ints) -> None:
        for number in np.unique(sources).tolist():
            mine, counts = sources == number, self.stats.sources[self._ids[number]]
            counts.emitted += int(mine.sum())
            counts.emitted_bytes += int(lengths[mine].sum())
            counts.emitted_tokens += int(counted[mine].sum())
            counts.emitted_units += int(units[mine].sum())
            counts.longest = max(counts.longest, int(units[mine].max()))
            counts.max_discrepancy = float(self._discrepancies.largest[number])
        for number, source in enumerate(self._ids):
            self.stats.sources[source].max_discrepancy = float(self._discrepancies.largest[number])

    def problems(self) -> list[str]:
        """Return the problems of this lane."""
        expected = [self._expected.sources.get(source, SourceStats()) for source in self._ids]
        longest = np.array([float(counts.longest) for counts in expected])
        bound = discrepancy_bound(self._shares, longest)
        problems = list(self._problems)
        if self._stages is not None:
            self._stages.close()
            problems += self._stages.problems
        recipe, unit = self._recipe, self._recipe.weigh_by
        if recipe.bounded and not self._label.startswith("validation"):
            problems += [
                f"{self._label}: the discrepancy of '{source}' is up to {largest:,.0f} {unit}, "
                f"but its bound is {most:,.0f}"
                for source, largest, most in zip(self._ids, self._discrepancies.largest, bound, strict=True)
                if largest > most * (1 + 1e-9)
            ]
        single_pass = all(counts.passes <= 1 for counts in expected)
        if self._recipe.dedup.exact and single_pass:
            hashes = self.hashes
            repeated = len(hashes) - len(np.unique(hashes, axis=0))
            if repeated:
                problems.append(f"{self._label}: {repeated:,} records repeat an earlier text of the lane")
        return problems


def _cross_lane_problems(recipe: AnyRecipe, split: str, hashes: list[TextHashes]) -> list[str]:
    """Return a problem if lanes share a text although the dedup index drops duplicates across lanes."""
    if not hashes or recipe.dedup.index is None or not recipe.dedup.exact:
        return []
    each = [np.unique(lane, axis=0) for lane in hashes]  # a lane may repeat its own texts in later passes
    texts = np.concatenate(each)
    repeated = len(texts) - len(np.unique(texts, axis=0))
    return (
        [f"{split}: {repeated:,} records repeat a text of another lane, which the dedup index drops"]
        if repeated
        else []
    )
