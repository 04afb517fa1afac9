"""The fingerprint of a recipe: what decides the output, and what does not.

In: seed, lanes, weigh_by, order, block, shuffle, tokens, dedup, holdout, on_exhausted, weighted, the entries of
`exclude`, decontaminate; and of each source, in the recipe's order: id, weight as written, name, config, data_dir,
data_files, revision, split, text_field, separator, id_field, where, keep, tokens_per_byte, tokens_field, max_passes,
clean, judge, content, and whether it is available. Of a tokenizer the digest of its file, once that is pinned, in place
of its name. Defaults count as if they were written, so a version with other defaults gives other fingerprints; but a
list or a set of texts to keep out that a recipe does not have is not counted at all.

Out: file, folder, description, ignored; of a source kind (but for what `clean` and `judge` took from it), license,
gated, deviation and the words of `unavailable`; comments, the order of keys and the way a number is written (1e-5 or
0.00001, 1MiB or 1048576).

Not seen: the data. An unpinned revision, a list of the Hub that is not pinned and a local path stand for what lies
there; a pinned recipe is exact.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from smollm3_mix.recipe.values import plain, show

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Recipe

_FORM = 1
"""Raised when the same recipe comes to mean another output."""

_NOT_OF_RECIPE = {"file", "folder", "description", "ignored", "sources"}
_NOT_OF_SOURCE = {"kind", "license", "gated", "deviation"}

_ABSENT = "\0absent"
"""Stands for a key that one side has not; no value of a recipe is so."""


def deciding(recipe: "Recipe") -> dict[str, Any]:
    """Everything that decides the output, in JSON's types; `sources` is a list in the recipe's order."""
    whole: dict[str, Any] = plain(recipe)
    chosen = {key: value for key, value in whole.items() if key not in _NOT_OF_RECIPE}
    for key in ("exclude", "decontaminate"):  # what is not used changes no fingerprint
        if chosen[key] is None:
            del chosen[key]
    if recipe.exclude is not None and recipe.exclude.sha256 is not None:
        chosen["exclude"] = {"sha256": recipe.exclude.sha256}
    sources = [{key: value for key, value in s.items() if key not in _NOT_OF_SOURCE} for s in whole["sources"]]
    for source in sources:
        source["unavailable"] = source["unavailable"] is not None
    if isinstance(chosen["tokens"], dict) and chosen["tokens"]["sha256"] is not None:
        chosen["tokens"] = {key: chosen["tokens"][key] for key in ("sha256", "bos", "eos")}
    return chosen | {"sources": sources}


def digest(recipe: "Recipe") -> str:
    """SHA-256 of the canonical JSON of what decides the output, 64 hex digits."""
    return hashlib.sha256(_canonical([_FORM, deciding(recipe)]).encode()).hexdigest()


def differences(old: "Recipe", new: "Recipe") -> list[str]:
    """A line for each deciding value that differs, old before new; empty if and only if the fingerprints are equal."""
    before, after = deciding(old), deciding(new)
    ids = [[source["id"] for source in side["sources"]] for side in (before, after)]
    for side in (before, after):
        side["sources"] = {source.pop("id"): source for source in side["sources"]}
    one, two = before["sources"], after["sources"]
    common = [[source for source in side if source in one and source in two] for side in ids]
    lines = [f"sources.{source}: weight {one[source]['weight']} → absent" for source in ids[0] if source not in two]
    lines += [f"sources.{source}: absent → weight {two[source]['weight']}" for source in ids[1] if source not in one]
    if common[0] != common[1]:
        lines.append(f"order of sources: {', '.join(common[0])} → {', '.join(common[1])}")
    for side in (before, after):
        side["sources"] = {source: side["sources"][source] for source in common[0]}
    return lines + list(_compared("", before, after))


def _canonical(value: Any) -> str:
    """JSON with sorted keys, in which 1 and 1.0 are the same."""
    return json.dumps(_whole(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _compared(key: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            yield from _compared(f"{key}.{name}" if key else name, old.get(name, _ABSENT), new.get(name, _ABSENT))
    elif _canonical(old) != _canonical(new):
        yield f"{key}: {_shown(old)} → {_shown(new)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return {None: "none", _ABSENT: "absent"}.get(value) or show(value)
