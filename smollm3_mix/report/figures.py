"""Figures as inline SVG. Colours come from the page's style sheet, so that they fit light and dark."""

from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from smollm3_mix.report.evidence import HALVES

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COLORS = 9
"""Colours of the style sheet for parts of a whole, `c1` to `c9`; the last is for all that is left."""


def share_bar(asked: float, given: float, most: float) -> str:
    """A bar of what was given with a mark at what was asked; the widest of the page is `most`."""
    return (
        '<svg class="bar" viewBox="0 0 200 14" aria-hidden="true" preserveAspectRatio="none">'
        f'<rect class="given" y="2" width="{200 * given / most:.2f}" height="10" rx="2"/>'
        f'<rect class="asked" x="{min(200 * asked / most, 198.5):.2f}" width="1.5" height="14"/></svg>'
    )


def meter(part: float, of: float | None) -> str:
    """How much of its bound a debt has used."""
    if of is None:
        return ""
    used = min(part / of, 1.0) if of else 0.0
    return (
        '<svg class="meter" viewBox="0 0 80 8" aria-hidden="true" preserveAspectRatio="none">'
        f'<rect class="track" width="80" height="8" rx="4"/>'
        f'<rect class="{"over" if of and part > of else "used"}" width="{80 * used:.1f}" height="8" rx="4"/></svg>'
    )


def discrepancy_chart(  # noqa: PLR0917 - three arrays of one curve
    name: str, ends: Floats, low: Floats, high: Floats, bound: float | None, unit: str
) -> str:
    """A source's debt along the stream: the band that all lanes stay in, between lines at the bound."""
    here = np.isfinite(low)
    if not here.any():
        return ""
    largest = float(max(np.nanmax(np.abs(low)), np.nanmax(np.abs(high))))
    most = max(largest, bound or 0.0) * 1.08 or 1.0
    xs = 240 * ends[here] / ends[-1]
    upper, lower = 40 - 38 * high[here] / most, 40 - 38 * low[here] / most
    points = [*zip(xs, upper, strict=True), *zip(xs[::-1], lower[::-1], strict=True)]
    band = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    lines = ""
    if bound is not None:
        lines = "".join(
            f'<line class="bound" x1="0" x2="240" y1="{y:.1f}" y2="{y:.1f}"/>'
            for y in (40 - 38 * bound / most, 40 + 38 * bound / most)
        )
    said = f"at most {largest:,.0f}" + ("" if bound is None else f" of {bound:,.0f}")
    label = escape(f"Debt of {name}: {said} {unit}, over {ends[-1]:,.0f} {unit} of a lane")
    return (
        f"<figure><figcaption>{escape(name)} <span>{said}</span></figcaption>"
        f'<svg viewBox="0 0 240 80" role="img" aria-label="{label}">{lines}'
        f'<line class="axis" x1="0" x2="240" y1="40" y2="40"/><polygon class="band" points="{band}"/></svg></figure>'
    )


def histogram(name: str, counts: Ints, first: int, last: int) -> str:
    """Documents of a source by length; bins first to last, the same for every source of a page."""
    shown, total = counts[first : last + 1], int(counts.sum())
    if not total:
        return ""
    width = 240 / len(shown)
    bars = "".join(
        f'<rect class="given" x="{at * width + 0.5:.1f}" y="{60 - height:.1f}" width="{width - 1:.1f}" '
        f'height="{height:.1f}"><title>{tokens(first + at)} to {tokens(first + at + 1)}: {count:,}</title></rect>'
        for at, count in enumerate(shown.tolist())
        if (height := 56 * count / shown.max())
    )
    ticks = "".join(
        f'<text x="{(at - first) * width:.1f}" y="72"{_anchor((at - first) * width)}>{tokens(at)}</text>'
        for at in range(first + first % 2, last + 1, 6)
    )
    middle = int(np.searchsorted(np.cumsum(counts), total / 2))
    said = f"half: up to {tokens(min(middle + 1, HALVES))} tokens"
    label = escape(f"Lengths of {name}: {total:,} documents, {said}")
    return (
        f"<figure><figcaption>{escape(name)} <span>{said}</span></figcaption>"
        f'<svg viewBox="0 0 240 76" role="img" aria-label="{label}">{bars}'
        f'<line class="axis" x1="0" x2="240" y1="60" y2="60"/>{ticks}</svg></figure>'
    )


def _anchor(x: float) -> str:
    """How a tick's text stands at x: behind the first, before the last, over all others."""
    where = "start" if x < 10 else "end" if x > 230 else "middle"
    return f' text-anchor="{where}"'


def tokens(half: int) -> str:
    """Where a bin of lengths begins, in tokens, short: 724, 1k, 16k."""
    count = 2 ** (half / 2)
    return f"{count:.0f}" if count < 1000 else f"{count / 1024:.3g}k" if count < 2**20 else f"{count / 2**20:.3g}M"


def parts(name: str, counts: Sequence[tuple[str, int, str]], total: int) -> str:
    """A bar of a whole cut into its parts: (what, how many, class of its colour)."""
    rectangles, start = [], 0.0
    for what, count, colour in counts:
        width = 600 * count / total if total else 0.0
        share = count / total if total else 0.0
        title = escape(f"{what}: {count:,} ({share:.2%})")
        rectangles.append(
            f'<rect class="{colour}" x="{start:.2f}" width="{width:.2f}" height="16"><title>{title}</title></rect>'
        )
        start += width
    label = escape(f"{name}: " + ", ".join(f"{what} {count:,}" for what, count, _ in counts if count))
    return (
        f'<svg class="parts" viewBox="0 0 600 16" role="img" aria-label="{label}" preserveAspectRatio="none">'
        f"{''.join(rectangles)}</svg>"
    )
