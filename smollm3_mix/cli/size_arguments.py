"""Types of command-line arguments that are counts or byte sizes."""

import argparse

from smollm3_mix.sizes import parse_bytes, parse_count


def count_argument(text: str) -> int:
    """Return the count that was typed: 500, 10k, 1.5M, 2B.

    Raises:
        ArgumentTypeError: If it is not a positive whole number, or is a number of bytes.
    """
    try:
        return parse_count(text, "the value")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def bytes_argument(text: str) -> int:
    """Return the number of bytes that was typed: 4096, 64MiB, 10GB.

    Raises:
        ArgumentTypeError: If it is not a positive whole number of bytes.
    """
    try:
        return parse_bytes(text, "the value")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
