"""A recipe whose sources were found and pinned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smollm3_mix.network.urls import Token
from smollm3_mix.sources.source_files import Resolved

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Recipe
    from smollm3_mix.sources.dedup_lookup import Dropped
    from smollm3_mix.text.decontamination import Contaminants
    from smollm3_mix.text.exclusion import Excluded


@dataclass(frozen=True)
class Plan:
    """A recipe whose sources were all found, or left out with a reason.

    Attributes:
        recipe: with every found source pinned to the revision that was found.
        resolved: by source id, in recipe order.
        token: what readers of these files need; in no representation and no state.
        excluded: the recipe's list of what must not come out, read once for all who read lanes.
        contaminants: runs of words of the recipe's evaluations, likewise.
        dropped: the recipe's dedup index, likewise.
    """

    recipe: Recipe
    resolved: dict[str, Resolved] = field(default_factory=dict)
    token: Token = field(default=None, repr=False, compare=False)
    excluded: Excluded | None = field(default=None, repr=False, compare=False)
    contaminants: Contaminants | None = field(default=None, repr=False, compare=False)
    dropped: Dropped | None = field(default=None, repr=False, compare=False)

    @property
    def skipped(self) -> dict[str, str]:
        """Reason by source id, for every source that gives nothing to the mix."""
        recipe = self.recipe
        return {s.id: s.unavailable or "its weight is 0" for s in recipe.sources if s not in recipe.active}
