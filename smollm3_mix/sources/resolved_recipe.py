"""A recipe whose sources were found and pinned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Recipe
    from smollm3_mix.sources.dedup_lookup import DedupIndex
    from smollm3_mix.text.decontamination import EvaluationNgrams
    from smollm3_mix.text.exclusion import ExclusionList
from smollm3_mix.network.urls import Token
from smollm3_mix.sources.source_files import ResolvedSource


@dataclass(frozen=True)
class ResolvedRecipe:
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
    resolved: dict[str, ResolvedSource] = field(default_factory=dict)
    token: Token = field(default=None, repr=False, compare=False)
    excluded: ExclusionList | None = field(default=None, repr=False, compare=False)
    evaluation_ngrams: EvaluationNgrams | None = field(default=None, repr=False, compare=False)
    dropped: DedupIndex | None = field(default=None, repr=False, compare=False)

    @property
    def skipped(self) -> dict[str, str]:
        """Reason by source id, for every source that gives nothing to the mix."""
        recipe = self.recipe
        return {s.id: s.unavailable or "its weight is 0" for s in recipe.sources if s not in recipe.active}
