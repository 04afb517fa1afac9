"""A recipe of recipes: stages of training one after another, each with its tokens."""

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.model import Recipe, Source
from smollm3_mix.recipe.parsing import plain, show

SHARED_READ_KEYS = (
    *("name", "config", "data_dir", "data_files", "revision", "split", "text_field", "separator", "where", "content"),
)
"""Fields of a source that decide which rows it has, and what their text is. A place in one means nothing in another
that differs in any of them."""

SHARED_KEYS = ("seed", "lanes", "weigh_by", "tokens", "dedup", "holdout", "exclude", "decontaminate")
"""Keys of a recipe that all stages have in common; said once at the top of the curriculum, they go for all."""


@dataclass(frozen=True)
class Stage:
    """A stage of training.

    Attributes:
        name: unique in its curriculum.
        tokens: what it takes of the whole mix, over all lanes.
        recipe: what it mixes.
    """

    name: str
    tokens: int
    recipe: Recipe


@dataclass(frozen=True)
class Curriculum(Recipe):
    """Stages one after another, in one stream.

    As a recipe it is the whole: every source of any stage, weighted by what all stages together ask of it. What holds
    for all stages (`ALIKE`) stands in its fields; the other fields are those of the first stage and decide nothing.

    Attributes:
        stages: in the order of training; made by `of`.
    """

    stages: tuple[Stage, ...] = ()

    @classmethod
    def of(cls, stages: Sequence[Stage], *, file: str, description: str = "") -> "Curriculum":
        """The curriculum of these stages.

        Raises:
            RecipeError: they cannot follow one another; lists every fault.
        """
        problems = _problems(stages)
        if problems:
            raise RecipeError(file, problems)
        first = {field.name: getattr(stages[0].recipe, field.name) for field in dataclasses.fields(Recipe)}
        sources = _whole(stages)
        readable = {source.id for source in sources if source.unavailable is None}
        ignored = [
            f"stage {stage.name!r}: {said}"
            for stage in stages
            for said in (
                *stage.recipe.ignored,
                *(
                    f"source {source.id!r} is not available: {source.unavailable}"
                    for source in stage.recipe.sources
                    if source.unavailable is not None and source.id in readable
                ),
            )
        ]
        own = {"sources": sources, "file": file, "description": description}
        return cls(**first | own | {"ignored": tuple(ignored)}, stages=tuple(stages))

    @property
    def length(self) -> int:
        """Tokens of all stages together."""
        return sum(stage.tokens for stage in self.stages)

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens of the whole mix at which each stage ends."""
        return tuple(itertools.accumulate(stage.tokens for stage in self.stages))

    @property
    def bounded(self) -> bool:
        """False: a debt is bounded within each stage, not over all."""
        return False

    @functools.cached_property
    def fingerprint(self) -> str:
        """64 hex digits over the stages' fingerprints, names and tokens."""
        form = ["curriculum", [[stage.name, stage.tokens, stage.recipe.fingerprint] for stage in self.stages]]
        return hashlib.sha256(json.dumps(form).encode()).hexdigest()

    def diff(self, other: Recipe) -> list[str]:
        """What decides the output and differs, such as `stage2.tokens: 1000 → 2000`; self before other."""
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
        """The local file or folder a source names, looked for as its stage's recipe says."""
        recipes = (stage.recipe for stage in self.stages if any(s.id == source.id for s in stage.recipe.active))
        recipe = next(recipes, None)
        return super().path(source) if recipe is None else recipe.path(source)

    def scale(self, total_tokens: int) -> "Curriculum":
        """A copy whose stages take `total_tokens` together, each the part it takes now, to the nearest token.

        Raises:
            RecipeError: too few tokens for every stage to get one.
        """
        ends = [round(end * total_tokens / self.length) for end in self.ends]
        tokens = [end - begin for begin, end in itertools.pairwise([0, *ends])]
        if min(tokens) < 1:
            fault = f"total_tokens: {total_tokens:,} leave stage {self._least.name!r} none; give more"
            raise RecipeError(self.file, [fault])
        pairs = zip(self.stages, tokens, strict=True)
        return self._with([dataclasses.replace(stage, tokens=count) for stage, count in pairs])

    def replace(self, **changes: Any) -> "Curriculum":
        """A copy whose stages all have other values for top-level keys."""
        return self._with([dataclasses.replace(stage, recipe=stage.recipe.replace(**changes)) for stage in self.stages])

    def pinned(self, revisions: Mapping[str, str]) -> "Curriculum":
        """A copy with the given revision for each named source, in every stage that has it."""
        return self._with(
            [dataclasses.replace(stage, recipe=stage.recipe.pinned(_of(stage, revisions))) for stage in self.stages]
        )

    def without(self, reasons: Mapping[str, str]) -> "Curriculum":
        """A copy in which the named sources are unavailable for the given reasons."""
        return self._with(
            [dataclasses.replace(stage, recipe=stage.recipe.without(_of(stage, reasons))) for stage in self.stages]
        )

    def to_dict(self) -> dict[str, Any]:
        """The curriculum in JSON's types; `Recipe.from_dict` gives an equal one."""
        stages = [{"name": s.name, "tokens": s.tokens, "recipe": s.recipe.to_dict()} for s in self.stages]
        return {"file": self.file, "description": self.description, "stages": stages}

    def to_yaml(self) -> str:
        """The curriculum as one file, every stage's recipe written out in it."""
        from smollm3_mix.recipe.serialize import curriculum_to_yaml

        return curriculum_to_yaml(self)

    def _with(self, stages: Sequence[Stage]) -> "Curriculum":
        return Curriculum.of(stages, file=self.file, description=self.description)

    @property
    def _least(self) -> Stage:
        return min(self.stages, key=lambda stage: stage.tokens)


