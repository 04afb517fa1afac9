"""`push` and `publish-recipe`: mixes and recipes put on the Hub."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smollm3_mix.hub.hub_target import HubTarget
    from smollm3_mix.recipe.recipe import Recipe

PUSH = "Push a written mix to the Hub as a dataset that loads with no code. Repeated after a stop, it goes on."

RECIPES = "Publish recipes on the Hub: load_dataset streams them live for whoever has this package."


def add_push_arguments(verb: argparse.ArgumentParser) -> None:
    """What can be typed after `push`."""
    verb.add_argument("directory", metavar="DIR", help="a mix that `write` has finished")
    verb.add_argument("repository", metavar="OWNER/NAME", help="dataset repository; made if it is not there")
    _add_target_arguments(verb)


def add_upload_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of `write` that upload shards while others are written."""
    command.add_argument(
        "--push-to",
        metavar="OWNER/NAME",
        help="upload each finished shard to this dataset repository, then delete it here; needs disk for a few shards",
    )
    _add_target_arguments(command)


def _add_target_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--config-name", metavar="NAME", help="on the Hub; default: the recipe's name")
    verb.add_argument("--revision", metavar="BRANCH", help="branch to push to (default main)")
    add_access_arguments(verb)
    verb.add_argument("--replace", action="store_true", help="put it in the place of another mix of that name")


def add_recipe_arguments(verb: argparse.ArgumentParser) -> None:
    """What can be typed after `publish-recipe`."""
    verb.add_argument("repository", metavar="OWNER/NAME", help="dataset repository; made if it is not there")
    verb.add_argument(
        "recipes", nargs="*", metavar="RECIPE", help="files or names of shipped ones (default: all shipped)"
    )
    verb.add_argument(
        "--legacy-script", action="store_true", help="also put a script for datasets 3 on the branch `script`"
    )
    verb.add_argument("--private", action="store_true", help="make a new repository private")


def add_access_arguments(verb: argparse.ArgumentParser) -> None:
    """Options on who may read what is pushed."""
    verb.add_argument("--private", action="store_true", help="make the repository private whatever the licenses say")
    verb.add_argument(
        "--allow-public",
        action="append",
        default=[],
        metavar="SOURCE",
        help="share the text of this source though its license is unknown or does not say so; may be repeated",
    )


def upload_target(options: argparse.Namespace, recipe: "Recipe") -> "HubTarget | None":
    """Return the upload target of `write`, or None without --push-to."""
    from smollm3_mix.hub import hub_target

    if options.push_to is None:
        return None
    return hub_target.HubTarget(recipe, options.push_to, **_target(options))


def _target(options: argparse.Namespace) -> dict[str, Any]:
    names = ("config_name", "private", "revision", "replace", "allow_public")
    return {name: getattr(options, name) for name in names}


def publish_recipe(options: argparse.Namespace) -> int:
    """Publish recipes and print where they are."""
    from smollm3_mix.hub import push_recipes

    url = push_recipes.push_recipes_to_hub(
        options.repository, options.recipes, legacy_script=options.legacy_script, private=options.private
    )
    sys.stdout.write(f"The recipes are in {url}\n")
    return 0


def push(options: argparse.Namespace) -> int:
    """Push a mix and print where it is."""
    from smollm3_mix.hub import push_mix

    url = push_mix.push_to_hub(options.directory, options.repository, **_target(options))
    sys.stdout.write(f"{options.directory} is in {url}\n")
    return 0
