"""The end of a write: recipe, card and tally made, and everything brought into place; no source is opened for it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output import output_layout, stored_sources
from smollm3_mix.output.card.dataset_card import dataset_card
from smollm3_mix.output.card.readme import readme
from smollm3_mix.output.output_formats import BY_SOURCE
from smollm3_mix.output.uploads import UploadTarget, uploaded_shards
from smollm3_mix.output.write_request import WriteRequest
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.report.stage_counts import count_stages
from smollm3_mix.sources.exclusion_list import read_entries
from smollm3_mix.sources.resolved_recipe import ResolvedRecipe
from smollm3_mix.storage import atomic_files


def commit(  # noqa: PLR0917 - called by `write_all` and `finish` only
    folder: Path,
    work: Path,
    plan: ResolvedRecipe,
    request: WriteRequest,
    all_stats: Mapping[str, MixStats],
    outlet: UploadTarget | None,
) -> None:
    """Write card, recipe and tally, then move everything into place; opens nothing but the work folder."""
    data = folder / output_layout.DATA if (folder / output_layout.DATA).exists() else work / output_layout.DATA
    files = {name: (data / name).stat().st_size for name in output_layout.data_files(data)}
    files |= uploaded_shards(work, None if outlet is None else outlet.name)
    recipe, summary = composed(work, plan, request, all_stats, files, data)
    if outlet is not None:
        outlet.finish(recipe, summary, output_layout.file_beside(work))
    output_layout.publish_files(folder)


def composed(  # noqa: PLR0917 - called for folders and for stores
    work: Path,
    plan: ResolvedRecipe,
    request: WriteRequest,
    all_stats: Mapping[str, MixStats],
    files: Mapping[str, int],
    data: Path,
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe beside the mix and what stats.json holds; both and the card are in the work folder.

    Args:
        work: with the states of all lanes.
        plan: of the mix.
        request: what was asked for.
        all_stats: counts by split.
        files: bytes of each file by its name in the data folder.
        data: that folder, where the mix is by source.
    """
    summary: dict[str, Any] = {
        "name": plan.recipe.name,
        "request": request.to_dict(),
        "recipe": plan.recipe.fingerprint,
        "skipped": plan.skipped,
        "files": dict(sorted(files.items())),
        **count_stages(plan.recipe, work, all_stats),
    }
    recipe = beside(plan.recipe)
    if request.format == BY_SOURCE:
        summary["stored"] = stored_sources.count_stored(recipe, data)
        recipe = stored_sources.recipe_over_stored(recipe, data)
    atomic_files.replace_file(work / output_layout.RECIPE, recipe.to_yaml().encode())
    text = dataset_card(recipe, summary) if request.format == "parquet" else readme(recipe, summary)
    atomic_files.replace_file(work / output_layout.CARD, text.encode())
    atomic_files.replace_json(work / output_layout.STATS, summary)
    return recipe, summary


def keep_list(recipe: Recipe, work: Path, token: str | bool | None) -> None:
    """Keep what the recipe excludes beside the mix, where `finish` needs no other place to find it."""
    atomic_files.replace_file(
        work / output_layout.LIST, "".join(f"{entry}\n" for entry in read_entries(recipe, token)).encode()
    )


def beside(recipe: Recipe) -> Recipe:
    """The recipe as it lies beside the mix, and its list of exclusions, if it has one, beside it."""
    return (
        recipe if recipe.exclude is None else recipe.replace(exclude=replace(recipe.exclude, file=output_layout.LIST))
    )
