"""Parser of the command line."""

import argparse
from collections.abc import Callable

from smollm3_mix.cli import (
    command_calibrate,
    command_finish,
    command_index,
    command_merge,
    command_plan,
    command_push,
    command_recipes,
    command_take,
    command_verify,
    command_write,
)
from smollm3_mix.version import __version__

COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], int], str, Callable[[argparse.ArgumentParser], None]]] = {
    "recipes": (command_recipes.recipes, command_recipes.SUMMARY, command_recipes.add_arguments),
    "plan": (command_plan.plan, command_plan.SUMMARY, command_plan.add_arguments),
    "calibrate": (command_calibrate.calibrate, command_calibrate.SUMMARY, command_calibrate.add_arguments),
    "take": (command_take.take, command_take.SUMMARY, command_take.add_arguments),
    "write": (command_write.write, command_write.SUMMARY, command_write.add_arguments),
    "finish": (command_finish.finish, command_finish.SUMMARY, command_finish.add_arguments),
    "verify": (command_verify.verify, command_verify.SUMMARY, command_verify.add_arguments),
    "index": (command_index.index, command_index.SUMMARY, command_index.add_arguments),
    "push": (command_push.push, command_push.PUSH_SUMMARY, command_push.add_push_arguments),
    "push-recipes": (command_push.push_recipes, command_push.RECIPES_SUMMARY, command_push.add_recipes_arguments),
    "merge": (command_merge.merge, command_merge.SUMMARY, command_merge.add_arguments),
}
"""Function, summary and arguments of each command."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line. `run` of the parsed arguments is the function of the command."""
    parser = argparse.ArgumentParser(
        prog="smollm3-mix", description="Mix pretraining data by exact token shares: stream it, write it, verify it."
    )
    parser.add_argument("--version", action="version", version=f"smollm3-mix {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name, (run, summary, add_arguments) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run)
        add_arguments(command)
    return parser
