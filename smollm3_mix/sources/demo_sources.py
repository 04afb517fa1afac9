"""Sources that need no network: documents of a Python installation, and texts written for the project.

| name | a document is | CPython 3.11 |
|---|---|---|
| python:stdlib | a module of the standard library, without tests and character tables | 606 of 9.9 MB |
| python:docstrings | the docstring of a module, or those of a class or function and its members | 3,764 of 1.9 MB |
| python:reference | a section of the language reference as shown by `help()`, some of them twice | 149 of 0.5 MB |
| python:readmes | the description of an installed distribution, mostly Markdown | depends |
| python:licenses | a license or notice of Python or of an installed distribution, many of them copies | depends |
| demo:vietnamese | a short text in Vietnamese: recipe, letter, fable, manual, explanation | 55 of 55 kB |
| demo:french | the same in French, not a translation | 55 of 52 kB |

The two demo sources are CC0-1.0. They contain some dirt on purpose: runs of spaces, blank lines, CRLF, a copy, a near
copy.
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

from smollm3_mix.compat import hf_hub
from smollm3_mix.errors import SourceError

log = logging.getLogger("smollm3_mix")

SCHEMA = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("text", "id", "path", "license")])
"""Columns of the files.

id: Path and name of the part, unique in its source. path: Path relative to the standard library, to the installed
distributions or to this package. license: License as declared, an SPDX id if possible."""

ROW_GROUP = 1 << 15
"""Bytes of text in a row group. Small row groups let lanes be cut evenly."""

EXCLUDED_FOLDERS = frozenset(
    ("__pycache__", "site-packages", "dist-packages", "test", "tests", "idle_test", "encodings", "pydoc_data")
)
"""Folders of the standard library whose code is not read: installed packages, tests (which many installations lack),
character tables (an eighth of the bytes), and the reference, which is a source of its own."""

MACHINE_SPECIFIC = re.compile(r"_sysconfigdata|_sysconfig_vars|config-|sitecustomize\.|usercustomize\.")
"""Beginnings of the names of generated files and folders that contain local paths."""

LICENSE_NAME = re.compile(r"licen[cs]e|copying|notice", re.IGNORECASE)


class Document(NamedTuple):
    """One row of SCHEMA."""

    text: str
    id: str
    path: str
    license: str


class DemoSource(NamedTuple):
    """The content of a demo source.

    Attributes:
        digest: Changes whenever the documents do.
        documents: Documents in the order written. May be an iterator.
    """

    digest: str
    documents: Iterable[Document]


def names() -> list[str]:
    """Return the names of all sources, in the order of the table above."""
    return list(_FINDERS)


def materialize(name: str) -> Path:
    """Return the folder of a source's Parquet file. Writes the file on the first call.

    The folder is in `HF_HOME/smollm3_mix/demo` and named by source, Python version and a digest of the input. The same
    interpreter and packages give the same bytes. Safe to call from any number of threads and processes.

    Raises:
        SourceError: If the source is unknown or missing from this installation, or the folder cannot be written.
    """
    if name not in _FINDERS:
        raise SourceError(f"unknown demo source {name!r}. Known demo sources: {', '.join(names())}")
    found = _FINDERS[name](name)
    short = name.partition(":")[2]
    python = f"{sys.implementation.name}-{platform.python_version()}"
    folder = _cache() / f"{short}-{python}-{found.digest}"
    file = folder / f"{short}.parquet"
    if os.access(file, os.R_OK):
        return folder
    rows = list(found.documents)
    if not rows:
        raise SourceError(f"{name}: this Python installation has no such documents. Remove the source from the recipe.")
    try:
        _write(file, rows)
    except OSError as error:
        reason = error.strerror or error
        raise SourceError(f"{name}: cannot write to {folder} ({reason}). Set HF_HOME to a writable folder.") from error
    return folder


def _cache() -> Path:
    return hf_hub.home() / "smollm3_mix" / "demo"


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
            # Windows does not replace an open file. Another caller has then written the same bytes first.
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


def _digest(values: Iterable[object]) -> str:
    """Return 12 hex digits over some values and over this file, which decides how they are used."""
    digest = hashlib.sha256(importlib.resources.files(__package__).joinpath("demo_sources.py").read_bytes())
    for value in values:
        digest.update(repr(value).encode(errors="backslashreplace"))
    return digest.hexdigest()[:12]


def _stdlib(name: str) -> DemoSource:
    library, paths = _modules(name)
    return DemoSource(_stamps(library, paths), _code(library, paths))


def _docstrings(name: str) -> DemoSource:
    library, paths = _modules(name)
    return DemoSource(_stamps(library, paths), _documented(library, paths))


def _modules(name: str) -> tuple[Path, list[str]]:
    """Return the folder of the standard library, and the sorted relative paths of its modules."""
    library = Path(sysconfig.get_path("stdlib"))
    found = []
    for folder, inside, files in os.walk(library):
        inside[:] = [entry for entry in inside if entry not in EXCLUDED_FOLDERS and not MACHINE_SPECIFIC.match(entry)]
        relative = Path(folder).relative_to(library)
        found += [
            (relative / entry).as_posix()
            for entry in files
            if entry.endswith(".py") and not MACHINE_SPECIFIC.match(entry)
        ]
    if not found:
        raise SourceError(
            f"{name}: {library} has no source files of the standard library, as in an embedded or frozen Python. "
            "Use a full installation, or remove the source from the recipe."
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
    """Return the text of a module with line feeds, without byte order mark.

    Logs a warning and returns an empty text for a module that is not in its declared encoding.
    """
    raw = (library / path).read_bytes()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        return io.TextIOWrapper(io.BytesIO(raw), encoding).read()
    except (SyntaxError, UnicodeDecodeError) as error:
        log.warning("demo: skipped %s, which is not in its declared encoding: %s", path, error)
        return ""


def _documented(library: Path, paths: list[str]) -> Iterator[Document]:
    for path in paths:
        try:
            module = ast.parse(_decoded(library, path))
        except SyntaxError as error:
            log.warning("demo: skipped %s, which is not valid Python %s: %s", path, platform.python_version(), error)
            continue
        seen: set[str] = set()
        for name, text in _documented_names(module):
            # A name can be defined more than once, for example in branches of an `if` or for overloads.
            unique = name
            while unique in seen:
                unique += "'"
            seen.add(unique)
            yield Document(text, f"{path}#{unique}" if unique else path, path, "PSF-2.0")


def _documented_names(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield name and text of the module's own docstring (empty name), and of each top-level class and function."""
    own = ast.get_docstring(module)
    if own:
        yield "", _storable(own)
    for node in _definitions(module):
        texts = [f"{name}\n\n{doc}" for name, doc in _described(node, node.name)]
        if texts:
            yield node.name, _storable("\n\n\n".join(texts))


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _definitions(node: ast.AST) -> Iterator[Definition]:
    """Yield classes and functions defined directly in a node, those under `if` and `try` included."""
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
    """Return the text with lone surrogates written as escapes. An escape in a docstring can create them."""
    return text.encode(errors="backslashreplace").decode()


