"""A lane's place in few bytes: what all sources have alike said once, in columns, compressed.

A stream has a place for each source of each lane: of 64 lanes and 56 sources 3,584, of 25 values each. Written out they
take 1.4 MB of JSON; packed, a fifth to a half of it, by how evenly rows are dropped.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from smollm3_mix.recipe.curriculum import Curriculum
from smollm3_mix.recipe.model import Recipe

STATE_VERSION = 2
"""Raised when the form of states changes; 1 had every value of every source under its own name."""

UNENCODED_KEYS = ("lane", "records", "seen", "verdicts", "documents", "offset", "left", "windows")
"""Keys of a lane that stay beside its place: those that readers change, and what is large and compressed already."""


def encode_state(place: Mapping[str, Any]) -> dict[str, Any]:
    """A lane's `state_dict` as `lane`, `place` and `kept`, two texts; JSON-able. See `unpacked`."""
    inner = {key: value for key, value in place.items() if key != "lane"}
    inner["lines"] = _columns(place["lines"])
    keeps = b"".join(base64.b85decode(keep) for keep in inner["lines"].pop("keep"))
    inner["counts"] = _counts_in_columns(place["counts"])
    if "done" in place:
        inner["done"] = [_counts_in_columns(counts) for counts in place["done"]]
    written = json.dumps(inner, separators=(",", ":")).encode()
    return {"lane": place["lane"], "place": encode_text(written), "kept": encode_text(keeps)}


def decode_state(at: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """A lane of a stream's state with all that `packed` was called on, and what lay beside it.

    Args:
        at: one of the state's `lanes`.
        recipe: that the state was saved by.
    """
    place = json.loads(decode_text(at["place"]))
    stages = [stage.recipe for stage in recipe.stages] if isinstance(recipe, Curriculum) else [recipe]
    place["lines"] = _rows(place["lines"])
    keeps, start = decode_text(at["kept"]), 0
    for line in place["lines"]:
        end = start + (line["rows"] + 7) // 8
        line["keep"] = base64.b85encode(keeps[start:end]).decode()
        start = end
    place["counts"] = _counts_by_source(place["counts"], stages[place.get("stage", 0)])
    if "done" in place:
        pairs = zip(place["done"], stages, strict=False)  # stages that have not begun have no counts
        place["done"] = [_counts_by_source(counts, stage) for counts, stage in pairs]
    return {**{key: at[key] for key in UNENCODED_KEYS if key in at}, **place}


def encode_text(data: bytes) -> str:
    """Bytes as JSON can hold them, compressed."""
    return base64.b85encode(zlib.compress(data, 1)).decode()


def decode_text(given: str) -> bytes:
    """What `text` was called on."""
    return zlib.decompress(base64.b85decode(given))


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {key: [row[key] for row in rows] for key in rows[0]}


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _counts_in_columns(counts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Counts by source in columns, one for each reason among them, 0 where a source dropped nothing for it."""
    columns: dict[str, Any] = _columns(list(counts.values()))
    dropped = columns["dropped"]
    reasons = sorted({reason for each in dropped for reason in each})
    columns["dropped"] = {reason: [each.get(reason, 0) for each in dropped] for reason in reasons}
    return columns


def _counts_by_source(columns: Mapping[str, Any], recipe: Recipe) -> dict[str, dict[str, Any]]:
    ids = [source.id for source in recipe.active]
    by_reason = columns["dropped"].items()
    dropped = [{reason: each[n] for reason, each in by_reason if each[n]} for n in range(len(ids))]
    return dict(zip(ids, _rows({**columns, "dropped": dropped}), strict=True))
