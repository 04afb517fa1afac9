"""Recipes and their sections as frozen dataclasses that reject invalid values."""

import dataclasses
import functools
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.fingerprint import fingerprint_digest, recipe_differences
from smollm3_mix.recipe.parsing import Problems, at_least, choice, plain, show
from smollm3_mix.recipe.sections import Decontaminate, Exclude, TokenCounting
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.dedup.dedup_options import Dedup
from smollm3_mix.text.filters.filter_options import FilterOptions

TOKENS = ("per_byte", "column")
WEIGH_BY = ("tokens", "bytes", "documents")
ORDERS = ("exact", "iid")
SHUFFLES = ("block", "none")
ON_EXHAUSTED = ("error", "stop", "renormalize", "repeat")
CONTENTS = ("inline", "swh", "records")
OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")

# Instances are frozen, so defaults can be shared.
_CLEAN, _FILTERS, _DEDUP = Cleaning(), FilterOptions(), Dedup()


def _refuse(*problems: Iterable[str]) -> None:
    found = [problem for group in problems for problem in group]
    if found:
        raise Problems(*found)


@dataclasses.dataclass(frozen=True)
class Kind:
    """The type and language of a source's text. Defaults of `Source.clean` and `Source.filters` follow from them.

    Attributes:
        type: prose, code, math or another word. Other words are cleaned like prose.
        language: Tag of the language (en, vi, fra_Latn, Python), or None.
    """

    SHORTHAND: ClassVar[str] = "type"
    type: str = "prose"
    language: str | None = None

    @property
    def cleaning(self) -> Cleaning:
        """The default cleaning of this kind of text."""
        return Cleaning(profile=self.type) if self.type in ("code", "math") else _CLEAN


@dataclasses.dataclass(frozen=True)
class Block:
    """Size of a block: `rows` raw rows or `bytes` of raw text, whichever is reached first."""

    rows: int = 1024
    bytes: int = 2**20

    def __post_init__(self) -> None:
        _refuse(at_least("rows", self.rows, 1), at_least("bytes", self.bytes, 1))


@dataclasses.dataclass(frozen=True)
class Holdout:
    """Documents of `split="validation"`, which train never emits.

    Attributes:
        fraction: Share of all documents, by hash of the cleaned text. 0 ≤ fraction < 1.
        tokens: Number of tokens at which the validation split ends.
    """

    fraction: float = 0.0
    tokens: int = 1_000_000

    def __post_init__(self) -> None:
        wide = () if 0 <= self.fraction < 1 else (f"fraction: expected 0 or more and less than 1, got {self.fraction}",)
        _refuse(wide, at_least("tokens", self.tokens, 1))


@dataclasses.dataclass(frozen=True)
class Source:
    """One dataset of a recipe.

    Attributes:
        id: The `source` of records; unique in a recipe. Default in a file: name[/config], with an absolute path
            from its last folder on.
        weight: Weight as written, ≥ 0. A source with weight 0 is not read.
        name: Hub repository or local path, as written. None only if the source is unavailable.
        config, data_dir, data_files, revision, split: As in `datasets.load_dataset`.
        text_field: A column, a dotted path, or several of these, joined by `separator`.
        id_field: Column or dotted path of the source's own document id.
        where: Conditions (column, operator, value) that a row must meet. Operators are `OPERATORS`.
        keep: Columns that are copied to `meta` of the record.
        kind: Type and language of the text.
        license: License of the text, for tables and the card.
        tokens_per_byte: Tokens per byte of UTF-8 text, > 0.
        tokens_field: Column with the number of tokens of each document, for `tokens: column`.
        max_passes: Maximum number of passes through the source, ≥ 1.
        clean: Cleaning of the source, else of the recipe, else of its kind.
        filters: Filters of the source, else of the recipe; the two are not merged. `kind` decides the preset `kind`
            and the language of filters.
        content: `inline`, `swh` if rows contain Software Heritage blob ids instead of text, or `records` for Parquet
            files made by `write`, whose lanes, ids, sources, files, rows and meta are kept.
        gated: Whether the Hub asks for consent before the source can be read.
        unavailable: Reason why the source cannot be read, or None. The source keeps its weight.
        deviation: Difference from the source that the official recipe names, or None.
    """

    id: str
    weight: float
    name: str | None = None
    config: str | None = None
    data_dir: str | None = None
    data_files: tuple[str, ...] | None = None
    revision: str | None = None
    split: str = "train"
    text_field: str | tuple[str, ...] = "text"
    separator: str = "\n\n"
    id_field: str | None = None
    where: tuple[tuple[str, str, Any], ...] = ()
    keep: tuple[str, ...] = ()
    kind: Kind = Kind()
    license: str | None = None
    tokens_per_byte: float = 0.25
    tokens_field: str | None = None
    max_passes: int = 1
    clean: Cleaning = _CLEAN
    filters: FilterOptions = _FILTERS
    content: str = "inline"
    gated: bool = False
    unavailable: str | None = None
    deviation: str | None = None

    def __post_init__(self) -> None:
        problems: list[str] = []
        if not self.id or not self.id.isprintable():
            problems.append(f"id: expected at least one character and no control characters, got {self.id!r}")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            problems.append(f"weight: expected a finite number of 0 or more, got {self.weight}")
        if not (math.isfinite(self.tokens_per_byte) and self.tokens_per_byte > 0):
            problems.append(f"tokens_per_byte: expected a number above 0, got {self.tokens_per_byte}")
        if self.name is None and self.unavailable is None:
            problems.append("missing key 'name' (Hub repository or local path, or give the reason in `unavailable`)")
        problems += [
            f"{key}: expected at least one character, got {getattr(self, key)!r}"
            for key in ("name", "config", "data_dir", "revision", "split", "id_field", "tokens_field", "unavailable")
            if getattr(self, key) == ""
        ]
        if not self.text_field or (isinstance(self.text_field, tuple) and "" in self.text_field):
            problems.append(f"text_field: expected a column or a list of columns, got {show(self.text_field)}")
        for index, (_, operator, value) in enumerate(self.where):
            problems += choice(f"where[{index}]", operator, OPERATORS)
            if operator.endswith("in") != isinstance(value, tuple):
                many = "a list" if operator.endswith("in") else "one value"
                problems.append(f"where[{index}]: expected {many} after {operator!r}, got {show(value)}")
        _refuse(problems, at_least("max_passes", self.max_passes, 1), choice("content", self.content, CONTENTS))
        # Lengths know no language; only presets and groups of rules do.
        if self.filters.preset is not None or any(map(dataclasses.is_dataclass, vars(self.filters).values())):
            object.__setattr__(self, "filters", self.filters.for_kind(self.kind.type, self.kind.language))


