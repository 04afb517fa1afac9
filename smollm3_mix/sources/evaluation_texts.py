"""Read a recipe's evaluation texts with the readers of sources, and keep their word n-grams."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from smollm3_mix.errors import RecipeError, UnreadableSourcesError
from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.curriculum import AnyRecipe, overview
from smollm3_mix.recipe.model import Block, Source
from smollm3_mix.recipe.sections import Decontaminate, Texts
from smollm3_mix.sources import local_sources
from smollm3_mix.sources.block_reader import Reader
from smollm3_mix.sources.partition import partition_source
from smollm3_mix.sources.source_files import ResolvedSource
from smollm3_mix.text.clean.clean_block import clean_texts
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.decontamination import EvaluationNgrams, NgramCollector

Inspect = Callable[[AnyRecipe], tuple[dict[str, ResolvedSource], dict[str, str]]]

log = logging.getLogger("smollm3_mix")


def pin_texts(recipe: AnyRecipe, inspect: Inspect, token: Token = None) -> tuple[AnyRecipe, EvaluationNgrams | None]:
    """Return the recipe with pinned evaluation texts, and their word n-grams. None without `decontaminate`.

    Args:
        recipe: Recipe or curriculum as read.
        inspect: Function that finds the files of a recipe's sources, and the problems of those it cannot read.
        token: Hugging Face access token.

    Raises:
        UnreadableSourcesError: If a set cannot be found. Lists every such set.
        SourceError: If a file cannot be read to its end.
        RecipeError: If no text of a set has an n-gram, or the texts differ from the pinned ones.
    """
    options = recipe.decontaminate
    if options is None:
        return recipe, None
    sources = evaluation_sources(recipe)
    found, problems = inspect(dataclasses.replace(overview(recipe), sources=sources, decontaminate=None, exclude=None))
    if problems:
        lines = [f"{name!r}: {problem}" for name, problem in problems.items()]
        head = f"{recipe.file}: decontaminate: {len(problems)} of {len(sources)} evaluation sets cannot be read"
        message = "\n  ".join([head, *lines]) + "\nFix these sets, or remove them from `decontaminate`."
        raise UnreadableSourcesError(message, problems=problems)
    collector = NgramCollector(options.ngram)
    for source in sources:
        _read(recipe, options, source, found[source.id], collector, token)
    evaluation_ngrams = collector.evaluation_ngrams()
    if options.sha256 not in {None, evaluation_ngrams.digest}:
        problem = (
            f"decontaminate: the texts have sha256 {evaluation_ngrams.digest[:12]}…, but the recipe is pinned to "
            f"{str(options.sha256)[:12]}…. Restore the old texts, or remove `sha256`."
        )
        raise RecipeError(recipe.file, [problem])
    texts = tuple(
        dataclasses.replace(one, revision=found[source.id].revision, split=source.split)
        for one, source in zip(options.sets, sources, strict=True)
    )
    pinned = dataclasses.replace(options, texts=texts, sha256=evaluation_ngrams.digest)
    return recipe.replace(decontaminate=pinned), evaluation_ngrams


def evaluation_sources(recipe: AnyRecipe) -> tuple[Source, ...]:
    """Return the evaluation texts of a recipe as sources, in order. Empty without `decontaminate`."""
    return () if recipe.decontaminate is None else tuple(_source(recipe, one) for one in recipe.decontaminate.sets)


def _source(recipe: AnyRecipe, texts: Texts) -> Source:
    fields = {f.name: getattr(texts, f.name) for f in dataclasses.fields(texts) if f.name != "split"}
    source = Source(id=texts.id, weight=1.0, **fields)
    split = texts.split or ("test" if local_sources.find_local(recipe, source) is None else "train")
    return dataclasses.replace(source, split=split)


def _read(  # noqa: PLR0917 - called in one place only
    recipe: AnyRecipe,
    options: Decontaminate,
    source: Source,
    resolved: ResolvedSource,
    collector: NgramCollector,
    token: Token,
) -> None:
    """Collect the n-grams of one set.

    Raises:
        RecipeError: If no text of the set has an n-gram.
    """
    collector.begin(source.id)
    reader = Reader(source, resolved, partition_source(resolved, 1, 0, shuffle=False)[0], Block(), token)
    while (block := reader.read()) is not None:
        collector.add(clean_texts(block.texts.drop_null(), Cleaning()))
    reader.close()
    texts, short = collector.texts, collector.short
    if texts == short:
        problem = (
            f"decontaminate: none of the {texts:,} texts of {source.id!r} has {options.ngram} words, so none can be "
            "matched. Name more columns in its `text_field` (for example question and answer), or lower `ngram`."
        )
        raise RecipeError(recipe.file, [problem])
    if short:
        log.warning(
            "%s: decontaminate: %s of %s texts of %r have fewer than %d words and cannot be matched",
            *(recipe.name, f"{short:,}", f"{texts:,}", source.id, options.ngram),
        )
