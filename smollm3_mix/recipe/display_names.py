"""Display names of paths, without the folders of this machine."""

import glob
import re

EMBEDDED = ("python:", "demo:")
"""Prefixes of the sources that need no files; see `sources.demo_sources`."""

_ABSOLUTE = re.compile(r"(?:file://)?(?:[/\\~]|[A-Za-z]:[/\\])")
_FILE = re.compile(r"\.(parquet|arrow|json|jsonl|ndjson|csv|tsv)(\.(gz|bz2|zst|lz4|xz))?$", re.IGNORECASE)


def default_source_id(name: str, config: str | None) -> str:
    """Return the default id of a source: name[/config], with an absolute path from its last folder on."""
    return f"{display_name(name)}/{config}" if config is not None else display_name(name)


def display_name(name: str, folders: int = 0) -> str:
    """Return an absolute path from its last folder on, and any other name, path or URL unchanged.

    `folders` is the number of parent folders to keep above a name without wildcards.

    >>> [display_name(path) for path in ("/home/me/web/", "~/code/2024-*/*.jsonl", "./code", "owner/name")]
    ['web', 'code/2024-*/*.jsonl', './code', 'owner/name']
    """
    if not _ABSOLUTE.match(name):
        return name
    parts = [part for part in re.split(r"[/\\]", name.removeprefix("file://")) if part]
    fixed = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    first = fixed - 1 - (folders if fixed == len(parts) else 0)
    return "/".join(parts[max(first, 0) :]) or name


def source_display_name(path: str, source: str, default: str, folders: int = 0) -> str:
    """Return the machine-independent name of a source's path in records, cards and published recipes.

    An absolute path begins with the source's id, because many folders are called `train`. It begins with its own last
    folder if the source has its default id.

    Args:
        path: Folder, file or glob in the recipe.
        source: Id of the source.
        default: Id that the source would have without `id`.
        folders: Number of parent folders to keep, as in `display_name`.

    >>> paths = ("/data/train", "/data/fr/*.jsonl", "/data/fr.jsonl", "fr/train")
    >>> [source_display_name(path, "french", "-") for path in paths]
    ['french', 'french/*.jsonl', 'french/fr.jsonl', 'fr/train']
    """
    name = display_name(path, folders)
    if name == path or source == default:
        return name
    folder, _, below = name.partition("/")
    if below:
        return f"{source}/{below}"
    return f"{source}/{folder}" if _FILE.search(folder) else source