R = TypeVar("R", bound="RecipeDescription")


@dataclasses.dataclass(frozen=True)
class RecipeDescription:
    """The description of a mix. The order of sources decides ties.

    Attributes:
        sources: Key `datasets` in a file.
        file: Origin of the recipe as the user named it, for messages.
        folder: Absolute path of the folder in which relative local paths are tried first.
        weighted: False for lists without weights and `weighted: false`. Every weight is then 1, and a caller may
            concatenate the sources.
        ignored: Sentences about settings of `merge_datasets` files that are not used.
        exclude: Exclusion list, or None.
        decontaminate: Evaluation texts whose word n-grams are removed, or None.
        description, seed, lanes, weigh_by, order, block, shuffle, tokens, dedup, holdout, on_exhausted: As in a file.
    """

    sources: tuple[Source, ...]
    file: str = "a recipe made in Python"
    folder: str = ""
    description: str = ""
    seed: int = 42
    lanes: int = 16
    weigh_by: str = "tokens"
    order: str = "exact"
    block: Block = Block()
    shuffle: str = "block"
    tokens: str | TokenCounting = "per_byte"
    exclude: Exclude | None = None
    decontaminate: Decontaminate | None = None
    dedup: Dedup = _DEDUP
    holdout: Holdout = Holdout()
    on_exhausted: str = "error"
    weighted: bool = True
    ignored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seed = () if 0 <= self.seed < 2**63 else (f"seed: expected 0 or more and less than 2**63, got {self.seed}",)
        _refuse(
            seed,
            at_least("lanes", self.lanes, 1),
            choice("weigh_by", self.weigh_by, WEIGH_BY),
            choice("order", self.order, ORDERS),
            choice("shuffle", self.shuffle, SHUFFLES),
            _counted(self.tokens, self.sources),
            choice("on_exhausted", self.on_exhausted, ON_EXHAUSTED),
            _duplicate_sources(self.sources),
            _weights(self.sources),
        )

    @property
    def name(self) -> str:
        """Name of the file without its ending, such as `stage1` for stage1.smollm3_mix.yaml."""
        base = os.path.basename(self.file)  # noqa: PTH119 - a display name need not be a path of this platform
        for ending in (".smollm3_mix.yaml", ".smollm3_mix.yml", ".yaml", ".yml"):
            base = base.removesuffix(ending)
        return base

    @functools.cached_property
    def active(self) -> tuple[Source, ...]:
        """The available sources with a weight above 0."""
        return tuple(source for source in self.sources if source.unavailable is None and source.weight > 0)

    @functools.cached_property
    def shares(self) -> dict[str, float]:
        """Share of each active source, in the order of the recipe. The sum is 1 up to rounding."""
        total = math.fsum(source.weight for source in self.active)
        return {source.id: source.weight / total for source in self.active}

    @property
    def raw_sum(self) -> float:
        """Sum of all weights as written, including unavailable sources."""
        return math.fsum(source.weight for source in self.sources)

    @property
    def unavailable_share(self) -> float:
        """Share of unavailable sources in `raw_sum`, 0 to 1."""
        return math.fsum(s.weight for s in self.sources if s.unavailable is not None) / self.raw_sum

    @property
    def bounded(self) -> bool:
        """Whether the discrepancy of every prefix of a lane is at most `interleave.discrepancy_bound`.

        With `on_exhausted: renormalize`, shares grow when a source ends, so the bound does not hold.
        """
        return self.order == "exact" and self.weighted and self.on_exhausted != "renormalize"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about settings and sources that the recipe names but the mix does not use."""
        total, messages = self.raw_sum, list(self.ignored)
        for source in self.sources:
            if source.unavailable is not None:
                part = (
                    f" (weight {source.weight:g}, {source.weight / total:.4%} of the recipe)" if self.weighted else ""
                )
                messages.append(f"source {source.id!r}{part} is not available: {source.unavailable}")
            elif source.weight == 0:
                messages.append(f"source {source.id!r} has weight 0 and is not read")
        return tuple(messages)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of everything that decides the output, 64 hex digits; see `recipe.fingerprint`."""
        return fingerprint_digest(plain(self))

    def diff(self, other: object) -> list[str]:
        """Return a line for each difference that decides the output, such as `sources.dclm.weight: 0.37 → 0.36`."""
        if not isinstance(other, RecipeDescription):
            return ["one recipe → a curriculum"]
        return recipe_differences(plain(self), plain(other))

    def path(self, source: Source) -> Path | None:
        """Return the local path of a source, in the recipe's folder or the working directory. None on the Hub."""
        if source.name is None:
            return None
        name = Path(source.name).expanduser()
        paths = (Path(self.folder) / name, name) if self.folder else (name,)
        return next((path for path in paths if path.exists()), None)

    def pin(self: R, revisions: Mapping[str, str]) -> R:
        """Return a copy with new revisions, by source id. The fingerprint changes."""
        return self._with_sources(revisions, "revision")

    def mark_unavailable(self: R, reasons: Mapping[str, str]) -> R:
        """Return a copy in which sources are unavailable, by source id and reason. They keep their weight.

        Raises:
            RecipeError: If no source is left to read.
        """
        return self._with_sources(reasons, "unavailable")

    def _with_sources(self: R, values: Mapping[str, str], key: str) -> R:
        missing = sorted(set(values) - {source.id for source in self.sources})
        if missing:
            raise KeyError(
                f"{self.file} has no source {missing[0]!r}. Sources: {', '.join(s.id for s in self.sources)}"
            )
        changes: dict[str, dict[str, Any]] = {source: {key: value} for source, value in values.items()}
        try:
            changed = (dataclasses.replace(source, **changes.get(source.id, {})) for source in self.sources)
            return dataclasses.replace(self, sources=tuple(changed))
        except Problems as error:
            raise RecipeError(self.file, list(error.args)) from None


