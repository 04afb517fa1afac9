"""Look up duplicates in a dedup index: which rows of which file to drop. The index is a local folder or a URL."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from smollm3_mix.errors import RecipeError, SourceError
from smollm3_mix.network.retry import is_transient, network_errors, with_retries
from smollm3_mix.network.urls import Token, file_system, unreachable_message
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.index_scope import disagreements, index_scope, index_scope_differences, index_scope_digest
from smollm3_mix.sources.url_files import pin_hub_folder, read_bytes
from smollm3_mix.text.dedup.dedup_options import IndexRef
from smollm3_mix.text.dedup.duplicate_rows import DuplicateRows

MANIFEST, DROPS = "index.json", "drops"
"""Content of an index: the manifest, and a folder with one file of duplicate rows per source file that has any."""

INDEX_VERSION = 1
"""Version of the manifest. Raised when the same recipe would get other rows, or another storage format."""

CACHE_BYTES = 1 << 26
"""Bytes of duplicate rows that a process caches, for lanes that share a file and for readers that return to one."""

_cached: OrderedDict[str, DuplicateRows] = OrderedDict()
_lock = threading.Lock()


class IndexEntry(NamedTuple):
    """The duplicate rows of one source file.

    Attributes:
        path: Path of the rows in the index.
        duplicates: Number of rows whose text occurred before, byte for byte.
        near: Number of rows that nearly duplicate an earlier text.
        sha256: SHA-256 of the stored rows.
    """

    path: str
    duplicates: int
    near: int
    sha256: str

    @property
    def nbytes(self) -> int:
        """Bytes of the stored rows."""
        return 4 * (self.duplicates + self.near)


@dataclasses.dataclass(frozen=True)
class DedupIndex:
    """An opened dedup index. Can be pickled. The rows of a file are read when they are first looked up.

    Attributes:
        location: Folder or URL, with the commit if it is on the Hub.
        scope: Everything that the index depends on, see `recipe.index_scope`.
        files: Entries by source id and by path of the file. A file without duplicates has no entry.
        counts: Counts by source id: rows read, documents compared, duplicates, near_duplicates.
        token: Hugging Face access token.
    """

    location: str
    scope: dict[str, Any]
    files: dict[str, dict[str, IndexEntry]]
    counts: dict[str, dict[str, int]]
    token: Token = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """64 hex digits over the manifest and all duplicate rows."""
        return index_scope_digest(self._content())

    @property
    def nbytes(self) -> int:
        """Bytes of all duplicate rows."""
        return sum(entry.nbytes for files in self.files.values() for entry in files.values())

    def to_json(self) -> bytes:
        """Return the manifest. Equal indexes have equal bytes."""
        return json.dumps(self._content() | {"digest": self.digest}, ensure_ascii=False, indent=1).encode()

    def of(self, source: str, file: str) -> DuplicateRows | None:
        """Return the duplicate rows of a file, or None if it has none.

        Raises:
            SourceError: If the rows cannot be read or differ from those of the manifest.
        """
        entry = self.files.get(source, {}).get(file)
        if entry is None:
            return None
        with _lock:
            if entry.sha256 in _cached:
                _cached.move_to_end(entry.sha256)
                return _cached[entry.sha256]
        found = DuplicateRows.from_bytes(self._read(entry), entry.duplicates)
        with _lock:
            _cached[entry.sha256] = found
            while len(_cached) > 1 and sum(kept.nbytes for kept in _cached.values()) > CACHE_BYTES:
                _cached.popitem(last=False)
        return found

    def _content(self) -> dict[str, Any]:
        files = {id_: {path: list(entry) for path, entry in each.items()} for id_, each in self.files.items()}
        return {"version": INDEX_VERSION, "index_scope": self.scope, "counts": self.counts, "files": files}

    def _read(self, entry: IndexEntry) -> bytes:
        name = f"dedup index at {self.location}: {entry.path}"
        try:
            data = read_bytes(f"{self.location}/{entry.path}", self.token)
        except network_errors() as error:
            raise SourceError(
                f"{name} cannot be read ({error}). Restore the file, or build the index again."
            ) from error
        found = hashlib.sha256(data).hexdigest()
        if found != entry.sha256:
            raise SourceError(
                f"{name} has SHA-256 {found[:12]}…, but {MANIFEST} lists {entry.sha256[:12]}…. The file is damaged or "
                "belongs to another build. Build the index again: `smollm3-mix index` reuses its earlier work."
            )
        return data


def pin_index(recipe: AnyRecipe, token: Token = None) -> tuple[AnyRecipe, DedupIndex | None]:
    """Open the recipe's index and return it with the recipe, which then contains the index's digest.

    Args:
        recipe: Recipe with pinned sources.
        token: Hugging Face access token.

    Raises:
        RecipeError: If the index is missing, damaged, unreachable, or of another recipe.
    """
    ref = recipe.dedup.index
    if ref is None:
        return recipe, None
    index = open_index(recipe, ref, token)
    found = index.digest
    if ref.digest not in {None, found}:
        raise _error(
            recipe,
            f"{ref.path} has digest {found[:12]}…, but the recipe is pinned to {str(ref.digest)[:12]}…. "
            "Restore the old index, or remove `digest` from the recipe.",
        )
    pinned = dataclasses.replace(recipe.dedup, index=dataclasses.replace(ref, digest=found))
    return recipe.replace(dedup=pinned), index


def open_index(recipe: AnyRecipe, ref: IndexRef, token: Token) -> DedupIndex:
    """Open the index at `ref`, compare it with the recipe, and check the sizes of its files."""
    if problems := disagreements(recipe):
        raise RecipeError(recipe.file, problems)
    location = _locate(ref.path, recipe.folder)
    try:
        location = pin_hub_folder(location, MANIFEST, token)
        index = parse_manifest(read_bytes(f"{location}/{MANIFEST}", token), location, token)
        sizes = _sizes(index) if index is not None else {}
    except FileNotFoundError:
        raise _error(recipe, f"no index found at {ref.path}. {_build_command(recipe, ref)}") from None
    except network_errors() as error:
        raise _error(recipe, f"{ref.path}: {unreachable_message(error)}") from error
    if index is None:
        message = f"{ref.path}/{MANIFEST} is damaged or of another version. {_build_command(recipe, ref)}"
        raise _error(recipe, message)
    if differences := index_scope_differences(index.scope, index_scope(recipe)):
        lines = "".join(f"\n    {line}" for line in differences)
        raise _error(
            recipe,
            f"the index at {ref.path} belongs to another mix. Differences (index → recipe):{lines}\n"
            f"  Fix the recipe, or update the index. {_build_command(recipe, ref)} "
            "Unchanged sources are not read again.",
        )
    for entry in (entry for files in index.files.values() for entry in files.values()):
        if sizes.get(entry.path) != entry.nbytes:
            found = f"has {sizes[entry.path]:,} bytes" if entry.path in sizes else "is missing"
            raise _error(
                recipe,
                f"{ref.path}/{entry.path} {found}, but {MANIFEST} lists {entry.nbytes:,} bytes. "
                f"{_build_command(recipe, ref)}",
            )
    return index


def parse_manifest(data: bytes, location: str, token: Token = None) -> DedupIndex | None:
    """Return the index that a manifest describes, or None if it is damaged or of another version."""
    try:
        content = json.loads(data)
        if content["version"] != INDEX_VERSION:
            return None
        files = {
            id_: {path: IndexEntry(*entry) for path, entry in each.items()}
            for id_, each in dict(content["files"]).items()
        }
        index = DedupIndex(location, dict(content["index_scope"]), files, dict(content["counts"]), token)
        return index if index.digest == content["digest"] else None
    except (ValueError, KeyError, TypeError, AttributeError):  # a damaged file can contain anything
        return None


def _locate(name: str, folder: str) -> str:
    """Return the path or URL of an index, without a slash at its end.

    Relative paths are looked up in the recipe's folder first, then in the working directory.
    """
    name = name.rstrip("/") or name
    if "://" in name:
        return name
    if folder.startswith("hf://"):
        return f"{folder.rstrip('/')}/{name}"
    beside = Path(folder) / Path(name).expanduser()
    return str(beside if beside.is_dir() else Path(name).expanduser())


def _sizes(index: DedupIndex) -> Mapping[str, int]:
    """Return the bytes of every file of duplicate rows that exists, by its path in the index."""
    if "://" not in index.location:
        root = Path(index.location)
        return {path.relative_to(root).as_posix(): path.stat().st_size for path in (root / DROPS).rglob("*.rows")}
    if not index.files:
        return {}
    fs, path = file_system(f"{index.location}/{DROPS}", index.token)
    found = with_retries(lambda: fs.find(path, detail=True), is_transient)
    sizes = {f"{DROPS}/{name.rpartition(f'/{DROPS}/')[2]}": int(info["size"]) for name, info in found.items()}
    listed = {entry.path for files in index.files.values() for entry in files.values()}
    for name in sorted(listed - sizes.keys()):  # object stores may list a new file late
        size = _size(fs, f"{path}{name.removeprefix(DROPS)}")
        if size is None:
            break  # one missing file is enough to reject the index
        sizes[name] = size
    return sizes


def _size(fs: Any, path: str) -> int | None:
    """Return the bytes of a file, or None if there is none."""
    try:
        return int(with_retries(lambda: fs.info(path), is_transient)["size"])
    except FileNotFoundError:
        return None


def _build_command(recipe: AnyRecipe, ref: IndexRef) -> str:
    folder = ref.path if "://" not in ref.path else "DIR"
    return f"Build it with `smollm3-mix index {recipe.file} --output-dir {folder}`."


def _error(recipe: AnyRecipe, problem: str) -> RecipeError:
    return RecipeError(recipe.file, [f"dedup.index: {problem}"])
