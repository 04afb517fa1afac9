"""The fingerprint of a recipe: what decides the output, and what does not.

In: seed, lanes, weigh_by, order, block, shuffle, tokens, dedup, holdout, on_exhausted, weighted, the entries of
`exclude`, decontaminate; and of each source, in the recipe's order: id, weight as written, name, config, data_dir,
data_files, revision, split, text_field, separator, id_field, where, keep, tokens_per_byte, tokens_field, max_passes,
clean, judge, content, and whether it is available. Of a tokenizer the digest of its file, once that is pinned, in place
of its name. Defaults count as if they were written, so a version with other defaults gives other fingerprints; but a
list, a set of texts to keep out or a dedup index that a recipe does not have is not counted at all. Of an index that is
pinned the digest counts, not its place.

Out: file, folder, description, ignored; of a source kind (but for what `clean` and `filters` took from it), license,
gated, deviation and the words of `unavailable`; comments, the order of keys and the way a number is written (1e-5 or
0.00001, 1MiB or 1048576).

Not seen: the data. An unpinned revision, a list of the Hub that is not pinned and a local path stand for what lies
there; a pinned recipe is exact.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from smollm3_mix.recipe.parsing import plain, show

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
    if recipe.dedup.index is None:
        del chosen["dedup"]["index"]
    elif recipe.dedup.index.digest is not None:
        chosen["dedup"]["index"] = {"digest": recipe.dedup.index.digest}
    sources = [{key: value for key, value in s.items() if key not in _NOT_OF_SOURCE} for s in whole["sources"]]
    for source in sources:
        source["unavailable"] = source["unavailable"] is not None
    if isinstance(chosen["tokens"], dict) and chosen["tokens"]["sha256"] is not None:
        chosen["tokens"] = {key: chosen["tokens"][key] for key in ("sha256", "bos", "eos")}
    return chosen | {"sources": sources}


def fingerprint_digest(recipe: "Recipe") -> str:
    """SHA-256 of the canonical JSON of what decides the output, 64 hex digits."""
    return hashlib.sha256(canonical([_FORM, deciding(recipe)]).encode()).hexdigest()


def recipe_differences(old: "Recipe", new: "Recipe") -> list[str]:
    """A line for each deciding value that differs, old before new; empty if and only if the fingerprints are equal."""
    return compared(deciding(old), deciding(new))


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A line for each value that differs between two of what `deciding` gives, or of parts of it."""
    one, two = ({source["id"]: source for source in side["sources"]} for side in (before, after))
    common = [[source for source in side if source in one and source in two] for side in (one, two)]
    lines = [f"sources.{source}: {_there(one[source])} → absent" for source in one if source not in two]
    lines += [f"sources.{source}: absent → {_there(two[source])}" for source in two if source not in one]
    if common[0] != common[1]:
        lines.append(f"order of sources: {', '.join(common[0])} → {', '.join(common[1])}")
    sides = [{**side, "sources": {id_: of[id_] for id_ in common[0]}} for side, of in ((before, one), (after, two))]
    return lines + list(_compared("", *sides))


def _there(source: Mapping[str, Any]) -> str:
    return f"weight {source['weight']}" if "weight" in source else "read"


def canonical(value: Any) -> str:
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
    elif canonical(old) != canonical(new):
        yield f"{key}: {_shown(old)} → {_shown(new)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return {None: "none", _ABSENT: "absent"}.get(value) or show(value)
