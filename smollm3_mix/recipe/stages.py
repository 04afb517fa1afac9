"""Stages of a curriculum: what they must have in common, and their sources together."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.parsing import plain, show
from smollm3_mix.recipe.recipe import Recipe

SHARED_READ_KEYS = (
    *("name", "config", "data_dir", "data_files", "revision", "split", "text_field", "separator", "where", "content"),
)
"""Fields of a source that decide its rows and their text. A cursor is valid only for sources with equal fields."""

SHARED_KEYS = ("seed", "lanes", "weigh_by", "tokens", "dedup", "holdout", "exclude", "decontaminate")
"""Keys that must be equal in all stages. At the top of a curriculum they apply to all stages."""


@dataclass(frozen=True)
class Stage:
    """A stage of training.

    Attributes:
        name: Name, unique in the curriculum.
        tokens: Tokens of the stage over all lanes.
        recipe: Mix of the stage.
    """

    name: str
    tokens: int
    recipe: Recipe


def incompatible_stages(one: Source, two: Source) -> list[str]:
    """Return `key: one → two` for each field of `SHARED_READ_KEYS` that differs between two sources."""
    pairs = ((key, getattr(one, key), getattr(two, key)) for key in SHARED_READ_KEYS)
    return [f"{key}: {_display(was)} → {_display(now)}" for key, was, now in pairs if was != now]


def _display(value: Any) -> str:
    return "none" if value is None else json.dumps(plain(value), ensure_ascii=False) if value == () else show(value)


def stage_problems(stages: Sequence[Stage]) -> list[str]:
    """Return the reasons why these stages are incompatible."""
    if not stages:
        return ["stages: expected at least one stage, got an empty list"]
    problems = [
        f"stage {stage.name!r}: tokens: expected 1 or more, got {stage.tokens}" for stage in stages if stage.tokens < 1
    ]
    names = [stage.name for stage in stages]
    problems += [
        f"stages have the same name {name!r}. Give one of them another `name`"
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
                    f"{show(plain(now))}. Write `{key}:` at the top of the curriculum, where it applies to all stages"
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
                    f"source {source.id!r} differs between stages {other.name!r} and {stage.name!r} "
                    f"({', '.join(differ)}). Make it equal, or give one of them another id"
                )
    return problems


def _folder(recipe: Recipe, source: Source) -> str | None:
    """Return the resolved path of a local source, None for a Hub repository."""
    path = recipe.path(source)
    return None if path is None else str(path.resolve())


def combined_sources(stages: Sequence[Stage]) -> tuple[Source, ...]:
    """Return every source of any stage, in order of first appearance, weighted by its tokens over all stages."""
    length = sum(stage.tokens for stage in stages)
    found: dict[str, Source] = {}
    targets: dict[str, float] = {}
    missing: dict[str, float] = {}
    for stage in stages:
        part = stage.tokens / length
        for source in stage.recipe.sources:
            readable = source.id in stage.recipe.shares
            if readable and source.id not in targets:
                found[source.id] = source
            found.setdefault(source.id, source)
            if readable:
                targets[source.id] = targets.get(source.id, 0.0) + part * stage.recipe.shares[source.id]
            elif source.unavailable is not None:
                fraction = part * source.weight / stage.recipe.raw_sum
                missing[source.id] = missing.get(source.id, 0.0) + fraction
    there = 1 - sum(weight for source, weight in missing.items() if source not in targets)
    weights = {source: targets.get(source, missing.get(source, 0.0) / there) for source in found}
    passes = {
        source: max(each.max_passes for stage in stages for each in stage.recipe.sources if each.id == source)
        for source in found
    }
    return tuple(
        dataclasses.replace(source, weight=weights[source.id], max_passes=passes[source.id])
        for source in found.values()
    )


def ignored_settings(stages: Sequence[Stage], sources: Sequence[Source]) -> tuple[str, ...]:
    """Return the sentences about unused settings and unavailable sources of single stages."""
    readable = {source.id for source in sources if source.unavailable is None}
    messages: list[str] = []
    for stage in stages:
        messages += [f"stage {stage.name!r}: {message}" for message in stage.recipe.ignored]
        messages += [
            f"stage {stage.name!r}: source {source.id!r} is not available: {source.unavailable}"
            for source in stage.recipe.sources
            if source.unavailable is not None and source.id in readable
        ]
    return tuple(messages)
