"""Dataset card of a written mix, made from its recipe and statistics."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml

from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output.card.licenses import classify_license
from smollm3_mix.output.output_layout import patterns
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.display_names import display_name
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.public_paths import is_local, public_name
from smollm3_mix.report.source_rows import source_rows
from smollm3_mix.report.tables import bars, drops_markdown, shares_table
from smollm3_mix.schema import RECORD_SCHEMA
from smollm3_mix.sources.hub_files.commits import COMMIT
from smollm3_mix.table_format import markdown_table

_SIZES = (
    "n<1K",
    "1K<n<10K",
    "10K<n<100K",
    "100K<n<1M",
    "1M<n<10M",
    "10M<n<100M",
    "100M<n<1B",
    "1B<n<10B",
    "10B<n<100B",
)

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_LANGUAGE = re.compile(r"([a-z]{2,3})([_-].+)?")


@dataclass(frozen=True)
class Home:
    """Location of the mix of a card.

    Attributes:
        repo_id: First argument of `load_dataset`.
        config: Name of the config.
        folder: Folder of the mix in the repository with a trailing slash. Empty for the root.
        name_config: Whether `load_dataset` needs the name of the config.
    """

    repo_id: str = "path/to/this/folder"
    config: str = "default"
    folder: str = ""
    name_config: bool = False

    @property
    def load(self) -> str:
        """First arguments of `load_dataset`."""
        return f'"{self.repo_id}", "{self.config}"' if self.name_config else f'"{self.repo_id}"'


def template() -> Template:
    """Return the template of the card: `dataset_card.md` of the checkout, or its copy in the installed package."""
    package = Path(__file__).parents[2]
    path = next(p for p in (package / "dataset_card.md", package.parent / "dataset_card.md") if p.exists())
    return Template(path.read_text(encoding="utf-8"))


def dataset_card(recipe: AnyRecipe, summary: Mapping[str, Any], home: Home = Home()) -> str:
    """Return the card of a written mix: metadata for `load_dataset`, and tables of its statistics.

    Args:
        recipe: Recipe of the written mix.
        summary: Content of `stats.json`.
        home: Location of the mix.
    """
    train = MixStats.from_dict(summary["splits"]["train"]["sources"])
    table = source_rows(recipe, train)
    deviations = [f"* `{source.id}`: {source.deviation}" for source in recipe.active if source.deviation]
    filled = template().substitute(
        metadata=dump(metadata(recipe, summary, home)),
        title=home.config if home.folder else f"{summary['name']} mixture",
        description=recipe.description or "A data mixture.",
        summary=_summary(recipe, summary),
        load=home.load,
        chart=bars(table),
        weigh_by=recipe.weigh_by,
        shares=markdown_table(shares_table(table, recipe.weigh_by)),
        drops=drops_markdown(train),
        missing="\n".join(_missing(recipe, train)) or "All sources are available.",
        sources=markdown_table(_origins(recipe, train), words=(0, 1, 2, 3)),
        deviations="\n".join(["Differences from the official recipe:", "", *deviations]) if deviations else "",
        here=_rebuild_notes(recipe, summary["recipe"]),
        command=f"smollm3-mix write {home.folder}recipe.yaml --output-dir DIR{_limits(summary['request'])}",
        fingerprint=summary["recipe"],
        version=summary["request"]["version"],
    )
    return re.sub(r"\n{3,}", "\n\n", filled)


def dump(metadata: Mapping[str, Any]) -> str:
    """Return metadata as YAML, without the lines of `---`."""
    text: str = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True, width=120)
    return text.rstrip()


def size_category(records: int) -> str:
    """Return the size category of the Hub for a number of records, such as `1K<n<10K`."""
    return _SIZES[min(max(len(str(records)) - 3, 0), len(_SIZES) - 1)] if records else _SIZES[0]


def metadata(recipe: AnyRecipe, summary: Mapping[str, Any], home: Home) -> dict[str, Any]:
    """Return the metadata of the card, by the card specification of the Hub."""
    splits = {split: counts["total"]["emitted"] for split, counts in summary["splits"].items()}
    # Bytes of text only. `datasets` compares the number of examples, not bytes, when it loads.
    sizes = {split: counts["total"]["emitted_bytes"] for split, counts in summary["splits"].items()}
    used = [source for source in recipe.active if _emitted(summary, source.id)]
    hub = [source.name for source in used if COMMIT.fullmatch(source.revision or "")]
    entries = {
        "pretty_name": f"{summary['name']} mixture",
        "language": _distinct(_language(source) for source in used),
        "license": _distinct(classify_license(source.license).hub for source in used),
        "task_categories": ["text-generation"],
        "tags": ["smollm3_mix", "pretraining", "data-mixture"],
        "source_datasets": _distinct(name for name in hub if name and _REPOSITORY.fullmatch(name)),
        "size_categories": [size_category(sum(splits.values()))],
        "configs": [
            {
                "config_name": home.config,
                "data_files": [
                    {"split": split, "path": _one_or_all([f"{home.folder}data/{each}" for each in found])}
                    for split in splits
                    if (found := patterns(split, summary["files"]))
                ],
            }
        ],
        "dataset_info": [
            {
                "config_name": home.config,
                "features": [{"name": field.name, "dtype": str(field.type)} for field in RECORD_SCHEMA],
                "splits": [
                    {"name": split, "num_bytes": sizes[split], "num_examples": records}
                    for split, records in splits.items()
                    if records
                ],
                "download_size": sum(summary["files"].values()),
                "dataset_size": sum(sizes.values()),
            }
        ],
    }
    return {key: value for key, value in entries.items() if value}


def _one_or_all(values: list[str]) -> str | list[str]:
    """Return a list, or its only value."""
    return values[0] if len(values) == 1 else values


def _emitted(summary: Mapping[str, Any], source: str) -> int:
    return sum(counts["sources"].get(source, {}).get("emitted", 0) for counts in summary["splits"].values())


def _distinct(values: Any) -> list[str]:
    return sorted({value for value in values if value})


def _language(source: Source) -> str | None:
    """Return the language for the metadata of the Hub: two or three letters, or `code`."""
    if source.kind.type == "code":
        return "code"
    found = _LANGUAGE.fullmatch(source.kind.language or "")
    return found and found[1]


def _summary(recipe: AnyRecipe, summary: Mapping[str, Any]) -> str:
    train = summary["splits"]["train"]["total"]
    held_out = summary["splits"].get("validation", {}).get("total", {}).get("emitted", 0)
    return (
        f"{train['emitted']:,} records ({train['emitted_tokens']:,} tokens, {train['emitted_bytes']:,} bytes of text) "
        f"of {len(recipe.active)} sources in {recipe.lanes} lanes"
        + (f", and {held_out:,} records held out for validation" if held_out else "")
        + f", in {len(summary['files']):,} files of {sum(summary['files'].values()):,} bytes. "
        f"Written by smollm3_mix {summary['request']['version']} from the recipe in `recipe.yaml`."
    )


def _missing(recipe: AnyRecipe, stats: MixStats) -> list[str]:
    """Return a line per source that is not in the mix, and per source with documents that could not be fetched."""
    total = recipe.raw_sum
    lines = [
        f"* `{source.id}` ({source.weight / total:.4%} of the weights): {source.unavailable}"
        for source in recipe.sources
        if source.unavailable is not None
    ]
    return lines + [
        f"* `{source}`: {counts.dropped['blob_missing']:,} of {counts.read:,} texts are no longer available"
        for source, counts in stats.sources.items()
        if counts.dropped.get("blob_missing")
    ]


def _origins(recipe: AnyRecipe, stats: MixStats) -> list[list[str]]:
    table = [["source", "dataset", "revision", "license", "passes"]]
    for source in recipe.active:
        names = (public_name(source), source.config, source.data_dir and display_name(source.data_dir))
        dataset = " ".join(name for name in names if name)
        dataset += " (local files)" if is_local(source) else ""
        passes = stats.sources[source.id].passes
        table.append([source.id, dataset, source.revision or "", source.license or "not stated", str(passes)])
    return table


def _rebuild_notes(recipe: AnyRecipe, fingerprint: str) -> str:
    """Return obstacles to rebuilding the mix on another machine. Empty if there are none.

    Args:
        recipe: Recipe of the written mix.
        fingerprint: Fingerprint of the recipe that was mixed.
    """
    notes = []
    if local := [f"`{source.id}`" for source in recipe.active if is_local(source)]:
        notes.append(f"To rebuild the mix, you need the local files of {', '.join(local)}.")
    if recipe.fingerprint != fingerprint:
        notes.append(
            "`recipe.yaml` names files without their folders, so its fingerprint differs from the one below, which is "
            "that of the recipe that was mixed."
        )
    return " ".join(notes)


def _limits(request: Mapping[str, Any]) -> str:
    limits = ("max_samples", "max_tokens", "max_bytes")
    return "".join(f" --{name.replace('_', '-')} {request[name]}" for name in limits if request[name])
