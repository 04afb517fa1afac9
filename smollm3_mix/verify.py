"""A written mix recounted from its files alone, against its recipe and its tally."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from smollm3_mix import tokens
from smollm3_mix.dedup import fingerprints
from smollm3_mix.errors import OutputError
from smollm3_mix.merge import debt_bound
from smollm3_mix.mix.course import lane_ends
from smollm3_mix.recipe import Curriculum, Recipe, read
from smollm3_mix.report import Row, rows
from smollm3_mix.report.evidence import Evidence, dropped_examples
from smollm3_mix.report.page import page
from smollm3_mix.schema import RECORD
from smollm3_mix.tally import Counts, Debts, Tally
from smollm3_mix.write import layout
from smollm3_mix.write.stages import StageCount

Ints = npt.NDArray[np.int64]
Prints = npt.NDArray[np.uint64]

BATCH = 4096
"""Records read at once."""


@dataclass
class Verdict:
    """What recounting found.

    Attributes:
        recipe: the pinned recipe that lies beside the files.
        tallies: records, bytes, tokens and debts by split, counted from the files; nothing about what was dropped.
        written: the tally of the train split as it was written.
        faults: one sentence for each thing that is not as it should be; empty: all is well.
        table: a row for each source of the train split.
    """

    recipe: Recipe
    tallies: dict[str, Tally]
    written: Tally
    faults: list[str] = field(default_factory=list)

    @property
    def table(self) -> list[Row]:
        """Asked, given and debt of each source in train, as counted.

        What no file shows is as it was when they were written: what was read and dropped, and the longest document on
        the line, from which the bound follows, which may be one that waited to be given.
        """
        seen = {
            source: replace(mine, longest=there.longest, read=there.read, dropped=there.dropped, passes=there.passes)
            for source, mine in self.tallies["train"].sources.items()
            if (there := self.written.sources.get(source)) is not None
        }
        return rows(self.recipe, Tally({**self.tallies["train"].sources, **seen}))


def verify(folder: str | os.PathLike[str], evidence: Evidence | None = None) -> Verdict:
    """What the files of a written mix hold, and every way in which they differ from its recipe and tally.

    Checked: the files are those of the tally; the counts of every source are; tokens follow from the texts; the debt of
    every source is within its bound after every record of every lane, in a curriculum within each stage, and stages end
    where they should; no text comes twice in a lane, where the recipe drops duplicates and reads sources once, nor in
    two lanes, where it has a dedup index; no text of validation is in train.

    Args:
        folder: the mix.
        evidence: takes in every record on the way, for a report.

    Raises:
        OutputError: the folder holds no finished mix.
    """
    place = _finished(folder)
    recipe = read(place / layout.RECIPE)
    saved = json.loads((place / layout.TALLY).read_bytes())
    form = layout.form(saved)
    if form != "parquet":
        raise OutputError(
            f"{place} holds a mix in the format {form}; verify recounts those in Parquet. "
            "Its counts stand in tally.json and README.md."
        )
    verdict = Verdict(recipe, {}, Tally.from_dict(saved["splits"]["train"]["sources"]))
    _check_files(place / layout.DATA, saved["files"], verdict)
    prints: dict[str, list[Prints]] = {}
    for split, counts in saved["splits"].items():
        expected = Tally.from_dict(counts["sources"])
        lanes: dict[str, list[str]] = {}
        for name in sorted(saved["files"], key=layout.base):
            if layout.base(name).startswith(f"{split}-") and (place / layout.DATA / name).exists():
                lanes.setdefault(layout.base(name).rsplit("-", 1)[0], []).append(name)
        total = Tally.empty(source.id for source in recipe.active)
        for lane, names in lanes.items():
            counter = _Lane(recipe, lane, expected, evidence, saved.get("stages"))
            for name in names:
                counter.add_file(place / layout.DATA / name)
            verdict.faults += counter.faults()
            prints.setdefault(split, []).append(counter.prints)
            total += counter.tally
        verdict.tallies[split] = total
        verdict.faults += _against(split, total, expected)
        verdict.faults += _over_lanes(recipe, split, expected, prints.get(split, []))
    verdict.faults += _disjoint(prints)
    return verdict


def write_report(
    folder: str | os.PathLike[str], file: str | os.PathLike[str], dropped: str | os.PathLike[str] | None = None
) -> Verdict:
    """What `verify` finds, also written as one page of HTML.

    Args:
        folder: the mix.
        file: where the page goes.
        dropped: folder of Parquet files with texts that were dropped, as `write --keep-dropped` makes it.

    Raises:
        OutputError: a folder does not hold what it should, or the page cannot be written.
    """
    place = _finished(folder)
    gone = dropped_examples(Path(dropped)) if dropped is not None else {}
    evidence = Evidence(read(place / layout.RECIPE))
    verdict = verify(place, evidence)
    summary = json.loads((place / layout.TALLY).read_bytes())
    made = page(verdict.recipe, summary, verdict.table, verdict.faults, evidence, gone)
    try:
        Path(file).write_text(made, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the report: {error}. Name another file.") from error
    return verdict


def _finished(folder: str | os.PathLike[str]) -> Path:
    place = Path(folder)
    if not layout.complete(place):
        missing = next(name for name in layout.RESULT if not (place / name).exists())
        raise OutputError(
            f"{place} is no finished mix: it has no {missing}. Run `smollm3-mix write` again to finish it."
        )
    return place


def _check_files(data: Path, files: dict[str, int], verdict: Verdict) -> None:
    here = {name: (data / name).stat().st_size for name in layout.data_files(data)}
    for name, size in files.items():
        if here.get(name) != size:
            found = f"has {here[name]:,} bytes" if name in here else "is missing"
            verdict.faults.append(f"data/{name} {found}; {layout.TALLY} says {size:,} bytes")
    verdict.faults += [f"data/{name} is not in {layout.TALLY}" for name in sorted(set(here) - set(files))]


class _Lane:
    """Counts of one lane's files, read in order."""

    def __init__(
        self,
        recipe: Recipe,
        label: str,
        expected: Tally,
        evidence: Evidence | None,
        stages: list[dict[str, Any]] | None,
    ) -> None:
        self._recipe, self._label, self._evidence = recipe, label, evidence
        self._ids = [source.id for source in recipe.active]
        self._numbers = {source: number for number, source in enumerate(self._ids)}
        self._ratios = np.array([source.tokens_per_byte for source in recipe.active])
        self._expected = expected
        shares = np.array([recipe.shares[source] for source in self._ids])
        self._shares, self._debts = shares, Debts(shares)
        self._faults: list[str] = []
        self._prints: list[Prints] = []
        self.tally = Tally.empty(self._ids)
        self._stages: StageCount | None = None
        if isinstance(recipe, Curriculum) and stages is not None:
            split, number = label.split("-")
            ends = lane_ends(recipe, split, int(number))
            self._stages = StageCount(recipe, label, stages, ends, self._ids)

    @property
    def prints(self) -> Prints:
        """Fingerprints of all texts, uint64[records, 2]."""
        return np.concatenate(self._prints) if self._prints else np.empty((0, 2), np.uint64)

    def add_file(self, path: Path) -> None:
        """Count one file's records."""
        for batch in _batches(path, self._faults):
            names = batch["source"].to_pylist()
            strangers = sorted(set(names) - set(self._ids))
            if strangers:
                self._faults.append(f"{path.name}: source {strangers[0]!r} is not in the recipe")
                return
            sources = np.array([self._numbers[name] for name in names], dtype=np.int64)
            lengths = tokens.byte_lengths(batch["text"])
            counted = np.maximum(1, np.rint(lengths * self._ratios[sources])).astype(np.int64)
            written = batch["tokens"].to_numpy()
            wrong = np.flatnonzero(counted != written)
            if len(wrong):
                at = int(wrong[0])
                self._faults.append(
                    f"{path.name}: record {batch['id'][at].as_py()!r} says {written[at]} tokens; "
                    f"its text gives {counted[at]}"
                )
            self._prints.append(fingerprints(batch["text"]))
            units = tokens.units(self._recipe.weigh_by, lengths, written.astype(np.int64))
            self._debts.add(sources, units)
            if self._stages is not None:
                self._stages.add(sources, written.astype(np.int64), units)
            self._count(sources, lengths, written, units)
            if self._evidence is not None:
                self._evidence.add(self._label, batch, sources, units)

    def _count(self, sources: Ints, lengths: Ints, counted: Ints, units: Ints) -> None:
        for number in np.unique(sources).tolist():
            mine, counts = sources == number, self.tally.sources[self._ids[number]]
            counts.given += int(mine.sum())
            counts.given_bytes += int(lengths[mine].sum())
            counts.given_tokens += int(counted[mine].sum())
            counts.given_units += int(units[mine].sum())
            counts.longest = max(counts.longest, int(units[mine].max()))
            counts.worst_debt = float(self._debts.worst[number])
        for number, source in enumerate(self._ids):
            self.tally.sources[source].worst_debt = float(self._debts.worst[number])

    def faults(self) -> list[str]:
        """What is wrong with this lane."""
        expected = [self._expected.sources.get(source, Counts()) for source in self._ids]
        longest = np.array([float(counts.longest) for counts in expected])
        bound = debt_bound(self._shares, longest)
        faults = list(self._faults)
        if self._stages is not None:
            self._stages.close()
            faults += self._stages.faults
        recipe, unit = self._recipe, self._recipe.weigh_by
        if recipe.bounded and not self._label.startswith("validation"):
            faults += [
                f"{self._label}: the debt of '{source}' reached {worst:,.0f} {unit}; its bound is {most:,.0f}"
                for source, worst, most in zip(self._ids, self._debts.worst, bound, strict=True)
                if worst > most * (1 + 1e-9)
            ]
        once = all(counts.passes <= 1 for counts in expected)
        if self._recipe.dedup.exact and once:
            prints = self.prints
            twice = len(prints) - len(np.unique(prints, axis=0))
            if twice:
                faults.append(f"{self._label}: {twice:,} records repeat an earlier text of the lane")
        return faults


