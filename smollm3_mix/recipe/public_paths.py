"""Recipes without the folders of this machine, for records, cards and the Hub.

A recipe may name a source by an absolute path. Public recipes leave out the folders above it, which makes records
independent of the machine and discloses nothing about it.
"""

import dataclasses
import re

from smollm3_mix.recipe.curriculum import AnyRecipe, Curriculum
from smollm3_mix.recipe.display_names import EMBEDDED, default_source_id, display_name, source_display_name
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.sections import Decontaminate, Texts, TokenCounting
from smollm3_mix.text.dedup.dedup_options import Dedup

FILES = "files-"
"""Prefix of the revision of a source of plain files."""

_PATH = re.compile(r"""(?<=')[~/][^']+(?=')|(?<![\w:/.'])(?:~|/)[^\s'",;]*/[^\s'",;]*[^\s'",;:.]""")
"""Pattern of an absolute path in a sentence, in quotes or up to the next space."""


def is_local(source: Source) -> bool:
    """Return True if a pinned source was read from files of this machine only."""
    if not (source.revision or "").startswith(FILES) or (source.name or "").startswith(EMBEDDED):
        return False
    return not any("://" in pattern for pattern in source.data_files or ())


def public_name(source: Source) -> str:
    """Return the name of a source in records, cards and public recipes. Empty without a name."""
    name = source.name or ""
    return source_display_name(name, source.id, default_source_id(name, source.config))


def public_patterns(source: Source) -> tuple[str, ...] | None:
    """Return `data_files` of a source from the last folder before a wildcard on."""
    default = default_source_id(source.name or "", source.config)
    return source.data_files and tuple(source_display_name(each, source.id, default, 1) for each in source.data_files)


def public_recipe(recipe: AnyRecipe) -> AnyRecipe:
    """Return the recipe without folders of this machine, or the same object if there are none.

    The result gives the same mix if the files are in the recipe's folder. Its fingerprint differs, because paths
    count as written.
    """
    if isinstance(recipe, Curriculum):
        stages = tuple(dataclasses.replace(stage, recipe=_public(stage.recipe)) for stage in recipe.stages)
        public: AnyRecipe = dataclasses.replace(recipe, stages=stages)
    else:
        public = _public(recipe)
    return recipe if public == recipe else public


def _public(recipe: Recipe) -> Recipe:
    return dataclasses.replace(
        recipe,
        sources=tuple(_source(source) for source in recipe.sources),
        tokens=_counting(recipe.tokens),
        decontaminate=_decontaminate(recipe.decontaminate),
        dedup=_dedup(recipe.dedup),
    )


def redact_paths(text: str) -> str:
    """Return a sentence in which absolute paths begin with their last folder.

    >>> redact_paths("/home/me/web/a.parquet cannot be read: see https://example.org/a/b")
    'a.parquet cannot be read: see https://example.org/a/b'
    """
    return _PATH.sub(lambda found: display_name(found[0]), text)


def _source(source: Source) -> Source:
    return dataclasses.replace(
        source,
        name=source.name and public_name(source),
        data_files=public_patterns(source),
        data_dir=source.data_dir and display_name(source.data_dir),
        unavailable=source.unavailable and redact_paths(source.unavailable),
    )


def _counting(tokens: str | TokenCounting) -> str | TokenCounting:
    return (
        dataclasses.replace(tokens, tokenizer=display_name(tokens.tokenizer))
        if isinstance(tokens, TokenCounting)
        else tokens
    )


def _decontaminate(options: Decontaminate | None) -> Decontaminate | None:
    return options and dataclasses.replace(options, texts=tuple(_texts(texts) for texts in options.sets))


def _texts(texts: Texts) -> Texts:
    patterns = texts.data_files and tuple(display_name(pattern, folders=1) for pattern in texts.data_files)
    return dataclasses.replace(texts, name=display_name(texts.name), data_files=patterns)


def _dedup(dedup: Dedup) -> Dedup:
    index = dedup.index and dataclasses.replace(dedup.index, path=display_name(dedup.index.path))
    return dataclasses.replace(dedup, index=index)
