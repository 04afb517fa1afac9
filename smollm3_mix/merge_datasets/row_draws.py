"""Rows in the order in which they are drawn, dropped ones included: what the old tool calls processed samples.

The mix lays only accepted documents on its line, so that shares hold for what is given out. Here every raw row is laid,
and rows are deduplicated as they are drawn. So the draws are those of `interleave_datasets` over the raw sources, and a
limit counts rows.
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
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.mix.source_stream import DROPPED_IN_FIRST_PASS, SourceStream
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sources.block_reader import DUPLICATES, RawBlock, Reader
from smollm3_mix.sources.partition import partition_source
from smollm3_mix.text.decontamination import EvaluationNgrams
from smollm3_mix.text.dedup import dedup_options, dedup_store, minhash, text_hashes

PULL = 1024
"""Rows taken at once. What comes out does not depend on it."""

KEPT = ""
"""In place of a reason: there is none."""

REPEAT = "repeat"
"""In place of a reason: kept in the first pass, so kept in every pass."""


@dataclass
class Outcome:
    """What became of the rows drawn from one source, or from several.

    Attributes:
        processed: rows drawn, over all passes.
        dropped: of these, rows dropped, by reason.
    """

    processed: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """Rows that were not dropped."""
        return self.processed - sum(self.dropped.values())

    def __add__(self, other: "Outcome") -> "Outcome":
        dropped = dict(self.dropped)
        for reason, rows in other.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + rows
        return Outcome(self.processed + other.processed, dropped)

    def __str__(self) -> str:
        return f"Processed {self.processed}, Kept {self.kept} ({self.kept / max(1, self.processed):.2%})"


class DrawnRow(SourceStream):
    """A line of every raw row of its source, in the source's order.

    A record's `meta` holds why it is dropped, `KEPT` if it is not, `REPEAT` if it was kept in an earlier pass; a
    dropped row's text is empty.
    """

    def __init__(
        self, recipe: Recipe, number: int, source: Source, reader: Reader, evaluation_ngrams: EvaluationNgrams | None
    ) -> None:
        super().__init__(recipe, number, source, reader, 0, "train", evaluation_ngrams=evaluation_ngrams)
        self._kept_in_first_pass = bytearray()  # one byte for each row drawn in the first pass
        self._drawn = 0  # rows of this pass before the next block
        self._read_again = source.max_passes > 1 or recipe.on_exhausted == "repeat"

    def settle(self, kept: npt.NDArray[np.bool_]) -> None:
        """Note which of the rows drawn just now are kept, for later passes."""
        if self._read_again and self.passes == 0:
            self._kept_in_first_pass += kept.tobytes()

    def _accept(self, raw: RawBlock, seen: dedup_store.DedupStore | None) -> AcceptedBlock:  # noqa: ARG002 - duplicates are seen when drawn
        rows = len(raw.rows)
        if self.passes == 0:
            prepared = filter_raw_block(raw, self._recipe, self.source, self._split, self._evaluation_ngrams)
            reasons = prepared.reasons
        else:
            prepared = clean_raw_block(raw, self.source)
            kept = np.frombuffer(bytes(self._kept_in_first_pass[self._drawn : self._drawn + rows]), bool)
            reasons = pc.if_else(pa.array(kept), REPEAT, DROPPED_IN_FIRST_PASS)
        self._drawn += rows
        dropped = pc.and_not(reasons.is_valid(), pc.equal(reasons, REPEAT).fill_null(False))
        said = replace(raw, meta=reasons.fill_null(KEPT))
        every = replace(prepared, raw=said, texts=pc.if_else(dropped, "", prepared.texts))
        self.accepted = accept_rows(every, np.arange(rows), self._recipe, self.source)
        self._accepted_in_pass += rows
        return self.accepted

    def restart(self) -> None:
        """Begin the next pass."""
        super().restart()
        self._drawn = 0


class RowDraws:
    """The kept texts of a mix of one lane, and what became of every row drawn for them.

    Args:
        mix: of one lane and of a recipe with `shuffle: none`; its `max_samples` counts rows drawn.

    Attributes:
        recipe: pinned.
        skipped: why sources of the recipe are not read, by id.
        outcomes: what became of the rows drawn so far, by source id.
    """

    def __init__(self, mix: Mix) -> None:
        self.recipe, self.skipped = mix.recipe, mix.plan.skipped
        self.outcomes = {source.id: Outcome() for source in self.recipe.active}
        self._mix = mix
        self._seen = (
            dedup_store.DedupStore(self.recipe.dedup, self.recipe.dedup.memory)
            if self.recipe.dedup.needs_state
            else None
        )
        self._undeduped = self.recipe.replace(dedup=dedup_options.Dedup(exact=False))  # for the lines

    @property
    def outcome(self) -> Outcome:
        """Of all sources together."""
        return sum(self.outcomes.values(), Outcome())

    def weighted(self) -> Iterator[pa.StringArray]:
        """Kept texts, some at a time, by draws of all sources: those of `interleave_datasets`.

        A source that ends starts again; the draws end when the last source has been read through once, or at the limit.
        A repeated row is kept if it was kept the first time.

        Raises:
            SourceExhaustedError: a source has no row.
            SourceError: a source cannot be read.
        """
        shares = np.array(list(self.recipe.shares.values()))
        yield from self._kept(self.recipe.active, interleave.Iid(shares, self.recipe.seed, repeat=True))

    def one(self, source: Source) -> Iterator[pa.StringArray]:
        """Kept texts of one source, some at a time, in its order: one pass, or rows up to the limit.

        Raises:
            SourceError: the source cannot be read.
        """
        yield from self._kept([replace(source, max_passes=1)], interleave.Concatenation(1))

    def _kept(self, sources: Sequence[Source], order: interleave.Order) -> Iterator[pa.StringArray]:
        lines = [self._line(place, source) for place, source in enumerate(sources)]
        lane = Lane(self._undeduped, [*lines], 0, self._mix.lane_limits(0), None, order)
        try:
            while lane.fill():
                yield self._settled(lines, lane.pull(PULL).batch())
        finally:
            lane.close()

    def _line(self, place: int, source: Source) -> DrawnRow:
        resolved = self._mix.plan.resolved[source.id]
        parts = partition_source(resolved, 1, self.recipe.seed, shuffle=False)[0]
        reader = Reader(
            source,
            resolved,
            parts,
            self.recipe.block,
            self._mix.plan.token,
            self._mix.plan.excluded,
            self._mix.plan.dedup_index,
        )
        return DrawnRow(self._undeduped, place, source, reader, self._mix.plan.evaluation_ngrams)

    def _settled(self, lines: Sequence[DrawnRow], drawn: pa.RecordBatch) -> pa.StringArray:
        """The texts to keep of a stretch of drawn rows, which are deduplicated and counted."""
        texts, reasons = drawn["text"], pc.if_else(pc.equal(drawn["meta"], KEPT), None, drawn["meta"])
        candidates = reasons.is_null().to_numpy(zero_copy_only=False)
        if self._seen is not None:
            near = self.recipe.dedup.near
            signatures = None if near is None else minhash.minhash_signatures(texts, near)
            codes = self._seen.classify(text_hashes.hash_texts(texts), signatures, candidates)
            names = pa.array(DUPLICATES, pa.string()).take(pa.array(codes, pa.int64()))
            reasons = pc.coalesce(reasons, names)
        reasons = pc.if_else(pc.equal(reasons, REPEAT), None, reasons)
        kept = reasons.is_null()
        self._count(drawn["source"], reasons)
        for line in lines:
            mine = pc.filter(kept, pc.equal(drawn["source"], line.source.id))
            line.settle(mine.to_numpy(zero_copy_only=False))
        return texts.filter(kept)

    def _count(self, sources: pa.StringArray, reasons: pa.StringArray) -> None:
        for (source, reason), rows in Counter(zip(sources.to_pylist(), reasons.to_pylist(), strict=True)).items():
            outcome = self.outcomes[source]
            outcome.processed += rows
            if reason is not None:
                outcome.dropped[reason] = outcome.dropped.get(reason, 0) + rows
