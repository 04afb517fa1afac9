"""`smollm3-mix push` and `push-recipes`: upload written mixes and recipes to the Hub."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from smollm3_mix.recipe.shipped import list_recipes

if TYPE_CHECKING:
    from smollm3_mix.hub.hub_target import HubTarget

PUSH_SUMMARY = "Upload a written mix to the Hub as a dataset that loads without code. Resumes when it is repeated."

RECIPES_SUMMARY = "Upload recipes to the Hub, so that load_dataset can stream them where this package is installed."

REPO_ID_HELP = "dataset repository; created if it does not exist"


def add_push_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `push`."""
    command.add_argument("output_dir", metavar="DIR", help="folder of a finished mix")
    command.add_argument("repo_id", metavar="REPO_ID", help=REPO_ID_HELP)
    _add_target_arguments(command)
    add_commit_arguments(command)


def add_push_to_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `write` that upload shards while others are written."""
    group = command.add_argument_group("upload while writing")
    group.add_argument(
        "--push-to",
        metavar="REPO_ID",
        help="upload every finished shard and delete it here, so that the disk needs to hold only a few shards",
    )
    _add_target_arguments(group)


def _add_target_arguments(command: argparse._ActionsContainer) -> None:
    command.add_argument("--config-name", metavar="NAME", help="name of the config (default: the recipe's name)")
    command.add_argument("--revision", metavar="BRANCH", help="branch to push to (default main)")
    command.add_argument(
        "--private",
        action="store_true",
        default=None,
        help="create a private repository (default: only if a license does not allow sharing)",
    )
    command.add_argument(
        "--allow-public",
        action="append",
        default=[],
        metavar="SOURCE",
        help="allow a public repository although the license of SOURCE is unknown or restrictive; may be repeated",
    )
    command.add_argument("--replace", action="store_true", help="replace a different mix of the same config name")


def add_commit_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments about commits."""
    command.add_argument("--commit-message", metavar="TEXT", help="title of the commits")
    command.add_argument("--create-pr", action="store_true", help="open a pull request in place of pushing to a branch")


def add_recipes_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `push-recipes`."""
    command.add_argument(
        "names", nargs="+", metavar="RECIPE… REPO_ID", help="recipes or names of shipped recipes, then the repository"
    )
    command.add_argument("--all", action="store_true", help="upload all shipped recipes")
    command.add_argument("--private", action="store_true", default=None, help="create a private repository")
    command.add_argument(
        "--loading-script", action="store_true", help="also put a loading script for datasets 3 on the branch `script`"
    )
    add_commit_arguments(command)
    command.set_defaults(fail=command.error)


def push_to_target(arguments: argparse.Namespace) -> "HubTarget | None":
    """Return the upload target of `write`, or None without --push-to."""
    from smollm3_mix.hub.hub_target import HubTarget

    if arguments.push_to is None:
        return None
    return HubTarget(arguments.push_to, **_target_options(arguments))


def _target_options(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "config_name": arguments.config_name,
        "private": arguments.private,
        "revision": arguments.revision,
        "replace": arguments.replace,
        "allow_public": tuple(arguments.allow_public),
    }


def push(arguments: argparse.Namespace) -> int:
    """Upload a mix, and print its URL."""
    from smollm3_mix.hub.push_mix import push_to_hub

    url = push_to_hub(
        arguments.output_dir,
        arguments.repo_id,
        commit_message=arguments.commit_message,
        create_pr=arguments.create_pr,
        **_target_options(arguments),
    )
    sys.stdout.write(f"Pushed {arguments.output_dir} to {url}\n")
    return 0


def push_recipes(arguments: argparse.Namespace) -> int:
    """Upload recipes, and print the URL of the repository."""
    from smollm3_mix.hub.push_recipes import push_recipes_to_hub

    *recipes, repo_id = arguments.names
    if arguments.all == bool(recipes):
        arguments.fail("name recipes before REPO_ID, or add --all for all shipped recipes")
    url = push_recipes_to_hub(
        list_recipes() if arguments.all else recipes,
        repo_id,
        private=arguments.private,
        loading_script=arguments.loading_script,
        commit_message=arguments.commit_message,
        create_pr=arguments.create_pr,
    )
    sys.stdout.write(f"Pushed the recipes to {url}\n")
    return 0
