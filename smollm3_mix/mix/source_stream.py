"""One source in one lane: the position of its reader, and the accepted documents of its current block."""

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
    dropped_records,
    filter_raw_block,
)
from smollm3_mix.mix.mix_stats import SourceStats
from smollm3_mix.mix.state.block_layout import BlockLayout
from smollm3_mix.mix.state.row_decisions import RowDecisions
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sources.block_reader import RawBlock, Reader
from smollm3_mix.sources.partition import partition_source
from smollm3_mix.sources.prefetch import BlockPrefetcher, PrefetchBudget
from smollm3_mix.sources.source_files import Cursor
from smollm3_mix.text.decontamination import EvaluationNgrams
from smollm3_mix.text.dedup.dedup_store import DedupStore

Ints = npt.NDArray[np.int64]

MAX_EMPTY_BLOCKS = 512
"""Number of consecutive blocks without an accepted document after which the train split raises an error."""

DROPPED_IN_FIRST_PASS = "dropped_in_first_pass"  # noqa: S105 - a reason
"""Reason in later passes for rows that the first pass dropped. Later passes reuse its decisions, because their repeats
are not duplicates."""

_clock = itertools.count()


class SourceStream:
    """Stream of accepted documents from one source in one lane. Reads, cleans, filters and deduplicates block by block.

    A stream has at most one block. The next block is read only when every document of the current one was emitted. A
    position is therefore the start of the current block, the rows of it that were kept, and the number of these that
    were emitted.

    Attributes:
        source: Source to read.
        number: Index of the source among the active sources, in recipe order.
        passes: Number of passes completed.
        exhausted: True if the source has ended and will not be read again.
        units: Units placed before the current block.
        documents: Documents placed before the current block.
        accepted: Accepted documents of the current block, in placement order. None before the first block.
        stats: Statistics of the source in this lane.
        on_drop: Called with the dropped rows of each block of the first pass, with the columns of DROPPED_SCHEMA.
        keeps_decisions: True if the decisions of the first pass are kept for later passes.
        last_used: Increases whenever documents of the current block are placed or emitted.
    """

    def __init__(  # noqa: PLR0917 - called in one place
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
        self.passes, self.exhausted = 0, False
        self.units = self.documents = 0
        self.accepted: AcceptedBlock | None = None
        self.stats = SourceStats()
        self._recipe, self._reader, self._lane, self._split = recipe, reader, lane, split
        self._encoding, self._evaluation_ngrams = encoding, evaluation_ngrams
        self.keeps_decisions = source.max_passes > 1 or recipe.on_exhausted == "repeat"
        self._decisions = RowDecisions()
        self._layout = BlockLayout.of(recipe, source)  # layout of the current block
        self._own_layout = True  # False if an earlier recipe placed the current block
        self._partition: list[Any] | None = None  # lanes, seed and shuffle of an earlier recipe that made the slices
        self._row = 0  # rows of this pass before the current block
        self._emitted_earlier = 0  # documents of the current block that an earlier recipe emitted
        self._block = -1  # number of the current block in this pass
        self._start: Cursor = reader.cursor
        self._kept = np.empty(0, bool)  # rows of the current block that were kept
        self._blocks = BlockPrefetcher(reader)
        self._accepted_in_pass = 0
        self.last_used = 0
        self.on_drop: Callable[[pa.RecordBatch], None] | None = None
        self._block_size = 0  # bytes of text of the current block, 0 if it cannot be read again

    @property
    def remote(self) -> bool:
        """True if the source is read over the network."""
        return self._reader.remote

    @property
    def held_bytes(self) -> int:
        """Bytes of text that `release_records` would free and that can be read again."""
        return self._block_size if self.accepted is not None and self.accepted.records is not None else 0

    def release_records(self) -> None:
        """Release the records of the current block until they are needed."""
        if self.accepted is not None:
            self.accepted = replace(self.accepted, records=None)

    def records(self) -> pa.RecordBatch:
        """Return the accepted records of the current block. Rereads the block if they were released."""
        self.last_used = next(_clock)
        if self.accepted is None:
            raise AssertionError(f"source '{self.source.id}' has no block although its documents are pending")
        if self.accepted.records is None:
            self._blocks.wait_idle()
            cursor = self._reader.cursor
            self._reader.seek(self._start)
            self.accepted = self._reread(len(self._kept), "the block was read first")
            if self._reader.cursor != cursor:  # later blocks were prefetched
                self._reader.seek(cursor)
        return self.accepted.records

    @property
    def block_bytes(self) -> int:
        """Approximate number of bytes of the last block that was read."""
        return self._blocks.bytes

    def prefetch(self, blocks: int, budget: PrefetchBudget) -> None:
        """Prefetch up to this number of blocks in a thread, within the budget."""
        self._blocks.prefetch(blocks, budget)

    def at_end(self) -> bool:
        """Return True if this pass has no more raw rows. Reads one block ahead to find out."""
        return self.exhausted or self._blocks.at_end()

    def advance(self, dedup_store: DedupStore | None) -> AcceptedBlock | None:
        """Return the accepted documents of the next block that has any. Return None at the end of the pass.

        Raises:
            SourceExhaustedError: If MAX_EMPTY_BLOCKS consecutive blocks have no accepted document.
        """
        empty = 0
        while True:
            raw = self._blocks.take()
            if raw is None:
                return None
            accepted = self._accept(raw, dedup_store)
            if len(accepted.units):
                return accepted
            empty += 1
            if empty >= MAX_EMPTY_BLOCKS and self._split == "train":
                raise SourceExhaustedError(
                    f"{self._recipe.file}: source '{self.source.id}': {empty} consecutive blocks have no accepted "
                    f"document ({self.reasons()}). "
                    "Loosen its `filters`, `where` or `dedup`, or remove it from the recipe.",
                    source=self.source.id,
                )

    def restart(self) -> None:
        """Begin the next pass."""
        self.passes += 1
        self._block = -1
        self._row, self._kept = 0, np.empty(0, bool)
        self._accepted_in_pass = 0
        self._blocks.seek(Cursor(0, 0))

    @property
    def empty_pass(self) -> bool:
        """True if this pass has no accepted document so far."""
        return self._accepted_in_pass == 0

    def reasons(self) -> str:
        """Return the number of rows read and dropped, by reason, for a message."""
        dropped = ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(self.stats.dropped.items()))
        return f"{self.stats.read:,} rows read, dropped: {dropped or 'none'}"

    def _accept(self, raw: RawBlock, dedup_store: DedupStore | None) -> AcceptedBlock:
        """Filter and deduplicate a block, make it the current one, and count it."""
        row = self._row + len(self._kept)
        if self.passes == 0:
            filtered = filter_raw_block(raw, self._recipe, self.source, self._split, self._evaluation_ngrams)
            reasons = deduplicate(filtered, dedup_store)
            kept = reasons.is_null().to_numpy(zero_copy_only=False)
            dropped = count_reasons(reasons)
            if dropped and self.on_drop is not None:
                self.on_drop(dropped_records(filtered, reasons, self.source))
            if self.keeps_decisions:
                self._decisions.add(row, kept)
        else:
            filtered, before = self._filter_again(raw, row)
            kept = before & raw.reasons.is_null().to_numpy(zero_copy_only=False)  # a fetched text may be gone
            dropped = count_reasons(raw.reasons.filter(pa.array(before)))
            if not before.all():
                dropped[DROPPED_IN_FIRST_PASS] = int((~before).sum())
        if self.accepted is not None:
            self.units += int(self.accepted.units.sum())
            self.documents += len(self.accepted.units)
        self._block, self._start, self._row, self._kept = self._block + 1, raw.start, row, kept
        self._emitted_earlier = 0
        self._layout, self._own_layout = BlockLayout.of(self._recipe, self.source), True
        self.accepted = accept_rows(
            filtered, self._placement(), self._recipe, self.source, self._encoding, self._evaluation_ngrams
        )
        self._accepted_in_pass += len(self.accepted.units)
        self._count(raw, dropped, self.accepted)
        self.last_used = next(_clock)
        self._block_size = int(self.accepted.lengths.sum()) if self._reader.seekable else 0
        return self.accepted

    def _filter_again(self, raw: RawBlock, row: int) -> tuple[FilteredBlock, npt.NDArray[np.bool_]]:
        """Return a block of a later pass, and the rows that the first pass kept. Filters rows without a decision.

        Decisions are missing if this recipe continues an earlier one that read the source only once. Such rows may
        include duplicates.
        """
        kept, known = self._decisions.at(row, len(raw.rows))
        if known.all():
            return clean_raw_block(raw, self.source), kept
        filtered = filter_raw_block(raw, self._recipe, self.source, self._split, self._evaluation_ngrams)
        return filtered, np.where(known, kept, filtered.reasons.is_null().to_numpy(zero_copy_only=False))

    def _count(self, raw: RawBlock, dropped: dict[str, int], accepted: AcceptedBlock) -> None:
        self.stats.read += len(raw.rows)
        self.stats.read_bytes += raw.bytes
        self.stats.passes = self.passes + 1
        for reason, rows in dropped.items():
            self.stats.drop(reason, rows)
        if len(accepted.units):
            self.stats.longest = max(self.stats.longest, int(accepted.units.max()))

    def _placement(self) -> Ints:
        """Return the kept rows of the current block in placement order, without those an earlier recipe emitted."""
        rows = np.flatnonzero(self._kept).astype(np.int64)
        if self._layout.shuffle != "none":
            key = interleave.stream_key(
                "shuffle", self._layout.seed, self._lane, self.source.id, self.passes, self._block
            )
            rows = rows[interleave.permutation(key, len(rows))]
        return rows[self._emitted_earlier :]

    def state_dict(self, emitted: int) -> dict[str, Any]:
        """Return the position after the first `emitted` documents of the current block. JSON-able."""
        return {
            "passes": self.passes,
            "exhausted": self.exhausted,
            "cursor": list(self._start),
            "block": self._block,
            "units": self.units,
            "documents": self.documents,
            "emitted": emitted,
            "rows": len(self._kept),
            "kept": base64.b85encode(np.packbits(self._kept).tobytes()).decode(),
            "row": self._row,
            "emitted_earlier": self._emitted_earlier,
            "accepted_in_pass": self._accepted_in_pass,
            "layout": None if self._own_layout else self._layout.to_dict(),
            "partition": self._partition,
        }

    def load_state_dict(self, state: dict[str, Any], stats: SourceStats, decisions: bytes) -> None:
        """Resume at the position of `state`. Rereads the current block only, and does not filter it again."""
        self.passes, self.exhausted, self._block = state["passes"], state["exhausted"], state["block"]
        self.units, self.documents, self.stats = state["units"], state["documents"], stats
        self._accepted_in_pass = state["accepted_in_pass"]
        self._decisions = RowDecisions.from_bytes(decisions)
        self._row, self._emitted_earlier = state["row"], state["emitted_earlier"]
        if state["layout"] is not None:
            self._layout, self._own_layout = BlockLayout.from_dict(state["layout"]), False
        if state["partition"] is not None and self.source.content != "records":  # stored sources have lanes already
            self._partition = state["partition"]
            self._reader.slices = partition_source(self._reader.resolved, *state["partition"])[self._lane]
        self._kept = _unpack_bits(base64.b85decode(state["kept"]), state["rows"])
        self.accepted = None
        self._start = Cursor(*state["cursor"])
        if self.exhausted:
            return
        self._blocks.seek(self._start)
        if self._block < 0:
            return
        self.accepted = self._reread(state["rows"], "the state was saved")
        self._blocks.skip_read()

    def _reread(self, rows: int, when: str) -> AcceptedBlock:
        """Read the current block at the reader's position, without filtering it again.

        Raises:
            StateError: If the block has changed.
        """
        self._reader.block = self._layout.block
        raw = self._reader.read()
        self._reader.block = self._recipe.block
        where = f"source '{self.source.id}': the block at slice {self._start.slice_number}, row {self._start.row}"
        if raw is None or len(raw.rows) != rows:
            found = "no rows" if raw is None else f"{len(raw.rows)} rows"
            raise StateError(
                f"{where}, had {rows} rows when {when} and has {found} now. "
                "The files of the source have changed. Start again without the state."
            )
        missing = count_reasons(raw.reasons.filter(pa.array(self._kept)))
        if missing:
            raise StateError(
                f"{where}, has {sum(missing.values())} rows without a text ({', '.join(missing)}) that had one when "
                f"{when}. Start again without the state."
            )
        source = self.source if self._own_layout else replace(self.source, clean=self._layout.clean)
        return accept_rows(
            clean_raw_block(raw, source),
            self._placement(),
            self._recipe,
            source,
            self._encoding,
            self._evaluation_ngrams,
        )

    def decision_log(self) -> bytes:
        """Return the row decisions of the first pass, for `load_state_dict`. Empty for a source that is read once."""
        return self._decisions.to_bytes()

    def close(self) -> None:
        """Close the files of the reader."""
        self._blocks.close()


def _unpack_bits(packed: bytes, rows: int) -> npt.NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=rows).astype(bool)
