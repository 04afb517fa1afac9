"""Measure tokens per byte of each source on a sample of its documents."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smollm3_mix.errors import OutputError, RecipeError, SourceExhaustedError
from smollm3_mix.mix.block_pipeline import filter_raw_block
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.mix.options import MixOptions, check_options, requested_recipe
from smollm3_mix.recipe.curriculum import AnyRecipe, Curriculum, RecipeLike
from smollm3_mix.recipe.display_names import display_name
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.sections import TokenCounting
from smollm3_mix.recipe.shipped import find_recipe
from smollm3_mix.report.recipe_edits import with_ratios
from smollm3_mix.sizes import Count, parse_count
from smollm3_mix.sources.block_reader import Reader
from smollm3_mix.sources.partition import partition_source
from smollm3_mix.sources.resolved_recipe import ResolvedRecipe
from smollm3_mix.sources.source_files import ResolvedSource
from smollm3_mix.storage.atomic_files import replace_file
from smollm3_mix.table_format import Table, html_table
from smollm3_mix.text.lengths import byte_lengths
from smollm3_mix.tokenizer import recipe_tokenizer
from smollm3_mix.tokenizer.encoder import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Unpack

TOKENIZER = "HuggingFaceTB/SmolLM3-3B"
SAMPLES = 2000

POSITIONS = 16
"""Number of positions, spread evenly over the files of a source, from which documents are sampled."""


@dataclass(frozen=True)
class TokenRatio:
    """Measured tokens per byte of one source.

    Attributes:
        source: Id of the source.
        documents: Number of sampled documents after cleaning and filters.
        bytes: UTF-8 bytes of their texts.
        tokens: Tokens of their texts.
        error: Relative standard error of tokens ÷ bytes, a ratio of sums (Cochran, Sampling Techniques, 6.4).
        before: Value in the recipe.
    """

    source: str
    documents: int
    bytes: int
    tokens: int
    error: float
    before: float

    @property
    def value(self) -> float:
        """Tokens per byte, as a ratio of sums and not as a mean of ratios."""
        return self.tokens / self.bytes


@dataclass(frozen=True, repr=False)
class Calibration:
    """Measured tokens per byte of a recipe's sources.

    Attributes:
        recipe: Recipe that was measured.
        ratios: Ratios by source id.
        tokenizer: Name of the tokenizer.
        sha256: SHA-256 of the tokenizer's file.
        text: Content of the recipe file, or empty if the recipe was not loaded from a file.
    """

    recipe: Recipe
    ratios: dict[str, TokenRatio]
    tokenizer: str
    sha256: str
    text: str = ""

    def apply(self, recipe: Recipe) -> Recipe:
        """Return a recipe with the measured `tokens_per_byte` of every source that was measured."""
        values = {source: float(format_ratio(ratio.value)) for source, ratio in self.ratios.items()}
        sources = (
            replace(source, tokens_per_byte=values.get(source.id, source.tokens_per_byte)) for source in recipe.sources
        )
        return replace(recipe, sources=tuple(sources))

    def to_yaml(self, path: str | os.PathLike[str]) -> None:
        """Write the recipe with the measured ratios to a new file.

        Everything else in the recipe file is unchanged, comments included. If its entries cannot be edited, because
        they are aliases or plain names, the recipe is written without its comments.

        Raises:
            OutputError: If the file exists or cannot be written.
        """
        file = check_new_file(path)
        changed = with_ratios(self.text, self._values_by_position()) if self.text else ""
        expected = self.apply(self.recipe)
        if not changed or _sources_of(changed) != expected.sources:
            changed = expected.to_yaml()
        text = header(self.recipe, display_name(self.tokenizer), self.sha256, self.ratios.values()) + changed
        replace_file(file, text.encode())

    def _values_by_position(self) -> dict[int, str]:
        positions = enumerate(source.id for source in self.recipe.sources)
        return {number: format_ratio(self.ratios[id_].value) for number, id_ in positions if id_ in self.ratios}

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as JSON-able values."""
        return {
            "recipe": self.recipe.name,
            "tokenizer": self.tokenizer,
            "sha256": self.sha256,
            "ratios": {
                source: asdict(ratio) | {"tokens_per_byte": float(format_ratio(ratio.value))}
                for source, ratio in self.ratios.items()
            },
        }

    def __repr__(self) -> str:
        return f"Calibration({self.recipe.name!r}, {len(self.ratios)} sources, tokenizer={self.tokenizer!r})"

    def _repr_html_(self) -> str:
        return html_table(ratios_table(self.ratios.values()))


