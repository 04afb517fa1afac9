"""Write measured tokens per byte into a recipe file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

KEY = "tokens_per_byte"


def with_ratios(text: str, ratios: Mapping[int, str]) -> str:
    """Return the text of a recipe file with new ratios.

    Existing values are replaced. Missing values are added to their entry. Entries that are aliases (`*name`) and plain
    names stay unchanged.

    Args:
        text: Text of a valid recipe.
        ratios: New values by position under `datasets`, starting at 0.
    """
    edits = sorted(_edits(text, ratios), reverse=True)
    for start, stop, new in edits:
        text = text[:start] + new + text[stop:]
    return text


def _edits(text: str, ratios: Mapping[int, str]) -> Iterator[tuple[int, int, str]]:
    """Yield start, stop and new text of each change."""
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    entries: list[Any] = next((value.value for key, value in root.value if key.value == "datasets"), [])
    edited = set()
    for position, node in enumerate(entries):
        if position not in ratios or node.start_mark.index in edited or not isinstance(node, yaml.MappingNode):
            continue
        edited.add(node.start_mark.index)
        old = next((value for key, value in node.value if key.value == KEY), None)
        if old is not None:
            yield old.start_mark.index, old.end_mark.index, ratios[position]
        elif node.flow_style:
            last = node.value[-1][1].end_mark.index
            yield last, last, f", {KEY}: {ratios[position]}"
        else:
            first = node.value[0][0].start_mark
            yield first.index, first.index, f"{KEY}: {ratios[position]}\n{' ' * first.column}"
