"""Entries of an exclusion list, as its file contains them."""

import hashlib
import re
from collections.abc import Iterable

_LINE = re.compile(r"\r\n|\n|\r")


def read_exclusions(content: bytes) -> list[str]:
    """Return the distinct entries of an exclusion list, sorted: its lines, stripped, except comments and blank lines.

    Raises:
        ValueError: If the list is not UTF-8 or has no entry. The message continues a sentence that begins with the file
            name.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"is not UTF-8 in line {line}. Save it as UTF-8") from error
    lines = (line.strip() for line in _LINE.split(text))
    found = sorted({line for line in lines if line and not line.startswith("#")})
    if not found:
        raise ValueError("has no entries. Write one id, blob id, URL or repository per line, or remove `exclude`")
    return found


def exclusions_digest(listed: Iterable[str]) -> str:
    """Return the SHA-256 of sorted entries, 64 hexadecimal digits. Order, comments and line endings do not matter."""
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()
