"""What must never come out: a list of ids, blob ids, urls and repositories, and the rows of a block that are on it.

A key of a row is compared as it is written. Urls and repositories are compared in their normal form as well, which
leaves out what people write differently; so does the list.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.text.measure.words import hash_runs, text_view

Flags = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

IDENTIFIER_COLUMNS = ("id", "blob_id", "content_id", "hexsha")
"""Columns compared as they are written, beside a row's own id. The last two name a file in The Stack."""

LOCATION_COLUMNS = (
    "url",
    "source_url",
    "repo",
    "repo_name",
    "repo_url",
    "repository",
    "repository_name",
    "max_stars_repo_name",
)
"""Columns compared in their normal form too."""

_LINE = re.compile(r"\r\n|\n|\r")
_FILE_AND_ROW = re.compile(r"(?s)(.+):(\d{1,18})")

# What two ways of writing a url may differ in: scheme, `www.`, the end of a repository's address, fragment.
_AROUND = r"(?s)^(?:[a-z][a-z0-9+.-]*://)?(?:www\.)?(.*?)(?:\.git)?/*(?:#.*)?$"
_GITHUB = r"^github\.com/([^/]+/[^/]+)$"


@dataclass(frozen=True, eq=False)
class ExclusionList:
    """A list ready to be looked things up in; its size is 16 bytes an entry, however long the entries are.

    An entry is known by 64 bits of a hash, so a row that is not listed is dropped with a chance of entries / 2^64.

    Attributes:
        exact: uint64, ascending: entries as they are written.
        locations: uint64, ascending: their normal forms.
        rows: path of a file → int64 rows of it that are listed as `file:row`, ascending; so the ids of documents are
            made that have none of their own.
    """

    exact: Hashes
    locations: Hashes
    rows: dict[str, Ints] = field(default_factory=dict)

    def matches(self, keys: Sequence[tuple[pa.StringArray, bool]], file: str, numbers: Ints) -> Flags:
        """bool[rows]: which rows are on the list.

        Args:
            keys: columns of keys, each with whether it is to be compared in its normal form too.
            file: path of the file the rows are of.
            numbers: int64[rows], their numbers in it.
        """
        found = np.isin(numbers, self.rows[file]) if file in self.rows else np.zeros(len(numbers), dtype=np.bool_)
        for values, is_place in keys:
            found |= _member(values, self.exact)
            if is_place:
                found |= _member(normal_forms(values), self.locations)
        return found


def read_exclusions(content: bytes) -> list[str]:
    """What a list says, sorted, each entry once: its lines without white space around them, comments and blank lines.

    Raises:
        ValueError: it is no UTF-8, or lists nothing. The message is half a sentence that goes on after the file's name.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"has bytes in line {line} that are no UTF-8; save it as UTF-8") from error
    lines = (line.strip() for line in _LINE.split(text))
    found = sorted({line for line in lines if line and not line.startswith("#")})
    if not found:
        raise ValueError("lists nothing; write one id, blob id, url or repository a line, or take `exclude` out")
    return found


def exclusions_digest(listed: Iterable[str]) -> str:
    """SHA-256 of entries as `entries` gives them, 64 hex digits: the same for any order, comments and line endings."""
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def build_exclusion_list(listed: Sequence[str]) -> ExclusionList:
    """The list, ready to be looked things up in.

    >>> found = excluded(["https://Example.com/a/", "some-id"])
    >>> urls = pa.array(["http://www.example.com/a#top", "http://example.com/b", None])
    >>> found.matches([(urls, True)], "f", np.arange(3)).tolist()
    [True, False, False]
    """
    texts = pa.array(listed, pa.string())
    rows: dict[str, list[int]] = {}
    for entry in listed:
        if match := _FILE_AND_ROW.fullmatch(entry):
            rows.setdefault(match[1], []).append(int(match[2]))
    by_file = {file: np.unique(np.array(numbers, dtype=np.int64)) for file, numbers in rows.items()}
    return ExclusionList(np.unique(_hashes(texts)), np.unique(_hashes(normal_forms(texts))), by_file)


def normal_forms(values: pa.StringArray) -> pa.StringArray:
    """Urls and repositories without what does not matter: in lower case, and without scheme, `www.`, fragment, a `.git`
    or slashes at the end, and without github.com where nothing but owner and name follow.

    >>> normal_forms(pa.array(["https://github.com/Owner/Name.git", "HTTP://www.a.org/B?c=1#d"])).to_pylist()
    ['owner/name', 'a.org/b?c=1']
    """
    low = pc.utf8_lower(values)
    bare = pc.replace_substring_regex(low, pattern=_AROUND, replacement=r"\1")
    return pc.replace_substring_regex(bare, pattern=_GITHUB, replacement=r"\1")


def is_location(column: str) -> bool:
    """Whether a column, by the last part of its name, holds urls or repositories."""
    return column.rsplit(".", 1)[-1].lower() in LOCATION_COLUMNS


def is_key(column: str) -> bool:
    """Whether a column, by the last part of its name, is compared with the list."""
    return is_location(column) or column.rsplit(".", 1)[-1].lower() in IDENTIFIER_COLUMNS


def _member(values: pa.StringArray, among: Hashes) -> Flags:
    """bool[rows]: whose hash is among those; never that of a null."""
    hashes = _hashes(values)
    place = np.minimum(np.searchsorted(among, hashes), len(among) - 1)
    found: Flags = among[place] == hashes
    if values.null_count:
        found &= np.asarray(values.is_valid())
    return found


def _hashes(values: pa.StringArray) -> Hashes:
    data, offsets = text_view(values)
    return hash_runs(data, offsets[:-1], offsets[1:])
