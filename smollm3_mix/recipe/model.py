"""What a recipe says, as frozen dataclasses that refuse values they cannot mean."""

import dataclasses
import functools
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.fingerprint import digest, recipe_differences
from smollm3_mix.recipe.parsing import Faults, at_least, choice, show
from smollm3_mix.recipe.sections import Counting, Decontaminate, Exclude
from smollm3_mix.schema import ON_EXHAUSTED, ORDERS, SHUFFLES, WEIGH_BY
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.dedup.dedup_options import Dedup
from smollm3_mix.text.filters.filter_options import Judge

TOKENS = ("per_byte", "column")
CONTENTS = ("inline", "swh", "records")
OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")

# Instances are frozen, so one can stand for all.
_CLEAN, _JUDGE, _DEDUP = Cleaning(), Judge(), Dedup()


def _refuse(*faults: Iterable[str]) -> None:
    found = [fault for some in faults for fault in some]
    if found:
        raise Faults(*found)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a source's text is: for people, for tables, for cleaning and judging by kind.

    Decides nothing by itself: `Source.clean` and `Source.judge` hold what follows from it.

    Attributes:
        type: prose, code, math or another word; the last mean prose to `cleaning`.
        language: tag of the language (en, vi, fra_Latn, Python), or None.
    """

    SHORTHAND: ClassVar[str] = "type"
    type: str = "prose"
    language: str | None = None

    @property
    def cleaning(self) -> Cleaning:
        """How text of this kind is cleaned where nothing else is said."""
        return Cleaning(profile=self.type) if self.type in ("code", "math") else _CLEAN


@dataclasses.dataclass(frozen=True)
class Block:
    """The unit of reading, cleaning and dedup: `rows` raw rows or `bytes` of raw text, whichever comes first."""

    rows: int = 1024
    bytes: int = 2**20

    def __post_init__(self) -> None:
        _refuse(at_least("rows", self.rows, 1), at_least("bytes", self.bytes, 1))


@dataclasses.dataclass(frozen=True)
class Holdout:
    """What `split="validation"` gives and train never does.

    Attributes:
        fraction: share of all documents, by hash of the cleaned text; 0 ≤ fraction < 1.
        tokens: tokens at which the validation split ends.
    """

    fraction: float = 0.0
    tokens: int = 1_000_000

    def __post_init__(self) -> None:
        wide = () if 0 <= self.fraction < 1 else (f"fraction: expected 0 or more and less than 1, got {self.fraction}",)
        _refuse(wide, at_least("tokens", self.tokens, 1))


@dataclasses.dataclass(frozen=True)
class Source:
    """One named origin of text.

    Attributes:
        id: the record's `source`; unique in a recipe. Default in a file: name[/config], with an absolute path
            from its last folder on.
        weight: as written; ≥ 0. With 0 it is not read.
        name: Hub repository or local path, as written (`Recipe.path` finds the latter); None only if unavailable.
        config, data_dir, data_files, revision, split: as `datasets.load_dataset` has them.
        text_field: a column, a dotted path, or several of these, joined by `separator`.
        id_field: column or dotted path of the source's own document id.
        where: (column, operator, value) conditions, all of which a row meets; operators are `OPERATORS`.
        keep: columns passed through in the record's `meta`.
        kind, license: for tables and the card.
        tokens_per_byte: tokens in a byte of UTF-8 text; > 0.
        tokens_field: column with the tokens of each document, for `tokens: column`.
        max_passes: how often the source may be run through; ≥ 1.
        clean: the source's own, else the recipe's, else as its kind has it.
        judge: the source's own, else the recipe's, never a mixture of both; a preset that goes by kind and the language
            of rules are filled in from `kind`.
        content: `inline`; `swh` where rows hold Software Heritage blob ids in place of text; `records` for Parquet
            files that `write` made: lanes are those of the files; id, source, file, row and meta stay as they are.
        gated: reading it needs the Hub's consent.
        unavailable: why it cannot be read, or None. It keeps its weight and is not read.
        deviation: how it differs from what the official recipe names, or None.
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
    judge: Judge = _JUDGE
    content: str = "inline"
    gated: bool = False
    unavailable: str | None = None
    deviation: str | None = None

    def __post_init__(self) -> None:
        faults: list[str] = []
        if not self.id or not self.id.isprintable():
            faults.append(f"id: expected at least one character and no control characters, got {self.id!r}")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            faults.append(f"weight: expected a finite number of 0 or more, got {self.weight}")
        if not (math.isfinite(self.tokens_per_byte) and self.tokens_per_byte > 0):
            faults.append(f"tokens_per_byte: expected a number above 0, got {self.tokens_per_byte}")
        if self.name is None and self.unavailable is None:
            faults.append("missing key 'name' (Hub repository or local path; or say why it is `unavailable`)")
        faults += [
            f"{key}: expected at least one character, got {getattr(self, key)!r}"
            for key in ("name", "config", "data_dir", "revision", "split", "id_field", "tokens_field", "unavailable")
            if getattr(self, key) == ""
        ]
        if not self.text_field or (isinstance(self.text_field, tuple) and "" in self.text_field):
            faults.append(f"text_field: expected a column or a list of columns, got {show(self.text_field)}")
        for index, (_, operator, value) in enumerate(self.where):
            faults += choice(f"where[{index}]", operator, OPERATORS)
            if operator.endswith("in") != isinstance(value, tuple):
                many = "a list" if operator.endswith("in") else "one value"
                faults.append(f"where[{index}]: expected {many} after {operator!r}, got {show(value)}")
        _refuse(faults, at_least("max_passes", self.max_passes, 1), choice("content", self.content, CONTENTS))
        # Lengths know no language; only presets and groups of rules do.
        if self.judge.preset is not None or any(map(dataclasses.is_dataclass, vars(self.judge).values())):
            object.__setattr__(self, "judge", self.judge.for_kind(self.kind.type, self.kind.language))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A mix, described. Sources stand in the recipe's order, which decides ties.

    Attributes:
        sources: key `datasets` in a file.
        file: where it came from, as the user named it; for messages.
        folder: absolute path of the folder that relative local paths are tried in first.
        weighted: False for the old split-list form and `weighted: false`: every weight is 1, and the sources stand one
            after another if the caller wishes so.
        ignored: sentences on settings of old files that are read and not used.
        exclude: the list of what must not come out, or None.
        decontaminate: the evaluations whose texts must not come out, or None.
        description, seed, lanes, weigh_by, order, block, shuffle, tokens, dedup, holdout, on_exhausted: as in a file.
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
    tokens: str | Counting = "per_byte"
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
            _twins(self.sources),
            _weights(self.sources),
        )

    @property
    def name(self) -> str:
        """`stage1` for stage1.smollm3_mix.yaml; any other file's name without its ending."""
        base = os.path.basename(self.file)  # noqa: PTH119 - a display name need not be a path of this platform
        for ending in (".smollm3_mix.yaml", ".smollm3_mix.yml", ".yaml", ".yml"):
            base = base.removesuffix(ending)
        return base

    @functools.cached_property
    def active(self) -> tuple[Source, ...]:
        """The sources that are read: available, and with a weight above 0."""
        return tuple(source for source in self.sources if source.unavailable is None and source.weight > 0)

    @functools.cached_property
    def shares(self) -> dict[str, float]:
        """Share of each active source, in the recipe's order; they add up to 1 but for rounding."""
        total = math.fsum(source.weight for source in self.active)
        return {source.id: source.weight / total for source in self.active}

    @property
    def raw_sum(self) -> float:
        """Sum of all weights as they are written, those of unavailable sources included."""
        return math.fsum(source.weight for source in self.sources)

    @property
    def unavailable_share(self) -> float:
        """Part of `raw_sum` that unavailable sources hold, 0 to 1."""
        return math.fsum(s.weight for s in self.sources if s.unavailable is not None) / self.raw_sum

    @property
    def bounded(self) -> bool:
        """Whether every prefix of a lane has the shares within `interleave.debt_bound`.

        Where sources leave, the rest have larger shares from then on: the bound by the recipe's does not hold.
        """
        return self.order == "exact" and self.weighted and self.on_exhausted != "renormalise"

    @property
    def statements(self) -> tuple[str, ...]:
        """A sentence on everything the recipe says that is not read; to be logged and reported, never left unsaid."""
        total, said = self.raw_sum, list(self.ignored)
        for source in self.sources:
            if source.unavailable is not None:
                part = (
                    f" (weight {source.weight:g}, {source.weight / total:.4%} of the recipe)" if self.weighted else ""
                )
                said.append(f"source {source.id!r}{part} is not available: {source.unavailable}")
            elif source.weight == 0:
                said.append(f"source {source.id!r} has weight 0 and is not read")
        return tuple(said)

    @functools.cached_property
    def fingerprint(self) -> str:
        """64 hex digits over everything that decides the output; see `recipe.fingerprint`."""
        return digest(self)

    def differences(self, other: "Recipe") -> list[str]:
        """What decides the output and differs, such as `sources.dclm.weight: 0.37 → 0.36`; self before other."""
        return recipe_differences(self, other)

    def path(self, source: Source) -> Path | None:
        """The local file or folder a source names, in the recipe's folder or else here; None for a Hub repository."""
        if source.name is None:
            return None
        name = Path(source.name).expanduser()
        places = (Path(self.folder) / name, name) if self.folder else (name,)
        return next((place for place in places if place.exists()), None)

    def scaled(self, total_tokens: int) -> "Recipe":
        """A copy of a curriculum whose stages take `total_tokens` together.

        Raises:
            RecipeError: this is no curriculum.
        """
        raise RecipeError(self.file, [f"total_tokens: {total_tokens:,}, but it has no stages; use max_tokens"])

    def to_dict(self) -> dict[str, Any]:
        """The whole recipe in JSON's types, every default written out; `from_dict` gives an equal one."""
        from smollm3_mix.recipe.serialize import to_dict

        return to_dict(self)

    def to_yaml(self) -> str:
        """The recipe as a file, which reads back to the same fingerprint under the same version of the package.

        Defaults of sources and thresholds are left out. Not kept: `file`, `folder`, `ignored`, comments.
        """
        from smollm3_mix.recipe.serialize import to_yaml

        return to_yaml(self)

    @staticmethod
    def from_dict(given: Mapping[str, Any]) -> "Recipe":
        """The recipe `to_dict` was called on.

        Raises:
            RecipeError: for anything `to_dict` does not write.
        """
        from smollm3_mix.recipe.read_recipe import from_dict

        return from_dict(given)

    def with_(self, **changes: Any) -> "Recipe":
        """A copy with other values for top-level keys, given as objects or as a file would have them.

        `sources` may be given as objects. `None` leaves a key as it is.

        Raises:
            RecipeError: for a key or value that a file could not have either.
        """
        from smollm3_mix.recipe.read_recipe import changed

        return changed(self, changes)

    def pinned(self, revisions: Mapping[str, str]) -> "Recipe":
        """A copy with the given revision for each named source; the fingerprint changes with it."""
        return self._with_sources(revisions, "revision")

    def without(self, reasons: Mapping[str, str]) -> "Recipe":
        """A copy in which the named sources are unavailable for the given reasons; they keep their weight.

        Raises:
            RecipeError: if no source is left to read.
        """
        return self._with_sources(reasons, "unavailable")

    def _with_sources(self, values: Mapping[str, str], key: str) -> "Recipe":
        missing = sorted(set(values) - {source.id for source in self.sources})
        if missing:
            raise KeyError(f"{self.file} has no source {missing[0]!r}; it has {', '.join(s.id for s in self.sources)}")
        given: dict[str, dict[str, Any]] = {source: {key: value} for source, value in values.items()}
        try:
            changed = (dataclasses.replace(source, **given.get(source.id, {})) for source in self.sources)
            return dataclasses.replace(self, sources=tuple(changed))
        except Faults as error:
            raise RecipeError(self.file, list(error.args)) from None


