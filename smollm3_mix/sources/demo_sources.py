"""Sources that need no network: what a Python installation carries, and texts written for the project.

| name | a document is | CPython 3.11 |
|---|---|---|
| python:stdlib | a module of the standard library; no tests, no character tables | 606 of 9.9 MB |
| python:docstrings | the docstring of a module, or those of a class or function with all inside | 3,764 of 1.9 MB |
| python:reference | a section of the language reference, as `help()` shows it; some stand there twice | 149 of 0.5 MB |
| python:readmes | the description of an installed distribution, mostly Markdown; one per distribution | depends |
| python:licenses | a license or notice of Python or of an installed distribution; many are copies | depends |
| demo:vietnamese | a short text in Vietnamese: recipe, letter, fable, manual, explanation | 55 of 55 kB |
| demo:french | the same in French; not a translation | 55 of 52 kB |

The two demo sources are CC0-1.0, and carry a little dirt: runs of spaces, blank lines, CRLF, a copy, a near copy.
"""

import ast
import email
import email.message
import hashlib
import importlib
import importlib.metadata
import importlib.resources
import io
import json
import logging
import os
import platform
import re
import sys
import sysconfig
import tokenize
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from smollm3_mix.errors import SourceError

logger = logging.getLogger(__name__)

SCHEMA = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("text", "id", "path", "license")])
"""Columns of the files. id: path and the part of that file, unique in its source. path: relative to the folder of the
standard library, to that of the installed distributions or to this package. license: as declared, SPDX where it is."""

ROW_GROUP = 1 << 15
"""Bytes of text in a row group: a lane's part is cut at rows, as evenly as row groups are small."""

NOT_LIBRARY = frozenset(
    ("__pycache__", "site-packages", "dist-packages", "test", "tests", "idle_test", "encodings", "pydoc_data")
)
"""Folders in that of the standard library that are not read for code: what is installed beside it; tests, which many
installations lack; character tables, an eighth of the bytes; and the reference, a source of its own."""

OF_THIS_MACHINE = re.compile(r"_sysconfigdata|_sysconfig_vars|config-|sitecustomize\.|usercustomize\.")
"""Beginnings of names of generated files and folders that hold paths of the machine."""

LICENSE_NAME = re.compile(r"licen[cs]e|copying|notice", re.IGNORECASE)


class Document(NamedTuple):
    """One row of SCHEMA."""

    text: str
    id: str
    path: str
    license: str


class Found(NamedTuple):
    """What a source would hold.

    Attributes:
        digest: changes whenever the documents do.
        documents: in the order written; may be lazy, to be read once.
    """

    digest: str
    documents: Iterable[Document]


def names() -> list[str]:
    """Names of all sources, in the order of the table above."""
    return list(_FINDERS)


def materialise(name: str) -> Path:
    """Folder that holds one Parquet file of SCHEMA with the named source; made at the first call, then reused.

    It lies in `HF_HOME/smollm3_mix/demo`, named by source, version of Python and a digest of what went in.
    The same interpreter and packages give the same bytes. Any number of threads and processes may call at once.

    Raises:
        SourceError: there is no such source, this installation lacks it, or the folder cannot be written.
    """
    if name not in _FINDERS:
        raise SourceError(f"there is no demo source {name!r}; there are {', '.join(names())}")
    found = _FINDERS[name](name)
    short = name.partition(":")[2]
    python = f"{sys.implementation.name}-{platform.python_version()}"
    folder = _cache() / f"{short}-{python}-{found.digest}"
    file = folder / f"{short}.parquet"
    if os.access(file, os.R_OK):
        return folder
    rows = list(found.documents)
    if not rows:
        raise SourceError(f"{name}: this installation of Python holds none of it; remove the source from the recipe")
    try:
        _write(file, rows)
    except OSError as error:
        reason = error.strerror or error
        raise SourceError(
            f"{name}: cannot be written to {folder} ({reason}); set HF_HOME to a folder that can be written"
        ) from error
    return folder


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "smollm3_mix" / "demo"


