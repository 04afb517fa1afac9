"""Errors for sources that end, with computed remedies."""

from math import ceil

from smollm3_mix.errors import SourceExhaustedError
from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.source_stream import SourceStream
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sizes import format_count


def exhausted_error(recipe: Recipe, stream: SourceStream, limits: Limits, emitted_tokens: int) -> SourceExhaustedError:
    """Return the error for a source that ended after its last pass. Its numbers are those of the whole mix."""
    source, share, lanes = stream.source, recipe.shares[stream.source.id], recipe.lanes
    placed = stream.units + (int(stream.accepted.units.sum()) if stream.accepted is not None else 0)
    available, most = placed * lanes, placed / share * lanes
    done = stream.passes + 1
    unit = recipe.weigh_by
    passes = f"{done} pass" + ("es" if done > 1 else "")
    start = f"{recipe.file}: '{source.id}' ran out after {passes} ({format_count(available)} {unit})"
    target = limits.max_tokens * lanes if limits.max_tokens is not None and unit == "tokens" else None
    if target is None:
        return SourceExhaustedError(
            f"{start}, when the mix had {format_count(emitted_tokens * lanes)} tokens. Its share is {share:.4%}. "
            f"Raise its max_passes above {done}, take at most {format_count(most)} {unit}, "
            "or set on_exhausted to stop, renormalize or repeat.",
            source=source.id,
            available=available,
        )
    needed = share * target
    fitting = available / target
    weight = fitting / (1 - fitting) * (source.weight / share - source.weight)
    return SourceExhaustedError(
        f"{start}, but {format_count(target)} {unit} of the mix need {format_count(needed)} of it ({share:.4%}). "
        f"Raise its max_passes to {ceil(needed / (available / done))}, take at most {format_count(most)} {unit}, "
        f"or lower its weight to {weight:.2g}.",
        source=source.id,
        needed=needed,
        available=available,
    )


def no_rows_error(recipe: Recipe, stream: SourceStream, lane: int) -> SourceExhaustedError:
    """Return the error for a lane without a row of a source."""
    return SourceExhaustedError(
        f"{recipe.file}: '{stream.source.id}' has no row in lane {lane} of {recipe.lanes}: "
        "it is empty or has fewer rows than lanes. "
        "Lower `lanes`, set on_exhausted to renormalize, or remove the source.",
        source=stream.source.id,
    )


def empty_pass_error(recipe: Recipe, stream: SourceStream, lane: int) -> SourceExhaustedError:
    """Return the error for a source without an accepted document in a complete pass."""
    return SourceExhaustedError(
        f"{recipe.file}: '{stream.source.id}' has no accepted document in lane {lane} of {recipe.lanes} "
        f"({stream.reasons()}). "
        "Loosen its `filters`, `where` or `dedup`, lower `lanes`, or set on_exhausted to renormalize.",
        source=stream.source.id,
    )
