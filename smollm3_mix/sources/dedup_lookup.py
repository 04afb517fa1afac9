"""A dedup index looked up in: which rows of which file are duplicates, from this machine, the Hub or any URL."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from smollm3_mix.errors import RecipeError, SourceError
from smollm3_mix.network.rate_limit import LISTING_REQUESTS
from smollm3_mix.network.retry import is_transient, network_errors, with_retries
from smollm3_mix.network.urls import HUB_FILE_URL, Token, endpoint, file_system, unreachable_message
from smollm3_mix.recipe.index_scope import disagreements, index_scope, index_scope_differences, index_scope_digest
from smollm3_mix.sources.url_files import local_copy
from smollm3_mix.text.dedup.dedup_options import IndexRef
from smollm3_mix.text.dedup.duplicate_rows import DuplicateRows

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Recipe

MANIFEST, DROPS = "index.json", "drops"
"""What an index consists of: a file that says what it is of, and a folder with one file for each file of a source that
has duplicates."""

INDEX_VERSION = 1
"""Raised when an index of the same recipe comes to mean other rows, or is stored otherwise."""

HELD_BYTES = 1 << 26
"""Bytes of drop sets that a process keeps for lanes that share a file, and for readers that come back."""

_held: OrderedDict[str, DuplicateRows] = OrderedDict()
_lock = threading.Lock()


class IndexEntry(NamedTuple):
    """The drop set of one file of a source.

    Attributes:
        at: its path in the index.
        duplicates: rows whose text came before, byte for byte.
        near: rows whose text nearly came before.
        sha256: of its bytes.
    """

    at: str
    duplicates: int
    near: int
    sha256: str

    @property
    def nbytes(self) -> int:
        """Its size."""
        return 4 * (self.duplicates + self.near)


@dataclasses.dataclass(frozen=True)
class DedupIndex:
    """A dedup index, opened: picklable, without its drop sets, which are read when their file's turn comes.

    Attributes:
        place: folder or URL; on the Hub with the commit.
        scope: what it is of; see `recipe.scope`.
        files: entries by source id and by path of the file; a file without duplicates has none.
        counts: of each source, by id: rows read, documents compared, duplicates, near_duplicates.
        token: for the Hub.
    """

    place: str
    scope: dict[str, Any]
    files: dict[str, dict[str, IndexEntry]]
    counts: dict[str, dict[str, int]]
    token: Token = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """64 hex digits over all that the index says, its drop sets included."""
        return index_scope_digest(self._content())

    @property
    def nbytes(self) -> int:
        """Bytes of all drop sets."""
        return sum(entry.nbytes for files in self.files.values() for entry in files.values())

    def to_json(self) -> bytes:
        """The manifest; equal indexes have equal bytes."""
        return json.dumps(self._content() | {"digest": self.digest}, ensure_ascii=False, indent=1).encode()

    def of(self, source: str, file: str) -> DuplicateRows | None:
        """The drop set of a file; None where nothing of it is dropped.

        Raises:
            SourceError: it cannot be read, or is not the one that was built.
        """
        entry = self.files.get(source, {}).get(file)
        if entry is None:
            return None
        with _lock:
            if entry.sha256 in _held:
                _held.move_to_end(entry.sha256)
                return _held[entry.sha256]
        found = DuplicateRows.from_bytes(self._read(entry), entry.duplicates)
        with _lock:
            _held[entry.sha256] = found
            while len(_held) > 1 and sum(kept.nbytes for kept in _held.values()) > HELD_BYTES:
                _held.popitem(last=False)
        return found

    def _content(self) -> dict[str, Any]:
        files = {id_: {path: list(entry) for path, entry in each.items()} for id_, each in self.files.items()}
        return {"form": INDEX_VERSION, "index_scope": self.scope, "counts": self.counts, "files": files}

    def _read(self, entry: IndexEntry) -> bytes:
        shown = f"the dedup index at {self.place}: {entry.at}"
        try:
            data = fetch_index_file(f"{self.place}/{entry.at}", self.token)
        except network_errors() as error:
            raise SourceError(f"{shown} cannot be read ({error}). Put it back, or build the index again.") from error
        found = hashlib.sha256(data).hexdigest()
        if found != entry.sha256:
            raise SourceError(
                f"{shown} has SHA-256 {found[:12]}…, where {MANIFEST} lists {entry.sha256[:12]}…: it is damaged, or of "
                "another build. Build the index again: `smollm3-mix index` writes it anew from what it has counted."
            )
        return data


def pin_index(recipe: Recipe, token: Token = None) -> tuple[Recipe, DedupIndex | None]:
    """The recipe with its index's digest in it, and the index, ready to be looked up in.

    Args:
        recipe: its sources are pinned.
        token: for the Hub.

    Raises:
        RecipeError: there is no index there, it is of another recipe, cut off or damaged, or cannot be had.
    """
    place = recipe.dedup.index
    if place is None:
        return recipe, None
    dropped = open_index(recipe, place, token)
    there = dropped.digest
    if place.digest not in {None, there}:
        raise _refused(
            recipe,
            f"{place.at} is not the index {str(place.digest)[:12]}… that the recipe is pinned to, but {there[:12]}…; "
            "put the old one back, or take `digest` out",
        )
    pinned = dataclasses.replace(recipe.dedup, index=dataclasses.replace(place, digest=there))
    return recipe.replace(dedup=pinned), dropped


def open_index(recipe: Recipe, at: IndexRef, token: Token) -> DedupIndex:
    """The index at a place, compared with the recipe, and its files' lengths with those listed."""
    if problems := disagreements(recipe):
        raise RecipeError(recipe.file, problems)
    place = _located(at.at, recipe.folder)
    try:
        place = _at_commit(place, token)
        data = fetch_index_file(f"{place}/{MANIFEST}", token)
        dropped = parse_manifest(data, place, token)
        sizes = _sizes(dropped) if dropped is not None else {}
    except FileNotFoundError:
        raise _refused(recipe, f"there is no index at {at.at}; {_build(recipe, at)}") from None
    except network_errors() as error:
        raise _refused(recipe, f"{at.at}: {unreachable_message(error)}") from error
    if dropped is None:
        raise _refused(recipe, f"{at.at}/{MANIFEST} is damaged, cut off or of another form; {_build(recipe, at)}")
    if differ := index_scope_differences(dropped.scope, index_scope(recipe)):
        lines = "".join(f"\n    {line}" for line in differ)
        raise _refused(
            recipe,
            f"the index at {at.at} is of another mix. They differ, index before recipe, in:{lines}\n"
            f"  Mend the recipe; or {_build(recipe, at)} (what has not changed is not read again)",
        )
    for entry in (entry for files in dropped.files.values() for entry in files.values()):
        if sizes.get(entry.at) != entry.nbytes:
            found = f"has {sizes[entry.at]:,} bytes" if entry.at in sizes else "is gone"
            raise _refused(
                recipe, f"{at.at}/{entry.at} {found}, where {MANIFEST} lists {entry.nbytes:,}; {_build(recipe, at)}"
            )
    return dropped