def _write(file: Path, rows: list[Document]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.parent.with_name(f".{file.stem}-{uuid.uuid4().hex}")
    try:
        with pq.ParquetWriter(unfinished, SCHEMA, compression="zstd") as writer:
            for group in _groups(rows):
                writer.write_table(pa.table(list(zip(*group, strict=True)), schema=SCHEMA))
        try:
            unfinished.replace(file)
        except PermissionError:
            # Windows does not replace a file that somebody reads: then another caller was first, with the same bytes.
            if not file.is_file():
                raise
    finally:
        unfinished.unlink(missing_ok=True)


def _groups(rows: list[Document]) -> Iterator[list[Document]]:
    group: list[Document] = []
    size = 0
    for row in rows:
        group.append(row)
        size += len(row.text)
        if size >= ROW_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _digest(parts: Iterable[object]) -> str:
    """12 hex digits over some values and over this file, which decides what is made of them."""
    whole = hashlib.sha256(importlib.resources.files(__package__).joinpath("demo_sources.py").read_bytes())
    for part in parts:
        whole.update(repr(part).encode(errors="backslashreplace"))
    return whole.hexdigest()[:12]


def _stdlib(name: str) -> Found:
    library, paths = _modules(name)
    return Found(_stamps(library, paths), _code(library, paths))


def _docstrings(name: str) -> Found:
    library, paths = _modules(name)
    return Found(_stamps(library, paths), _documented(library, paths))


def _modules(name: str) -> tuple[Path, list[str]]:
    """Folder of the standard library, and its modules' source files relative to it, sorted."""
    library = Path(sysconfig.get_path("stdlib"))
    found = []
    for folder, inside, files in os.walk(library):
        inside[:] = [entry for entry in inside if entry not in NOT_LIBRARY and not OF_THIS_MACHINE.match(entry)]
        here = Path(folder).relative_to(library)
        found += [
            (here / entry).as_posix() for entry in files if entry.endswith(".py") and not OF_THIS_MACHINE.match(entry)
        ]
    if not found:
        raise SourceError(
            f"{name}: no source files of the standard library are in {library}, as in an embedded or frozen Python; "
            "use a full installation, or remove the source from the recipe"
        )
    return library, sorted(found)


def _stamps(library: Path, paths: list[str]) -> str:
    stats = ((path, (library / path).stat()) for path in paths)
    return _digest((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats)


def _code(library: Path, paths: list[str]) -> Iterator[Document]:
    for path in paths:
        text = _decoded(library, path)
        if text:
            yield Document(text, path, path, "PSF-2.0")


def _decoded(library: Path, path: str) -> str:
    """Text of a module with line feeds, without byte order mark; empty for what is no Python source, with a warning."""
    raw = (library / path).read_bytes()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        return io.TextIOWrapper(io.BytesIO(raw), encoding).read()
    except (SyntaxError, UnicodeDecodeError) as error:
        logger.warning("demo: %s is left out, it is not in the encoding it declares: %s", path, error)
        return ""


def _documented(library: Path, paths: list[str]) -> Iterator[Document]:
    for path in paths:
        try:
            module = ast.parse(_decoded(library, path))
        except SyntaxError as error:
            logger.warning("demo: %s is left out, it is not Python %s: %s", path, platform.python_version(), error)
            continue
        seen: set[str] = set()
        for part, text in _parts(module):
            # A name can be defined twice, in the branches of an `if` say, or for each overload.
            unique = part
            while unique in seen:
                unique += "'"
            seen.add(unique)
            yield Document(text, f"{path}#{unique}" if unique else path, path, "PSF-2.0")


def _parts(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Name and text of the module's own docstring (no name), and of each top-level class and function."""
    own = ast.get_docstring(module)
    if own:
        yield "", _storable(own)
    for node in _definitions(module):
        texts = [f"{part}\n\n{doc}" for part, doc in _described(node, node.name)]
        if texts:
            yield node.name, _storable("\n\n\n".join(texts))


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _definitions(node: ast.AST) -> Iterator[Definition]:
    """Classes and functions defined directly in a node, those under `if` and `try` included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            yield child
        elif isinstance(child, (ast.If, ast.Try, ast.With, ast.ExceptHandler)):
            yield from _definitions(child)


def _described(node: Definition, name: str) -> Iterator[tuple[str, str]]:
    own = ast.get_docstring(node)
    if own:
        yield name, own
    for inner in _definitions(node):
        yield from _described(inner, f"{name}.{inner.name}")


def _storable(text: str) -> str:
    """The text with lone surrogates, which an escape in a docstring can make, written as escapes."""
    return text.encode(errors="backslashreplace").decode()


HEADING = re.compile(r"^(?=\S[^\n]*\n([*=])\1{2,}$)", re.MULTILINE)
"""Where a chapter or a section begins: a line with asterisks or equals signs below it."""


def _reference(name: str) -> Found:
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError as error:
        raise SourceError(
            f"{name}: this installation lacks pydoc_data.topics; use a full installation of Python, "
            "or remove the source from the recipe"
        ) from error
    path = "pydoc_data/topics.py"
    rows = [
        Document(text, f"{path}#{topic}/{number}", path, "PSF-2.0")
        for topic in sorted(topics)
        for number, text in enumerate(_sections(topics[topic]))
    ]
    return Found(_digest(rows), rows)


def _sections(topic: str) -> list[str]:
    starts = [found.start() for found in HEADING.finditer(topic)]
    bounds = [0, *starts, len(topic)]
    pieces = (topic[start:stop].strip("\n") for start, stop in pairwise(bounds))
    return [f"{piece}\n" for piece in pieces if piece.strip()]


def _readmes(name: str) -> Found:
    del name
    rows = []
    for folder, _, message in _distributions():
        text = message.get_payload()
        if isinstance(text, str) and text.strip() not in ("", "UNKNOWN"):
            path = f"{folder}/METADATA"
            rows.append(Document(_storable(text), path, path, _license(message)))
    return Found(_digest(rows), rows)


def _licenses(name: str) -> Found:
    del name
    rows = list(_python_license())
    for folder, distribution, message in _distributions():
        for file in sorted(distribution.files or (), key=str):
            place = Path(str(distribution.locate_file(file)))
            inside = file.parts[0].endswith((".dist-info", ".egg-info")) and LICENSE_NAME.search(file.name)
            if inside and place.is_file():
                path = "/".join((folder, *file.parts[1:]))
                rows.append(Document(_license_text(place), path, path, _license(message)))
    return Found(_digest(rows), rows)


def _distributions() -> list[tuple[str, importlib.metadata.Distribution, email.message.Message]]:
    """Folder name of the metadata, distribution and its metadata, for each one an import would find; sorted.

    This package is left out: whether it is installed or run from a checkout shall not matter.
    """
    found = {}
    for distribution in importlib.metadata.distributions():
        try:
            text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")
        except UnicodeDecodeError as error:
            logger.warning("demo: the metadata of a distribution is left out, it is not UTF-8: %s", error)
            continue
        message = email.message_from_string(text or "")
        name = re.sub(r"[-_.]+", "_", message.get("Name") or "").lower()
        if name and name != "smollm3_mix" and name not in found:
            found[name] = (f"{name}-{message.get('Version')}.dist-info", distribution, message)
    return [found[name] for name in sorted(found)]


def _license(message: email.message.Message) -> str:
    """The license a distribution declares, in the words of its metadata; `unknown` if it names none."""
    declared = message.get("License-Expression") or message.get("License") or ""
    if declared.strip() and len(declared) <= 100 and "\n" not in declared.strip():
        return declared.strip()
    prefix = "License :: OSI Approved :: "
    classifiers = message.get_all("Classifier") or []
    return next((entry.removeprefix(prefix) for entry in classifiers if entry.startswith(prefix)), "unknown")


def _python_license() -> Iterator[Document]:
    for folder in (sysconfig.get_path("stdlib"), sys.base_prefix):
        for file in ("LICENSE.txt", "LICENSE_PYTHON.txt", "LICENSE"):
            place = Path(folder) / file
            if place.is_file():
                path = f"python-{platform.python_version()}/{file}"
                yield Document(_license_text(place), path, path, "PSF-2.0")
                return


def _license_text(place: Path) -> str:
    raw = place.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # old files with an author's accents; any byte is a character there


def _written(name: str) -> Found:
    path = f"demo_texts/{name.partition(':')[2]}.jsonl"
    lines = importlib.resources.files("smollm3_mix").joinpath(path).read_bytes().decode().split("\n")
    rows = [Document(path=path, **json.loads(line)) for line in lines if line]
    return Found(_digest(rows), rows)


_FINDERS: dict[str, Callable[[str], Found]] = {
    "python:stdlib": _stdlib,
    "python:docstrings": _docstrings,
    "python:reference": _reference,
    "python:readmes": _readmes,
    "python:licenses": _licenses,
    "demo:vietnamese": _written,
    "demo:french": _written,
}
