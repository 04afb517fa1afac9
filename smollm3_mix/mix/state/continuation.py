"""Continue with another recipe from the state of an earlier one.

A source of both recipes continues after its last emitted document, in the same pass and with the same kept rows. The
remaining documents of its current block keep the order, cleaning and row decisions of the earlier recipe. Their units
and all later blocks follow the new recipe. Shares hold from the first record of the new recipe on, and discrepancies
start at zero. A source of the earlier recipe alone becomes inactive, so that a third recipe can continue it.
"""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from smollm3_mix.errors import StateError
from smollm3_mix.mix.lane import Lane
from smollm3_mix.mix.mix_stats import MixStats, SourceStats
from smollm3_mix.mix.protocols import MixProtocol
from smollm3_mix.mix.state.block_layout import BlockLayout
from smollm3_mix.mix.state.checkpoint import open_dedup_state, restore_dedup_state, row_decisions
from smollm3_mix.mix.state.state_codec import decode_state
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.parsing import FieldPath, plain, read_value
from smollm3_mix.recipe.read_recipe import recipe_from_dict
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.recipe.stages import SHARED_READ_KEYS, incompatible_stages

LOCAL_REVISION = "files-"
"""Prefix of the revision of local files. It is computed from the files and cannot be requested."""


def known_sources(state: Mapping[str, Any]) -> dict[str, Source]:
    """Return every source with a position in the state, pinned, by id."""
    recipe = recipe_from_dict(state["recipe"])
    found = {source.id: source for source in recipe.active}
    for lane in state["lanes"]:
        for source, saved in decode_state(lane, recipe)["inactive"].items():
            found.setdefault(source, _source(saved["source"]))
    return found


def pin_recipe(recipe: AnyRecipe, state: Mapping[str, Any]) -> AnyRecipe:
    """Return the recipe with the state's revision for every Hub source that continues and names no revision."""
    known = known_sources(state)
    revisions = {
        source.id: known[source.id].revision or ""
        for source in recipe.active
        if source.id in known
        and source.revision is None
        and not (known[source.id].revision or "").startswith(LOCAL_REVISION)
    }
    return recipe.pin({source: revision for source, revision in revisions.items() if revision})


def check_continuation(recipe: AnyRecipe, split: str, lanes: int, state: Mapping[str, Any]) -> None:
    """Raise StateError if a mix of this recipe cannot continue from the state.

    Args:
        recipe: Recipe of the mix, with every source pinned.
        split: Split of the mix.
        lanes: Number of lanes of the mix.
        state: State of a stream.

    Raises:
        StateError: The message gives the reason and a remedy.
    """
    old = recipe_from_dict(state["recipe"])
    start = f"{recipe.name} cannot continue from this state of {old.name}: "
    if state["split"] != split:
        raise StateError(
            f"{start}the state has split {state['split']!r}, not {split!r}. Open the mix with split={state['split']!r}."
        )
    saved = sorted(lane["lane"] for lane in state["lanes"])
    if saved != list(range(lanes)):
        raise StateError(
            f"{start}the state has lanes {saved}, but the mix has lanes 0 to {lanes - 1}. "
            "Open the mix with as many lanes as before (lanes=…). Merge the states of several workers first."
        )
    was, now = old.dedup, recipe.dedup
    if (was.exact or was.near) and (now.exact or now.near) and (was.exact, was.near) != (now.exact, now.near):
        raise StateError(
            f"{start}its dedup state was made with {was}, but the recipe has {now}. "
            "Use the same `dedup` (its `memory` may differ), or turn it off."
        )
    problems = []
    known = known_sources(state)
    for source in recipe.active:
        differ = incompatible_stages(known[source.id], source) if source.id in known else []
        if differ:
            problems.append(f"source {source.id!r}: {', '.join(differ)}")
    if problems:
        raise StateError(
            start
            + "the positions of these sources are not valid for the new recipe.\n  "
            + "\n  ".join(problems)
            + "\nRemove a changed `revision` to continue at that of the state, restore the other keys, "
            "or give the source another id to start it anew.",
            differences=problems,
        )


