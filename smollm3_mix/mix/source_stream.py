"""One source in one lane: where its reader stands, and the accepted documents of its current block."""

import base64
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.errors import SourceExhaustedError, StateError
from smollm3_mix.mix import interleave
from smollm3_mix.mix.block_pipeline import (
    NO_TOKEN_ENCODING,
    AcceptedBlock,
    FilteredBlock,
    TokenEncoding,
    accept_rows,
    clean_raw_block,
    count_reasons,
    deduplicate,
    filter_raw_block,
)
from smollm3_mix.mix.block_pipeline import dropped_records as dropped_rows
from smollm3_mix.mix.mix_stats import SourceStats
from smollm3_mix.mix.state.block_layout import BlockLayout
from smollm3_mix.mix.state.row_decisions import RowDecisions
from smollm3_mix.recipe.model import Recipe, Source
from smollm3_mix.sources.block_reader import RawBlock, Reader
from smollm3_mix.sources.partition import partition_source
from smollm3_mix.sources.prefetch import BlockPrefetcher, PrefetchBudget
from smollm3_mix.sources.source_files import Cursor
from smollm3_mix.text.decontamination import EvaluationNgrams
from smollm3_mix.text.dedup import dedup_store

Ints = npt.NDArray[np.int64]

MAX_EMPTY_BLOCKS = 512
"""Blocks in a row without one accepted document before reading on is given up, with the reasons, in the train split."""

DROPPED_IN_FIRST_PASS = "dropped_in_first_pass"
"""Reason, in later passes, for what the first pass dropped: its verdicts are reused, since repeats are meant."""

_clock = itertools.count()


