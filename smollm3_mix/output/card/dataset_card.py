"""The README.md of a written mix. Everything in it comes from the recipe and the tally."""

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
from smollm3_mix.recipe.display_names import display_name
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.public_paths import is_local, public_name
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.report.source_rows import source_rows
from smollm3_mix.report.tables import bars, drops_in_words, shares_table
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
    """Where the mix lies that a card is of.

    Attributes:
        repository: what `load_dataset` is given.
        config: name of its config.
        folder: of the mix in the repository, with a slash behind it; empty: it is the repository.
        ask: whether the config must be named to load it.
    """

    repository: str = "path/to/this/folder"
    config: str = "default"
    folder: str = ""
    ask: bool = False

    @property
    def load(self) -> str:
        """The first arguments of `load_dataset`."""
        return f'"{self.repository}", "{self.config}"' if self.ask else f'"{self.repository}"'


def template() -> Template:
    """The card's template: `dataset_card.md` of the checkout, or its copy in the installed package."""
    package = Path(__file__).parents[2]
    path = next(p for p in (package / "dataset_card.md", package.parent / "dataset_card.md") if p.exists())
    return Template(path.read_text(encoding="utf-8"))


def dataset_card(recipe: Recipe, summary: Mapping[str, Any], home: Home = Home()) -> str:
    """The card of a written mix: metadata that `datasets` loads by, and the tables of what came out.

    Args:
        recipe: with every source pinned, as it lies beside the mix.
        summary: what `stats.json` holds.
        home: where the mix lies.
    """
    train = MixStats.from_dict(summary["splits"]["train"]["sources"])
    table = source_rows(recipe, train)
    deviations = [f"* `{source.id}`: {source.deviation}" for source in recipe.active if source.deviation]
    filled = template().substitute(
        metadata=dump(metadata(recipe, summary, home)),
        title=home.config if home.folder else f"{summary['name']}, as mixed",
        description=recipe.description or "A data mixture.",
        summary=_summary(recipe, summary),
        load=home.load,
        chart=bars(table),
        weigh_by=recipe.weigh_by.capitalize(),
        shares=markdown_table(shares_table(table, recipe.weigh_by)),
        drops=drops_in_words(train),
        missing="\n".join(_missing(recipe, train)) or "Nothing is missing.",
        sources=markdown_table(_origins(recipe, train), words=(0, 1, 2, 3)),
        deviations="\n".join(["Not quite what the official recipe names:", "", *deviations]) if deviations else "",
        here=_only_here(recipe, summary["recipe"]),
        command=f"smollm3-mix write {home.folder}recipe.yaml --output-dir DIR{_limits(summary['request'])}",
        fingerprint=summary["recipe"],
        version=summary["request"]["version"],
    )
    return re.sub(r"\n{3,}", "\n\n", filled)


def dump(metadata: Mapping[str, Any]) -> str:
    """Metadata as YAML, to stand between two lines of `---`."""
    text: str = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True, width=120)
    return text.rstrip()


def size_category(records: int) -> str:
    """The Hub's name for so many records: `1K<n<10K`."""
    return _SIZES[min(max(len(str(records)) - 3, 0), len(_SIZES) - 1)] if records else _SIZES[0]


def metadata(recipe: Recipe, summary: Mapping[str, Any], home: Home) -> dict[str, Any]:
    """The card's metadata, as the Hub's card specification has it."""
    splits = {split: counts["total"]["emitted"] for split, counts in summary["splits"].items()}
    # Of the text alone, as the tally counts them; `datasets` compares numbers of examples, and no bytes, when it loads.
    sizes = {split: counts["total"]["emitted_bytes"] for split, counts in summary["splits"].items()}
    used = [source for source in recipe.active if _given(summary, source.id)]
    hub = [source.name for source in used if COMMIT.fullmatch(source.revision or "")]
    whole = {
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
                    {"name": split, "num_bytes": sizes[split], "num_examples": given}
                    for split, given in splits.items()
                    if given
                ],
                "download_size": sum(summary["files"].values()),
                "dataset_size": sum(sizes.values()),
            }
        ],
    }
    return {key: value for key, value in whole.items() if value}


def _one_or_all(values: list[str]) -> str | list[str]:
    """A list, or its one value, as the Hub's pages write it."""
    return values[0] if len(values) == 1 else values


def _given(summary: Mapping[str, Any], source: str) -> int:
    return sum(counts["sources"].get(source, {}).get("emitted", 0) for counts in summary["splits"].values())


def _distinct(values: Any) -> list[str]:
    return sorted({value for value in values if value})


def _language(source: Source) -> str | None:
    """The language as the Hub's metadata has it: two or three letters, or `code`."""
    if source.kind.type == "code":
        return "code"
    found = _LANGUAGE.fullmatch(source.kind.language or "")
    return found and found[1]


def _summary(recipe: Recipe, summary: Mapping[str, Any]) -> str:
    train = summary["splits"]["train"]["total"]
    held = summary["splits"].get("validation", {}).get("total", {}).get("emitted", 0)
    return (
        f"{train['emitted']:,} records ({train['emitted_tokens']:,} tokens, {train['emitted_bytes']:,} bytes of text) "
        f"of {len(recipe.active)} sources in {recipe.lanes} lanes"
        + (f", and {held:,} records held out for validation" if held else "")
        + f", in {len(summary['files']):,} files of {sum(summary['files'].values()):,} bytes. "
        f"Written by smollm3_mix {summary['request']['version']} from the recipe in `recipe.yaml`."
    )


def _missing(recipe: Recipe, stats: MixStats) -> list[str]:
    """A line for each source that is not in the mix, and for each of which documents could not be fetched."""
    total = recipe.raw_sum
    lines = [
        f"* `{source.id}` ({source.weight / total:.4%} of the weights): {source.unavailable}"
        for source in recipe.sources
        if source.unavailable is not None
    ]
    return lines + [
        f"* `{source}`: {counts.dropped['blob_missing']:,} of {counts.read:,} texts are not stored any more"
        for source, counts in stats.sources.items()
        if counts.dropped.get("blob_missing")
    ]


def _origins(recipe: Recipe, stats: MixStats) -> list[list[str]]:
    table = [["source", "from", "revision", "classify_license", "passes"]]
    for source in recipe.active:
        parts = (public_name(source), source.config, source.data_dir and display_name(source.data_dir))
        place = " ".join(part for part in parts if part)
        place += " (local files)" if is_local(source) else ""
        passes = stats.sources[source.id].passes
        table.append([source.id, place, source.revision or "", source.license or "not stated", str(passes)])
    return table


def _only_here(recipe: Recipe, fingerprint: str) -> str:
    """What whoever would rebuild the mix elsewhere must know; empty if nothing stands in the way.

    Args:
        recipe: as it lies beside the mix.
        fingerprint: of the recipe that was mixed.
    """
    said = []
    if local := [f"`{source.id}`" for source in recipe.active if is_local(source)]:
        said.append(f"It reads local files, which whoever rebuilds it needs as well: those of {', '.join(local)}.")
    if recipe.fingerprint != fingerprint:
        said.append(
            "`recipe.yaml` names files without the folders they were in, so its fingerprint is not the one below, that "
            "of the recipe that was mixed."
        )
    return " ".join(said)


def _limits(request: Mapping[str, Any]) -> str:
    limits = ("max_samples", "max_tokens", "max_bytes")
    return "".join(f" --{name.replace('_', '-')} {request[name]}" for name in limits if request[name])
