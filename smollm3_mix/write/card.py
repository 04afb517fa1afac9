"""The README.md of a written mix. Everything in it comes from the recipe and the tally."""

from pathlib import Path
from string import Template
from typing import Any

import yaml

from smollm3_mix import __version__
from smollm3_mix.mix import Mix
from smollm3_mix.recipe import Source
from smollm3_mix.report import drops_table, markdown, rows, shares_table
from smollm3_mix.tally import Tally

_SIZES = (
    ("n<1K", 1e3),
    ("1K<n<10K", 1e4),
    ("10K<n<100K", 1e5),
    ("100K<n<1M", 1e6),
    ("1M<n<10M", 1e7),
    ("10M<n<100M", 1e8),
)


def template() -> Template:
    """The card's template: `dataset_card.md` of the checkout, or its copy in the installed package."""
    package = Path(__file__).parent.parent
    path = next(p for p in (package / "dataset_card.md", package.parent / "dataset_card.md") if p.exists())
    return Template(path.read_text(encoding="utf-8"))


def card(mix: Mix, tallies: dict[str, Tally], files: dict[str, int]) -> str:
    """The card of a written mix: metadata that `datasets` loads by, and the tables of what came out."""
    recipe, train = mix.plan.recipe, tallies["train"]
    limits = "".join(f" --{name.replace('_', '-')} {limit}" for name, limit in mix.asked.items() if limit)
    drops = drops_table(train)
    return template().substitute(
        metadata=yaml.safe_dump(
            _metadata(mix, tallies, files), sort_keys=False, allow_unicode=True, width=120
        ).rstrip(),
        title=f"{recipe.name}, as mixed",
        description=recipe.description or "A data mixture.",
        version=__version__,
        fingerprint=recipe.fingerprint,
        repository="path/or/repository",
        weigh_by=recipe.weigh_by.capitalize(),
        shares=markdown(shares_table(rows(recipe, train), recipe.weigh_by)),
        drops=markdown(drops) if len(drops) > 1 else "Nothing.",
        missing="\n".join(f"* `{source}`: {reason}" for source, reason in mix.plan.skipped.items())
        or "Nothing is missing.",
        sources=markdown([["source", "from", "revision", "licence"], *(_origin(source) for source in recipe.active)]),
        command=f"smollm3-mix write recipe.yaml --output-dir DIR{limits}",
    )


def _origin(source: Source) -> list[str]:
    place = " ".join(part for part in (source.name, source.config, source.data_dir) if part)
    return [source.id, place, source.revision or "", source.license or "not stated"]


def _metadata(mix: Mix, tallies: dict[str, Tally], files: dict[str, int]) -> dict[str, Any]:
    recipe = mix.plan.recipe
    records = sum(tally.total.given for tally in tallies.values())
    splits = [split for split in tallies if any(name.startswith(f"{split}-") for name in files)]
    return {
        "pretty_name": f"{recipe.name} mixture",
        "task_categories": ["text-generation"],
        "tags": ["smollm3_mix", "pretraining", "data-mixture"],
        "size_categories": [next((name for name, most in _SIZES if records < most), "100M<n<1B")],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits],
            }
        ],
    }
