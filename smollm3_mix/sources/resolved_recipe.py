"""A recipe with pinned sources and everything that readers of it share."""

from __future__ import annotations

from dataclasses import dataclass, field

from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.sources.dedup_lookup import DedupIndex
from smollm3_mix.sources.source_files import ResolvedSource
from smollm3_mix.text.decontamination import EvaluationNgrams
from smollm3_mix.text.exclusion import ExclusionList


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe whose sources are found and pinned, or skipped with a reason.

    Attributes:
        recipe: Recipe with every source pinned to the revision that was found.
        sources: Files by source id, in recipe order.
        token: Hugging Face access token. Part of no representation and of no state.
        excluded: Exclusion list of the recipe, read once for all lanes.
        evaluation_ngrams: Word n-grams of the recipe's evaluation texts, read once for all lanes.
        dedup_index: Dedup index of the recipe, opened once for all lanes.
    """

    recipe: AnyRecipe
    sources: dict[str, ResolvedSource] = field(default_factory=dict)
    token: Token = field(default=None, repr=False, compare=False)
    excluded: ExclusionList | None = field(default=None, repr=False, compare=False)
    evaluation_ngrams: EvaluationNgrams | None = field(default=None, repr=False, compare=False)
    dedup_index: DedupIndex | None = field(default=None, repr=False, compare=False)

    @property
    def skipped(self) -> dict[str, str]:
        """Reason by source id, for every source that the mix does not use."""
        recipe = self.recipe
        return {s.id: s.unavailable or "its weight is 0" for s in recipe.sources if s not in recipe.active}
