"""Find sources on this machine: a folder, one file, a glob, or an embedded source of the demo.

Folders are read by `datasets`.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.display_names import EMBEDDED
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.public_paths import public_name, public_patterns
from smollm3_mix.sources.source_files import SourceFault, SourceFile

FORMATS = {
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".arrow": "arrow",
}
COMPRESSED = (".gz", ".bz2", ".zst", ".lz4", ".xz")


class LocalSource(NamedTuple):
    """Location of a local source.

    Attributes:
        display_name: Name of the root in records, see `recipe.display_names`. Empty for the working directory.
        root: Folder or only file that paths are relative to.
        files: Files to read. None for a folder, which `datasets` reads.
    """

    display_name: str
    root: Path
    files: list[Path] | None


def find_local(recipe: AnyRecipe, source: Source) -> LocalSource | None:
    """Return the local folder, file or glob that a source names, or None for a repository on the Hub.

    Relative names are looked up in the recipe's folder first, then in the working directory.
    """
    name = source.name or ""
    if name.startswith(EMBEDDED):
        from smollm3_mix.sources.demo_sources import materialize

        return LocalSource(name, Path(materialize(name)).resolve(), None)
    found = recipe.path(source)
    if found is not None:
        return LocalSource(
            public_name(source).rstrip("/"), found.resolve(), [found.resolve()] if found.is_file() else None
        )
    fixed = _fixed_prefix(name)
    for folder in dict.fromkeys([recipe.folder, ""]) if glob.has_magic(name) else ():
        pattern = str(Path(folder) / Path(name).expanduser())
        paths = sorted(Path(path) for path in glob.glob(pattern, recursive=True))  # noqa: PTH207 - absolute patterns
        if files := [path.resolve() for path in paths if path.is_file()]:
            display_name = _fixed_prefix(public_name(source)).as_posix()
            return LocalSource("" if display_name == "." else display_name, (Path(folder) / fixed).resolve(), files)
    return None


def _fixed_prefix(pattern: str) -> Path:
    """Return the leading components of a pattern that contain no wildcard."""
    parts = Path(pattern.removeprefix("file://")).expanduser().parts
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), parts))


def file_format(paths: Sequence[Path]) -> tuple[str, str]:
    """Return the common format of files by their endings, and the delimiter of CSV files.

    Raises:
        SourceFault: If an ending is unknown, or the formats differ.
    """
    found = {}
    for path in paths:
        endings = [ending.lower() for ending in path.suffixes]
        while endings and endings[-1] in COMPRESSED:
            endings.pop()
        ending = endings[-1] if endings else ""
        if ending not in FORMATS:
            known = f"{', '.join(FORMATS)} (compressed: {', '.join(COMPRESSED)})"
            raise SourceFault(f"{path.name} has an unknown file type, expected one of {known}")
        found[FORMATS[ending], "\t" if ending == ".tsv" else ","] = path.name
    if len(found) > 1:
        raise SourceFault(f"its files have different formats: {', '.join(found.values())}")
    return next(iter(found))


def files(display_name: str, paths: Sequence[Path], root: Path, source: Source) -> tuple[SourceFile, ...]:
    """Return the shards at `paths`, named `<display_name>/<path below root>`.

    Files below an absolute pattern of `data_files` are named as the pattern's public name.

    Raises:
        SourceFault: If a file cannot be read.
    """
    patterns = dict(zip(source.data_files or (), public_patterns(source) or (), strict=True))
    folders = [(_folder(each).resolve(), _folder(public)) for each, public in patterns.items() if each != public]
    found = []
    for path in paths:
        absolute = path.resolve()
        public = next(((folder, name.as_posix()) for folder, name in folders if absolute.is_relative_to(folder)), None)
        base, prefix = public or (root, display_name)
        relative = Path(os.path.relpath(absolute if public else path, base)).as_posix()
        try:
            size = path.stat().st_size
        except OSError as error:
            raise SourceFault(f"{path} cannot be read: {error.strerror}") from error
        public_path = "/".join(component for component in (prefix, relative) if component not in ("", "."))
        found.append(SourceFile(public_path, str(path), size))
    return tuple(found)


def _folder(pattern: str) -> Path:
    """Return the deepest folder of a pattern that contains no wildcard."""
    prefix = _fixed_prefix(pattern)
    return prefix if glob.has_magic(pattern) else prefix.parent


def folder_revision(found: Sequence[SourceFile], display_name: str) -> str:
    """Return `files-` and 12 hex digits over sizes and relative paths. Moving the folder does not change it."""
    text = json.dumps([[file.path.removeprefix(display_name), file.size] for file in found])
    return f"files-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