class SourceStream:
    """The source's side of a lane: reads, cleans, judges and dedups one block at a time.

    A source holds at most one block. The next is read only when every document of it has been given, so a place in
    the source is the start of the current block, which of its rows were kept, and how many of those have been given.

    Attributes:
        source: what is read.
        number: its place among the sources that are read, in recipe order.
        passes: passes ended.
        gone: it has ended for good.
        units: units laid before the current block.
        documents: documents laid before the current block.
        accepted: accepted documents of the current block, in the order laid; None before the first and after the last.
        counts: read, dropped and so on, of this lane.
        on_drop: called with the dropped rows of each block of the first pass, columns of schema.DROPPED.
        keeps: verdicts of the first pass are kept for later ones.
        used: rises whenever the current block is laid or given from.
    """

    def __init__(  # noqa: PLR0917 - made in one place only
        self,
        recipe: Recipe,
        number: int,
        source: Source,
        reader: Reader,
        lane: int,
        split: str,
        encoding: TokenEncoding = NO_TOKEN_ENCODING,
        evaluation_ngrams: EvaluationNgrams | None = None,
    ) -> None:
        self.source, self.number = source, number
        self.passes, self.gone = 0, False
        self.units = self.documents = 0
        self.accepted: AcceptedBlock | None = None
        self.counts = SourceStats()
        self._recipe, self._reader, self._lane, self._split = recipe, reader, lane, split
        self._encoding, self._evaluation_ngrams = encoding, evaluation_ngrams
        self.keeps = source.max_passes > 1 or recipe.on_exhausted == "repeat"
        self._decisions = RowDecisions()
        self._laid = BlockLayout.by(recipe, source)  # how the current block was
        self._laid_here = True
        self._dealt: list[Any] | None = None  # lanes, seed and shuffle that dealt the parts, if not this recipe's
        self._row = 0  # rows of this pass before the current block
        self._behind = 0  # documents of the current block that were given under an earlier recipe
        self._block = -1  # number of the current block in this pass
        self._start: Cursor = reader.cursor
        self._keep = np.empty(0, bool)
        self._blocks = BlockPrefetcher(reader)
        self._accepted_in_pass = 0
        self.used = 0
        self.on_drop: Callable[[pa.RecordBatch], None] | None = None
        self._size = 0  # bytes of the current block's texts, if it may rest

    @property
    def remote(self) -> bool:
        """Whether the source is read over the network."""
        return self._reader.remote

    @property
    def held(self) -> int:
        """Bytes of text that `rest` would free at a small price."""
        return self._size if self.accepted is not None and self.accepted.records is not None else 0

    def rest(self) -> None:
        """Give up the current block's records until they are asked for."""
        if self.accepted is not None:
            self.accepted = replace(self.accepted, records=None)

    def records(self) -> pa.RecordBatch:
        """The current block's accepted records, columns of schema.RECORD; read again if they were given up."""
        self.used = next(_clock)
        if self.accepted is None:
            raise AssertionError(f"source '{self.source.id}' has no block although its documents are pending")
        if self.accepted.records is None:
            self._blocks.settle()
            place = self._reader.cursor
            self._reader.seek(self._start)
            self.accepted = self._again(len(self._keep), "the block was read first")
            if self._reader.cursor != place:  # blocks were read ahead
                self._reader.seek(place)
        return self.accepted.records

    @property
    def block_bytes(self) -> int:
        """About the bytes that the block read last held."""
        return self._blocks.bytes

    def read_ahead(self, blocks: int, room: PrefetchBudget) -> None:
        """Have a thread read so many blocks ahead, as far as the room allows."""
        self._blocks.more(blocks, room)

    def at_end(self) -> bool:
        """Whether no raw row is left in this pass; reads one block ahead to know it."""
        return self.gone or self._blocks.at_end()

    def advance(self, seen: dedup_store.DedupStore | None) -> AcceptedBlock | None:
        """The accepted documents of the next block that has any; None at the end of the pass.

        Raises:
            SourceExhaustedError: a long stretch of rows gave no document at all.
        """
        fruitless = 0
        while True:
            raw = self._blocks.take()
            if raw is None:
                return None
            accepted = self._take(raw, seen)
            if len(accepted.units):
                return accepted
            fruitless += 1
            if fruitless >= MAX_EMPTY_BLOCKS and self._split == "train":
                raise SourceExhaustedError(
                    f"{self._recipe.file}: source '{self.source.id}': {fruitless} blocks in a row gave no document "
                    f"({self.reasons()}). Loosen its `filters`, `where` or `dedup`, or remove it from the recipe."
                )

    def restart(self) -> None:
        """Begin the next pass."""
        self.passes += 1
        self._block = -1
        self._row, self._keep = 0, np.empty(0, bool)
        self._accepted_in_pass = 0
        self._blocks.seek(Cursor(0, 0))

    @property
    def empty_pass(self) -> bool:
        """Whether this pass has given no document so far."""
        return self._accepted_in_pass == 0

    def reasons(self) -> str:
        """What was read and why it was dropped, as words for a message."""
        dropped = ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(self.counts.dropped.items()))
        return f"{self.counts.read:,} rows read, dropped: {dropped or 'none'}"

    def _take(self, raw: RawBlock, seen: dedup_store.DedupStore | None) -> AcceptedBlock:
        """Judge and dedup the block, make it the current one, and count it."""
        row = self._row + len(self._keep)
        if self.passes == 0:
            prepared = filter_raw_block(raw, self._recipe, self.source, self._split, self._evaluation_ngrams)
            reasons = deduplicate(prepared, seen)
            keep = reasons.is_null().to_numpy(zero_copy_only=False)
            dropped = count_reasons(reasons)
            if dropped and self.on_drop is not None:
                self.on_drop(dropped_rows(prepared, reasons, self.source))
            if self.keeps:
                self._decisions.add(row, keep)
        else:
            prepared, before = self._decided(raw, row)
            keep = before & raw.reasons.is_null().to_numpy(zero_copy_only=False)  # what is fetched may have gone
            dropped = count_reasons(raw.reasons.filter(pa.array(before)))
            if not before.all():
                dropped[DROPPED_IN_FIRST_PASS] = int((~before).sum())
        if self.accepted is not None:
            self.units += int(self.accepted.units.sum())
            self.documents += len(self.accepted.units)
        self._block, self._start, self._row, self._keep, self._behind = self._block + 1, raw.start, row, keep, 0
        self._laid, self._laid_here = BlockLayout.by(self._recipe, self.source), True
        self.accepted = accept_rows(
            prepared, self._shuffled(), self._recipe, self.source, self._encoding, self._evaluation_ngrams
        )
        self._accepted_in_pass += len(self.accepted.units)
        self._count(raw, dropped, self.accepted)
        self.used = next(_clock)
        self._size = int(self.accepted.lengths.sum()) if self._reader.seekable else 0
        return self.accepted

    def _decided(self, raw: RawBlock, row: int) -> tuple[FilteredBlock, npt.NDArray[np.bool_]]:
        """A block of a later pass, and which rows the first pass kept; judged again where that is not known.

        It is not where an earlier recipe, which this one goes on from, read the source only once: then duplicates come.
        """
        keep, known = self._decisions.at(row, len(raw.rows))
        if known.all():
            return clean_raw_block(raw, self.source), keep
        prepared = filter_raw_block(raw, self._recipe, self.source, self._split, self._evaluation_ngrams)
        return prepared, np.where(known, keep, prepared.reasons.is_null().to_numpy(zero_copy_only=False))

    def _count(self, raw: RawBlock, dropped: dict[str, int], accepted: AcceptedBlock) -> None:
        self.counts.read += len(raw.rows)
        self.counts.read_bytes += raw.bytes
        self.counts.passes = self.passes + 1
        for reason, rows in dropped.items():
            self.counts.drop(reason, rows)
        if len(accepted.units):
            self.counts.longest = max(self.counts.longest, int(accepted.units.max()))

    def _shuffled(self) -> Ints:
        """Kept rows of the current block, in the order in which they are laid; without those of an earlier recipe."""
        rows = np.flatnonzero(self._keep).astype(np.int64)
        if self._laid.shuffle != "none":
            key = interleave.stream_key(
                "shuffle", self._laid.seed, self._lane, self.source.id, self.passes, self._block
            )
            rows = rows[interleave.permutation(key, len(rows))]
        return rows[self._behind :]

    def state_dict(self, given: int) -> dict[str, Any]:
        """Place of the source after `given` documents of its current block, JSON-able."""
        return {
            "passes": self.passes,
            "gone": self.gone,
            "cursor": list(self._start),
            "block": self._block,
            "units": self.units,
            "documents": self.documents,
            "emitted": given,
            "rows": len(self._keep),
            "keep": base64.b85encode(np.packbits(self._keep).tobytes()).decode(),
            "row": self._row,
            "behind": self._behind,
            "accepted_in_pass": self._accepted_in_pass,
            "laid": None if self._laid_here else self._laid.to_dict(),
            "dealt": self._dealt,
        }

    def load_state_dict(self, state: dict[str, Any], counts: SourceStats, decisions: bytes) -> None:
        """Stand where `state_dict` was taken: only the current block is read again, and not judged again."""
        self.passes, self.gone, self._block = state["passes"], state["gone"], state["block"]
        self.units, self.documents, self.counts = state["units"], state["documents"], counts
        self._accepted_in_pass = state["accepted_in_pass"]
        self._decisions = RowDecisions.from_bytes(decisions)
        self._row, self._behind = state["row"], state["behind"]
        if state["laid"] is not None:
            self._laid, self._laid_here = BlockLayout.from_dict(state["laid"]), False
        if state["dealt"] is not None and self.source.content != "records":  # those lie in lanes already
            self._dealt = state["dealt"]
            self._reader.parts = partition_source(self._reader.resolved, *state["dealt"])[self._lane]
        self._keep = _bits(base64.b85decode(state["keep"]), state["rows"])
        self.accepted = None
        self._start = Cursor(*state["cursor"])
        if self.gone:
            return
        self._blocks.seek(self._start)
        if self._block < 0:
            return
        self.accepted = self._again(state["rows"], "the state was saved")
        self._blocks.passed()

    def _again(self, rows: int, when: str) -> AcceptedBlock:
        """The current block, read where the reader stands and not judged again.

        Raises:
            StateError: it is not the same any more.
        """
        self._reader.block = self._laid.block
        raw = self._reader.read()
        self._reader.block = self._recipe.block
        if raw is None or len(raw.rows) != rows:
            found = "no rows" if raw is None else f"{len(raw.rows)} rows"
            raise StateError(
                f"source '{self.source.id}': the block at part {self._start.part}, row {self._start.row} had "
                f"{rows} rows when {when} and has {found} now. "
                "The source's files have changed; start afresh."
            )
        gone = count_reasons(raw.reasons.filter(pa.array(self._keep)))
        if gone:
            raise StateError(
                f"source '{self.source.id}': of the block at part {self._start.part}, row {self._start.row}, "
                f"{sum(gone.values())} rows that had a text when {when} have none now ({', '.join(gone)}). "
                "Start afresh."
            )
        source = self.source if self._laid_here else replace(self.source, clean=self._laid.clean)
        return accept_rows(
            clean_raw_block(raw, source),
            self._shuffled(),
            self._recipe,
            source,
            self._encoding,
            self._evaluation_ngrams,
        )

    def decisions(self) -> bytes:
        """Verdicts of the first pass, for `load_state_dict`; empty for a source that is read once."""
        return self._decisions.to_bytes()

    def close(self) -> None:
        """Close the reader's files."""
        self._blocks.close()


def _bits(packed: bytes, rows: int) -> npt.NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=rows).astype(bool)
