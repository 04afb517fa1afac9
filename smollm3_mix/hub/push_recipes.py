"""Recipes put on the Hub, so that `load_dataset` streams the live mix for whoever has this package.

The card names every recipe as a config. That is the surest: without it, `datasets` guesses from names of files, and
takes `dev` or `test` for splits. It finds one builder for all configs, by the first one's files; so a config of plain
Parquet beside the recipes, for people without the package, would either not be found or break the live ones. The
card's first lines say what to install instead.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from huggingface_hub import HfApi

from smollm3_mix.errors import OutputError
from smollm3_mix.hub.access import make_ready
from smollm3_mix.hub.repository import Repository
from smollm3_mix.output.card.dataset_card import dump
from smollm3_mix.recipe.display_names import display_name
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.sections import TokenCounting
from smollm3_mix.recipe.shipped import ENDING, find_recipe, list_recipes
from smollm3_mix.table_format import markdown_table
from smollm3_mix.version import __version__

log = logging.getLogger("smollm3_mix")

FOLDER = "configs/"
BRANCH = "script"
"""Where the loading script goes: `datasets` 4 and later refuse a branch that holds one."""

_SCRIPT = '''"""Loading script for `datasets` < 4. Needs the package: pip install smollm3_mix."""

from smollm3_mix.builder.mix_builder import SmolLM3Mix
from smollm3_mix.builder.mix_config import SmolLM3MixConfig

__all__ = ["SmolLM3Mix", "SmolLM3MixConfig"]
'''

_CARD = """---
{metadata}
---

# {title}

Recipes of data mixtures, no data: `pip install smollm3_mix`, and `datasets` mixes their sources live while you read.
Without the package, `load_dataset` finds nothing here that it knows.

```python
import smollm3_mix
from datasets import load_dataset

stream = load_dataset("{repository}", "{first}", split="train", streaming=True)
```

Token shares hold at every prefix, after cleaning, judging and dedup; `seed=`, `max_tokens=` and `max_samples=`
pass through `load_dataset`. {legacy}

{table}

Written with smollm3_mix {version}. A recipe names its sources; their texts stay where they are, under their own
licenses.
"""

_LOADING_SCRIPT = (
    'On `datasets` 3: `load_dataset("{repository}", "{first}", revision="script", trust_remote_code=True, …)`, '
    "for the recipes that come with the package."
)


def push_recipes_to_hub(
    repository: str,
    recipes: Sequence[str | os.PathLike[str]] = (),
    *,
    legacy_script: bool = False,
    private: bool = False,
    api: HfApi | None = None,
) -> str:
    """URL of a repository from which `load_dataset(repository, name, streaming=True)` streams each recipe live.

    The recipes that are there already and are not among these are taken away.

    Args:
        repository: `owner/name`; made if it is not there.
        recipes: paths, or names of shipped ones; default: all shipped ones.
        legacy_script: put a loading script for `datasets` < 4 on the branch `script` as well.
        private: make a new repository private.
        api: client of the Hub; default: one with the endpoint and token of this machine.

    Raises:
        OutputError: the Hub cannot be reached or may not be written; the repository holds data, or its name does not
            suit; or a recipe reads what others do not have.
        RecipeError: a recipe is missing or has faults.
    """
    files = {path.name.split(".")[0]: path for path in map(find_recipe, recipes or list_recipes())}
    read_ones = {name: load_recipe(path) for name, path in files.items()}
    if len(files) < len(recipes):
        raise OutputError(
            f"two of the recipes have the same name; expected different ones, got {', '.join(map(str, recipes))}."
        )
    for name, recipe in read_ones.items():
        _check_portable(name, recipe)
    target = Repository(repository, api=api)
    if legacy_script and "." in repository.split("/")[1]:
        raise OutputError(
            f"{repository}: a loading script cannot be imported under a name with a dot in it. Name the repository "
            f"{repository.replace('.', '_')}, or leave out --legacy-script."
        )
    make_ready(target, (), private=private, despite=())
    script = {f"{repository.split('/')[1]}.py": _SCRIPT.encode()} if legacy_script else {}
    _put(target, files, read_ones, legacy=legacy_script, script={})
    if legacy_script:
        branch = Repository(repository, BRANCH, api=api)
        branch.branch()
        _put(branch, files, read_ones, legacy=True, script=script)
    return target.url


def _check_portable(name: str, recipe: Recipe) -> None:
    for source in recipe.active:
        if recipe.path(source) is not None:
            raise OutputError(
                f"recipe {name!r}: source {source.id!r} reads {source.name!r} on this machine, which nobody else has. "
                "Put it on the Hub and name it as owner/name."
            )
    for key, place in _places(recipe):
        if _is_here(recipe, place):
            raise OutputError(
                f"recipe {name!r}: {key} names {place!r} on this machine, which nobody else has. Put it on the Hub and "
                "name it there."
            )
    if recipe.exclude is not None and "://" not in recipe.exclude.file:
        raise OutputError(
            f"recipe {name!r}: its list of exclusions, {recipe.exclude.file!r}, is on this machine. Put it in a "
            "repository of its own and name it as hf://datasets/<owner>/<name>/<path>."
        )


def _places(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What a recipe names beside its sources and its list of exclusions, with the key that names it."""
    if isinstance(recipe.tokens, TokenCounting):
        yield "tokens", recipe.tokens.tokenizer
    for texts in recipe.decontaminate.sets if recipe.decontaminate is not None else ():
        yield "decontaminate", texts.name
    if recipe.dedup.index is not None:
        yield "dedup.index", recipe.dedup.index.path