def calibrate(
    recipe: RecipeLike,
    *,
    tokenizer: str | os.PathLike[str] = TOKENIZER,
    samples: Count = SAMPLES,
    on_progress: Callable[[TokenRatio], None] | None = None,
    **options: Unpack[MixOptions],
) -> Calibration:
    """Measure tokens per byte of each source on a sample of its cleaned and filtered documents.

    Args:
        recipe: Recipe, or its path, URL or shipped name.
        tokenizer: File, folder or Hub repository of the tokenizer.
        samples: Number of documents per source.
        on_progress: Called with the ratio of each source.
        **options: Options of `open_mix`.

    Raises:
        RecipeError: If the recipe is missing or invalid, or is a curriculum.
        UnreadableSourcesError: If sources cannot be read.
        SourceExhaustedError: If cleaning and filters keep no document of a source.
        SourceError: If a source or the tokenizer cannot be read.
        MissingExtraError: If `tokenizers` is not installed.
        TypeError: If an option is unknown.
    """
    check_options("calibrate", options, ("tokenizer", "samples", "on_progress"))
    loaded = requested_recipe(recipe)
    if isinstance(loaded, Curriculum):
        raise RecipeError(loaded.file, ["a curriculum cannot be calibrated. Calibrate the recipe of each stage"])
    text = "" if isinstance(recipe, AnyRecipe) else find_recipe(recipe).read_text(encoding="utf-8")
    name = os.fspath(tokenizer)
    path, _ = recipe_tokenizer.find_tokenizer(TokenCounting(name), loaded.folder, options.get("token"))
    encoder = Tokenizer(path)
    mix = open_mix(loaded, **options)
    number = parse_count(samples, "samples")
    ratios = measure_ratios(mix.resolved, encoder, number, on_progress or (lambda _: None))
    return Calibration(loaded, ratios, name, hashlib.sha256(Path(path).read_bytes()).hexdigest(), text)


def check_new_file(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file that can be created. Its folder is created.

    Raises:
        OutputError: If the file exists or cannot be written.
    """
    file = Path(path)
    if file.exists():
        raise OutputError(f"{file} exists. Name a new file with --output, or delete this one.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create {file.parent}: {error.strerror}. Name another file with --output.") from error
    if not os.access(file.parent, os.W_OK):
        raise OutputError(f"cannot write in {file.parent}. Name another file with --output.")
    return file


def _sources_of(text: str) -> tuple[Source, ...]:
    """Return the sources of a recipe's text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(path).sources


def measure_ratios(
    resolved: ResolvedRecipe, tokenizer: Tokenizer, samples: int, on_progress: Callable[[TokenRatio], None]
) -> dict[str, TokenRatio]:
    """Return the ratio of each active source, in recipe order.

    Args:
        resolved: Resolved sources.
        tokenizer: Tokenizer. Its tokens before and after documents are counted too.
        samples: Number of documents per source. Sources with fewer documents are measured completely.
        on_progress: Called with each ratio.

    Raises:
        SourceExhaustedError: If cleaning and filters keep no document of a source.
        SourceError: If a source cannot be read.
    """
    ratios = {}
    for source in resolved.recipe.active:
        ratio = _measure(resolved, source, resolved.sources[source.id], tokenizer, samples)
        on_progress(ratio)
        ratios[source.id] = ratio
    return ratios


def _measure(
    resolved_recipe: ResolvedRecipe, source: Source, resolved: ResolvedSource, tokenizer: Tokenizer, samples: int
) -> TokenRatio:
    (recipe,), remaining = resolved_recipe.recipe.recipes, samples
    lengths, counts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    partition = partition_source(resolved, POSITIONS, recipe.seed, recipe.shuffle == "block")
    for position, slices in enumerate(partition):
        reader = Reader(source, resolved, slices, recipe.block, resolved_recipe.token, resolved_recipe.excluded)
        quota = -(-remaining // (len(partition) - position))  # later positions make up for short earlier ones
        while quota > 0 and (raw := reader.read()) is not None:
            filtered = filter_raw_block(raw, recipe, source, "train")
            texts = filtered.texts.filter(filtered.reasons.is_null()).slice(0, quota)
            lengths.append(byte_lengths(texts))
            counts.append(tokenizer.count(texts))
            quota, remaining = quota - len(texts), remaining - len(texts)
        reader.close()
    bytes_, tokens = np.concatenate(lengths), np.concatenate(counts)
    if not bytes_.sum():
        raise SourceExhaustedError(
            f"{recipe.file}: source {source.id!r} has no document to measure, because cleaning and filters keep none. "
            "Relax its `filters` or `where`, or remove it from the recipe.",
            source=source.id,
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


def ratios_table(ratios: Iterable[TokenRatio]) -> Table:
    """Return a table with one row per source. The first row is the header."""
    table = [["source", "before", "measured", "error", "documents", "bytes", "tokens"]]
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
        for each in ratios
    ]


def format_ratio(value: float) -> str:
    """Return a ratio with four digits, as in recipes."""
    return f"{value:.4f}" if value >= 0.1 else f"{value:.4g}"


def header(recipe: AnyRecipe, tokenizer: str, digest: str, ratios: Iterable[TokenRatio]) -> str:
    """Return comments for the top of a recipe file that describe the measurement."""
    rows = [
        f"#   {each.source}: {format_ratio(each.value)} ± {each.error:.2%} "
        f"({each.documents:,} documents, {each.bytes:,} bytes, {each.tokens:,} tokens, before {each.before:.4g})"
        for each in ratios
    ]
    head = f"# tokens_per_byte of {recipe.name}: measured by `smollm3-mix calibrate` with {tokenizer} (sha256 {digest})"
    return "\n".join([head, "# on documents after cleaning and filters:", *rows, ""])
