"""`smollm3-mix finish`, and the messages about mixes that several `write` commands write together."""

import argparse
import re
import sys
from collections.abc import Mapping

from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output.finish import finish as finish_mix

SUMMARY = "Commit a mix whose lanes were written by separate commands. Opens no source."


def add_only_lanes(command: argparse.ArgumentParser) -> None:
    """Add the flag of `write` that selects lanes."""
    command.add_argument(
        "--only-lanes",
        type=lanes_argument,
        metavar="LANES",
        help="write only these lanes of the mix (3, or 0-15); `smollm3-mix finish DIR` then commits all lanes",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    command.add_argument("directory", metavar="DIR", help="folder in which all lanes were written with --only-lanes")
    command.add_argument(
        "--keep-dropped",
        metavar="DIR",
        help="folder for the dropped documents, as in the commands that wrote the lanes",
    )


def lanes_argument(text: str) -> range:
    """Return the lanes that were typed, such as `3` or `0-15`.

    Raises:
        ArgumentTypeError: If the text is not a lane or an increasing range.
    """
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected lanes such as 3 or 0-15, got {text!r}")
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise argparse.ArgumentTypeError(f"expected an increasing range such as {last}-{first}, got {text!r}")
    return range(first, last + 1)


def amount(stats: Mapping[str, MixStats]) -> str:
    """Return the size of a mix in words: `3,338 records (1,061,863 tokens) and 18 validation records`."""
    total = stats["train"].total
    held_out = stats["validation"].total.emitted if "validation" in stats else 0
    return f"{total.emitted:,} records ({total.emitted_tokens:,} tokens) and {held_out:,} validation records"


def written_lanes(output_dir: str, lanes: list[int], num_lanes: int, stats: MixStats) -> str:
    """Return the message of a `write` of some lanes, with the next command."""
    return (
        f"Wrote {stats.total.emitted:,} records of lanes {lanes[0]}-{lanes[-1]} of {num_lanes} to {output_dir}. "
        f"After all lanes are written, run: smollm3-mix finish {output_dir}\n"
    )


def finish(options: argparse.Namespace) -> int:
    """Commit the mix and print its size. Return the exit code."""
    written = finish_mix(options.directory, keep_dropped=options.keep_dropped)
    sys.stdout.write(
        f"Finished {options.directory}: {amount(written.stats)}. Check it: smollm3-mix verify {options.directory}\n"
    )
    return 0
