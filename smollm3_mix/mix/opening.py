"""A recipe made ready to be read: sources resolved and pinned once, lanes laid out, limits dealt."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smollm3_mix import dedup, merge, tokenizer
from smollm3_mix.errors import RecipeError
from smollm3_mix.mix.lane import Lane, Limits
from smollm3_mix.mix.line import Line
from smollm3_mix.mix.prepare import Encoding, remembers
from smollm3_mix.mix.stream import Stream
from smollm3_mix.recipe import Recipe, read
from smollm3_mix.schema import SPLITS
from smollm3_mix.sources import Plan, Reader, deal, stored
from smollm3_mix.sources.resolve import resolve

log = logging.getLogger("smollm3_mix")


@dataclass(frozen=True)
class Mix:
    """A recipe whose sources have been found. Picklable: whoever holds it lists nothing again and may read any lane.

    Every prefix of a lane holds its share of each source in the units the recipe weighs by, give or take
    `merge.debt_bound`, as long as no source runs out. The recipe fixes each lane's order; neither the size of reads nor
    who reads it changes it.

    Not promised: an order equal to SmolLM3's own run, whose tokenised shards are not public.

    Attributes:
        plan: the pinned recipe and the resolved files.
        split: train, or validation: what `holdout` keeps out of train, in one lane, going on without sources that end.
        max_samples: records of the whole mix, dealt evenly to the lanes, the remainder to the first ones.
        max_tokens: tokens of the whole mix, dealt likewise; each lane ends with the record that reaches its part.
        max_bytes: UTF-8 bytes of text of the whole mix, dealt likewise.
        seen_dir: folder in which states keep what dedup remembers, one file for each lane; default: in themselves.
        ids: batches of records have a column `ids` more, the tokens as the recipe's tokenizer has them.
    """

    plan: Plan
    split: str = "train"
    max_samples: int | None = None
    max_tokens: int | None = None
    max_bytes: int | None = None
    seen_dir: str | None = None
    ids: bool = False

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split {self.split!r} is none of {', '.join(SPLITS)}")
        for name, limit in self.asked.items():
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
                raise ValueError(f"{name} must be a whole number above 0, or None for no limit; got {limit!r}")
        if self.split == "validation" and not self.plan.recipe.holdout.fraction:
            fault = "holds nothing out, so it has no validation split; add `holdout: {fraction: 0.001}`"
            raise RecipeError(self.plan.recipe.file, [fault])

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
        return Limits(*(_part(limit, lane, self.num_lanes) for limit in (samples, tokens, size)))

    def lane(self, number: int) -> Lane:
        """One lane at its start; nothing is read yet.

        Raises:
            ValueError: there is no such lane.
        """
        if not 0 <= number < self.num_lanes:
            raise ValueError(f"there is no lane {number}; {self.plan.recipe.file} has lanes 0 to {self.num_lanes - 1}")
        recipe = self.recipe
        encoding = Encoding(tokenizer.load(recipe, self.plan.token), self.ids)
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
            lines.append(Line(recipe, place, source, reader, number, self.split, encoding, self.plan.contaminants))
        seen = dedup.Seen(recipe.dedup, recipe.dedup.memory // self.num_lanes) if remembers(recipe) else None
        return Lane(recipe, lines, number, self.limits(number), seen, self._order(recipe, number))

    def stream(self, lanes: Sequence[int] | None = None) -> Stream:
        """The records of some lanes, one of each in turn; all lanes by default."""
        return Stream(self, range(self.num_lanes) if lanes is None else lanes)

    def _order(self, recipe: Recipe, lane: int) -> merge.Order:
        ids = [source.id for source in recipe.active]
        if not recipe.weighted:
            return merge.Concatenation(len(ids))
        shares = np.array([recipe.shares[source] for source in ids])
        if recipe.order == "exact":
            return merge.Exact(shares, [merge.stream_key("place", recipe.seed, lane, source) for source in ids])
        seed = recipe.seed if lane == 0 else (recipe.seed, lane)  # lane 0 draws what interleave_datasets would
        unlimited = not any(self.asked.values())
        policy = recipe.on_exhausted
        return merge.Iid(shares, seed, stop=policy == "stop", repeat=policy == "repeat" and unlimited)


def open_mix(
    recipe: Recipe | str | os.PathLike[str],
    *,
    split: str = "train",
    seed: int | None = None,
    lanes: int | None = None,
    max_samples: int | None = None,
    max_tokens: int | None = None,
    max_bytes: int | None = None,
    seen_dir: str | os.PathLike[str] | None = None,
    skip_unreadable: bool = False,
    token: str | bool | None = None,
    accept_terms: Sequence[str] | str | None = None,
) -> Mix:
    """The mix of a recipe: its sources are found and pinned, nothing of them is read.

    Args:
        recipe: a `Recipe`, a path, or the name of a shipped stage.
        split: train or validation.
        seed: in place of the recipe's.
        lanes: in place of the recipe's.
        max_samples: records of the whole mix; default: no limit.
        max_tokens: tokens of the whole mix; default: no limit.
        max_bytes: UTF-8 bytes of text of the whole mix; default: no limit.
        seen_dir: folder for what dedup remembers, beside a run's checkpoints; default: states carry it themselves.
        skip_unreadable: go on over the sources that can be read; the rest are logged and stand in `plan.skipped`.
        token: of the Hub; default: the one that is logged in.
        accept_terms: terms that you accept, such as `"softwareheritage"`, which sources of blob ids ask for.

    Raises:
        RecipeError: the recipe is missing or has faults.
        MissingExtra: it counts with a tokenizer, and `tokenizers` is not installed.
        SourceError: its tokenizer cannot be read.
        ValueError: there are no terms of that name.
        Unreadable: sources cannot be read; the message lists them all, with their shares.
    """
    opened = recipe if isinstance(recipe, Recipe) else read(recipe)
    changes = {key: value for key, value in (("seed", seed), ("lanes", lanes)) if value is not None}
    if changes:
        opened = opened.with_(**changes)
    plan = resolve(
        tokenizer.pinned(opened, token), skip_unreadable=skip_unreadable, token=token, accept_terms=accept_terms
    )
    for statement in plan.recipe.statements:
        log.warning("%s: %s", opened.name, statement)
    return Mix(plan, split, max_samples, max_tokens, max_bytes, None if seen_dir is None else os.fspath(seen_dir))


def _part(limit: int | None, lane: int, lanes: int) -> int | None:
    """A lane's part of a limit: dealt evenly, the remainder to the first lanes."""
    return None if limit is None else limit // lanes + (lane < limit % lanes)
