"""A path as others may read it: without the folders of this machine."""

import glob
import re

EMBEDDED = ("python:", "demo:")
"""Names that begin so are sources every Python installation carries; see `sources.demo`."""

_ABSOLUTE = re.compile(r"(?:file://)?(?:[/\\~]|[A-Za-z]:[/\\])")
_FILE = re.compile(r"\.(parquet|arrow|json|jsonl|ndjson|csv|tsv)(\.(gz|bz2|zst|lz4|xz))?$", re.IGNORECASE)


def default_source_id(name: str, config: str | None) -> str:
    """The id of a source that names none: name[/config], an absolute path from its last folder on."""
    return f"{display_name(name)}/{config}" if config is not None else display_name(name)


def display_name(name: str, folders: int = 0) -> str:
    """A path of this machine from its last folder on; any other name, path or URL as it is.

    With `folders`, so many above a name without wildcards stay.

    >>> shown("/home/me/web/"), shown("~/code/2024-*/*.jsonl"), shown("./code"), shown("owner/name")
    ('web', 'code/2024-*/*.jsonl', './code', 'owner/name')
    """
    if not _ABSOLUTE.match(name):
        return name
    parts = [part for part in re.split(r"[/\\]", name.removeprefix("file://")) if part]
    fixed = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    first = fixed - 1 - (folders if fixed == len(parts) else 0)
    return "/".join(parts[max(first, 0) :]) or name


def source_display_name(path: str, source: str, default: str, folders: int = 0) -> str:
    """What a source's path is called in records, cards and published recipes, the same wherever its files lie.

    An absolute one begins with the source's id, since many folders are called `train`; with its own last folder where
    the source goes by its default id.

    Args:
        path: folder, file or glob that the recipe names.
        source: the source's id.
        default: the id it would have if the recipe named none.
        folders: as for `shown`.

    >>> [of_source(path, "french", "-") for path in ("/data/train", "/data/fr/*.jsonl", "/data/fr.jsonl", "fr/train")]
    ['french', 'french/*.jsonl', 'french/fr.jsonl', 'fr/train']
    """
    name = display_name(path, folders)
    if name == path or source == default:
        return name
    folder, _, below = name.partition("/")
    if below:
        return f"{source}/{below}"
    return f"{source}/{folder}" if _FILE.search(folder) else source
