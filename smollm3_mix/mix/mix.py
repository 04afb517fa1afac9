"""Mixes: recipes and curricula with resolved sources."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from smollm3_mix.errors import RecipeError
from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.protocols import LaneProtocol
from smollm3_mix.mix.state import continuation
from smollm3_mix.mix.stream import Stream
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.schema import SPLITS
from smollm3_mix.sizes import format_bytes, format_count
from smollm3_mix.sources.resolved_recipe import ResolvedRecipe
from smollm3_mix.table_format import html_table


@dataclass(frozen=True, repr=False)
class Mix(ABC):
    """A recipe or curriculum with resolved sources. Picklable: a copy in another process resolves nothing again.

    A lane is a fixed, disjoint slice of every source. After every record of a lane, each source's share of the emitted
    units is within `interleave.discrepancy_bound` of its target, as long as no source ends. The recipe decides the
    order of each lane. It depends neither on the size of reads nor on the reader.

    The order is not that of SmolLM3's own run, because its tokenized shards are not public.

    Attributes:
        resolved: Pinned recipe and resolved files.
        split: `"train"`, or `"validation"`: the holdout, in one lane. Validation continues when a source ends.
        limits: Limits of the whole mix. Every lane has an equal part of them.
        dedup_state_dir: Folder for the dedup state, one file per lane. Without it, states contain the dedup state.
        ids: Adds a column `ids` to batches of records: token ids of the recipe's tokenizer.
        start: State of another mix from which this mix continues. Limits count from the state on.
    """

    resolved: ResolvedRecipe
    split: str = "train"
    limits: Limits = field(default_factory=Limits)
    dedup_state_dir: str | None = None
    ids: bool = False
    start: Mapping[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split must be {' or '.join(map(repr, SPLITS))}, got {self.split!r}.")
        if self.split == "validation" and not self.resolved.recipe.holdout.fraction:
            problem = "has no validation split, because it holds nothing out. Add `holdout: {fraction: 0.001}`"
            raise RecipeError(self.resolved.recipe.file, [problem])
        if self.start is not None:
            continuation.check_continuation(self.resolved.recipe, self.split, self.num_lanes, self.start)

    def __repr__(self) -> str:
        sources, skipped = len(self.recipe.active), len(self.skipped)
        lanes = f"{self.num_lanes} lane{'s' * (self.num_lanes != 1)}"
        parts = [repr(self.recipe.name), f"split={self.split!r}", lanes, f"{sources} source{'s' * (sources != 1)}"]
        parts += [f"{skipped} skipped"] * bool(skipped)
        for name, limit in self.limits.to_dict().items():
            if limit is not None:
                parts.append(f"{name}={format_bytes(limit) if name == 'max_bytes' else format_count(limit)}")
        return f"Mix({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """Return the shares of the sources, and the sources that are skipped, as HTML tables."""
        shares = [["source", "share"], *([source, f"{share:.4%}"] for source, share in self.recipe.shares.items())]
        skipped = [["skipped source", "reason"], *([source, reason] for source, reason in self.skipped.items())]
        return html_table(shares) + (html_table(skipped, words=(0, 1)) if self.skipped else "")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the records of all lanes, round-robin, as dicts with the columns of RECORD_SCHEMA."""
        with self.stream() as stream:
            yield from stream

    @property
    def recipe(self) -> AnyRecipe:
        """The recipe with every source pinned. The validation split continues when a source ends."""
        recipe = self.resolved.recipe
        return recipe.replace(on_exhausted="renormalize") if self.split == "validation" else recipe

    @property
    def skipped(self) -> dict[str, str]:
        """Reason for each source of the recipe that is not read, by source id."""
        return self.resolved.skipped

    @property
    def num_lanes(self) -> int:
        """Number of lanes of this split: the recipe's number for `train`, 1 for `validation`."""
        return self.resolved.recipe.lanes if self.split == "train" else 1

    def lane_limits(self, lane: int) -> Limits:
        """Return the limits of one lane."""
        limits = self.limits
        if self.split == "validation":
            most = self.recipe.holdout.tokens
            limits = replace(limits, max_tokens=min(limits.max_tokens or most, most))
        return limits.for_lane(lane, self.num_lanes)

    @abstractmethod
    def lane(self, number: int) -> LaneProtocol:
        """Return one lane at its start. Reads nothing, unless the mix continues from a state.

        Raises:
            ValueError: If the mix has no lane of this number.
        """

    @abstractmethod
    def blank_lane(self, number: int) -> LaneProtocol:
        """Return one lane into which a state can be loaded."""

    def stream(self, lanes: Sequence[int] | None = None) -> Stream:
        """Return a stream over some or all lanes, interleaved round-robin.

        Args:
            lanes: Numbers of the lanes. Defaults to all lanes.

        Raises:
            ValueError: If a lane is repeated or does not exist.
        """
        return Stream(self, range(self.num_lanes) if lanes is None else lanes)
