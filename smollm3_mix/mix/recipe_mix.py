"""A recipe whose sources have been found: lanes laid out, limits dealt."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smollm3_mix.errors import RecipeError
from smollm3_mix.mix import interleave
from smollm3_mix.mix.block_pipeline import Encoding
from smollm3_mix.mix.lane import Lane
from smollm3_mix.mix.limits import Limits, part
from smollm3_mix.mix.source_stream import Line
from smollm3_mix.mix.state import continuation
from smollm3_mix.mix.stream import Stream
from smollm3_mix.recipe.model import Recipe
from smollm3_mix.schema import SPLITS
from smollm3_mix.sources.block_reader import Reader
from smollm3_mix.sources.partition import deal, stored
from smollm3_mix.sources.resolved_recipe import Plan
from smollm3_mix.text.dedup import dedup_store
from smollm3_mix.tokenizer import recipe_tokenizer


@dataclass(frozen=True)
class Mix:
    """A recipe whose sources have been found. Picklable: whoever holds it lists nothing again and may read any lane.

    Every prefix of a lane holds its share of each source in the units the recipe weighs by, give or take
    `interleave.debt_bound`, as long as no source runs out. The recipe fixes each lane's order; neither the size of
    reads nor who reads it changes it.

    Not promised: an order equal to SmolLM3's own run, whose tokenised shards are not public.

    Attributes:
        plan: the pinned recipe and the resolved files.
        split: train, or validation: what `holdout` keeps out of train, in one lane, going on without sources that end.
        max_samples: records of the whole mix, dealt evenly to the lanes, the remainder to the first ones.
        max_tokens: tokens of the whole mix, dealt likewise; each lane ends with the record that reaches its part.
        max_bytes: UTF-8 bytes of text of the whole mix, dealt likewise.
        seen_dir: folder in which states keep what dedup remembers, one file for each lane; default: in themselves.
        ids: batches of records have a column `ids` more, the tokens as the recipe's tokenizer has them.
        start: the state of a mix of another recipe, which this one goes on from; limits count from there.
    """

    plan: Plan
    split: str = "train"
    max_samples: int | None = None
    max_tokens: int | None = None
    max_bytes: int | None = None
    seen_dir: str | None = None
    ids: bool = False
    start: Mapping[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split {self.split!r} is none of {', '.join(SPLITS)}")
        for name, limit in self.asked.items():
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
                raise ValueError(f"{name} must be a whole number above 0, or None for no limit; got {limit!r}")
        if self.split == "validation" and not self.plan.recipe.holdout.fraction:
            fault = "holds nothing out, so it has no validation split; add `holdout: {fraction: 0.001}`"
            raise RecipeError(self.plan.recipe.file, [fault])
        if self.start is not None:
            continuation.check(self.plan.recipe, self.split, self.num_lanes, self.start)

    @property
    def asked(self) -> dict[str, int | None]:
        """The limits of the whole mix by name."""
        return {"max_samples": self.max_samples, "max_tokens": self.max_tokens, "max_bytes": self.max_bytes}

    @property
    def recipe(self) -> Recipe:
        """The recipe with every source pinned; for the validation split going on without sources that end."""
        recipe = self.plan.recipe
        return recipe.with_(on_exhausted="renormalise") if self.split == "validation" else recipe

    @property
    def num_lanes(self) -> int:
        """Lanes of this split: the recipe's, or one for validation."""
        return self.plan.recipe.lanes if self.split == "train" else 1

    def limits(self, lane: int) -> Limits:
        """Where a lane ends."""
        samples, tokens, size = self.asked.values()
        if self.split == "validation":
            tokens = min(tokens or self.recipe.holdout.tokens, self.recipe.holdout.tokens)
        return Limits(*(part(limit, lane, self.num_lanes) for limit in (samples, tokens, size)))

    def lane(self, number: int) -> Lane:
        """One lane at its start; nothing is read yet, but where it goes on from a state.

        Raises:
            ValueError: there is no such lane.
        """
        lane = self.blank(number)
        if self.start is not None:
            continuation.begin(lane, self.start, self)
        return lane

    def blank(
        self,
        number: int,
        limits: Limits | None = None,
        seen: dedup_store.Seen | None = None,
        again: Collection[str] = (),
    ) -> Lane:
        """One lane of which nothing is known, to load a state into.

        Args:
            number: of the lane.
            limits: in place of those of the mix.
            seen: what dedup remembers already.
            again: sources that may be read again by a later recipe.

        Raises:
            ValueError: there is no such lane.
        """
        if not 0 <= number < self.num_lanes:
            raise ValueError(f"there is no lane {number}; {self.plan.recipe.file} has lanes 0 to {self.num_lanes - 1}")
        recipe = self.recipe
        encoding = Encoding(recipe_tokenizer.load(recipe, self.plan.token), self.ids)
        lines = []
        for place, source in enumerate(recipe.active):
            resolved = self.plan.resolved[source.id]
            if source.content == "records":
                parts = stored(resolved, self.num_lanes)[number]
            else:
                parts = deal(resolved, self.num_lanes, recipe.seed, recipe.shuffle == "block")[number]
            reader = Reader(
                source, resolved, parts, recipe.block, self.plan.token, self.plan.excluded, self.plan.dropped
            )
            line = Line(recipe, place, source, reader, number, self.split, encoding, self.plan.contaminants)
            line.keeps = line.keeps or source.id in again
            lines.append(line)
        if seen is None and recipe.dedup.remembers:
            seen = dedup_store.Seen(recipe.dedup, recipe.dedup.memory // self.num_lanes)
        limits = limits or self.limits(number)
        return Lane(recipe, lines, number, limits, seen, self._order(recipe, number, limits))

    def stream(self, lanes: Sequence[int] | None = None) -> Stream:
        """The records of some lanes, one of each in turn; all lanes by default."""
        return Stream(self, range(self.num_lanes) if lanes is None else lanes)

    def _order(self, recipe: Recipe, lane: int, limits: Limits) -> interleave.Order:
        ids = [source.id for source in recipe.active]
        if not recipe.weighted:
            return interleave.Concatenation(len(ids))
        shares = np.array([recipe.shares[source] for source in ids])
        if recipe.order == "exact":
            return interleave.Exact(
                shares, [interleave.stream_key("place", recipe.seed, lane, source) for source in ids]
            )
        seed = recipe.seed if lane == 0 else (recipe.seed, lane)  # lane 0 draws what interleave_datasets would
        policy = recipe.on_exhausted
        return interleave.Iid(shares, seed, stop=policy == "stop", repeat=policy == "repeat" and limits.none)
