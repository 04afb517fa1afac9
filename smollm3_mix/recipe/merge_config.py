"""Settings of `merge_datasets` config files besides sources, in the keys of recipes."""

from collections.abc import Mapping
from typing import Any

from smollm3_mix.recipe.parsing import FieldPath, read_value, show, unknown

LISTS = {"english_datasets": "en", "vietnamese_datasets": "vi"}
"""Key of a list of sources without weights → language of its sources."""

MERGE_KEYS = (*LISTS, "filtering", "output")

_LENGTHS = {"min_length": "min_chars", "max_length": "max_chars"}
_UNREAD = ("keep_keywords", "exclude_keywords", "junk_patterns", "language_confidence_threshold")


def merge_settings(content: Mapping[str, Any], problems: list[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the top level of a config in recipe keys, and a sentence on each setting that is not used.

    `filtering.min_length` and `max_length` become `filters: {min_chars, max_chars}`; `filtering.deduplication.enabled`
    becomes `dedup: {exact}`. Keyword lists, patterns and the similarity threshold have no counterpart.
    """
    top, warnings = dict(content), list[str]()
    if content.get("output") is not None:
        warnings.append("`output` is not used. Set the output on the command line, for example with --output-dir")
    filtering = content.get("filtering")
    if filtering is None:
        return top, tuple(warnings)
    if not isinstance(filtering, Mapping):
        problems.append(f"filtering: expected a mapping, got {show(filtering)}")
        return top, tuple(warnings)
    known = (*_LENGTHS, *_UNREAD, "deduplication")
    problems += [f"filtering: {unknown(key, known)}" for key in filtering if key not in known]
    before = len(problems)
    lengths = {
        new: read_value(int | None, filtering[old], FieldPath(keys=f"filtering.{old}"), problems)
        for old, new in _LENGTHS.items()
        if old in filtering
    }
    if lengths and content.get("filters") is not None:
        problems.append(
            "has both `filters` and `filtering`. Write min_length and max_length as min_chars and max_chars of "
            "`filters`"
        )
    if lengths and len(problems) == before:
        top["filters"] = lengths
    _deduplication(filtering.get("deduplication"), top, warnings, problems)
    warnings += [
        f"`filtering.{key}` is not used. `filters` decides which texts are kept"
        for key in _UNREAD
        if filtering.get(key)
    ]
    return top, tuple(warnings)


def _deduplication(content: Any, top: dict[str, Any], warnings: list[str], problems: list[str]) -> None:
    if content is None:
        return
    if not isinstance(content, Mapping):
        problems.append(f"filtering.deduplication: expected a mapping, got {show(content)}")
        return
    known = ("enabled", "similarity_threshold")
    problems += [f"filtering.deduplication: {unknown(key, known)}" for key in content if key not in known]
    enabled = read_value(
        bool, content.get("enabled", True), FieldPath(keys="filtering.deduplication.enabled"), problems
    )
    if top.get("dedup") is None:
        top["dedup"] = {"exact": enabled is not False}
    if content.get("similarity_threshold") is not None:
        warnings.append(
            "`filtering.deduplication.similarity_threshold` is not used. `dedup: {near: true}` drops near duplicates"
        )
