"""Commit a written mix: make recipe, card and statistics, and move everything into place. Opens no source."""

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
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.report.stage_counts import count_stages
from smollm3_mix.sources.exclusion_list import read_entries
from smollm3_mix.sources.resolved_recipe import ResolvedRecipe
from smollm3_mix.storage import atomic_files


def commit(  # noqa: PLR0917 - called by `write_all` and `finish` only
    folder: Path,
    work: Path,
    resolved: ResolvedRecipe,
    request: WriteRequest,
    all_stats: Mapping[str, MixStats],
    push_to: UploadTarget | None,
) -> None:
    """Write card, recipe and statistics, then move everything into place."""
    data = folder / output_layout.DATA if (folder / output_layout.DATA).exists() else work / output_layout.DATA
    files = {name: (data / name).stat().st_size for name in output_layout.data_files(data)}
    files |= uploaded_shards(work, None if push_to is None else push_to.name)
    recipe, summary = compose(work, resolved, request, all_stats, files, data)
    if push_to is not None:
        push_to.finish(recipe, summary, output_layout.other_files(work))
    output_layout.publish_files(folder)


def compose(  # noqa: PLR0917 - called for folders and for stores
    work: Path,
    resolved: ResolvedRecipe,
    request: WriteRequest,
    all_stats: Mapping[str, MixStats],
    files: Mapping[str, int],
    data: Path,
) -> tuple[AnyRecipe, dict[str, Any]]:
    """Write recipe, card and stats.json to the work folder. Return the written recipe and the content of stats.json.

    Args:
        work: Work folder with the states of all lanes.
        resolved: Pinned recipe of the mix.
        request: Request of the write.
        all_stats: Statistics by split.
        files: Bytes of each file, by its path in the data folder.
        data: Data folder. Read only if the mix is by source.
    """
    summary: dict[str, Any] = {
        "name": resolved.recipe.name,
        "request": request.to_dict(),
        "recipe": resolved.recipe.fingerprint,
        "skipped": resolved.skipped,
        "files": dict(sorted(files.items())),
        **count_stages(resolved.recipe, work, all_stats),
    }
    recipe = written_recipe(resolved.recipe)
    if request.format == BY_SOURCE:
        summary["stored"] = stored_sources.count_stored(recipe, data)
        recipe = stored_sources.recipe_over_stored(recipe, data)
    atomic_files.replace_file(work / output_layout.RECIPE, recipe.to_yaml().encode())
    text = dataset_card(recipe, summary) if request.format == "parquet" else readme(recipe, summary)
    atomic_files.replace_file(work / output_layout.CARD, text.encode())
    atomic_files.replace_json(work / output_layout.STATS, summary)
    return recipe, summary


def keep_exclusion_list(recipe: AnyRecipe, work: Path, token: str | bool | None) -> None:
    """Copy the exclusion list next to the mix, so that `finish` needs no other file."""
    atomic_files.replace_file(
        work / output_layout.LIST, "".join(f"{entry}\n" for entry in read_entries(recipe, token)).encode()
    )


def written_recipe(recipe: AnyRecipe) -> AnyRecipe:
    """Return the recipe of `recipe.yaml`, which refers to the exclusion list next to the mix."""
    return (
        recipe if recipe.exclude is None else recipe.replace(exclude=replace(recipe.exclude, file=output_layout.LIST))
    )
