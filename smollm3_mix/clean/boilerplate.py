"""Documents without the lines that C4 drops for what they say.

Raffel et al. 2020, "Exploring the Limits of Transfer Learning", section 2.2, and the phrases of its published code
(`c4_utils.py` in TensorFlow Datasets): lines that hold "javascript", or name terms of use, a privacy or cookie policy,
or the use of cookies. C4 drops whole pages for "lorem ipsum"; here the line goes. Its other rules judge pages or lines
by form (curly brackets, line ends, number of words): see `smollm3_mix.judge`. A page about JavaScript loses the
paragraphs that name it: this is for pages as crawled, not for documentation.
"""

import re

import numpy as np

from smollm3_mix.clean.rows import Rows

PHRASES = (
    "javascript",
    "lorem ipsum",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
# Any number of spaces between words, so that it does not matter whether runs of spaces are collapsed before or after.
_PHRASE = re.compile("|".join(PHRASES).replace(" ", "[ \t]+").encode(), re.IGNORECASE)
# "```javascript" begins a block of code, and without it the rest of the page would be taken for one.
_FENCE = re.compile(rb"[ \t]*```")
# A word of each phrase that plain text has seldom, to find documents by.
_ANCHORS = (b"javascript", b"lorem", b"terms", b"policy", b"cookies")


def without_boilerplate(rows: Rows) -> Rows:
    """Documents without lines that hold one of `PHRASES`, in any case; the very rows given if none does.

    Args:
        rows: documents in plain characters.
    """
    changed: list[int] = []
    texts: list[bytes] = []
    for row in _candidates(rows):
        old = rows.data[rows.offsets[row] : rows.offsets[row + 1]].tobytes()
        if _PHRASE.search(old):
            changed.append(row)
            texts.append(
                b"\n".join(line for line in old.split(b"\n") if _FENCE.match(line) or not _PHRASE.search(line))
            )
    return rows.with_rows(np.array(changed, np.int64), texts)


def _candidates(rows: Rows) -> list[int]:
    """Numbers of the documents that hold an anchor, increasing; an anchor across two counts for the first."""
    lower = rows.data.tobytes().lower()
    ends = rows.offsets[1:]
    found = set()
    for anchor in _ANCHORS:
        position = lower.find(anchor)
        while position >= 0:
            row = int(np.searchsorted(ends, position, side="right"))
            found.add(row)
            position = lower.find(anchor, int(ends[row]))
    return sorted(found)
