"""Recipes that read and write themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smollm3_mix.recipe.model import RecipeDescription
from smollm3_mix.recipe.parse_recipe import change_recipe, change_source, parse_saved_recipe
from smollm3_mix.recipe.serialize import recipe_to_dict, recipe_to_yaml
from smollm3_mix.table_format import html_table


@dataclass(frozen=True, repr=False)
class Recipe(RecipeDescription):
    """A mix: sources with weights, and the rules that apply to them. `RecipeDescription` lists the attributes."""

    def __repr__(self) -> str:
        sizes = f"{len(self.sources)} sources, {self.lanes} lanes, seed={self.seed}"
        return f"Recipe({self.name!r}, {sizes}, fingerprint={self.fingerprint[:7]!r})"

    def _repr_html_(self) -> str:
        table = [["source", "weight", "share", "license", "revision"]]
        for source in self.sources:
            share = f"{self.shares[source.id]:.2%}" if source.id in self.shares else "none"
            row = [source.id, f"{source.weight:g}", share, source.license or "unknown", source.revision or "none"]
            table.append(row)
        return html_table(table, words=(0, 3, 4))

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The recipes that are read in sequence: this one alone."""
        return (self,)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Return the recipe that `to_dict` was called on.

        Raises:
            RecipeError: If `data` is not a result of `to_dict`.
        """
        return parse_saved_recipe(Recipe, data)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe in JSON's types with every default. `from_dict` returns an equal recipe."""
        return recipe_to_dict(self)

    def to_yaml(self) -> str:
        """Return the text of a recipe file. The file has the same fingerprint under the same version of the package.

        Defaults of sources and thresholds are left out. `file`, `folder`, `ignored` and comments are not kept.
        """
        return recipe_to_yaml(self)

    def replace(self, **changes: Any) -> Recipe:
        """Return a copy with other values of top-level keys, as objects or as in a file. `None` changes nothing.

        Raises:
            RecipeError: If a file could not have the key or the value.
        """
        return change_recipe(self, changes)

    def replace_source(self, source_id: str, **changes: Any) -> Recipe:
        """Return a copy in which one source has other values, as objects or as in a file.

        Raises:
            KeyError: If the recipe has no such source.
            RecipeError: If a file could not have the key or the value.
        """
        return change_source(self, source_id, changes)