def _twins(sources: tuple[Source, ...]) -> Iterable[str]:
    first: dict[str, int] = {}
    for number, source in enumerate(sources, 1):
        if source.id in first:
            where = f"sources {first[source.id]} and {number} have the same id {source.id!r}"
            yield f"{where}; give one of them another, such as `id: {source.id}-2`"
        first.setdefault(source.id, number)


def _counted(tokens: str | Counting, sources: tuple[Source, ...]) -> Iterable[str]:
    if isinstance(tokens, Counting):
        return
    if tokens not in TOKENS:
        yield f"tokens: expected {', '.join(TOKENS)} or {{tokenizer: FILE}}, got {show(tokens)}"
    elif tokens == "column":
        read = [source for source in sources if source.unavailable is None and source.weight > 0]
        without = [repr(source.id) for source in read if source.tokens_field is None]
        if without:
            yield f"tokens: column needs a `tokens_field` of every source; none has {', '.join(without)}"


def _weights(sources: tuple[Source, ...]) -> Iterable[str]:
    if not sources:
        yield "datasets: expected at least one source, got an empty list"
        return
    read = [source.weight for source in sources if source.unavailable is None and source.weight > 0]
    if not any(source.weight for source in sources):
        yield f"all {len(sources)} weights are 0; give at least one source a weight above 0"
    elif not read:
        yield "every source with a weight above 0 is unavailable; nothing is left to read"
    else:
        try:
            total = math.fsum(source.weight for source in sources)
        except OverflowError:
            total = math.inf
        if not math.isfinite(total) or min(read) / total == 0:
            yield f"weights from {min(read):g} to {max(read):g} cannot be shared out; bring them nearer to each other"


KEYS = tuple(
    field.name for field in dataclasses.fields(Recipe) if field.name not in ("sources", "file", "folder", "ignored")
)
"""Fields that are keys at the top of a file, under the same name."""
