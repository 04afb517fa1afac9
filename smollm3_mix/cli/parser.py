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
from smollm3_mix.cli.size_arguments import bytes_argument
from smollm3_mix.output.output_formats import FORMATS
from smollm3_mix.output.write_mix import MAX_SHARD_SIZE
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
    command_finish.add_arguments(_verb(adders, "finish", command_finish.finish, command_finish.SUMMARY))
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
    command = _verb(adders, "write", commands_mix.write, "Write a mix as files. Repeat the same command to resume.")
    add_recipe(command)
    command.add_argument(
        "--output-dir",
        required=True,
        metavar="DIR",
        help="output folder or URL (s3://bucket/mix); must be new, empty, or have an unfinished run of this command",
    )
    command.add_argument(
        "--format",
        choices=FORMATS,
        default="parquet",
        help="Parquet, Parquet by source with a recipe that mixes it again, or token files (default %(default)s)",
    )
    command.add_argument(
        "--max-shard-size",
        type=bytes_argument,
        default=MAX_SHARD_SIZE,
        metavar="SIZE",
        help="bytes of text per file (default %(default)s)",
    )
    command.add_argument("--tokenizer", metavar="T", help="tokenizer file, folder or Hub repository for exact counts")
    command.add_argument("--bos", metavar="TOKEN", help="token before each document of token files (default: none)")
    command.add_argument(
        "--eos", metavar="TOKEN", default=EOS, help="token after each document of token files, or none (default auto)"
    )
    command.add_argument("--keep-dropped", metavar="DIR", help="folder for the dropped documents and their reasons")
    command_finish.add_only_lanes(command)
    executor_flags.add_arguments(command)
    command.add_argument(
        "--take-over", action="store_true", help="replace the lock of a writer of the URL that is no longer running"
    )
    add_mix_options(command, split=False)
    command_push.add_upload_arguments(command)


def _verify(adders: Any) -> None:
    command = _verb(
        adders, "verify", commands_mix.verify, "Recount a written mix from its files and compare it with its recipe."
    )
    command.add_argument("directory", metavar="DIR", help="mix that `write` has finished")
    command.add_argument(
        "--report",
        metavar="FILE.html",
        help="write an HTML page with shares, discrepancies, drops, lengths and examples",
    )
    command.add_argument(
        "--dropped", metavar="DIR", help="folder of `write --keep-dropped`; adds examples of dropped texts to the page"
    )
