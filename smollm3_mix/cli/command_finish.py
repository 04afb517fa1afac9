"""A mix written by several commands, some lanes each, as by the jobs of an array, and the verb that commits it."""

import argparse
import re
import sys
from collections.abc import Mapping
from typing import Any

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output.finish import finish as finish_mix

SUMMARY = "Commit a mix all of whose lanes are written: card, recipe, counts. Nothing but its folder is opened."


def add_part_arguments(verb: argparse.ArgumentParser, count: Any) -> None:
    """What `write` takes beside --lanes."""
    verb.add_argument(
        "--part-of",
        type=count,
        metavar="N",
        help="the mix has N lanes, and --lanes says which to write here (3, or 0-15); then `smollm3-mix finish DIR`",
    )


def add_finish_arguments(verb: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    verb.add_argument("directory", metavar="DIR", help="where every lane was written with --lanes … --part-of …")
    verb.add_argument("--keep-dropped", metavar="DIR", help="the folder that the lanes' writers named")


def lanes(text: str) -> str:
    """The text, if it is a number of lanes or a range of them."""
    if re.fullmatch(r"\d+(-\d+)?", text) is None:
        raise argparse.ArgumentTypeError(f"expected lanes such as 64, or 0-15 with --part-of 64, got {text!r}")
    return text


def chosen(options: argparse.Namespace) -> tuple[int | None, list[int] | None]:
    """How many lanes the mix has, and those of them to be written here; None: as the recipe says, and all.

    Raises:
        OutputError: a range without --part-of, none with it, or one that is empty.
    """
    begin, _, end = (options.lanes or "").partition("-")
    if options.part_of is None:
        if end or begin == "0":
            raise OutputError(f"--lanes {options.lanes} names lanes; say of how many: --part-of 64")
        return (int(begin) if begin else None), None
    if not begin:
        raise OutputError(f"--part-of {options.part_of} needs the lanes to write: --lanes 0-{options.part_of - 1}")
    only = list(range(int(begin), int(end or begin) + 1))
    if not only:
        raise OutputError(f"--lanes {options.lanes} holds no lane; the first comes first: --lanes {end}-{begin}")
    return options.part_of, only


def amount(all_stats: Mapping[str, MixStats]) -> str:
    """How much a mix holds: 3,338 records (1,061,863 tokens) and 18 of validation."""
    total = all_stats["train"].total
    held = all_stats["validation"].total.emitted if "validation" in all_stats else 0
    return f"{total.emitted:,} records ({total.emitted_tokens:,} tokens) and {held:,} of validation"


def wrote(folder: str, only: list[int], of: int, total: MixStats) -> None:
    """Say what was written of some lanes, and what to type when all are."""
    sys.stdout.write(
        f"Wrote {total.total.emitted:,} records of lanes {only[0]}-{only[-1]} of {of} to {folder}. "
        f"When all lanes are written: smollm3-mix finish {folder}\n"
    )


def finish(options: argparse.Namespace) -> int:
    """Commit, and print how much there is."""
    all_stats = finish_mix(options.directory, keep_dropped=options.keep_dropped)
    sys.stdout.write(
        f"Finished {options.directory}: {amount(all_stats)}. Check it: smollm3-mix verify {options.directory}\n"
    )
    return 0
