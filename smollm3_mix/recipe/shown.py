"""A path as others may read it: without the folders of this machine."""

import glob
import re

EMBEDDED = ("python:", "demo:")
"""Names that begin so are sources every Python installation carries; see `sources.demo`."""

_ABSOLUTE = re.compile(r"(?:file://)?(?:[/\\~]|[A-Za-z]:[/\\])")


def shown(name: str, folders: int = 0) -> str:
    """A local path of this machine from its last folder on; any other name, path or URL as it is.

    Records, ids and cards have this form, so they are the same wherever the files lie. With `folders`, so many above a
    name without wildcards stay.

    >>> shown("/home/me/web/"), shown("~/code/2024-*/*.jsonl"), shown("./code"), shown("owner/name")
    ('web', 'code/2024-*/*.jsonl', './code', 'owner/name')
    """
    if not _ABSOLUTE.match(name):
        return name
    parts = [part for part in re.split(r"[/\\]", name.removeprefix("file://")) if part]
    fixed = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    first = fixed - 1 - (folders if fixed == len(parts) else 0)
    return "/".join(parts[max(first, 0) :]) or name
