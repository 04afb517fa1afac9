"""The fingerprint of a recipe: a hash of everything that decides the output.

All functions take a recipe as plain values in JSON's types, as `parsing.plain` returns it.

Included: seed, lanes, weigh_by, order, block, shuffle, tokens, dedup, holdout, on_exhausted, weighted, the entries of
`exclude`, and decontaminate. Of each source, in the recipe's order: id, weight as written, name, config, data_dir,
data_files, revision, split, text_field, separator, id_field, where, keep, tokens_per_byte, tokens_field, max_passes,
clean, filters, content, and whether it is available. The digest of a pinned tokenizer
replaces its name. The digest of a pinned index replaces its path. Defaults count as if they were written, so a version
with other defaults gives other fingerprints. An exclusion list, evaluation texts or an index that a recipe does not
have are left out.

Left out: file, folder, description, ignored. Of a source: kind (except what `clean` and `filters` take from
it), license, gated, deviation and the reason of `unavailable`. Comments, the order of keys and the spelling of a number
(1e-5 or 0.00001, 1MiB or 1048576) do not count.

Not covered: the data. An unpinned revision, an unpinned list on the Hub and a local path mean whatever they
contain. The fingerprint of a pinned recipe is exact.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from smollm3_mix.recipe.parsing import show

_VERSION = 1
"""Raised when the same recipe comes to mean another output."""

_NOT_OF_RECIPE = {"file", "folder", "description", "ignored", "sources"}
_NOT_OF_SOURCE = {"kind", "license", "gated", "deviation"}

_ABSENT = "\0absent"
"""Value of a key that one side lacks. No value of a recipe equals it."""


def deciding(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything in a recipe that decides the output. `sources` is a list in the recipe's order."""
    chosen = {key: value for key, value in values.items() if key not in _NOT_OF_RECIPE}
    for key in ("exclude", "decontaminate"):  # an unused section changes no fingerprint
        if chosen[key] is None:
            del chosen[key]
    exclude = values["exclude"]
    if exclude is not None and exclude["sha256"] is not None:
        chosen["exclude"] = {"sha256": exclude["sha256"]}
    dedup = dict(values["dedup"])
    if dedup["index"] is None:
        del dedup["index"]
    elif dedup["index"]["digest"] is not None:
        dedup["index"] = {"digest": dedup["index"]["digest"]}
    chosen["dedup"] = dedup
    if isinstance(chosen["tokens"], dict) and chosen["tokens"]["sha256"] is not None:
        chosen["tokens"] = {key: chosen["tokens"][key] for key in ("sha256", "bos", "eos")}
    sources = [{key: value for key, value in s.items() if key not in _NOT_OF_SOURCE} for s in values["sources"]]
    for source in sources:
        source["unavailable"] = source["unavailable"] is not None
    return chosen | {"sources": sources}


def fingerprint_digest(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of what decides the output, 64 hex digits."""
    return hashlib.sha256(canonical([_VERSION, deciding(values)]).encode()).hexdigest()


def recipe_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return a line for each deciding value that differs. Empty if and only if the fingerprints are equal."""
    return compare_deciding(deciding(old), deciding(new))


def compare_deciding(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return a line for each value that differs between two results of `deciding`, or parts of them."""
    one, two = ({source["id"]: source for source in side["sources"]} for side in (before, after))
    common = [[source for source in side if source in one and source in two] for side in (one, two)]
    lines = [f"sources.{source}: {_presence(one[source])} → absent" for source in one if source not in two]
    lines += [f"sources.{source}: absent → {_presence(two[source])}" for source in two if source not in one]
    if common[0] != common[1]:
        lines.append(f"order of sources: {', '.join(common[0])} → {', '.join(common[1])}")
    sides = [{**side, "sources": {id_: of[id_] for id_ in common[0]}} for side, of in ((before, one), (after, two))]
    return lines + list(_differences("", *sides))


def canonical(value: Any) -> str:
    """Return JSON with sorted keys, in which 1 and 1.0 are the same."""
    return json.dumps(_integers(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _presence(source: Mapping[str, Any]) -> str:
    return f"weight {source['weight']}" if "weight" in source else "read"


def _integers(value: Any) -> Any:
    """Return the value with every integral float as an int."""
    if isinstance(value, dict):
        return {key: _integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_integers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _differences(key: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            path = f"{key}.{name}" if key else name
            yield from _differences(path, old.get(name, _ABSENT), new.get(name, _ABSENT))
    elif canonical(old) != canonical(new):
        yield f"{key}: {_display(old)} → {_display(new)}"


def _display(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return {None: "none", _ABSENT: "absent"}.get(value) or show(value)