HEADING = re.compile(r"^(?=\S[^\n]*\n([*=])\1{2,}$)", re.MULTILINE)
"""Beginning of a chapter or section: a line that is underlined with asterisks or equals signs."""


def _reference(name: str) -> DemoSource:
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError as error:
        raise SourceError(
            f"{name}: this installation has no pydoc_data.topics. Use a full installation of Python, "
            "or remove the source from the recipe."
        ) from error
    path = "pydoc_data/topics.py"
    rows = [
        Document(text, f"{path}#{topic}/{number}", path, "PSF-2.0")
        for topic in sorted(topics)
        for number, text in enumerate(_sections(topics[topic]))
    ]
    return DemoSource(_digest(rows), rows)


def _sections(topic: str) -> list[str]:
    starts = [found.start() for found in HEADING.finditer(topic)]
    bounds = [0, *starts, len(topic)]
    pieces = (topic[start:stop].strip("\n") for start, stop in pairwise(bounds))
    return [f"{piece}\n" for piece in pieces if piece.strip()]


def _readmes(name: str) -> DemoSource:
    del name
    rows = []
    for folder, _, message in _distributions():
        text = message.get_payload()
        if isinstance(text, str) and text.strip() not in ("", "UNKNOWN"):
            path = f"{folder}/METADATA"
            rows.append(Document(_storable(text), path, path, _license(message)))
    return DemoSource(_digest(rows), rows)


