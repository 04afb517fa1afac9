"""Parts of error messages: near matches and lists."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def meant(name: str, names: Sequence[str]) -> str:
    """` (did you mean …?)` for a name that is nearly one of `names`, else nothing."""
    found = nearest(name, names)
    return f" (did you mean {found!r}?)" if found else ""


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The one of `names` that is nearly the same but for case, None if none is."""
    folded = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), folded, n=1)
    return folded[near[0]] if near else None


def listed(names: Sequence[str], most: int = 40) -> str:
    """The names with commas between them, the first `most` of them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
