"""Tokens in a byte of each source, measured on a sample of its real documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from smollm3_mix.errors import SourceExhaustedError
from smollm3_mix.mix.block_pipeline import filter_raw_block
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sources.block_reader import Reader
from smollm3_mix.sources.partition import partition_source
from smollm3_mix.sources.resolved_recipe import ResolvedRecipe
from smollm3_mix.sources.source_files import ResolvedSource
from smollm3_mix.table_format import Table
from smollm3_mix.text.lengths import byte_lengths
from smollm3_mix.tokenizer.encoder import Tokenizer

PLACES = 16
"""Places of a source from which documents are taken, evenly spread over its files."""


@dataclass(frozen=True)
class TokenRatio:
    """What was measured of one source.

    Attributes:
        source: its id.
        documents: cleaned and kept ones that were counted.
        bytes: of their texts, in UTF-8.
        tokens: of them all.
        error: standard error of tokens ÷ bytes, as a part of it (a ratio of sums: Cochran, Sampling Techniques, 6.4).
        before: what the recipe had.
    """

    source: str
    documents: int
    bytes: int
    tokens: int
    error: float
    before: float

    @property
    def value(self) -> float:
        """Tokens in a byte: a ratio of sums, not a mean of ratios."""
        return self.tokens / self.bytes


def measure_ratios(
    plan: ResolvedRecipe, tokenizer: Tokenizer, samples: int, on_progress: Callable[[TokenRatio], None]
) -> list[TokenRatio]:
    """The ratio of each source that is read, in recipe order.

    Args:
        plan: the opened sources.
        tokenizer: counts; what it puts before and after documents is counted with them.
        samples: documents of each source, fewer where it has fewer.
        on_progress: called with each.

    Raises:
        SourceExhaustedError: a source has no document that cleaning and judging keep.
        SourceError: a source cannot be read.
    """
    found = []
    for source in plan.recipe.active:
        ratio = _measured(plan, source, plan.resolved[source.id], tokenizer, samples)
        on_progress(ratio)
        found.append(ratio)
    return found


def _measured(
    plan: ResolvedRecipe, source: Source, resolved: ResolvedSource, tokenizer: Tokenizer, samples: int
) -> TokenRatio:
    recipe, lengths, counts, left = plan.recipe, [np.empty(0, np.int64)], [np.empty(0, np.int64)], samples
    dealt = partition_source(resolved, PLACES, recipe.seed, recipe.shuffle == "block")
    for place, parts in enumerate(dealt):
        reader = Reader(source, resolved, parts, recipe.block, plan.token, plan.excluded)
        wanted = -(-left // (len(dealt) - place))  # what earlier places lacked is made up for by later ones
        while wanted > 0 and (raw := reader.read()) is not None:
            prepared = filter_raw_block(raw, recipe, source, "train")
            texts = prepared.texts.filter(prepared.reasons.is_null()).slice(0, wanted)
            lengths.append(byte_lengths(texts))
            counts.append(tokenizer.count(texts))
            wanted, left = wanted - len(texts), left - len(texts)
        reader.close()
    bytes_, tokens = np.concatenate(lengths), np.concatenate(counts)
    if not bytes_.sum():
        raise SourceExhaustedError(
            f"{recipe.file}: source {source.id!r} has no document to measure: cleaning and judging keep none. "
            "Loosen its `filters` or `where`, or remove it from the recipe."
        )
    value = tokens.sum() / bytes_.sum()
    spread = float(np.sqrt(np.square(tokens - value * bytes_).sum()))
    return TokenRatio(
        source.id,
        len(bytes_),
        int(bytes_.sum()),
        int(tokens.sum()),
        spread / max(int(tokens.sum()), 1),
        source.tokens_per_byte,
    )


def ratios_table(found: list[TokenRatio]) -> Table:
    """A row for each source; first row the headings."""
    table = [["source", "was", "measure_ratios", "error", "documents", "bytes", "tokens"]]
    return table + [
        [
            each.source,
            f"{each.before:.4g}",
            format_ratio(each.value),
            f"{each.error:.2%}",
            f"{each.documents:,}",
            f"{each.bytes:,}",
            f"{each.tokens:,}",
        ]
        for each in found
    ]


def format_ratio(value: float) -> str:
    """A ratio as it is written into a recipe, to four digits."""
    return f"{value:.4f}" if value >= 0.1 else f"{value:.4g}"


def header(recipe: Recipe, tokenizer: str, digest: str, found: list[TokenRatio]) -> str:
    """Comments for the top of the recipe that say what was measured."""
    rows = [
        f"#   {each.source}: {format_ratio(each.value)}, give or take {each.error:.2%} "
        f"({each.documents:,} documents, {each.bytes:,} bytes, {each.tokens:,} tokens; was {each.before:.4g})"
        for each in found
    ]
    head = f"# tokens_per_byte of {recipe.name}: measured by `smollm3-mix calibrate` with {tokenizer} (sha256 {digest})"
    return "\n".join([head, "# on documents as they come out of cleaning and judging:", *rows, ""])
