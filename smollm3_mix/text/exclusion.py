"""Match the rows of a block with the exclusion list: ids, blob ids, URLs and repositories that must not be emitted.

Keys of rows are compared exactly. URLs and repositories are also compared in a normal form, which ignores differences
in spelling. The same normal form is applied to the list.
"""

import re
from collections.abc import Sequence
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
"""Columns that are compared exactly, in addition to the id of the row. The last two identify a file in The Stack."""

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
"""Columns that are also compared in normal form."""

_FILE_AND_ROW = re.compile(r"(?s)(.+):(\d{1,18})")

# Parts of a URL that are ignored: scheme, `www.`, the end of the address of a repository, fragment.
_AROUND = r"(?s)^(?:[a-z][a-z0-9+.-]*://)?(?:www\.)?(.*?)(?:\.git)?/*(?:#.*)?$"
_GITHUB = r"^github\.com/([^/]+/[^/]+)$"


@dataclass(frozen=True, eq=False)
class ExclusionList:
    """Exclusion list in searchable form. It takes 16 bytes per entry.

    An entry is compared by 64 bits of a hash. The probability that another row matches by chance is entries / 2^64.

    Attributes:
        exact: Hashes of the entries, uint64, ascending.
        locations: Hashes of the normal forms of the entries, uint64, ascending.
        rows: File path → rows that are listed as `file:row`, int64, ascending. Documents without an id get such ids.
    """

    exact: Hashes
    locations: Hashes
    rows: dict[str, Ints] = field(default_factory=dict)

    def matches(self, keys: Sequence[tuple[pa.StringArray, bool]], file: str, numbers: Ints) -> Flags:
        """Return True for each row that is on the list, bool[rows].

        Args:
            keys: Columns of keys, each with True if it is also compared in normal form.
            file: Path of the file of the rows.
            numbers: Row numbers in the file, int64[rows].
        """
        found = np.isin(numbers, self.rows[file]) if file in self.rows else np.zeros(len(numbers), dtype=np.bool_)
        for values, is_location in keys:
            found |= _is_member(values, self.exact)
            if is_location:
                found |= _is_member(normal_forms(values), self.locations)
        return found


def build_exclusion_list(listed: Sequence[str]) -> ExclusionList:
    """Return the searchable list of entries.

    >>> found = build_exclusion_list(["https://Example.com/a/", "some-id"])
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
    """Return URLs and repositories in normal form.

    The normal form is in lower case, without scheme, `www.`, fragment, and trailing `.git` or slashes. An address on
    github.com that consists of owner and name is reduced to these.

    >>> normal_forms(pa.array(["https://github.com/Owner/Name.git", "HTTP://www.a.org/B?c=1#d"])).to_pylist()
    ['owner/name', 'a.org/b?c=1']
    """
    low = pc.utf8_lower(values)
    bare = pc.replace_substring_regex(low, pattern=_AROUND, replacement=r"\1")
    return pc.replace_substring_regex(bare, pattern=_GITHUB, replacement=r"\1")


def is_location(column: str) -> bool:
    """Return True if the last part of a column name says that the column contains URLs or repositories."""
    return column.rsplit(".", 1)[-1].lower() in LOCATION_COLUMNS


def is_key(column: str) -> bool:
    """Return True if the last part of a column name says that the column is compared with the list."""
    return is_location(column) or column.rsplit(".", 1)[-1].lower() in IDENTIFIER_COLUMNS


def _is_member(values: pa.StringArray, members: Hashes) -> Flags:
    """Return True for each value whose hash is among the members, bool[rows]. Null is never a member."""
    hashes = _hashes(values)
    position = np.minimum(np.searchsorted(members, hashes), len(members) - 1)
    found: Flags = members[position] == hashes
    if values.null_count:
        found &= np.asarray(values.is_valid())
    return found


def _hashes(values: pa.StringArray) -> Hashes:
    data, offsets = text_view(values)
    return hash_runs(data, offsets[:-1], offsets[1:])
