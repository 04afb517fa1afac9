"""Write measured tokens per byte into a recipe file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

KEY = "tokens_per_byte"


def with_ratios(text: str, ratios: Mapping[int, str]) -> str:
    """The file with a ratio for each source named by its place under `datasets`, from 0.

    A ratio that is written is replaced; where there is none, it is added to the entry. Entries that are aliases
    (`*name`) are left alone, as are old lists without weights.

    Args:
        text: a recipe that can be read.
        ratios: as they are to be written.
    """
    edits = sorted(_edits(text, ratios), reverse=True)
    for start, stop, new in edits:
        text = text[:start] + new + text[stop:]
    return text


def _edits(text: str, ratios: Mapping[int, str]) -> Iterator[tuple[int, int, str]]:
    """Start, stop and new text of each change."""
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    entries: list[Any] = next((value.value for key, value in root.value if key.value == "datasets"), [])
    begun = set()
    for place, node in enumerate(entries):
        if place not in ratios or node.start_mark.index in begun or not isinstance(node, yaml.MappingNode):
            continue
        begun.add(node.start_mark.index)
        old = next((value for key, value in node.value if key.value == KEY), None)
        if old is not None:
            yield old.start_mark.index, old.end_mark.index, ratios[place]
        elif node.flow_style:
            last = node.value[-1][1].end_mark.index
            yield last, last, f", {KEY}: {ratios[place]}"
        else:
            first = node.value[0][0].start_mark
            yield first.index, first.index, f"{KEY}: {ratios[place]}\n{' ' * first.column}"