def incompatible_stages(one: Source, two: Source) -> list[str]:
    """`key: one → two` for every field in which two sources of the same id are not read alike."""
    pairs = ((key, getattr(one, key), getattr(two, key)) for key in SHARED_READ_KEYS)
    return [f"{key}: {_shown(was)} → {_shown(now)}" for key, was, now in pairs if was != now]


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(plain(value), ensure_ascii=False) if value == () else show(value)


def _of(stage: Stage, values: Mapping[str, str]) -> dict[str, str]:
    return {source.id: values[source.id] for source in stage.recipe.sources if source.id in values}


def _problems(stages: Sequence[Stage]) -> list[str]:
    """Why these stages cannot follow one another."""
    if not stages:
        return ["stages: expected at least one stage, got an empty list"]
    problems = [
        f"stage {stage.name!r}: tokens: expected 1 or more, got {stage.tokens}" for stage in stages if stage.tokens < 1
    ]
    names = [stage.name for stage in stages]
    problems += [
        f"stages have the same name {name!r}; give one of them another with `name`"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    first = stages[0]
    for stage in stages[1:]:
        for key in SHARED_KEYS:
            was, now = getattr(first.recipe, key), getattr(stage.recipe, key)
            if was != now:
                problems.append(
                    f"stages {first.name!r} and {stage.name!r} differ in {key}: {show(plain(was))} → "
                    f"{show(plain(now))}; write `{key}:` at the top of the curriculum, where it goes for all"
                )
    known: dict[str, tuple[Stage, Source]] = {}
    for stage in stages:
        for source in stage.recipe.active:
            other, before = known.setdefault(source.id, (stage, source))
            differ = incompatible_stages(before, source)
            if before.tokens_per_byte != source.tokens_per_byte:
                differ.append(f"tokens_per_byte: {before.tokens_per_byte} → {source.tokens_per_byte}")
            if not differ and _folder(other.recipe, before) != _folder(stage.recipe, source):
                differ = [f"folder: {_folder(other.recipe, before)} → {_folder(stage.recipe, source)}"]
            if differ:
                problems.append(
                    f"source {source.id!r} is not the same in stages {other.name!r} and {stage.name!r} "
                    f"({'; '.join(differ)}); make it so, or give one of them another id"
                )
    return problems


def _folder(recipe: Recipe, source: Source) -> str | None:
    """Where a source on this machine lies, None for any other."""
    path = recipe.path(source)
    return None if path is None else str(path.resolve())


def _whole(stages: Sequence[Stage]) -> tuple[Source, ...]:
    """Every source of any stage, in order of first appearance, weighted by the tokens all stages ask of it."""
    length = sum(stage.tokens for stage in stages)
    found: dict[str, Source] = {}
    asked: dict[str, float] = {}
    missing: dict[str, float] = {}
    for stage in stages:
        part = stage.tokens / length
        for source in stage.recipe.sources:
            readable = source.id in stage.recipe.shares
            if readable and source.id not in asked:
                found[source.id] = source
            found.setdefault(source.id, source)
            if readable:
                asked[source.id] = asked.get(source.id, 0.0) + part * stage.recipe.shares[source.id]
            elif source.unavailable is not None:
                fraction = part * source.weight / stage.recipe.raw_sum
                missing[source.id] = missing.get(source.id, 0.0) + fraction
    there = 1 - sum(weight for source, weight in missing.items() if source not in asked)
    weights = {source: asked.get(source, missing.get(source, 0.0) / there) for source in found}
    passes = {
        source: max(each.max_passes for stage in stages for each in stage.recipe.sources if each.id == source)
        for source in found
    }
    return tuple(
        dataclasses.replace(source, weight=weights[source.id], max_passes=passes[source.id])
        for source in found.values()
    )
