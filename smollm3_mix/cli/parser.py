"""Parser of the command line."""

import argparse
from typing import Any

from smollm3_mix.cli import (
    command_calibrate,
    command_finish,
    command_index,
    command_merge,
    command_plan,
    command_push,
    command_recipes,
    commands_mix,
    executor_flags,
)
from smollm3_mix.cli.mix_options import add_mix_options, add_recipe, add_source_options
from smollm3_mix.cli.size_arguments import bytes_argument, count_argument
from smollm3_mix.output.output_formats import FORMATS
from smollm3_mix.sources.software_heritage.terms import TERMS
from smollm3_mix.tokenizer.encoder import EOS
from smollm3_mix.version import __version__


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line. `run` of the parsed arguments is the function of the command."""
    top = argparse.ArgumentParser(
        prog="smollm3-mix", description="Mix pretraining data by exact token shares: stream it, write it, check it."
    )
    top.add_argument("--version", action="version", version=f"smollm3-mix {__version__}")
    adders = top.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    _plan(adders)
    _calibrate(adders)
    _take(adders)
    _write(adders)
    command_finish.add_finish_arguments(_verb(adders, "finish", command_finish.finish, command_finish.SUMMARY))
    _verify(adders)
    built = _verb(adders, "index", command_index.index, command_index.SUMMARY)
    command_index.add_arguments(built)
    add_source_options(built)
    command_push.add_push_arguments(_verb(adders, "push", command_push.push, command_push.PUSH))
    command_push.add_recipe_arguments(
        _verb(adders, "publish-recipe", command_push.publish_recipe, command_push.RECIPES)
    )
    command_merge.add_arguments(_verb(adders, "merge", command_merge.merge, command_merge.SUMMARY))
    command_recipes.add_arguments(_verb(adders, "recipes", command_recipes.recipes, command_recipes.SUMMARY))
    return top


def _verb(adders: Any, name: str, run: Any, summary: str) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = adders.add_parser(name, help=summary, description=summary)
    verb.set_defaults(run=run)
    return verb


def _recipe(verb: argparse.ArgumentParser, number: Any = None) -> None:
    verb.add_argument("recipe", help="a recipe file, or the name of a shipped one: stage1, stage2, stage3, demo, …")
    verb.add_argument("--seed", type=int, help="in place of the recipe's seed")
    verb.add_argument("--lanes", type=number or count_argument, help="in place of the recipe's number of lanes")
    verb.add_argument(
        "--total-tokens", type=count_argument, metavar="N", help="scale a curriculum: tokens of all its stages together"
    )
    verb.add_argument(
        "--skip-unreadable", action="store_true", help="go on over the sources that can be read, and say which cannot"
    )
    _terms(verb)


def _terms(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--accept-terms",
        action="append",
        choices=tuple(TERMS),
        metavar="NAME",
        help=f"terms that you accept ({', '.join(TERMS)}); what they are stands in the error without it",
    )


def _limits(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--max-samples", type=count_argument, metavar="N", help="records of the whole mix, counted as given out"
    )
    verb.add_argument("--max-tokens", type=count_argument, metavar="N", help="tokens of the whole mix (10M, 2B, …)")
    verb.add_argument(
        "--max-bytes", type=bytes_argument, metavar="N", help="bytes of text of the whole mix (64MiB, 10GB, …)"
    )


def _plan(adders: Any) -> None:
    command = _verb(adders, "plan", command_plan.plan, command_plan.SUMMARY)
    add_recipe(command)
    add_mix_options(command)
    command_plan.add_arguments(command)


def _calibrate(adders: Any) -> None:
    command = _verb(adders, "calibrate", command_calibrate.calibrate, command_calibrate.SUMMARY)
    add_recipe(command)
    add_mix_options(command)
    command_calibrate.add_arguments(command)


def _take(adders: Any) -> None:
    command = _verb(adders, "take", commands_mix.take, "Print records of a mix as JSON lines.")
    add_recipe(command)
    add_mix_options(command)
    command.add_argument("--quiet", action="store_true", help="print only the records, without statistics")


def _write(adders: Any) -> None:
    verb = _verb(
        adders,
        "write",
        commands_mix.write,
        "Write a mix as Parquet that load_dataset opens. Repeated after a stop, it goes on.",
    )
    _recipe(verb, command_finish.lanes)
    command_finish.add_part_arguments(verb, count_argument)
    where = verb.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--output-dir", metavar="DIR", help="new, empty, or of the same unfinished command; or a URL (s3://bucket/mix)"
    )
    where.add_argument(
        "--by-source", metavar="DIR", help="the same, with a folder for each source and a recipe that mixes them anew"
    )
    _limits(verb)
    verb.add_argument(
        "--processes",
        type=count_argument,
        metavar="N",
        help="lanes written at once (default 1; of a cluster, all processors)",
    )
    executor_flags.add_arguments(verb)
    verb.add_argument(
        "--take-over", action="store_true", help="go on at a URL whose writer is gone and has left its claim"
    )
    command_push.add_outlet_arguments(verb)
    verb.add_argument(
        "--max-shard-size", type=bytes_argument, metavar="N", help="bytes of text in a file (default 512MiB)"
    )
    verb.add_argument("--keep-dropped", metavar="DIR", help="write the dropped documents there, with their reasons")
    verb.add_argument("--format", choices=FORMATS, default="parquet", help="texts, or tokens for a trainer's reader")
    verb.add_argument("--tokenizer", metavar="T", help="counts tokens exactly: a file, a folder, or a Hub repository")
    verb.add_argument("--bos", metavar="TOKEN", help="token before each document of token files (default none)")
    verb.add_argument(
        "--eos", metavar="TOKEN", default=EOS, help="token after each document of token files, or none (default auto)"
    )


def _verify(adders: Any) -> None:
    verb = _verb(
        adders, "verify", commands_mix.verify, "Recount a written mix from its files alone; exit 1 if anything is off."
    )
    verb.add_argument("directory", metavar="DIR", help="a mix that `write` has finished")
    verb.add_argument(
        "--report", metavar="FILE.html", help="also make a page of it: shares, debts, drops, lengths, examples"
    )
    verb.add_argument(
        "--dropped", metavar="DIR", help="show examples of dropped texts, from what write --keep-dropped made"
    )
