"""Flags of every command that opens a mix: the recipe, and the options of `open_mix`."""

import argparse

from smollm3_mix.cli.size_arguments import bytes_argument, count_argument
from smollm3_mix.mix.options import MixOptions
from smollm3_mix.sources.software_heritage.terms import TERMS


def add_recipe(command: argparse.ArgumentParser) -> None:
    """Add the recipe, the first argument of a command."""
    command.add_argument("recipe", metavar="RECIPE", help="recipe file, or name of a shipped recipe: stage1, demo, …")


def add_mix_options(command: argparse.ArgumentParser, *, split: bool = True) -> None:
    """Add a flag for every mix option that can be typed.

    Args:
        command: Parser of the command.
        split: Whether the command reads a single split.
    """
    group = command.add_argument_group("mix options")
    if split:
        group.add_argument(
            "--split", choices=("train", "validation"), default="train", help="split to read (default %(default)s)"
        )
    else:
        command.set_defaults(split="train")
    group.add_argument("--seed", type=int, metavar="N", help="seed of the order (default: the recipe's)")
    group.add_argument("--lanes", type=count_argument, metavar="N", help="number of lanes (default: the recipe's)")
    group.add_argument("--max-samples", type=count_argument, metavar="N", help="maximum number of records in the mix")
    group.add_argument(
        "--max-tokens", type=count_argument, metavar="N", help="maximum number of tokens in the mix (10M, 2B)"
    )
    group.add_argument(
        "--max-bytes", type=bytes_argument, metavar="SIZE", help="maximum bytes of text in the mix (64MiB, 10GB)"
    )
    group.add_argument(
        "--total-tokens", type=count_argument, metavar="N", help="scale a curriculum to N tokens in all its stages"
    )
    add_source_options(group)


def add_source_options(command: argparse._ActionsContainer) -> None:
    """Add the flags of commands that read sources."""
    command.add_argument(
        "--skip-unreadable", action="store_true", help="skip sources that cannot be read, and list them"
    )
    command.add_argument(
        "--accept-terms",
        action="append",
        choices=tuple(TERMS),
        metavar="NAME",
        help=f"accept the named terms of use ({', '.join(TERMS)}); may be repeated",
    )


def mix_options(arguments: argparse.Namespace) -> MixOptions:
    """Return the mix options of a command line, for `open_mix` and other functions that open a mix."""
    return MixOptions(
        split=arguments.split,
        seed=arguments.seed,
        lanes=arguments.lanes,
        max_samples=arguments.max_samples,
        max_tokens=arguments.max_tokens,
        max_bytes=arguments.max_bytes,
        total_tokens=arguments.total_tokens,
        skip_unreadable=arguments.skip_unreadable,
        accept_terms=arguments.accept_terms,
    )
