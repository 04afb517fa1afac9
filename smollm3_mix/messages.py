"""Parts of error messages: near matches and lists."""

import difflib
from collections.abc import Sequence


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """Return ` (did you mean …?)` if `name` is close to one of `names`, else an empty string."""
    found = nearest(name, names)
    return f" (did you mean {found!r}?)" if found else ""


def nearest(name: str, names: Sequence[str]) -> str | None:
    """Return the closest of `names`, ignoring case. None if no name is close."""
    folded = {candidate.lower(): candidate for candidate in names}
    near = difflib.get_close_matches(name.lower(), folded, n=1)
    return folded[near[0]] if near else None


def listed(names: Sequence[str], most: int = 40) -> str:
    """Return the first `most` names, separated by commas, and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
