"""What to say when a source has nothing more to give, with the remedies computed."""

from math import ceil

from smollm3_mix.errors import SourceExhaustedError
from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.source_stream import SourceStream
from smollm3_mix.recipe.model import Recipe


def short_error(count: float) -> str:
    """A count in the words people use: 950, 12.9M, 3.8B, 1.2T."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return f"{count:.0f}"


def exhausted_error(recipe: Recipe, line: SourceStream, limits: Limits, given: int) -> SourceExhaustedError:
    """The error for a source that ended after all its passes; numbers are for the whole mix, from this lane."""
    source, share, lanes = line.source, recipe.shares[line.source.id], recipe.lanes
    laid = line.units + (int(line.accepted.units.sum()) if line.accepted is not None else 0)
    had, most = laid * lanes, laid / share * lanes
    done = line.passes + 1
    unit = recipe.weigh_by
    passes = f"{done} pass" + ("es" if done > 1 else "")
    start = f"{recipe.file}: '{source.id}' ran out after {passes} ({short_error(had)} {unit})"
    wanted = limits.tokens * lanes if limits.tokens is not None and unit == "tokens" else None
    if wanted is None:
        return SourceExhaustedError(
            f"{start} when {short_error(given * lanes)} tokens of the mix had been given; its share is {share:.4%}. "
            f"Raise its max_passes above {done}, take at most {short_error(most)} {unit}, "
            "or set on_exhausted to stop, renormalize or repeat."
        )
    needed = share * wanted
    fitting = had / wanted
    weight = fitting / (1 - fitting) * (source.weight / share - source.weight)
    return SourceExhaustedError(
        f"{start} while {short_error(wanted)} {unit} of the mix need {short_error(needed)} of it ({share:.4%}). "
        f"Raise its max_passes to {ceil(needed / (had / done))}, take at most {short_error(most)} {unit}, "
        f"or lower its weight to {weight:.2g}."
    )


def no_rows_error(recipe: Recipe, line: SourceStream, lane: int) -> SourceExhaustedError:
    """The error for a lane that got no row of a source."""
    return SourceExhaustedError(
        f"{recipe.file}: '{line.source.id}' has no row in lane {lane} of {recipe.lanes}: "
        "it is empty or has fewer rows than lanes. "
        "Lower `lanes`, set on_exhausted to renormalize, or remove the source."
    )


def nothing_kept_error(recipe: Recipe, line: SourceStream, lane: int) -> SourceExhaustedError:
    """The error for a source of which a whole pass gave nothing."""
    return SourceExhaustedError(
        f"{recipe.file}: '{line.source.id}' gave no document in lane {lane} of {recipe.lanes} ({line.reasons()}). "
        "Loosen its `filters`, `where` or `dedup`, lower `lanes`, or set on_exhausted to renormalize."
    )
