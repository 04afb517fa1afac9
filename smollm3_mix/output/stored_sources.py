"""Recipe of a mix that was written by source: the same mix, or one with other weights, without the original sources."""

from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from smollm3_mix.output.output_formats import source_folder
from smollm3_mix.output.output_layout import DATA
from smollm3_mix.recipe.curriculum import AnyRecipe, overview
from smollm3_mix.recipe.model import Holdout, Source
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.dedup.dedup_options import Dedup
from smollm3_mix.text.filters.filter_options import FilterOptions


def recipe_over_stored(recipe: AnyRecipe, data: Path) -> AnyRecipe:
    """Return the recipe that mixes the files below `data` as `recipe` mixes its sources.

    The recipe does not clean, filter, deduplicate, shuffle or hold out documents again. They are in the order in which
    the mix placed them, with the tokens that it counted.

    Args:
        recipe: Pinned recipe of the written mix.
        data: Folder with the folders of the sources.
    """
    numbers = {source.id: number for number, source in enumerate(recipe.active)}
    return replace(
        overview(recipe),
        sources=tuple(_over(source, data, numbers.get(source.id)) for source in recipe.sources),
        shuffle="none",
        tokens="column",
        dedup=Dedup(exact=False),
        holdout=Holdout(),
        exclude=None,
    )


def _over(source: Source, data: Path, number: int | None) -> Source:
    if number is None:
        return source
    folder = source_folder(number, source.id)
    if not (data / folder).exists():
        return replace(source, unavailable="it has no document in the written mix")
    return Source(
        id=source.id,
        weight=source.weight,
        name=".",
        data_files=(f"{DATA}/{folder}/train-*.parquet",),
        id_field="id",
        kind=source.kind,
        license=source.license,
        tokens_per_byte=source.tokens_per_byte,
        tokens_field="tokens",
        clean=Cleaning("none"),
        filters=FilterOptions(),
        content="records",
        deviation=source.deviation,
    )


def count_stored(recipe: AnyRecipe, data: Path) -> dict[str, dict[str, int]]:
    """Return the number of stored documents and tokens of each source, emitted or pending."""
    found = {}
    for number, source in enumerate(recipe.active):
        columns = [
            pq.read_table(path, columns=["tokens"])["tokens"]
            for path in sorted((data / source_folder(number, source.id)).glob("train-*.parquet"))
        ]
        found[source.id] = {
            "documents": sum(len(column) for column in columns),
            "tokens": sum(int(pc.sum(column).as_py() or 0) for column in columns),
        }
    return found
