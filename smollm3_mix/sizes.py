"""Counts and byte sizes as users type them: `10_000`, `"10M"`, `"64MiB"`."""

import re
from fractions import Fraction
from typing import TypeAlias

Count: TypeAlias = int | str
"""A number of records, tokens or other things: `500`, `"10k"`, `"1.5M"`, `"2B"`."""

ByteSize: TypeAlias = int | str
"""A number of bytes: `4096`, `"500kB"`, `"64MiB"`, `"2GB"`."""

_COUNT_UNITS = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}
_BYTE_UNITS = {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTE_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SHORT_BYTE_UNITS = {unit: factor for unit, factor in _COUNT_UNITS.items() if unit != "B"}
_NUMBER = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?) ?([A-Za-z]*)")


def parse_count(value: Count, name: str = "count") -> int:
    """Parse a number of records or tokens.

    Args:
        value: Positive integer, or text such as `"10M"`.
        name: Argument that the message names.

    Raises:
        TypeError: If the value is neither an integer nor text.
        ValueError: If the value is not a positive whole number, or is a number of bytes.
    """
    found = _parse(value, name, _COUNT_UNITS)
    if found is None and isinstance(value, str) and _parse(value, name, _BYTE_UNITS) is not None:
        raise ValueError(
            f"{name} must be a count, got {value!r}, which is a number of bytes. "
            "Use a count such as 10_000 or '10M', or limit bytes with max_bytes (--max-bytes)."
        )
    return _positive(found, value, name, "10_000 or '10M'")


def parse_bytes(value: ByteSize, name: str = "size") -> int:
    """Parse a number of bytes.

    Args:
        value: Positive integer, or text such as `"64MiB"`. `"10M"` means 10,000,000 bytes.
        name: Argument that the message names.

    Raises:
        TypeError: If the value is neither an integer nor text.
        ValueError: If the value is not a positive whole number of bytes.
    """
    return _positive(_parse(value, name, _BYTE_UNITS | _SHORT_BYTE_UNITS), value, name, "4096 or '64MiB'")


def parse_number(text: str) -> int | None:
    """Parse a whole number with a unit, as in recipes. Return None if the text is not one."""
    match = _NUMBER.fullmatch(text)
    if match is None or not match[2]:
        return None
    return _multiply(match, _COUNT_UNITS | _BYTE_UNITS)


def format_count(count: float) -> str:
    """Return a short form of a count: 950, 12.9M, 3.8B, 1.2T."""
    return _format(count, ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")))


def format_bytes(count: float) -> str:
    """Return a short form of a number of bytes: 64MiB where binary units are exact, else 8.1TB."""
    for factor, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if factor <= count < factor * 2**10 and count % factor == 0:
            return f"{count / factor:.0f}{unit}"
    return _format(count, ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")))


def _parse(value: int | str, name: str, units: dict[str, int]) -> int | None:
    """Return the number, which may be zero or negative. None if the value is not a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{name} must be an integer or text such as '10M', got {value!r}.")
    match = _NUMBER.fullmatch(value.strip())
    return None if match is None else _multiply(match, units)


def _multiply(match: re.Match[str], units: dict[str, int]) -> int | None:
    """Return the number times its unit, None if the unit is unknown or the product is not whole."""
    if match[2] and match[2] not in units:
        return None
    count = Fraction(match[1].replace("_", "")) * units.get(match[2], 1)
    return int(count) if count.denominator == 1 else None


def _positive(found: int | None, value: int | str, name: str, example: str) -> int:
    if found is None or found < 1:
        raise ValueError(f"{name} must be a whole number above 0, such as {example}, got {value!r}.")
    return found


def _format(count: float, units: tuple[tuple[float, str], ...]) -> str:
    for factor, unit in units:
        if count >= factor * 0.99995:  # 999,950 and above is rounded up to 1M, never to 1000k
            return f"{count / factor:.1f}".removesuffix(".0") + unit
    return f"{count:.0f}"
