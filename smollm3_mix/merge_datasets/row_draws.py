"""Draw rows in order, including dropped rows, which `merge_datasets.py` calls processed samples.

A mix places only accepted documents, so that shares hold for emitted documents. Here every raw row is placed, and rows
are deduplicated after they are drawn. The draws are therefore those of `interleave_datasets` over the raw sources, and
limits count rows.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.mix import interleave
from smollm3_mix.mix.block_pipeline import AcceptedBlock, accept_rows, clean_raw_block, filter_raw_block
from smollm3_mix.mix.lane import Lane
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.source_stream import DROPPED_IN_FIRST_PASS, SourceStream
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sources.block_reader import DUPLICATES, RawBlock, Reader
from smollm3_mix.sources.partition import partition_source
from smollm3_mix.text.decontamination import EvaluationNgrams
from smollm3_mix.text.dedup import minhash, text_hashes
from smollm3_mix.text.dedup.dedup_options import Dedup
from smollm3_mix.text.dedup.dedup_store import DedupStore

PULL = 1024
"""Number of rows pulled at once. No effect on the result."""

KEPT = ""
"""Value in place of a reason for a kept row."""

REPEAT = "repeat"
"""Value in place of a reason for a row that the first pass kept. Every pass keeps it."""


@dataclass
class Outcome:
    """Counts of the rows drawn from one or several sources.

    Attributes:
        processed: Rows drawn in all passes.
        dropped: Rows dropped by reason.
    """

    processed: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """Number of kept rows."""
        return self.processed - sum(self.dropped.values())

    def __add__(self, other: "Outcome") -> "Outcome":
        dropped = dict(self.dropped)
        for reason, rows in other.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + rows
        return Outcome(self.processed + other.processed, dropped)

    def __str__(self) -> str:
        return f"Processed {self.processed}, Kept {self.kept} ({self.kept / max(1, self.processed):.2%})"


class RawRowStream(SourceStream):
    """Stream of all raw rows of a source in one lane, in the order of the source.

    `meta` of a record is the reason of a dropped row, `KEPT`, or `REPEAT` for a row that the first pass kept. The text
    of a dropped row is empty.
    """

    def __init__(
        self, recipe: Recipe, number: int, source: Source, reader: Reader, evaluation_ngrams: EvaluationNgrams | None
    ) -> None:
        super().__init__(recipe, number, source, reader, 0, "train", evaluation_ngrams=evaluation_ngrams)
        self._kept_in_first_pass = bytearray()  # one byte per row of the first pass
        self._drawn = 0  # rows of this pass before the next block
        self._read_again = source.max_passes > 1 or recipe.on_exhausted == "repeat"

    def remember_kept(self, kept: npt.NDArray[np.bool_]) -> None:
        """Remember which of the latest rows are kept, for later passes."""
        if self._read_again and self.passes == 0:
            self._kept_in_first_pass += kept.tobytes()

    def _accept(self, raw: RawBlock, dedup_store: DedupStore | None) -> AcceptedBlock:  # noqa: ARG002 - rows are deduplicated when drawn
        rows = len(raw.rows)
        if self.passes == 0:
            filtered = filter_raw_block(raw, self._recipe, self.source, self._split, self._evaluation_ngrams)
            reasons = filtered.reasons
        else:
            filtered = clean_raw_block(raw, self.source)
            kept = np.frombuffer(bytes(self._kept_in_first_pass[self._drawn : self._drawn + rows]), bool)
            reasons = pc.if_else(pa.array(kept), REPEAT, DROPPED_IN_FIRST_PASS)
        self._drawn += rows
        dropped = pc.and_not(reasons.is_valid(), pc.equal(reasons, REPEAT).fill_null(False))
        with_reasons = replace(raw, meta=reasons.fill_null(KEPT))
        all_rows = replace(filtered, raw=with_reasons, texts=pc.if_else(dropped, "", filtered.texts))
        self.accepted = accept_rows(all_rows, np.arange(rows), self._recipe, self.source)
        self._accepted_in_pass += rows
        return self.accepted

    def restart(self) -> None:
        """Start the next pass."""
        super().restart()
        self._drawn = 0


class RowDraws:
    """Kept texts of a mix with one lane, and the outcome of all drawn rows.

    Args:
        mix: Mix with one lane, of a recipe with `shuffle: none`. Its `max_samples` counts drawn rows.

    Attributes:
        recipe: Pinned recipe.
        skipped: Reasons of skipped sources by id.
        outcomes: Outcome of the rows drawn so far by source id.
    """

    def __init__(self, mix: Mix) -> None:
        (self.recipe,) = mix.recipe.recipes
        self.skipped = mix.skipped
        self.outcomes = {source.id: Outcome() for source in self.recipe.active}
        self._mix = mix
        self._dedup_store = (
            DedupStore(self.recipe.dedup, self.recipe.dedup.memory) if self.recipe.dedup.needs_state else None
        )
        self._without_dedup = self.recipe.replace(dedup=Dedup(exact=False))  # for the streams

    @property
    def outcome(self) -> Outcome:
        """Outcome of all sources together."""
        return sum(self.outcomes.values(), Outcome())

    def weighted(self) -> Iterator[pa.StringArray]:
        """Yield batches of kept texts by the draws of `interleave_datasets` over all sources.

        Sources that end are repeated. The draws end after every source was read once, or at the limit. A repeated row
        is kept if its first pass kept it.

        Raises:
            SourceExhaustedError: If a source has no rows.
            SourceError: If a source cannot be read.
        """
        shares = np.array(list(self.recipe.shares.values()))
        yield from self._kept_texts(self.recipe.active, interleave.Iid(shares, self.recipe.seed, repeat=True))

    def one(self, source: Source) -> Iterator[pa.StringArray]:
        """Yield batches of kept texts of one source in its order, for one pass or up to the limit.

        Raises:
            SourceError: If the source cannot be read.
        """
        yield from self._kept_texts([replace(source, max_passes=1)], interleave.Concatenation(1))

    def _kept_texts(self, sources: Sequence[Source], order: interleave.Order) -> Iterator[pa.StringArray]:
        streams = [self._stream(number, source) for number, source in enumerate(sources)]
        lane = Lane(self._without_dedup, [*streams], 0, self._mix.lane_limits(0), None, order)
        try:
            while lane.fill():
                yield self._deduplicate(streams, lane.pull(PULL).batch())
        finally:
            lane.close()

    def _stream(self, number: int, source: Source) -> RawRowStream:
        resolved = self._mix.resolved.sources[source.id]
        slices = partition_source(resolved, 1, self.recipe.seed, shuffle=False)[0]
        reader = Reader(
            source,
            resolved,
            slices,
            self.recipe.block,
            self._mix.resolved.token,
            self._mix.resolved.excluded,
            self._mix.resolved.dedup_index,
        )
        return RawRowStream(self._without_dedup, number, source, reader, self._mix.resolved.evaluation_ngrams)

    def _deduplicate(self, streams: Sequence[RawRowStream], drawn: pa.RecordBatch) -> pa.StringArray:
        """Deduplicate and count drawn rows, and return the texts to keep."""
        texts, reasons = drawn["text"], pc.if_else(pc.equal(drawn["meta"], KEPT), None, drawn["meta"])
        candidates = reasons.is_null().to_numpy(zero_copy_only=False)
        if self._dedup_store is not None:
            near = self.recipe.dedup.near
            signatures = None if near is None else minhash.minhash_signatures(texts, near)
            codes = self._dedup_store.classify(text_hashes.hash_texts(texts), signatures, candidates)
            names = pa.array(DUPLICATES, pa.string()).take(pa.array(codes, pa.int64()))
            reasons = pc.coalesce(reasons, names)
        reasons = pc.if_else(pc.equal(reasons, REPEAT), None, reasons)
        kept = reasons.is_null()
        self._count(drawn["source"], reasons)
        for stream in streams:
            own = pc.filter(kept, pc.equal(drawn["source"], stream.source.id))
            stream.remember_kept(own.to_numpy(zero_copy_only=False))
        return texts.filter(kept)

    def _count(self, sources: pa.StringArray, reasons: pa.StringArray) -> None:
        for (source, reason), rows in Counter(zip(sources.to_pylist(), reasons.to_pylist(), strict=True)).items():
            outcome = self.outcomes[source]
            outcome.processed += rows
            if reason is not None:
                outcome.dropped[reason] = outcome.dropped.get(reason, 0) + rows
