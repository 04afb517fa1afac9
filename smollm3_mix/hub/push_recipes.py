"""Push recipes to the Hub, so that `load_dataset` streams their mixes where this package is installed.

The card lists every recipe as a config. Without it, `datasets` would guess splits such as `dev` and `test` from file
names. `datasets` uses one builder for all configs of a repository, by the files of the first config. A config of plain
Parquet next to the recipes would therefore not load, or would break them. The card says what to install instead.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from huggingface_hub import HfApi

from smollm3_mix.errors import OutputError
from smollm3_mix.hub.access import prepare_repository
from smollm3_mix.hub.repository import Repository
from smollm3_mix.mix.options import requested_recipe
from smollm3_mix.network.urls import Token
from smollm3_mix.output.card.dataset_card import dump
from smollm3_mix.recipe.curriculum import AnyRecipe, RecipeLike
from smollm3_mix.recipe.display_names import display_name
from smollm3_mix.recipe.sections import TokenCounting
from smollm3_mix.recipe.shipped import ENDING, find_recipe
from smollm3_mix.table_format import markdown_table
from smollm3_mix.version import __version__

log = logging.getLogger("smollm3_mix")

FOLDER = "configs/"
BRANCH = "script"
"""Branch of the loading script. `datasets` 4 and later reject a branch that has one."""

_SCRIPT = '''"""Loading script for `datasets` < 4. Needs the package: pip install smollm3_mix."""

from smollm3_mix.builder.mix_builder import SmolLM3Mix
from smollm3_mix.builder.mix_config import SmolLM3MixConfig

__all__ = ["SmolLM3Mix", "SmolLM3MixConfig"]
'''

_CARD = """---
{metadata}
---

# {title}

Recipes of data mixtures, without data. After `pip install smollm3_mix`, `datasets` mixes their sources while you read.
Without the package, `load_dataset` cannot load this repository.

```python
import smollm3_mix
from datasets import load_dataset

stream = load_dataset("{repository}", "{first}", split="train", streaming=True)
```

Token shares hold at every prefix, after cleaning, filtering and dedup. `load_dataset` also accepts `seed=`,
`max_tokens=` and `max_samples=`. {loading_script}

{table}