def parse_manifest(data: bytes, place: str, token: Token = None) -> DedupIndex | None:
    """The index whose manifest this is; None where it is not whole, or of another form."""
    try:
        said = json.loads(data)
        if said["form"] != INDEX_VERSION:
            return None
        files = {
            id_: {path: IndexEntry(*entry) for path, entry in each.items()} for id_, each in dict(said["files"]).items()
        }
        dropped = DedupIndex(place, dict(said["index_scope"]), files, dict(said["counts"]), token)
        return dropped if dropped.digest == said["index_scope_digest"] else None
    except (ValueError, KeyError, TypeError, AttributeError):  # any bytes may stand there
        return None


def fetch_index_file(place: str, token: Token) -> bytes:
    """The bytes of a file at a path or URL; those of the Hub by way of its cache.

    Raises:
        FileNotFoundError: there is none.
        One of `failures()`: it cannot be had.
    """
    if "://" not in place:
        return Path(place).read_bytes()
    if HUB_FILE_URL.fullmatch(place):
        from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

        try:
            return Path(local_copy(place, token)).read_bytes()
        except (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise FileNotFoundError(place) from error
    fs, path = file_system(place, token)
    return bytes(with_retries(lambda: fs.cat_file(path), is_transient))


def _located(name: str, folder: str) -> str:
    """The path or URL of an index: as it is, else beside the recipe, else here; without a slash at its end."""
    name = name.rstrip("/") or name
    if "://" in name:
        return name
    if folder.startswith("hf://"):
        return f"{folder.rstrip('/')}/{name}"
    beside = Path(folder) / Path(name).expanduser()
    return str(beside if beside.is_dir() else Path(name).expanduser())


def _at_commit(place: str, token: Token) -> str:
    """The place with the commit that is there now, if it is on the Hub: what is read later is of the same."""
    found = HUB_FILE_URL.fullmatch(f"{place}/{MANIFEST}")
    if found is None:
        return place
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    LISTING_REQUESTS.wait(endpoint())
    try:
        info = HfApi(token=token).dataset_info(found["repository"], revision=found["revision"])
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise FileNotFoundError(place) from error
    return f"hf://datasets/{found['repository']}@{info.sha}/{found['file']}".removesuffix(f"/{MANIFEST}")


def _sizes(dropped: DedupIndex) -> Mapping[str, int]:
    """Bytes of every drop set that is there, by its path in the index."""
    if "://" not in dropped.place:
        root = Path(dropped.place)
        return {path.relative_to(root).as_posix(): path.stat().st_size for path in (root / DROPS).rglob("*.rows")}
    if not dropped.files:
        return {}
    fs, path = file_system(f"{dropped.place}/{DROPS}", dropped.token)
    found = with_retries(lambda: fs.find(path, detail=True), is_transient)
    sizes = {f"{DROPS}/{name.rpartition(f'/{DROPS}/')[2]}": int(info["size"]) for name, info in found.items()}
    listed = {entry.at for files in dropped.files.values() for entry in files.values()}
    for at in sorted(listed - sizes.keys()):  # stores may list a new file late; asked for by name, it is there
        size = _size(fs, f"{path}{at.removeprefix(DROPS)}")
        if size is None:
            break  # one that is gone is fault enough
        sizes[at] = size
    return sizes


def _size(fs: Any, path: str) -> int | None:
    """Bytes of a file; None where there is none."""
    try:
        return int(with_retries(lambda: fs.info(path), is_transient)["size"])
    except FileNotFoundError:
        return None


def _build(recipe: Recipe, at: IndexRef) -> str:
    out = at.at if "://" not in at.at else "DIR"
    return f"build it with `smollm3-mix index {recipe.file} --out {out}`"


def _refused(recipe: Recipe, fault: str) -> RecipeError:
    return RecipeError(recipe.file, [f"dedup.index: {fault}"])
