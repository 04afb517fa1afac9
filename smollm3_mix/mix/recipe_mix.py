"""The mix of one recipe: its lanes and their sources."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from smollm3_mix.mix import interleave
from smollm3_mix.mix.block_pipeline import TokenEncoding
from smollm3_mix.mix.lane import Lane
from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.source_stream import SourceStream
from smollm3_mix.mix.state import continuation
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sources.block_reader import Reader
from smollm3_mix.sources.partition import partition_source, partition_stored_source
from smollm3_mix.text.dedup.dedup_store import DedupStore
from smollm3_mix.tokenizer import recipe_tokenizer


@dataclass(frozen=True, repr=False)
class RecipeMix(Mix):
    """The mix of one recipe."""

    def lane(self, number: int) -> Lane:
        """Return one lane at its start. Reads nothing, unless the mix continues from a state.

        Raises:
            ValueError: If the mix has no lane of this number.
        """
        lane = self.blank_lane(number)
        if self.start is not None:
            continuation.begin_continuation(lane, self.start, self)
        return lane

    def blank_lane(
        self,
        number: int,
        limits: Limits | None = None,
        dedup_store: DedupStore | None = None,
        reread: Collection[str] = (),
    ) -> Lane:
        """Return one lane into which a state can be loaded.

        Args:
            number: Number of the lane.
            limits: Limits of the lane. Defaults to its part of the limits of the mix.
            dedup_store: Dedup state of the lane. Defaults to an empty one.
            reread: Ids of sources that a later recipe may read again.

        Raises:
            ValueError: If the mix has no lane of this number.
        """
        if not 0 <= number < self.num_lanes:
            last = self.num_lanes - 1
            raise ValueError(f"There is no lane {number}: {self.recipe.file} has lanes 0 to {last}.")
        (recipe,) = self.recipe.recipes
        encoding = TokenEncoding(recipe_tokenizer.load_tokenizer(recipe, self.resolved.token), self.ids)
        streams = []
        for index, source in enumerate(recipe.active):
            reader = self._reader(recipe, source, number)
            stream = SourceStream(
                recipe, index, source, reader, number, self.split, encoding, self.resolved.evaluation_ngrams
            )
            stream.keeps_decisions = stream.keeps_decisions or source.id in reread
            streams.append(stream)
        if dedup_store is None and recipe.dedup.needs_state:
            dedup_store = DedupStore(recipe.dedup, recipe.dedup.memory // self.num_lanes)
        limits = limits or self.lane_limits(number)
        return Lane(recipe, streams, number, limits, dedup_store, self._order(recipe, number, limits))

    def _reader(self, recipe: Recipe, source: Source, lane: int) -> Reader:
        """Return the reader of a source's slices in one lane."""
        resolved = self.resolved.sources[source.id]
        if source.content == "records":
            slices = partition_stored_source(resolved, self.num_lanes)[lane]
        else:
            slices = partition_source(resolved, self.num_lanes, recipe.seed, recipe.shuffle == "block")[lane]
        shared = self.resolved
        return Reader(source, resolved, slices, recipe.block, shared.token, shared.excluded, shared.dedup_index)

    def _order(self, recipe: Recipe, lane: int, limits: Limits) -> interleave.Order:
        """Return the order in which a lane interleaves its sources."""
        ids = [source.id for source in recipe.active]
        if not recipe.weighted:
            return interleave.Concatenation(len(ids))
        shares = np.array([recipe.shares[source] for source in ids])
        if recipe.order == "exact":
            keys = [interleave.stream_key("place", recipe.seed, lane, source) for source in ids]
            return interleave.Exact(shares, keys)
        seed = recipe.seed if lane == 0 else (recipe.seed, lane)  # lane 0 draws like `interleave_datasets`
        policy = recipe.on_exhausted
        return interleave.Iid(shares, seed, stop=policy == "stop", repeat=policy == "repeat" and limits.unlimited)
