"""What paths of this machine are called where others read them: in records, cards and on the Hub.

A recipe may name a source by an absolute path. Whoever reads the mix elsewhere has no use for the folders above it, and
need not know them; and the same files give the same records wherever they lie.
"""

import dataclasses
import re

from smollm3_mix.dedup import Dedup
from smollm3_mix.recipe.counting import Counting
from smollm3_mix.recipe.curriculum import Curriculum
from smollm3_mix.recipe.filters import Decontaminate, Texts
from smollm3_mix.recipe.model import Recipe, Source
from smollm3_mix.recipe.shown import EMBEDDED, shown

FILES = "files-"
"""How the revision begins that a source of plain files is pinned to."""

_PATH = re.compile(r"""(?<=')[~/][^']+(?=')|(?<![\w:/.'])(?:~|/)[^\s'",;]*/[^\s'",;]*[^\s'",;:.]""")
"""An absolute path in a sentence: in quotes, or up to the next space."""


def is_local(source: Source) -> bool:
    """Whether a source, pinned, was read from files that only the machine has that read them."""
    if not (source.revision or "").startswith(FILES) or (source.name or "").startswith(EMBEDDED):
        return False
    return not any("://" in pattern for pattern in source.data_files or ())


def published(recipe: Recipe) -> Recipe:
    """The recipe with every path of this machine from its last folder on: the same object where it has none.

    Pinned as it is, it mixes the same where those files are beside it. Its fingerprint is another one, since a path
    counts as it is written.
    """
    if isinstance(recipe, Curriculum):
        stages = [dataclasses.replace(stage, recipe=published(stage.recipe)) for stage in recipe.stages]
        made: Recipe = Curriculum.of(stages, file=recipe.file, description=recipe.description)
    else:
        made = dataclasses.replace(
            recipe,
            sources=tuple(_source(source) for source in recipe.sources),
            tokens=_counting(recipe.tokens),
            decontaminate=_decontaminate(recipe.decontaminate),
            dedup=_dedup(recipe.dedup),
        )
    return recipe if made == recipe else made


def without_paths(text: str) -> str:
    """A sentence in which absolute paths begin with their last folder.

    >>> without_paths("/home/me/web/a.parquet cannot be read: see https://example.org/a/b")
    'a.parquet cannot be read: see https://example.org/a/b'
    """
    return _PATH.sub(lambda found: shown(found[0]), text)


def _source(source: Source) -> Source:
    return dataclasses.replace(
        source,
        name=source.name and shown(source.name),
        data_files=_patterns(source.data_files),
        data_dir=source.data_dir and shown(source.data_dir),
        unavailable=source.unavailable and without_paths(source.unavailable),
    )


def _patterns(patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """As the files that a pattern finds are shown: below its last fixed folder."""
    return None if patterns is None else tuple(shown(pattern, folders=1) for pattern in patterns)


def _counting(tokens: str | Counting) -> str | Counting:
    return dataclasses.replace(tokens, tokenizer=shown(tokens.tokenizer)) if isinstance(tokens, Counting) else tokens


def _decontaminate(given: Decontaminate | None) -> Decontaminate | None:
    return given and dataclasses.replace(given, texts=tuple(_texts(texts) for texts in given.sets))


def _texts(texts: Texts) -> Texts:
    return dataclasses.replace(texts, name=shown(texts.name), data_files=_patterns(texts.data_files))


def _dedup(dedup: Dedup) -> Dedup:
    at = dedup.index and dataclasses.replace(dedup.index, at=shown(dedup.index.at))
    return dataclasses.replace(dedup, index=at)
