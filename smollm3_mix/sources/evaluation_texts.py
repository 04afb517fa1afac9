"""A recipe's evaluation texts, read once through the same readers as its sources, and kept as runs of words."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from smollm3_mix.errors import RecipeError, UnreadableSourcesError
from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.model import Block, Recipe, Source
from smollm3_mix.sources import local_sources
from smollm3_mix.sources.block_reader import Reader
from smollm3_mix.sources.partition import partition_source
from smollm3_mix.sources.source_files import ResolvedSource
from smollm3_mix.text.clean.clean_block import clean_texts
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.decontamination import EvaluationNgrams, NgramCollector

if TYPE_CHECKING:
    from smollm3_mix.recipe.sections import Decontaminate, Texts

LookUp = Callable[[Recipe], tuple[dict[str, ResolvedSource], dict[str, str]]]

log = logging.getLogger("smollm3_mix")


def pin_texts(recipe: Recipe, look_up: LookUp, token: Token = None) -> tuple[Recipe, EvaluationNgrams | None]:
    """The recipe with its evaluation texts pinned, and their runs of words; None where it has no `decontaminate`.

    Args:
        recipe: as read.
        look_up: finds the files of a recipe's sources.
        token: for the Hub.

    Raises:
        UnreadableSourcesError: lists every set that cannot be found.
        SourceError: a file cannot be read to its end.
        RecipeError: no text of a set is as long as a run, or the texts are not those the recipe is pinned to.
    """
    asked = recipe.decontaminate
    if asked is None:
        return recipe, None
    sources = sources_of(recipe)
    found, problems = look_up(dataclasses.replace(recipe, sources=sources, decontaminate=None, exclude=None))
    if problems:
        lines = [f"{name!r}: {fault}" for name, fault in problems.items()]
        head = f"{recipe.file}: decontaminate: {len(problems)} of {len(sources)} sets of texts cannot be read"
        raise UnreadableSourcesError("\n  ".join([head, *lines]) + "\nMend these, or take them out of `decontaminate`.")
    collection = NgramCollector(asked.ngram)
    for source in sources:
        _read(recipe, asked, source, found[source.id], collection, token)
    evaluation_ngrams = collection.evaluation_ngrams()
    if asked.sha256 not in {None, evaluation_ngrams.digest}:
        fault = (
            f"decontaminate: its texts are not those of sha256 {str(asked.sha256)[:12]}… that the recipe is pinned to, "
            f"but of {evaluation_ngrams.digest[:12]}…; put the old ones back, or take `sha256` out"
        )
        raise RecipeError(recipe.file, [fault])
    texts = tuple(
        dataclasses.replace(one, revision=found[source.id].revision, split=source.split)
        for one, source in zip(asked.sets, sources, strict=True)
    )
    pinned = dataclasses.replace(asked, texts=texts, sha256=evaluation_ngrams.digest)
    return recipe.replace(decontaminate=pinned), evaluation_ngrams


def sources_of(recipe: Recipe) -> tuple[Source, ...]:
    """The evaluation texts of a recipe as sources, in order; none where it has no `decontaminate`."""
    return () if recipe.decontaminate is None else tuple(_source(recipe, one) for one in recipe.decontaminate.sets)


def _source(recipe: Recipe, texts: Texts) -> Source:
    given = {f.name: getattr(texts, f.name) for f in dataclasses.fields(texts) if f.name != "split"}
    source = Source(id=texts.id, weight=1.0, **given)
    split = texts.split or ("test" if local_sources.find_local(recipe, source) is None else "train")
    return dataclasses.replace(source, split=split)


def _read(  # noqa: PLR0917 - called in one place only
    recipe: Recipe,
    asked: Decontaminate,
    source: Source,
    resolved: ResolvedSource,
    collection: NgramCollector,
    token: Token,
) -> None:
    """Take the runs of words of one set.

    Raises:
        RecipeError: no text of it is as long as a run.
    """
    collection.begin(source.id)
    reader = Reader(source, resolved, partition_source(resolved, 1, 0, shuffle=False)[0], Block(), token)
    while (block := reader.read()) is not None:
        collection.add(clean_texts(block.texts.drop_null(), Cleaning()))
    reader.close()
    texts, short = collection.texts, collection.short
    if texts == short:
        fault = (
            f"decontaminate: none of the {texts:,} texts of {source.id!r} has {asked.ngram} words, so none can be "
            "looked for; name more columns in its `text_field` (question and answer, say), or lower `ngram`"
        )
        raise RecipeError(recipe.file, [fault])
    if short:
        log.warning(
            "%s: decontaminate: %s of %s texts of %r have fewer than %d words and are not looked for",
            *(recipe.name, f"{short:,}", f"{texts:,}", source.id, asked.ngram),
        )
