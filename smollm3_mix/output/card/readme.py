"""The README.md of a mix that is not a table for `load_dataset`, and the line that says how to read any mix."""

from collections.abc import Mapping
from typing import Any

from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output.output_formats import BY_SOURCE
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.sections import TokenCounting
from smollm3_mix.report.source_rows import source_rows
from smollm3_mix.report.tables import drops_in_words, shares_table
from smollm3_mix.table_format import markdown_table


def usage(form: str, folder: str) -> str:
    """How a mix of this format is read, one line; `folder` may be a URL."""
    named = f'"{folder}"' if "://" not in folder else f'"parquet", data_files="{folder}/data/**/train-*.parquet"'
    return {
        "parquet": _loaded(named),
        BY_SOURCE: f"Mix them: smollm3-mix take {folder}/recipe.yaml, under any weights, without the sources.\n",
        "nanotron": f"Read them: dataset_folder: {folder}/data/train in a nanotron config.\n",
        "megatron": f"Read them: --data-path {folder}/data/train/train-00000-00000 and so on, in Megatron-LM.\n",
    }[form]


def pushed_readme(repository: str, config: str, branch: str | None) -> str:
    """How a mix that went to the Hub is read, one line."""
    named = f'"{repository}", "{config}"' + (f', revision="{branch}"' if branch else "")
    return _loaded(named)


def _loaded(named: str) -> str:
    return f'Load them: datasets.load_dataset({named}, split="train", streaming=True)\n'


def readme(recipe: Recipe, summary: Mapping[str, Any]) -> str:
    """What lies in the folder and how it is read, with the tables of what came out.

    Args:
        recipe: as it lies beside the files.
        summary: what `stats.json` holds.
    """
    train = MixStats.from_dict(summary["splits"]["train"]["sources"])
    form = summary["request"]["format"]
    about = _by_source(summary) if form == BY_SOURCE else _tokens(recipe, form)
    parts = [
        f"---\npretty_name: {summary['name']} mixture\ntags: [smollm3_mix, {form}]\n---",
        f"# {summary['name']}, {'by source' if form == BY_SOURCE else f'as tokens for {form}'}",
        recipe.description,
        *about,
        usage(form, "DIR").rstrip(),
        "## Asked and given",
        markdown_table(shares_table(source_rows(recipe, train), recipe.weigh_by)),
        "## What was dropped",
        drops_in_words(train),
        f"Fingerprint of the recipe: `{summary['recipe']}`. The texts remain under the licenses of their sources.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _by_source(summary: Mapping[str, Any]) -> list[str]:
    table = [["source", "documents", "tokens"]]
    table += [[id_, f"{own['documents']:,}", f"{own['tokens']:,}"] for id_, own in summary["stored"].items()]
    about = (
        "Documents that were cleaned, judged and deduplicated, by source and lane, in the order in which the mix lays "
        "them. `recipe.yaml` mixes them: with its weights and limits into the mix they were stored of, record for "
        "record; with other weights until a source ends."
    )
    return [about, "## Stored", markdown_table(table)]


def _tokens(recipe: Recipe, form: str) -> list[str]:
    counting = recipe.tokens
    if not isinstance(counting, TokenCounting):
        raise TypeError(f"token files are written with a tokenizer, not with tokens: {counting}")
    files = "`.bin` and `.idx`, version 1, a document a sequence" if form == "megatron" else "`.ds` with `.ds.index`"
    about = (
        f"Tokens of `{counting.tokenizer}` (sha256 `{counting.sha256}`), {files}, in folders by split; in order of "
        f"file names, the documents are in order of lanes. Before each document: {_token(counting.bos)}; after each: "
        f"{_token(counting.eos)}. Both are counted as its tokens, so the shares are those of the files."
    )
    return [about]


def _token(token: str | None) -> str:
    return f"`{token}`" if token else "nothing"