def _duplicate_sources(sources: tuple[Source, ...]) -> Iterable[str]:
    first: dict[str, int] = {}
    for number, source in enumerate(sources, 1):
        if source.id in first:
            where = f"sources {first[source.id]} and {number} have the same id {source.id!r}"
            yield f"{where}. Give one of them another, such as `id: {source.id}-2`"
        first.setdefault(source.id, number)


def _counted(tokens: str | TokenCounting, sources: tuple[Source, ...]) -> Iterable[str]:
    if isinstance(tokens, TokenCounting):
        return
    if tokens not in TOKENS:
        yield f"tokens: expected {', '.join(TOKENS)} or {{tokenizer: FILE}}, got {show(tokens)}"
    elif tokens == "column":
        read = [source for source in sources if source.unavailable is None and source.weight > 0]
        without = [repr(source.id) for source in read if source.tokens_field is None]
        if without:
            yield f"tokens: column needs a `tokens_field` in every source. It is missing in {', '.join(without)}"


def _weights(sources: tuple[Source, ...]) -> Iterable[str]:
    if not sources:
        yield "datasets: expected at least one source, got an empty list"
        return
    read = [source.weight for source in sources if source.unavailable is None and source.weight > 0]
    if not any(source.weight for source in sources):
        yield f"all {len(sources)} weights are 0. Give at least one source a weight above 0"
    elif not read:
        yield "every source with a weight above 0 is unavailable. Nothing is left to read"
    else:
        try:
            total = math.fsum(source.weight for source in sources)
        except OverflowError:
            total = math.inf
        if not math.isfinite(total) or min(read) / total == 0:
            yield f"weights from {min(read):g} to {max(read):g} are too far apart. Bring them closer together"


KEYS = tuple(
    field.name
    for field in dataclasses.fields(RecipeDescription)
    if field.name not in ("sources", "file", "folder", "ignored")
)
"""Fields that are top-level keys of a file under the same name."""