def begin_continuation(lane: Lane, state: Mapping[str, Any], mix: MixProtocol) -> None:
    """Move a blank lane of a mix to the position of the same lane in the state."""
    at = next(at for at in state["lanes"] if at["lane"] == lane.number)
    recipe = recipe_from_dict(state["recipe"])
    saved = decode_state(at, recipe)
    stage = recipe.recipes[saved.get("stage", 0)]
    restore_dedup_state(lane, at, open_dedup_state(mix, lane.number))
    continue_lane(lane, saved, stage, mix.num_lanes, row_decisions(at))


def is_complete(state: Mapping[str, Any]) -> bool:
    """Return True if the state has the exact position of every lane, so that no record must be repeated."""
    if {lane["lane"] for lane in state["lanes"]} != set(range(state["num_lanes"])):
        return False
    recipe = recipe_from_dict(state["recipe"])
    for lane in (decode_state(at, recipe) for at in state["lanes"]):
        before = (sum(stats["emitted"] for stats in each.values()) for each in [lane["stats"], *lane.get("done", ())])
        if sum(before) + lane["skip"] != lane["records"]:
            return False
    return True


def continue_lane(lane: Lane, saved: Mapping[str, Any], old: Recipe, lanes: int, decisions: dict[str, bytes]) -> None:
    """Move a lane to the position of a saved lane of an earlier recipe. Both have the same dedup state.

    Args:
        lane: Lane of the new recipe that has read nothing.
        saved: State of the same lane of the earlier recipe.
        old: The earlier recipe.
        lanes: Number of lanes of both recipes.
        decisions: Row decisions of the saved lane, by source id.
    """
    positions = source_positions(saved, old, lanes)
    ids = [stream.source.id for stream in lane.streams]
    states, stats = [], {}
    for stream in lane.streams:
        at = positions.get(stream.source.id)
        states.append(stream.state_dict(0) if at is None else at["stream"])
        carried = 0 if at is None else pending_documents(at["stream"])
        passes = 0 if at is None else at["stream"]["passes"] + (at["stream"]["block"] >= 0)
        stats[stream.source.id] = SourceStats(read=carried, passes=passes)
    inactive = {source: at for source, at in positions.items() if source not in ids}
    fresh = lane.state_dict()
    lane.load_state_dict(
        {**fresh, "streams": states, "stats": MixStats(stats).to_dict(), "inactive": inactive},
        {source: log for source, log in decisions.items() if source in positions},
    )
    for stream in lane.streams:
        if stream.accepted is not None and len(stream.accepted.units):
            stream.stats.longest = int(stream.accepted.units.max())


def source_positions(saved: Mapping[str, Any], old: Recipe, lanes: int) -> dict[str, dict[str, Any]]:
    """Return the position of each source of a saved lane, including inactive sources, as `source` and `stream` by id.

    Sources that this lane has not read are included. Other lanes may have read them, so their slices must not change.
    """
    found = dict(saved["inactive"])
    for source, stream, pulled in zip(old.active, saved["streams"], saved["pulled"], strict=True):
        found[source.id] = {
            "source": {key: plain(getattr(source, key)) for key in ("id", "weight", *SHARED_READ_KEYS)},
            "stream": {
                **stream,
                "exhausted": False,
                "units": 0,
                "documents": stream["documents"] + pulled,
                "emitted": 0,
                "emitted_earlier": stream["emitted_earlier"] + pulled,
                "layout": stream["layout"] or BlockLayout.of(old, source).to_dict(),
                "partition": stream["partition"] or [lanes, old.seed, old.shuffle == "block"],
            },
        }
    return found


def pending_documents(stream: Mapping[str, Any]) -> int:
    """Return the number of documents of a source's current block that no recipe has emitted.

    Args:
        stream: Position of the source, from `source_positions`.
    """
    kept = np.unpackbits(np.frombuffer(base64.b85decode(stream["kept"]), np.uint8), count=stream["rows"])
    return int(kept.sum()) - int(stream["emitted_earlier"])


def _source(values: Mapping[str, Any]) -> Source:
    problems: list[str] = []
    source = read_value(Source, values, FieldPath(), problems)
    if problems:
        raise StateError(f"This state is damaged: {', '.join(problems)}. Pass a result of state_dict().")
    return source
