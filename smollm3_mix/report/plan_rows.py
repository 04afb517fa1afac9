"""Tokens, passes and bytes that a mix needs of each source."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.model import Source
from smollm3_mix.sources.preflight import text_density
from smollm3_mix.sources.source_files import ResolvedSource


@dataclass(frozen=True)
class PlanRow:
    """Estimates for one source of a mix.

    Attributes:
        source: Source of the recipe.
        files: Number of files. None if the source was not inspected or cannot be read.
        stored_bytes: Bytes of the files. None like `files`.
        tokens: Target number of tokens. None without a number of tokens for the mix.
        text_bytes: Bytes of text with that many tokens.
        passes: Number of passes over the source. None if unknown.
        bytes_to_read: Bytes to read. None if unknown.
        measured: Whether passes and bytes are from a file's footer, not from typical sizes.
    """

    source: Source
    files: int | None
    stored_bytes: int | None
    tokens: float | None
    text_bytes: float | None
    passes: int | None
    bytes_to_read: float | None
    measured: bool


def plan_rows(
    recipe: AnyRecipe, resolved: Mapping[str, ResolvedSource], tokens: float | None, token: Token = None
) -> tuple[PlanRow, ...]:
    """Return the estimates for each active source. They assume that no document is dropped.

    Args:
        recipe: Recipe of the mix.
        resolved: Files by source id. Sources may be missing.
        tokens: Number of tokens of the whole mix, or None.
        token: Hugging Face access token.
    """
    rows = []
    for source in recipe.active:
        found = resolved.get(source.id)
        target = None if tokens is None else recipe.shares[source.id] * tokens
        text_bytes = None if target is None else target / source.tokens_per_byte
        passes, bytes_to_read, measured = None, None, False
        if found is not None and found.bytes and text_bytes is not None:
            density, cost, measured = text_density(source, found, token)
            bytes_to_read = text_bytes * cost
            passes = None if density is None else ceil(text_bytes / (found.bytes * density))
        files, stored_bytes = (None, None) if found is None else (len(found.files), found.bytes)
        rows.append(PlanRow(source, files, stored_bytes, target, text_bytes, passes, bytes_to_read, measured))
    return tuple(rows)
