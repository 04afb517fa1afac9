"""The end of a write: recipe, card and tally made, and everything brought into place; no source is opened for it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from smollm3_mix.recipe import Recipe
from smollm3_mix.sources import Plan
from smollm3_mix.sources.exclusion import entries_of
from smollm3_mix.tally import Tally
from smollm3_mix.write import layout, stored
from smollm3_mix.write.card import card
from smollm3_mix.write.forms import BY_SOURCE
from smollm3_mix.write.note import note
from smollm3_mix.write.request import Request
from smollm3_mix.write.shipping import Outlet, noted
from smollm3_mix.write.stages import counted


def commit(  # noqa: PLR0917 - called by `write_all` and `finish` only
    folder: Path, work: Path, plan: Plan, request: Request, tallies: Mapping[str, Tally], outlet: Outlet | None
) -> None:
    """Write card, recipe and tally, then move everything into place; opens nothing but the work folder."""
    data = folder / layout.DATA if (folder / layout.DATA).exists() else work / layout.DATA
    files = {name: (data / name).stat().st_size for name in layout.data_files(data)}
    files |= noted(work, None if outlet is None else outlet.name)
    recipe, summary = composed(work, plan, request, tallies, files, data)
    if outlet is not None:
        outlet.finish(recipe, summary, layout.beside(work))
    layout.publish(folder)


def composed(  # noqa: PLR0917 - called for folders and for stores
    work: Path,
    plan: Plan,
    request: Request,
    tallies: Mapping[str, Tally],
    files: Mapping[str, int],
    data: Path,
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe beside the mix and what tally.json holds; both and the card are in the work folder.

    Args:
        work: with the states of all lanes.
        plan: of the mix.
        request: what was asked for.
        tallies: counts by split.
        files: bytes of each file by its name in the data folder.
        data: that folder, where the mix is by source.
    """
    summary: dict[str, Any] = {
        "name": plan.recipe.name,
        "request": request.to_dict(),
        "recipe": plan.recipe.fingerprint,
        "skipped": plan.skipped,
        "files": dict(sorted(files.items())),
        **counted(plan.recipe, work, tallies),
    }
    recipe = beside(plan.recipe)
    if request.format == BY_SOURCE:
        summary["stored"] = stored.counted(recipe, data)
        recipe = stored.recipe_over(recipe, data)
    layout.replace(work / layout.RECIPE, recipe.to_yaml().encode())
    text = card(recipe, summary) if request.format == "parquet" else note(recipe, summary)
    layout.replace(work / layout.CARD, text.encode())
    layout.replace_json(work / layout.TALLY, summary)
    return recipe, summary


def keep_list(recipe: Recipe, work: Path, token: str | bool | None) -> None:
    """Keep what the recipe excludes beside the mix, where `finish` needs no other place to find it."""
    layout.replace(work / layout.LIST, "".join(f"{entry}\n" for entry in entries_of(recipe, token)).encode())


def beside(recipe: Recipe) -> Recipe:
    """The recipe as it lies beside the mix, and its list of exclusions, if it has one, beside it."""
    return recipe if recipe.exclude is None else recipe.with_(exclude=replace(recipe.exclude, file=layout.LIST))
