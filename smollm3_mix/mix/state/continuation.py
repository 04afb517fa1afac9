"""Another recipe that goes on where a state of an earlier one stopped.

A source that both read goes on where it stands: after the last document given, in the pass and with the rows kept that
it had. The rest of its current block stays as it was laid, by the earlier recipe's cleaning, verdicts, seed and
shuffle; what it weighs, and all later blocks, follow the new recipe. Shares hold from the first record on: debts are
counted anew. A source that only the earlier one read is parked, so that a third recipe may go on with it.
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
from smollm3_mix.recipe.curriculum import SHARED_READ_KEYS, Curriculum, incompatible_stages
from smollm3_mix.recipe.model import Recipe, Source
from smollm3_mix.recipe.parsing import FieldPath, plain, read_value

LOCAL = "files-"
"""How the revision of local files begins; it is found, and cannot be asked for."""


def known_sources(state: Mapping[str, Any]) -> dict[str, Source]:
    """Every source that has a place in the state, pinned, by id."""
    recipe = Recipe.from_dict(state["recipe"])
    found = {source.id: source for source in recipe.active}
    for lane in state["lanes"]:
        for source, left in decode_state(lane, recipe)["parked"].items():
            found.setdefault(source, _source(left["source"]))
    return found


def pin_recipe(recipe: Recipe, state: Mapping[str, Any]) -> Recipe:
    """The recipe with the state's revision for every source of the Hub that goes on and names none itself."""
    known = known_sources(state)
    revisions = {
        source.id: known[source.id].revision or ""
        for source in recipe.active
        if source.id in known and source.revision is None and not (known[source.id].revision or "").startswith(LOCAL)
    }
    return recipe.pinned({source: revision for source, revision in revisions.items() if revision})


def check_continuation(recipe: Recipe, split: str, lanes: int, state: Mapping[str, Any]) -> None:
    """Nothing, where a mix of this recipe can go on from the state.

    Args:
        recipe: with every source pinned.
        split: of the mix.
        lanes: of the mix.
        state: a stream's.

    Raises:
        StateError: it cannot; the message says why and what to do.
    """
    old = Recipe.from_dict(state["recipe"])
    start = f"{recipe.name} cannot go on from this state of {old.name}: "
    if state["split"] != split:
        raise StateError(f"{start}it is of split {state['split']!r}, not {split!r}. Open the mix with that split.")
    there = sorted(lane["lane"] for lane in state["lanes"])
    if there != list(range(lanes)):
        raise StateError(
            f"{start}it holds lanes {there}, and the mix has lanes 0 to {lanes - 1}. "
            "Open it with as many lanes as before (lanes=…); states of several workers must be merged first."
        )
    was, now = old.dedup, recipe.dedup
    if (was.exact or was.near) and (now.exact or now.near) and (was.exact, was.near) != (now.exact, now.near):
        raise StateError(
            f"{start}what dedup remembers was made with {was}, and the recipe has {now}. "
            "Write the same `dedup` (its `memory` may differ), or turn it off."
        )
    problems = []
    known = known_sources(state)
    for source in recipe.active:
        differ = incompatible_stages(known[source.id], source) if source.id in known else []
        if differ:
            problems.append(f"source {source.id!r}: {'; '.join(differ)}")
    if problems:
        raise StateError(
            start
            + "its sources stand at places that mean nothing in what the recipe reads now.\n  "
            + "\n  ".join(problems)
            + "\nTake a changed `revision` out to go on at the state's, write the other keys as they were, "
            "or give the source another id, and it starts anew."
        )


def begin_continuation(lane: Lane, state: Mapping[str, Any], mix: MixProtocol) -> None:
    """Bring a blank lane of a mix to where the state's lane of that number stopped."""
    at = next(at for at in state["lanes"] if at["lane"] == lane.number)
    recipe = Recipe.from_dict(state["recipe"])
    saved = decode_state(at, recipe)
    if isinstance(recipe, Curriculum):
        recipe = recipe.stages[saved["stage"]].recipe
    restore_dedup_state(lane, at, open_dedup_state(mix, lane.number))
    continue_lane(lane, saved, recipe, mix.num_lanes, row_decisions(at))


def is_complete(state: Mapping[str, Any]) -> bool:
    """Whether the state holds every lane as it stands, with no record to be made again."""
    if {lane["lane"] for lane in state["lanes"]} != set(range(state["num_lanes"])):
        return False
    recipe = Recipe.from_dict(state["recipe"])
    for lane in (decode_state(at, recipe) for at in state["lanes"]):
        before = (
            sum(counts["emitted"] for counts in each.values()) for each in [lane["counts"], *lane.get("done", ())]
        )
        if sum(before) + lane["skip"] != lane["records"]:
            return False
    return True


def continue_lane(lane: Lane, saved: Mapping[str, Any], old: Recipe, lanes: int, logs: dict[str, bytes]) -> None:
    """Bring a lane, whose dedup remembers what the saved lane's did, to where that one stopped.

    Args:
        lane: of the new recipe, nothing of it read yet.
        saved: the state of the same lane of the earlier recipe.
        old: the earlier recipe.
        lanes: how many both have.
        logs: verdicts of the saved lane, by source id.
    """
    places = remaining_limits(saved, old, lanes)
    ids = [line.source.id for line in lane.lines]
    states, counts = [], {}
    for line in lane.lines:
        at = places.get(line.source.id)
        states.append(line.state_dict(0) if at is None else at["line"])
        carried = 0 if at is None else pending_documents(at["line"])
        passes = 0 if at is None else at["line"]["passes"] + (at["line"]["block"] >= 0)
        counts[line.source.id] = SourceStats(read=carried, passes=passes)
    inactive = {source: at for source, at in places.items() if source not in ids}
    fresh = lane.state_dict()
    lane.load_state_dict(
        {**fresh, "lines": states, "counts": MixStats(counts).to_dict(), "parked": inactive},
        {source: log for source, log in logs.items() if source in places},
    )
    for line in lane.lines:
        if line.accepted is not None and len(line.accepted.units):
            line.counts.longest = int(line.accepted.units.max())


def remaining_limits(saved: Mapping[str, Any], old: Recipe, lanes: int) -> dict[str, dict[str, Any]]:
    """Where each source of a saved lane stands, those parked before included, by id: `source` and `line`.

    Also of a source of which this lane has read nothing: other lanes may have, so its parts stay as they were dealt.
    """
    found = dict(saved["parked"])
    for source, line, taken in zip(old.active, saved["lines"], saved["taken"], strict=True):
        found[source.id] = {
            "source": {key: plain(getattr(source, key)) for key in ("id", "weight", *SHARED_READ_KEYS)},
            "line": {
                **line,
                "gone": False,
                "units": 0,
                "documents": line["documents"] + taken,
                "emitted": 0,
                "behind": line["behind"] + taken,
                "laid": line["laid"] or BlockLayout.by(old, source).to_dict(),
                "dealt": line["dealt"] or [lanes, old.seed, old.shuffle == "block"],
            },
        }
    return found


def pending_documents(line: Mapping[str, Any]) -> int:
    """Documents of a line's current block that no recipe has given, by its state from `left`."""
    keep = np.unpackbits(np.frombuffer(base64.b85decode(line["keep"]), np.uint8), count=line["rows"])
    return int(keep.sum()) - int(line["behind"])


def _source(given: Mapping[str, Any]) -> Source:
    problems: list[str] = []
    source = read_value(Source, given, FieldPath(), problems)
    if problems:
        raise StateError(f"this state is damaged: {'; '.join(problems)}. Pass what state_dict() gave.")
    return source
