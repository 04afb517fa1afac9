"""Find recipe files by path or by the name of a shipped recipe."""

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
"""File names of `merge_datasets` → shipped recipe, used if no such file exists."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w-]*")
"""Pattern of a repository name: one slash and no file ending."""

UNWEIGHTED = "datasets_config.yaml"
"""File name that means concatenated sources without weights."""


def shipped_folder() -> Path:
    """Return the folder of the shipped recipes, in an installed wheel or in a checkout.

    Raises:
        RecipeError: If the installation has no recipe files.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "configs", package.parent / "configs"):
        if any(folder.glob(f"*{ENDING}")):
            return folder
    raise RecipeError(str(package / "configs"), ["there are no shipped recipes here. Install the package again"])


def list_recipes() -> list[str]:
    """Return the sorted names of the shipped recipes, such as `stage1`."""
    return sorted(path.name.removesuffix(ENDING) for path in shipped_folder().glob(f"*{ENDING}"))


def find_recipe(name: str | os.PathLike[str]) -> Path:
    """Return the recipe file of a path or name.

    An existing file has precedence over the name of a shipped recipe (`stage1` or `stage1.smollm3_mix.yaml`). File
    names of `merge_datasets` (`MERGE_CONFIG_NAMES`) come last.

    Raises:
        RecipeError: If no recipe is found. The message lists the shipped recipes.
    """
    path, text = Path(name).expanduser(), os.fspath(name)
    if path.is_file():
        return path
    names = list_recipes()
    if path.is_dir() and text not in names:  # a folder `demo` with a written mix does not hide the recipe
        inside = sorted(entry.name for entry in path.iterdir() if entry.name.endswith((".yaml", ".yml")))
        there = f"the one you mean, of: {', '.join(inside)}" if inside else "a recipe file. The folder has none"
        raise RecipeError(text, [f"is a folder. Name {there}"])
    # Names of `merge_datasets` may have a folder. Shipped names may not, because they would hide a wrong path.
    wanted = MERGE_CONFIG_NAMES.get(path.name, text.removesuffix(ENDING))
    if wanted in names:
        return shipped_folder() / f"{wanted}{ENDING}"
    near = _beside(path) or difflib.get_close_matches(path.name.split(".")[0], names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    shown = f"no such file, and no shipped recipe of that name{hint}. Shipped recipes: {', '.join(names)}"
    if text.startswith("hf://") or (not near and _REPOSITORY.fullmatch(text)):
        shown += (
            '. Recipes of a repository are streamed by load_dataset("OWNER/NAME", RECIPE, streaming=True), or '
            "downloaded: hf download OWNER/NAME --repo-type dataset --local-dir DIR"
        )
    raise RecipeError(text, [shown])


def _beside(path: Path) -> list[str]:
    """Return the file in the same folder with the same name except for its ending, or a similar name, if any."""
    there = {other.name: str(other) for other in path.parent.glob("*") if other.suffix in (".yaml", ".yml")}
    same = [name for name in sorted(there) if name.split(".")[0] == path.name.split(".")[0]]
    return [there[name] for name in (same or difflib.get_close_matches(path.name, there, cutoff=0.8))[:1]]
