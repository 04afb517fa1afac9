"""Counts and byte sizes as users type them."""

import pytest

from smollm3_mix.sizes import format_bytes, format_count, parse_bytes, parse_count, parse_number


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        (10_000_000, 10_000_000),
        ("500", 500),
        ("10_000", 10_000),
        ("10k", 10_000),
        ("10K", 10_000),
        ("1.5M", 1_500_000),
        ("2B", 2 * 10**9),
        ("2G", 2 * 10**9),
        (" 11.1T ", 11_100_000_000_000),
    ],
)
def test_parse_count_returns_the_number(value: int | str, expected: int) -> None:
    assert parse_count(value) == expected


@pytest.mark.parametrize("value", [0, -1, "0", "-5", "0k", "many", "", "1.5", "1.0005k", "10m", "1e6", "10 000", "M"])
def test_parse_count_rejects_what_is_not_a_positive_whole_number(value: int | str) -> None:
    with pytest.raises(ValueError, match=r"^max_tokens must be a whole number above 0, such as .*, got ") as raised:
        parse_count(value, "max_tokens")
    assert str(raised.value).endswith(f"got {value!r}.")


@pytest.mark.parametrize("value", ["1GB", "64MiB", "500kB"])
def test_parse_count_refers_bytes_to_max_bytes(value: str) -> None:
    with pytest.raises(
        ValueError, match=r"max_tokens must be a count, got '.*', which is a number of bytes.*max_bytes"
    ):
        parse_count(value, "max_tokens")


@pytest.mark.parametrize("value", [True, 1.5, None, b"10"])
def test_sizes_reject_other_types(value: object) -> None:
    with pytest.raises(TypeError, match=r"^lanes must be an integer or text such as '10M', got "):
        parse_count(value, "lanes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^memory must be an integer"):
        parse_bytes(value, "memory")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (4096, 4096),
        ("4096", 4096),
        ("64MiB", 64 * 2**20),
        ("64 MiB", 64 * 2**20),
        ("500kB", 500_000),
        ("10GB", 10**10),
        ("1.5GiB", 3 * 2**29),
        ("10M", 10**7),
        ("2TB", 2 * 10**12),
    ],
)
def test_parse_bytes_returns_the_number(value: int | str, expected: int) -> None:
    assert parse_bytes(value) == expected


@pytest.mark.parametrize("value", [0, -1, "0MiB", "2B", "1.0005KiB", "lots"])
def test_parse_bytes_rejects_what_is_not_a_positive_number_of_bytes(value: int | str) -> None:
    with pytest.raises(ValueError, match=r"^size must be a whole number above 0, such as 4096 or '64MiB', got "):
        parse_bytes(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10k", 10_000), ("4MiB", 4 * 2**20), ("0k", 0), ("10", None), ("1.0005k", None), ("k", None), ("-1k", None)],
)
def test_parse_number_reads_texts_with_a_unit(text: str, expected: int | None) -> None:
    assert parse_number(text) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0"),
        (950, "950"),
        (999, "999"),
        (1000, "1k"),
        (12_900_000, "12.9M"),
        (999_949, "999.9k"),
        (999_950, "1M"),
        (3.8e9, "3.8B"),
        (11.1e12, "11.1T"),
    ],
)
def test_format_count_is_short(count: float, expected: str) -> None:
    assert format_count(count) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0"), (5, "5B"), (1024, "1KiB"), (64 * 2**20, "64MiB"), (2**30, "1GiB"), (8.1e12, "8.1TB"), (1_500, "1.5kB")],
)
def test_format_bytes_is_short(count: float, expected: str) -> None:
    assert format_bytes(count) == expected