def _licenses(name: str) -> DemoSource:
    del name
    rows = list(_python_license())
    for folder, distribution, message in _distributions():
        for file in sorted(distribution.files or (), key=str):
            file_path = Path(str(distribution.locate_file(file)))
            inside = file.parts[0].endswith((".dist-info", ".egg-info")) and LICENSE_NAME.search(file.name)
            if inside and file_path.is_file():
                path = "/".join((folder, *file.parts[1:]))
                rows.append(Document(_license_text(file_path), path, path, _license(message)))
    return DemoSource(_digest(rows), rows)


def _distributions() -> list[tuple[str, importlib.metadata.Distribution, email.message.Message]]:
    """Return metadata folder, distribution and metadata of each distribution that an import would find, sorted.

    This package is excluded, so that an installation and a checkout give the same documents.
    """
    found = {}
    for distribution in importlib.metadata.distributions():
        try:
            text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")
        except UnicodeDecodeError as error:
            log.warning("demo: skipped the metadata of a distribution, which is not UTF-8: %s", error)
            continue
        message = email.message_from_string(text or "")
        name = re.sub(r"[-_.]+", "_", message.get("Name") or "").lower()
        if name and name != "smollm3_mix" and name not in found:
            found[name] = (f"{name}-{message.get('Version')}.dist-info", distribution, message)
    return [found[name] for name in sorted(found)]


def _license(message: email.message.Message) -> str:
    """Return the license that a distribution declares, or `unknown` if it names none."""
    declared = message.get("License-Expression") or message.get("License") or ""
    if declared.strip() and len(declared) <= 100 and "\n" not in declared.strip():
        return declared.strip()
    prefix = "License :: OSI Approved :: "
    classifiers = message.get_all("Classifier") or []
    return next((entry.removeprefix(prefix) for entry in classifiers if entry.startswith(prefix)), "unknown")


def _python_license() -> Iterator[Document]:
    for folder in (sysconfig.get_path("stdlib"), sys.base_prefix):
        for file in ("LICENSE.txt", "LICENSE_PYTHON.txt", "LICENSE"):
            file_path = Path(folder) / file
            if file_path.is_file():
                path = f"python-{platform.python_version()}/{file}"
                yield Document(_license_text(file_path), path, path, "PSF-2.0")
                return


def _license_text(file_path: Path) -> str:
    raw = file_path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # old files with accented names, where every byte is a character


def _bundled(name: str) -> DemoSource:
    path = f"demo_texts/{name.partition(':')[2]}.jsonl"
    lines = importlib.resources.files("smollm3_mix").joinpath(path).read_bytes().decode().split("\n")
    rows = [Document(path=path, **json.loads(line)) for line in lines if line]
    return DemoSource(_digest(rows), rows)


_FINDERS: dict[str, Callable[[str], DemoSource]] = {
    "python:stdlib": _stdlib,
    "python:docstrings": _docstrings,
    "python:reference": _reference,
    "python:readmes": _readmes,
    "python:licenses": _licenses,
    "demo:vietnamese": _bundled,
    "demo:french": _bundled,
}