def _is_here(recipe: Recipe, place: str) -> bool:
    """Whether a path is meant, and not a repository or URL."""
    return display_name(place) != place or any((Path(folder) / place).exists() for folder in {recipe.folder, ""})


def _put(
    target: Repository, files: dict[str, Path], recipes: dict[str, Recipe], *, legacy: bool, script: dict[str, bytes]
) -> None:
    """One commit that makes the branch hold these recipes, their card, and no other recipe."""
    content: dict[str, Path | bytes] = {f"{FOLDER}{name}{ENDING}": path for name, path in files.items()}
    there = target.files()
    data = _data(there)
    if data is not None:
        raise OutputError(
            f"{target.name} holds {data}: datasets chooses one builder for a whole repository, so recipes need one of "
            "their own. Publish them to another name."
        )
    stale = [path for path in there if path.startswith(FOLDER) and path.endswith(ENDING) and path not in content]
    if stale:
        gone = ", ".join(path.removeprefix(FOLDER).removesuffix(ENDING) for path in stale)
        log.warning(
            "%s had other recipes, which are taken away: %s. To keep them, name all its recipes in one command; the "
            "files are in the repository's history.",
            *(target.name, gone),
        )
    content["README.md"] = _card(target.name, recipes, legacy=legacy).encode()
    target.commit(f"{len(recipes)} recipes", content | script, remove=stale)


def _data(there: Iterable[str]) -> str | None:
    """A file that `datasets` would take for data, or None."""
    endings = (".parquet", ".arrow", ".json", ".jsonl", ".csv", ".txt", ".zst", ".gz", ".zip", ".tar")
    return next((path for path in sorted(there) if path.endswith(endings)), None)


def _card(repository: str, recipes: dict[str, Recipe], *, legacy: bool) -> str:
    first = next(iter(recipes))
    metadata = {
        "pretty_name": f"{repository.split('/')[1]}: recipes",
        "license": "apache-2.0",
        "task_categories": ["text-generation"],
        "tags": ["smollm3_mix", "pretraining", "data-mixture", "recipe"],
        "configs": [{"config_name": name, "data_files": f"{FOLDER}{name}{ENDING}"} for name in recipes],
    }
    table = [["recipe", "sources", "load_recipe", "not to be had", "what"]]
    for name, recipe in recipes.items():
        counts = [str(len(recipe.sources)), str(len(recipe.active)), f"{recipe.unavailable_share:.2%}"]
        table.append([f"[{name}]({FOLDER}{name}{ENDING})", *counts, recipe.description])
    return _CARD.format(
        metadata=dump(metadata),
        title=repository.split("/")[1],
        repository=repository,
        first=first,
        legacy=_LOADING_SCRIPT.format(repository=repository, first=first) if legacy else "",
        table=markdown_table(table, words=(0, 4)),
        version=__version__,
    )
