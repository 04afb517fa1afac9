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

from smollm3_mix.recipe.shown import EMBEDDED, shown
from smollm3_mix.sources.plan import Fault, File

if TYPE_CHECKING:
    from smollm3_mix.recipe import Recipe, Source

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
        shown: how its root is named in records, as the recipe has it but for folders above an absolute path; empty for
            where the program runs.
        root: folder (or the only file) that paths are told from.
        files: the files meant; None for a folder, which `datasets` reads.
    """

    shown: str
    root: Path
    files: list[Path] | None


def place(recipe: Recipe, source: Source) -> Place | None:
    """The local folder, file or glob a source names; None for what must be a Hub repository.

    Relative names are tried in the recipe's folder first, then here.
    """
    name = source.name or ""
    if name.startswith(EMBEDDED):
        from smollm3_mix.sources.demo import materialise

        return Place(name, Path(materialise(name)).resolve(), None)
    found = recipe.path(source)
    if found is not None:
        return Place(shown(name.rstrip("/")), found.resolve(), [found.resolve()] if found.is_file() else None)
    fixed = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(name).expanduser().parts))
    for folder in dict.fromkeys([recipe.folder, ""]) if glob.has_magic(name) else ():
        pattern = str(Path(folder) / Path(name).expanduser())
        paths = sorted(Path(path) for path in glob.glob(pattern, recursive=True))  # noqa: PTH207 - takes absolute ones
        if files := [path.resolve() for path in paths if path.is_file()]:
            return Place("" if fixed == Path() else shown(fixed.as_posix()), (Path(folder) / fixed).resolve(), files)
    return None


def form(paths: Sequence[Path]) -> tuple[str, str]:
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
            raise Fault(f"{path.name} ends in none of {', '.join(FORMATS)} (compressed: {', '.join(COMPRESSED)})")
        found[FORMATS[ending], "\t" if ending == ".tsv" else ","] = path.name
    if len(found) > 1:
        raise Fault(f"its files are of several formats: {', '.join(found.values())}")
    return next(iter(found))


def files(named: str, paths: Sequence[Path], root: Path, patterns: Sequence[str] | None = None) -> tuple[File, ...]:
    """The shards at some paths, shown as `<named>/<path below root>`; what an absolute pattern finds is shown from the
    pattern's last fixed folder on.

    Raises:
        Fault: one cannot be looked at.
    """
    found = []
    fixed = [folder for pattern in patterns or () if (folder := _fixed(pattern)) is not None]
    for path in paths:
        above = next((folder for folder in fixed if path.resolve().is_relative_to(folder)), None)
        name, relative = (named, os.path.relpath(path, root)) if above is None else _below(above, path)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise Fault(f"{path} cannot be read: {error.strerror}") from error
        path_shown = "/".join(part for part in (name, Path(relative).as_posix()) if part not in ("", "."))
        found.append(File(path_shown, str(path), size))
    return tuple(found)


def _fixed(pattern: str) -> Path | None:
    """The last folder that an absolute pattern names before anything is left open; None for a relative one."""
    path = Path(pattern.removeprefix("file://")).expanduser()
    if not path.is_absolute():
        return None
    folder = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
    return (folder.parent if folder == path else folder).resolve()


def _below(folder: Path, path: Path) -> tuple[str, str]:
    return folder.name, str(path.resolve().relative_to(folder))


def revision(found: Sequence[File], shown: str) -> str:
    """`files-` and 12 hex digits over sizes and paths below `shown`: the same wherever the folder is moved."""
    text = json.dumps([[file.path.removeprefix(shown), file.size] for file in found])
    return f"files-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
