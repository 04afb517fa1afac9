"""Curricula: recipes in sequence, each with a token budget."""

import dataclasses
import functools
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.model import Holdout, Source
from smollm3_mix.recipe.read_curriculum import read_stages
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.sections import Decontaminate, Exclude, TokenCounting
from smollm3_mix.recipe.serialize import recipe_block
from smollm3_mix.recipe.stages import Stage, combined_sources, ignored_settings, stage_problems
from smollm3_mix.recipe.yaml_text import Block, dump
from smollm3_mix.sizes import Count, format_count, parse_count
from smollm3_mix.table_format import html_table
from smollm3_mix.text.dedup.dedup_options import Dedup


@dataclass(frozen=True, repr=False)
class Curriculum:
    """Recipes in sequence, read as one stream. A curriculum holds recipes, and is not a recipe.

    Properties with the names of a recipe's fields describe all stages together: `sources` has every source of any
    stage, weighted by its tokens over all stages, and the keys of `SHARED_KEYS` are those of every stage.

    Attributes:
        stages: Stages in the order of training.
        file: Origin of the curriculum as the user named it, for messages.
        description: Description of the curriculum.

    Raises:
        RecipeError: If the stages are incompatible. The error lists every problem.
    """

    stages: tuple[Stage, ...]
    file: str = "a curriculum made in Python"
    description: str = ""

    def __post_init__(self) -> None:
        problems = stage_problems(self.stages)
        if problems:
            raise RecipeError(self.file, problems)

    @functools.cached_property
    def overview(self) -> Recipe:
        """One recipe with the combined sources, and the other fields of the first stage. It is not read."""
        sources = combined_sources(self.stages)
        first = self.stages[0].recipe
        return dataclasses.replace(
            first,
            sources=sources,
            file=self.file,
            description=self.description,
            ignored=ignored_settings(self.stages, sources),
        )

    @property
    def name(self) -> str:
        """Name of the file without its ending."""
        return self.overview.name

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The recipes of the stages, which are read in sequence."""
        return tuple(stage.recipe for stage in self.stages)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every source of any stage, weighted by its tokens over all stages."""
        return self.overview.sources

    @property
    def active(self) -> tuple[Source, ...]:
        """The available sources with a weight above 0 in any stage."""
        return self.overview.active

    @property
    def shares(self) -> dict[str, float]:
        """Share of each active source over all stages."""
        return self.overview.shares

    @property
    def raw_sum(self) -> float:
        """Sum of the combined weights, including unavailable sources."""
        return self.overview.raw_sum

    @property
    def unavailable_share(self) -> float:
        """Share of unavailable sources in `raw_sum`, 0 to 1."""
        return self.overview.unavailable_share

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about settings and sources that the stages name but the mix does not use."""
        return self.overview.warnings

    @property
    def folder(self) -> str:
        """Folder of the first stage's recipe."""
        return self.overview.folder

    @property
    def seed(self) -> int:
        """Seed of all stages."""
        return self.overview.seed

    @property
    def lanes(self) -> int:
        """Number of lanes of all stages."""
        return self.overview.lanes

    @property
    def weigh_by(self) -> str:
        """Unit of the weights in all stages."""
        return self.overview.weigh_by

    @property
    def tokens(self) -> str | TokenCounting:
        """Token counting of all stages."""
        return self.overview.tokens

    @property
    def dedup(self) -> Dedup:
        """Dedup of all stages."""
        return self.overview.dedup

    @property
    def holdout(self) -> Holdout:
        """Holdout of all stages."""
        return self.overview.holdout

    @property
    def exclude(self) -> Exclude | None:
        """Exclusion list of all stages, or None."""
        return self.overview.exclude

    @property
    def decontaminate(self) -> Decontaminate | None:
        """Evaluation texts of all stages, or None."""
        return self.overview.decontaminate

    @property
    def weighted(self) -> bool:
        """Whether every stage has weights."""
        return all(recipe.weighted for recipe in self.recipes)

    def __repr__(self) -> str:
        sizes = f"{len(self.stages)} stages, {format_count(self.total_tokens)} tokens"
        return f"Curriculum({self.name!r}, {sizes}, fingerprint={self.fingerprint[:7]!r})"

    def _repr_html_(self) -> str:
        rows = [[s.name, f"{s.tokens:,}", ", ".join(source.id for source in s.recipe.active)] for s in self.stages]
        return html_table([["stage", "tokens", "sources"], *rows], words=(0, 2))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Curriculum":
        """Return the curriculum that `to_dict` was called on.

        Raises:
            RecipeError: If `data` is not a result of `to_dict`.
        """
        file = str(data.get("file", "a dict"))
        if "stages" not in data:
            raise RecipeError(file, ["missing key 'stages' (a list of stages). Use Recipe.from_dict for one recipe"])
        rest = {key: value for key, value in data.items() if key not in ("file", "folder")}
        stages, description = read_stages(rest, file, "", named=_reject_name, inline=Recipe.from_dict)
        return cls(tuple(Stage(*stage) for stage in stages), file, description)

    @property
    def total_tokens(self) -> int:
        """Tokens of all stages together."""
        return sum(stage.tokens for stage in self.stages)

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens of the whole mix at which each stage ends."""
        return tuple(itertools.accumulate(stage.tokens for stage in self.stages))

    @property
    def bounded(self) -> bool:
        """False, because discrepancies are bounded within each stage only."""
        return False

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the fingerprints, names and tokens of all stages, 64 hex digits."""
        content = ["curriculum", [[stage.name, stage.tokens, stage.recipe.fingerprint] for stage in self.stages]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def diff(self, other: object) -> list[str]:
        """Return a line for each difference that decides the output, such as `stage2.tokens: 1000 → 2000`."""
        if not isinstance(other, Curriculum):
            return ["a curriculum → one recipe"]
        mine, theirs = [stage.name for stage in self.stages], [stage.name for stage in other.stages]
        if mine != theirs:
            return [f"stages: {', '.join(mine)} → {', '.join(theirs)}"]
        lines = []
        for one, two in zip(self.stages, other.stages, strict=True):
            if one.tokens != two.tokens:
                lines.append(f"{one.name}.tokens: {one.tokens} → {two.tokens}")
            lines += [f"{one.name}.{line}" for line in one.recipe.diff(two.recipe)]
        return lines

    def path(self, source: Source) -> Path | None:
        """Return the local path of a source, as the recipe of its stage finds it."""
        recipes = (stage.recipe for stage in self.stages if any(s.id == source.id for s in stage.recipe.active))
        recipe = next(recipes, None)
        return (self.overview if recipe is None else recipe).path(source)

    def scale(self, total_tokens: Count) -> "Curriculum":
        """Return a copy with `total_tokens` over all stages, in the same proportions, rounded to whole tokens.

        Args:
            total_tokens: Number of tokens, such as `"11B"`.

        Raises:
            RecipeError: If a stage would have no token.
        """
        total = parse_count(total_tokens, "total_tokens")
        ends = [round(end * total / self.total_tokens) for end in self.ends]
        tokens = [end - start for start, end in itertools.pairwise([0, *ends])]
        if min(tokens) < 1:
            problem = f"total_tokens: {total:,} leaves stage {self._shortest.name!r} without a token. Use more tokens"
            raise RecipeError(self.file, [problem])
        pairs = zip(self.stages, tokens, strict=True)
        return self._with([dataclasses.replace(stage, tokens=count) for stage, count in pairs])

    def replace(self, **changes: Any) -> "Curriculum":
        """Return a copy with other values of top-level keys in every stage. `None` changes nothing.

        `description` and `stages` (a sequence of `Stage`) are those of the curriculum itself.

        Raises:
            RecipeError: If a file could not have the key or the value.
        """
        own = {key: changes.pop(key) for key in ("description", "stages") if changes.get(key) is not None}
        stages = own.pop("stages", self.stages)
        changed = [dataclasses.replace(stage, recipe=stage.recipe.replace(**changes)) for stage in stages]
        return dataclasses.replace(self._with(changed), **own)

    def replace_source(self, source_id: str, **changes: Any) -> "Curriculum":
        """Return a copy in which one source has other values, in every stage that has it.

        Raises:
            KeyError: If no stage has such a source.
            RecipeError: If a file could not have the key or the value.
        """
        if all(source.id != source_id for source in self.sources):
            raise KeyError(f"{self.file} has no source {source_id!r}. Sources: {', '.join(s.id for s in self.sources)}")
        return self._with(
            [
                dataclasses.replace(stage, recipe=stage.recipe.replace_source(source_id, **changes))
                if any(source.id == source_id for source in stage.recipe.sources)
                else stage
                for stage in self.stages
            ]
        )

    def pin(self, revisions: Mapping[str, str]) -> "Curriculum":
        """Return a copy with new revisions, by source id, in every stage."""
        return self._with(
            [dataclasses.replace(stage, recipe=stage.recipe.pin(_of_stage(stage, revisions))) for stage in self.stages]
        )

    def mark_unavailable(self, reasons: Mapping[str, str]) -> "Curriculum":
        """Return a copy in which sources are unavailable, by source id and reason."""
        return self._with(
            [
                dataclasses.replace(stage, recipe=stage.recipe.mark_unavailable(_of_stage(stage, reasons)))
                for stage in self.stages
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the curriculum in JSON's types. `from_dict` returns an equal curriculum."""
        stages = [{"name": s.name, "tokens": s.tokens, "recipe": s.recipe.to_dict()} for s in self.stages]
        return {"file": self.file, "description": self.description, "stages": stages}

    def to_yaml(self) -> str:
        """Return the text of one file that contains the recipes of all stages."""
        stages = [Block({"name": s.name, "tokens": s.tokens, "recipe": recipe_block(s.recipe)}) for s in self.stages]
        text = dump(Block({"description": self.description, "stages": stages}))
        return f"# smollm3_mix curriculum; fingerprint {self.fingerprint}\n{text}"

    def _with(self, stages: Sequence[Stage]) -> "Curriculum":
        return Curriculum(tuple(stages), self.file, self.description)

    @property
    def _shortest(self) -> Stage:
        return min(self.stages, key=lambda stage: stage.tokens)


AnyRecipe: TypeAlias = Recipe | Curriculum
"""A recipe or a curriculum."""

RecipeLike: TypeAlias = Recipe | Curriculum | str | os.PathLike[str]
"""A recipe or curriculum, or its path, URL or shipped name."""


def overview(recipe: AnyRecipe) -> Recipe:
    """Return a recipe as it is, or the overview of a curriculum."""
    return recipe.overview if isinstance(recipe, Curriculum) else recipe


def _reject_name(name: str) -> Recipe:
    raise RecipeError(name, ["expected a recipe, got a name. Use load_recipe to read a file that names recipes"])


def _of_stage(stage: Stage, values: Mapping[str, str]) -> dict[str, str]:
    return {source.id: values[source.id] for source in stage.recipe.sources if source.id in values}
