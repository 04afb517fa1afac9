"""Sources on this machine: a folder (as `datasets` reads it), one file, a glob, or the demo's embedded sources."""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from smollm3_mix.recipe.display_names import EMBEDDED
from smollm3_mix.recipe.public_paths import public_name, public_patterns
from smollm3_mix.sources.source_files import SourceFault, SourceFile

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Recipe, Source

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


class Place(NamedTuple):
    """Where a local source is.

    Attributes:
        shown: how its root is named in records (`recipe.shown.of_source`); empty for where the program runs.
        root: folder (or the only file) that paths are told from.
        files: the files meant; None for a folder, which `datasets` reads.
    """

    shown: str
    root: Path
    files: list[Path] | None


def find_local(recipe: Recipe, source: Source) -> Place | None:
    """The local folder, file or glob a source names; None for what must be a Hub repository.

    Relative names are tried in the recipe's folder first, then here.
    """
    name = source.name or ""
    if name.startswith(EMBEDDED):
        from smollm3_mix.sources.demo_sources import materialise

        return Place(name, Path(materialise(name)).resolve(), None)
    found = recipe.path(source)
    if found is not None:
        return Place(public_name(source).rstrip("/"), found.resolve(), [found.resolve()] if found.is_file() else None)
    fixed = _begin(name)
    for folder in dict.fromkeys([recipe.folder, ""]) if glob.has_magic(name) else ():
        pattern = str(Path(folder) / Path(name).expanduser())
        paths = sorted(Path(path) for path in glob.glob(pattern, recursive=True))  # noqa: PTH207 - takes absolute ones
        if files := [path.resolve() for path in paths if path.is_file()]:
            named = _begin(public_name(source)).as_posix()
            return Place("" if named == "." else named, (Path(folder) / fixed).resolve(), files)
    return None


def _begin(pattern: str) -> Path:
    """What a pattern names before anything is left open."""
    parts = Path(pattern.removeprefix("file://")).expanduser().parts
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), parts))


def file_format(paths: Sequence[Path]) -> tuple[str, str]:
    """Format of some files by their endings, and the delimiter if it is csv.

    Raises:
        Fault: an ending is unknown, or they differ.
    """
    found = {}
    for path in paths:
        endings = [ending.lower() for ending in path.suffixes]
        while endings and endings[-1] in COMPRESSED:
            endings.pop()
        ending = endings[-1] if endings else ""
        if ending not in FORMATS:
            raise SourceFault(f"{path.name} ends in none of {', '.join(FORMATS)} (compressed: {', '.join(COMPRESSED)})")
        found[FORMATS[ending], "\t" if ending == ".tsv" else ","] = path.name
    if len(found) > 1:
        raise SourceFault(f"its files are of several formats: {', '.join(found.values())}")
    return next(iter(found))


def files(named: str, paths: Sequence[Path], root: Path, source: Source) -> tuple[SourceFile, ...]:
    """The shards at some paths, shown as `<named>/<path below root>`, or as an absolute pattern of `data_files` is.

    Raises:
        Fault: one cannot be looked at.
    """
    patterns = dict(zip(source.data_files or (), public_patterns(source) or (), strict=True))
    places = [(_folder(each).resolve(), _folder(public)) for each, public in patterns.items() if each != public]
    found = []
    for path in paths:
        above = next(((there, name.as_posix()) for there, name in places if path.resolve().is_relative_to(there)), None)
        where, below = above or (root, named)
        relative = Path(os.path.relpath(path.resolve() if above else path, where)).as_posix()
        try:
            size = path.stat().st_size
        except OSError as error:
            raise SourceFault(f"{path} cannot be read: {error.strerror}") from error
        path_shown = "/".join(part for part in (below, relative) if part not in ("", "."))
        found.append(SourceFile(path_shown, str(path), size))
    return tuple(found)


def _folder(pattern: str) -> Path:
    """The last folder that a pattern names before anything is left open."""
    begin = _begin(pattern)
    return begin if glob.has_magic(pattern) else begin.parent


def folder_revision(found: Sequence[SourceFile], shown: str) -> str:
    """`files-` and 12 hex digits over sizes and paths below `shown`: the same wherever the folder is moved."""
    text = json.dumps([[file.path.removeprefix(shown), file.size] for file in found])
    return f"files-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
