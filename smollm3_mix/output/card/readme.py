"""README of a mix in a format other than Parquet, and usage lines for every format."""

from collections.abc import Mapping
from typing import Any

from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output.output_formats import BY_SOURCE
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.sections import TokenCounting
from smollm3_mix.report.source_rows import source_rows
from smollm3_mix.report.tables import drops_markdown, shares_table
from smollm3_mix.table_format import markdown_table


def usage(format_name: str, folder: str) -> str:
    """Return a line about how to read a mix of this format. `folder` may be a URL."""
    arguments = f'"{folder}"' if "://" not in folder else f'"parquet", data_files="{folder}/data/**/train-*.parquet"'
    return {
        "parquet": _load_line(arguments),
        BY_SOURCE: f"Mix it with any weights: smollm3-mix take {folder}/recipe.yaml\n",
        "nanotron": f"Use it in a nanotron config: dataset_folder: {folder}/data/train\n",
        "megatron": f"Use it in Megatron-LM: --data-path {folder}/data/train/train-00000-00000 …\n",
    }[format_name]


def pushed_usage(repo_id: str, config: str, revision: str | None) -> str:
    """Return a line about how to load a mix from the Hub."""
    arguments = f'"{repo_id}", "{config}"' + (f', revision="{revision}"' if revision else "")
    return _load_line(arguments)


def _load_line(arguments: str) -> str:
    return f'Load it: datasets.load_dataset({arguments}, split="train", streaming=True)\n'


def readme(recipe: AnyRecipe, summary: Mapping[str, Any]) -> str:
    """Return the content and usage of a written mix, with its tables.

    Args:
        recipe: Recipe of the written mix.
        summary: Content of `stats.json`.
    """
    train = MixStats.from_dict(summary["splits"]["train"]["sources"])
    format_name = summary["request"]["format"]
    about = _by_source(summary) if format_name == BY_SOURCE else _tokens(recipe, format_name)
    sections = [
        f"---\npretty_name: {summary['name']} mixture\ntags: [smollm3_mix, {format_name}]\n---",
        f"# {summary['name']}, {'by source' if format_name == BY_SOURCE else f'as tokens for {format_name}'}",
        recipe.description,
        *about,
        usage(format_name, "DIR").rstrip(),
        "## Target and actual shares",
        markdown_table(shares_table(source_rows(recipe, train), recipe.weigh_by)),
        "## Dropped documents",
        drops_markdown(train),
        f"Fingerprint of the recipe: `{summary['recipe']}`. The texts remain under the licenses of their sources.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _by_source(summary: Mapping[str, Any]) -> list[str]:
    table = [["source", "documents", "tokens"]]
    table += [[id_, f"{own['documents']:,}", f"{own['tokens']:,}"] for id_, own in summary["stored"].items()]
    about = (
        "Cleaned, filtered and deduplicated documents by source and lane, in the order in which the mix places them. "
        "`recipe.yaml` mixes them into the original mix, record for record. With other weights, the mix ends when a "
        "source ends."
    )
    return [about, "## Stored", markdown_table(table)]


def _tokens(recipe: AnyRecipe, format_name: str) -> list[str]:
    counting = recipe.tokens
    if not isinstance(counting, TokenCounting):
        raise TypeError(f"Token files need a tokenizer, got tokens: {counting}.")
    files = (
        "`.bin` and `.idx`, version 1, one sequence per document"
        if format_name == "megatron"
        else "`.ds` with `.ds.index`"
    )
    about = (
        f"Tokens of `{counting.tokenizer}` (sha256 `{counting.sha256}`), {files}, in one folder per split. "
        f"By file name, the documents are in order of lanes. Token before each document: {_token(counting.bos)}. "
        f"Token after each document: {_token(counting.eos)}. Both are counted, so the shares are those of the files."
    )
    return [about]


def _token(token: str | None) -> str:
    return f"`{token}`" if token else "none"
