"""Where recipes are: a file of the user's, or one that comes with the package."""

import difflib
import os
import re
from pathlib import Path

from smollm3_mix.errors import RecipeError

ENDING = ".smollm3_mix.yaml"

MERGE_CONFIG_NAMES = {
    "smollm3_weighted_config.yaml": "stage1",
    "smollm3_stage2_config.yaml": "stage2",
    "smollm3_stage3_config.yaml": "stage3",
    "datasets_config.yaml": "stage1",
}
"""Names of the old tool's files → the shipped recipe they mean where no such file exists."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w-]*")
"""A name that is more likely a repository's than a file's: one slash, no ending."""

UNWEIGHTED = "datasets_config.yaml"
"""The one old name that means the sources one after another, without weights."""


def shipped_folder() -> Path:
    """The folder of the recipes that come with the package, in an installed wheel or in a checkout.

    Raises:
        RecipeError: if there is none, in an installation that lost its files.
    """
    package = Path(__file__).resolve().parents[1]
    for place in (package / "configs", package.parent / "configs"):
        if any(place.glob(f"*{ENDING}")):
            return place
    raise RecipeError(str(package / "configs"), ["no shipped recipes are here; install the package again"])


def list_recipes() -> list[str]:
    """Names of the recipes that come with the package, sorted, such as `stage1`."""
    return sorted(path.name.removesuffix(ENDING) for path in shipped_folder().glob(f"*{ENDING}"))


def find_recipe(name: str | os.PathLike[str]) -> Path:
    """The recipe file that a path or name means.

    A file that exists comes first; then the name of a shipped recipe (`stage1` or `stage1.smollm3_mix.yaml`); then the
    old tool's file names (`OLD_NAMES`).

    Raises:
        RecipeError: if there is none; with the names that exist.
    """
    path, text = Path(name).expanduser(), os.fspath(name)
    if path.is_file():
        return path
    names = list_recipes()
    if path.is_dir() and text not in names:  # a folder `demo`, of a mix that was written, does not hide the recipe
        inside = sorted(entry.name for entry in path.iterdir() if entry.name.endswith((".yaml", ".yml")))
        there = f"the one you mean, of: {', '.join(inside)}" if inside else "a recipe file; it holds none"
        raise RecipeError(text, [f"is a folder; name {there}"])
    # An old name may come with a folder before it; a shipped name with none, or it would hide a wrong path.
    wanted = MERGE_CONFIG_NAMES.get(path.name, text.removesuffix(ENDING))
    if wanted in names:
        return shipped_folder() / f"{wanted}{ENDING}"
    near = _beside(path) or difflib.get_close_matches(path.name.split(".")[0], names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    shown = f"no such file, and no shipped recipe of that name{hint}; shipped are {', '.join(names)}"
    if text.startswith("hf://") or (not near and _REPOSITORY.fullmatch(text)):
        shown += (
            '. Recipes of a repository are streamed by load_dataset("OWNER/NAME", RECIPE, streaming=True), or '
            "downloaded: hf download OWNER/NAME --repo-type dataset --local-dir DIR"
        )
    raise RecipeError(text, [shown])


def _beside(path: Path) -> list[str]:
    """The recipe file of the same folder that is called so but for its ending, or nearly so; none if there is none."""
    there = {other.name: str(other) for other in path.parent.glob("*") if other.suffix in (".yaml", ".yml")}
    same = [name for name in sorted(there) if name.split(".")[0] == path.name.split(".")[0]]
    return [there[name] for name in (same or difflib.get_close_matches(path.name, there, cutoff=0.8))[:1]]