def _batches(path: Path, faults: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(RECORD):
                faults.append(
                    f"{path.name}: columns are {', '.join(file.schema_arrow.names)}; expected {', '.join(RECORD.names)}"
                )
                return
            yield from file.iter_batches(BATCH)
    except (pa.ArrowException, OSError) as error:
        faults.append(f"{path.name} cannot be read: {error}")


def _against(split: str, found: Tally, expected: Tally) -> list[str]:
    faults = []
    for source, wanted in expected.sources.items():
        for name in ("given", "given_bytes", "given_tokens", "given_units"):
            counted, saved = getattr(found.sources.get(source, Counts()), name), getattr(wanted, name)
            if counted != saved:
                where = f"in the files and {saved:,} in {layout.TALLY}"
                faults.append(f"{split}: '{source}': {name} is {counted:,} {where}")
    return faults


def _over_lanes(recipe: Recipe, split: str, expected: Tally, prints: list[Prints]) -> list[str]:
    """A fault where lanes of a mix whose index drops duplicates over all of them have a text in common."""
    if not prints or recipe.dedup.index is None or not recipe.dedup.exact:
        return []
    if any(counts.passes > 1 for counts in expected.sources.values()):
        return []
    each = [np.unique(lane, axis=0) for lane in prints]  # what a lane repeats is its own fault
    whole = np.concatenate(each)
    twice = len(whole) - len(np.unique(whole, axis=0))
    return [f"{split}: {twice:,} records repeat a text of another lane, which the dedup index drops"] if twice else []


def _disjoint(prints: dict[str, list[Prints]]) -> list[str]:
    if "validation" not in prints:
        return []
    held = np.unique(np.concatenate(prints["validation"])[:, 0])
    train = np.concatenate(prints.get("train", [np.empty((0, 2), np.uint64)]))[:, 0]
    shared = int(np.isin(train, held).sum())
    return [f"{shared:,} records of train have a text that is in validation"] if shared else []