Made with smollm3_mix {version}. The texts of the sources remain in their repositories, under their own licenses.
"""

_LOADING_SCRIPT = (
    'On `datasets` 3: `load_dataset("{repository}", "{first}", revision="script", trust_remote_code=True, …)`, '
    "for the shipped recipes."
)


def push_recipes_to_hub(
    recipes: Sequence[RecipeLike],
    repo_id: str,
    *,
    private: bool | None = None,
    loading_script: bool = False,
    commit_message: str | None = None,
    create_pr: bool = False,
    token: Token = None,
) -> str:
    """Upload recipes so that `load_dataset(repo_id, name, streaming=True)` streams each mix.

    Other recipes in the repository are removed.

    Args:
        recipes: Recipes, or their paths or shipped names.
        repo_id: Dataset repository as `owner/name`. Created if it does not exist.
        private: Whether to require a private repository. By default, a new repository is public.
        loading_script: Whether to put a loading script for `datasets` < 4 on the branch `script`.
        commit_message: Title of the commit.
        create_pr: Whether to open a pull request in place of pushing to the branch `main`.
        token: Hugging Face access token. Defaults to the saved login.

    Returns:
        URL of the repository or pull request.

    Raises:
        HubError: If the Hub refuses or is unreachable.
        OutputError: If the repository has data or an unsuitable name, or a recipe has local files.
        RecipeError: If a recipe is missing or invalid.
        ValueError: If there are no recipes.
    """
    if not recipes:
        raise ValueError("recipes must not be empty. Pass list_recipes() for all shipped recipes.")
    loaded, content = _load_recipes(recipes)
    api = HfApi(token=token)
    target = Repository(repo_id, api=api)
    if loading_script and "." in repo_id.split("/")[1]:
        raise OutputError(
            f"{repo_id}: a loading script cannot have a dot in its name. Name the repository "
            f"{repo_id.replace('.', '_')}, or leave --loading-script out."
        )
    prepare_repository(target, (), private=private, allow_public=())
    message = commit_message or f"Add {len(loaded)} recipes"
    if create_pr:
        target.open_pull_request(message)
    _commit(target, content, loaded, message, loading_script=loading_script)
    if loading_script:
        branch = Repository(repo_id, BRANCH, api)
        branch.create_branch()
        script = {f"{repo_id.split('/')[1]}.py": _SCRIPT.encode()}
        _commit(branch, content | script, loaded, message, loading_script=True)
    return target.url


def _load_recipes(recipes: Sequence[RecipeLike]) -> tuple[dict[str, AnyRecipe], dict[str, bytes]]:
    """Return recipes by name, and their files by path in the repository."""
    loaded: dict[str, AnyRecipe] = {}
    content: dict[str, bytes] = {}
    for each in recipes:
        path = None if isinstance(each, AnyRecipe) else find_recipe(each)
        recipe = requested_recipe(each)
        name = recipe.name if path is None else path.name.split(".")[0]
        if name in loaded:
            raise OutputError(f"two recipes are named {name!r}. Give them different names.")
        loaded[name] = recipe
        content[f"{FOLDER}{name}{ENDING}"] = recipe.to_yaml().encode() if path is None else path.read_bytes()
        _check_portable(name, recipe)
    return loaded, content


def _check_portable(name: str, recipe: AnyRecipe) -> None:
    for source in recipe.active:
        if recipe.path(source) is not None:
            raise OutputError(
                f"recipe {name!r}: source {source.id!r} has local files ({source.name!r}). "
                "Upload them to the Hub and name the repository as owner/name."
            )
    for key, location in _other_locations(recipe):
        if _is_local_path(recipe, location):
            raise OutputError(
                f"recipe {name!r}: {key} has the local path {location!r}. Upload it to the Hub and name the repository."
            )
    if recipe.exclude is not None and "://" not in recipe.exclude.file:
        raise OutputError(
            f"recipe {name!r}: exclude has the local path {recipe.exclude.file!r}. Upload it to another repository and "
            "name it as hf://datasets/<owner>/<name>/<path>."
        )


def _other_locations(recipe: AnyRecipe) -> Iterator[tuple[str, str]]:
    """Yield key and location of everything that a recipe names, except sources and exclusion list."""
    if isinstance(recipe.tokens, TokenCounting):
        yield "tokens", recipe.tokens.tokenizer
    for texts in recipe.decontaminate.sets if recipe.decontaminate is not None else ():
        yield "decontaminate", texts.name
    if recipe.dedup.index is not None:
        yield "dedup.index", recipe.dedup.index.path


def _is_local_path(recipe: AnyRecipe, location: str) -> bool:
    """Return True for a local path, False for a repository or URL."""
    return display_name(location) != location or any(
        (Path(folder) / location).exists() for folder in {recipe.folder, ""}
    )


def _commit(
    target: Repository, content: dict[str, bytes], recipes: dict[str, AnyRecipe], message: str, *, loading_script: bool
) -> None:
    """Commit these recipes and their card, and remove other recipes."""
    existing = target.files()
    data = _first_data_file(existing)
    if data is not None:
        raise OutputError(
            f"{target.name} contains {data}, but datasets uses one builder per repository. "
            "Push the recipes to another repository.",
            path=target.url,
        )
    stale = [path for path in existing if path.startswith(FOLDER) and path.endswith(ENDING) and path not in content]
    if stale:
        removed = ", ".join(path.removeprefix(FOLDER).removesuffix(ENDING) for path in stale)
        log.warning(
            "Removing other recipes of %s: %s. To keep them, push all recipes in one command. The files remain in the "
            "history of the repository.",
            *(target.name, removed),
        )
    card = _card(target.name, recipes, loading_script=loading_script).encode()
    target.commit(message, {**content, "README.md": card}, remove=stale)


def _first_data_file(names: Iterable[str]) -> str | None:
    """Return the first file that `datasets` would load as data, or None."""
    endings = (".parquet", ".arrow", ".json", ".jsonl", ".csv", ".txt", ".zst", ".gz", ".zip", ".tar")
    return next((path for path in sorted(names) if path.endswith(endings)), None)


def _card(repository: str, recipes: dict[str, AnyRecipe], *, loading_script: bool) -> str:
    first = next(iter(recipes))
    metadata = {
        "pretty_name": f"{repository.split('/')[1]}: recipes",
        "license": "apache-2.0",
        "task_categories": ["text-generation"],
        "tags": ["smollm3_mix", "pretraining", "data-mixture", "recipe"],
        "configs": [{"config_name": name, "data_files": f"{FOLDER}{name}{ENDING}"} for name in recipes],
    }
    table = [["recipe", "sources", "available", "unavailable share", "description"]]
    for name, recipe in recipes.items():
        counts = [str(len(recipe.sources)), str(len(recipe.active)), f"{recipe.unavailable_share:.2%}"]
        table.append([f"[{name}]({FOLDER}{name}{ENDING})", *counts, recipe.description])
    return _CARD.format(
        metadata=dump(metadata),
        title=repository.split("/")[1],
        repository=repository,
        first=first,
        loading_script=_LOADING_SCRIPT.format(repository=repository, first=first) if loading_script else "",
        table=markdown_table(table, words=(0, 4)),
        version=__version__,
    )
