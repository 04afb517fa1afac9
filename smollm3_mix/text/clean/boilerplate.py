"""Documents without the lines that C4 drops as boilerplate, but for what is content."""

import re
from bisect import bisect_right

import numpy as np

from smollm3_mix.text.clean.byte_rows import Rows

# Raffel et al. 2020, "Exploring the Limits of Transfer Learning", section 2.2, with the phrases of its published code
# (`c4_utils.py` of TensorFlow Datasets). C4 drops a page for "lorem ipsum", here the line goes. C4 drops each line that
# names JavaScript, meaning the warnings that it should be enabled; here only those go: of 110 lines that C4 would have
# dropped from documentation, none was a warning. C4's other rules judge pages, or lines by their form.
PHRASES = (
    "lorem ipsum",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
WARNINGS = (
    "activate",
    "disabled",
    "enable",
    "enabled",
    "not support",
    "requires javascript",
    "supports javascript",
    "turn on",
    "turned off",
    "turned on",
    "without javascript",
    "your browser",
)


def _any(phrases: tuple[str, ...]) -> str:
    # Any number of spaces between words, so that it is the same whether runs of spaces are collapsed before or after.
    return "(?:" + "|".join(phrases).replace(" ", "[ \t]+") + ")"


_BOILERPLATE = re.compile(f"{_any(PHRASES)}|javascript.*{_any(WARNINGS)}|{_any(WARNINGS)}.*javascript".encode())
# A word of each phrase, to find lines by; plain text has few of them.
_ANCHORS = (b"javascript", b"lorem", b"terms", b"policy", b"cookies")
# "```javascript" begins a block of code, and without it the rest of the page would be taken for one.
_FENCE = re.compile(rb"[ \t]*```")


def remove_boilerplate(rows: Rows) -> Rows:
    """Documents without lines that hold one of `PHRASES`, or "javascript" and one of `WARNINGS`, small or capital.

    Args:
        rows: documents in plain characters.

    Returns:
        The very rows given if no line is boilerplate.
    """
    lines = np.array(sorted(_boilerplate_lines(rows)), np.int64).reshape(-1, 2)
    return rows.replace_texts(lines[:, 0].copy(), lines[:, 1].copy(), [b""] * len(lines))


def _boilerplate_lines(rows: Rows) -> set[tuple[int, int]]:
    """Start and end, with its line feed, of each line to drop."""
    text = rows.data.tobytes().lower()
    offsets = rows.offsets.tolist()
    lines: set[tuple[int, int]] = set()
    for anchor in _ANCHORS:
        position = text.find(anchor)
        while position >= 0:
            row = bisect_right(offsets, position) - 1
            start = max(text.rfind(b"\n", 0, position) + 1, offsets[row])
            end = min(text.find(b"\n", position) + 1 or len(text), offsets[row + 1])
            if _BOILERPLATE.search(text, start, end) and not _FENCE.match(text, start, end):
                lines.add((start, end))
            position = text.find(anchor, end)
    return lines
