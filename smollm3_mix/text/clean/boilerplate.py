"""Remove lines that C4 drops as boilerplate, except lines that are content."""

import re
from bisect import bisect_right

import numpy as np

from smollm3_mix.text.clean.byte_rows import Rows

# Raffel et al. 2020, "Exploring the Limits of Transfer Learning", section 2.2, with the phrases of its published code
# (`c4_utils.py` of TensorFlow Datasets). C4 drops a page with "lorem ipsum", this module drops the line. C4 drops each
# line that mentions JavaScript, to remove warnings to enable it. This module drops only those warnings: of 110 lines of
# documentation that C4 would drop, none was a warning. The other rules of C4 apply to pages, or to the form of lines.
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
    # Any number of spaces between words, so the result does not depend on when runs of spaces are collapsed.
    return "(?:" + "|".join(phrases).replace(" ", "[ \t]+") + ")"


_BOILERPLATE = re.compile(f"{_any(PHRASES)}|javascript.*{_any(WARNINGS)}|{_any(WARNINGS)}.*javascript".encode())
# One word of each phrase, to find candidate lines. They are rare in most text.
_ANCHORS = (b"javascript", b"lorem", b"terms", b"policy", b"cookies")
# "```javascript" opens a code block. Without this line, the rest of the page would become the code block.
_FENCE = re.compile(rb"[ \t]*```")


def remove_boilerplate(rows: Rows) -> Rows:
    """Remove lines that contain one of `PHRASES`, or "javascript" and one of `WARNINGS`, in any case.

    Args:
        rows: Documents with normalized characters.

    Returns:
        The cleaned rows, or the same object if no line is boilerplate.
    """
    lines = np.array(sorted(_boilerplate_lines(rows)), np.int64).reshape(-1, 2)
    return rows.replace_texts(lines[:, 0].copy(), lines[:, 1].copy(), [b""] * len(lines))


def _boilerplate_lines(rows: Rows) -> set[tuple[int, int]]:
    """Return the start and the end of each line to drop, including its line feed."""
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
