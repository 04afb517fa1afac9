"""Figures as inline SVG. Their colors are in the style sheet of the page, for light and dark."""

from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from smollm3_mix.report.evidence import LENGTH_BINS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COLORS = 9
"""Number of colors in the style sheet, `c1` to `c9`. The last one is for the rest."""


def share_bar(target: float, actual: float, most: float) -> str:
    """Return a bar of the actual share with a mark at the target. `most` is the largest share of the page."""
    return (
        '<svg class="bar" viewBox="0 0 200 14" aria-hidden="true" preserveAspectRatio="none">'
        f'<rect class="actual" y="2" width="{200 * actual / most:.2f}" height="10" rx="2"/>'
        f'<rect class="target" x="{min(200 * target / most, 198.5):.2f}" width="1.5" height="14"/></svg>'
    )


def meter(value: float, bound: float | None) -> str:
    """Return a meter of a discrepancy as part of its bound. Empty without a bound."""
    if bound is None:
        return ""
    used = min(value / bound, 1.0) if bound else 0.0
    color = "over" if bound and value > bound else "used"
    return (
        '<svg class="meter" viewBox="0 0 80 8" aria-hidden="true" preserveAspectRatio="none">'
        f'<rect class="track" width="80" height="8" rx="4"/>'
        f'<rect class="{color}" width="{80 * used:.1f}" height="8" rx="4"/></svg>'
    )


def discrepancy_chart(  # noqa: PLR0917 - three arrays of one curve
    name: str, ends: Floats, low: Floats, high: Floats, bound: float | None, unit: str
) -> str:
    """Return a chart of a source's discrepancy along the stream: the range over all lanes, with lines at the bound."""
    defined = np.isfinite(low)
    if not defined.any():
        return ""
    largest = float(max(np.nanmax(np.abs(low)), np.nanmax(np.abs(high))))
    most = max(largest, bound or 0.0) * 1.08 or 1.0
    xs = 240 * ends[defined] / ends[-1]
    upper, lower = 40 - 38 * high[defined] / most, 40 - 38 * low[defined] / most
    points = [*zip(xs, upper, strict=True), *zip(xs[::-1], lower[::-1], strict=True)]
    band = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    lines = ""
    if bound is not None:
        lines = "".join(
            f'<line class="bound" x1="0" x2="240" y1="{y:.1f}" y2="{y:.1f}"/>'
            for y in (40 - 38 * bound / most, 40 + 38 * bound / most)
        )
    summary = f"at most {largest:,.0f}" + ("" if bound is None else f" of {bound:,.0f}")
    label = escape(f"Discrepancy of {name}: {summary} {unit}, over {ends[-1]:,.0f} {unit} of a lane")
    return (
        f"<figure><figcaption>{escape(name)} <span>{summary}</span></figcaption>"
        f'<svg viewBox="0 0 240 80" role="img" aria-label="{label}">{lines}'
        f'<line class="axis" x1="0" x2="240" y1="40" y2="40"/><polygon class="band" points="{band}"/></svg></figure>'
    )


def histogram(name: str, counts: Ints, first: int, last: int) -> str:
    """Return a histogram of a source's documents by length. All histograms of a page have the same bins."""
    visible, total = counts[first : last + 1], int(counts.sum())
    if not total:
        return ""
    width = 240 / len(visible)
    bars = "".join(
        f'<rect class="actual" x="{at * width + 0.5:.1f}" y="{60 - height:.1f}" width="{width - 1:.1f}" '
        f'height="{height:.1f}"><title>{_bin_label(first + at)} to {_bin_label(first + at + 1)}: {count:,}</title>'
        "</rect>"
        for at, count in enumerate(visible.tolist())
        if (height := 56 * count / visible.max())
    )
    ticks = "".join(
        f'<text x="{(at - first) * width:.1f}" y="72"{_anchor((at - first) * width)}>{_bin_label(at)}</text>'
        for at in range(first + first % 2, last + 1, 6)
    )
    middle = int(np.searchsorted(np.cumsum(counts), total / 2))
    summary = f"half: up to {_bin_label(min(middle + 1, LENGTH_BINS))} tokens"
    label = escape(f"Lengths of {name}: {total:,} documents, {summary}")
    return (
        f"<figure><figcaption>{escape(name)} <span>{summary}</span></figcaption>"
        f'<svg viewBox="0 0 240 76" role="img" aria-label="{label}">{bars}'
        f'<line class="axis" x1="0" x2="240" y1="60" y2="60"/>{ticks}</svg></figure>'
    )


def _anchor(x: float) -> str:
    """Return the text anchor of a tick label at x."""
    anchor = "start" if x < 10 else "end" if x > 230 else "middle"
    return f' text-anchor="{anchor}"'


def _bin_label(number: int) -> str:
    """Return the start of a bin of lengths in tokens, such as 724, 1k or 16k."""
    count = 2 ** (number / 2)
    return f"{count:.0f}" if count < 1000 else f"{count / 1024:.3g}k" if count < 2**20 else f"{count / 2**20:.3g}M"


def stacked_bar(name: str, counts: Sequence[tuple[str, int, str]], total: int) -> str:
    """Return a stacked bar of (label, count, color class) parts."""
    rectangles, start = [], 0.0
    for label, count, color in counts:
        width = 600 * count / total if total else 0.0
        share = count / total if total else 0.0
        title = escape(f"{label}: {count:,} ({share:.2%})")
        rectangles.append(
            f'<rect class="{color}" x="{start:.2f}" width="{width:.2f}" height="16"><title>{title}</title></rect>'
        )
        start += width
    description = escape(f"{name}: " + ", ".join(f"{label} {count:,}" for label, count, _ in counts if count))
    return (
        f'<svg class="parts" viewBox="0 0 600 16" role="img" aria-label="{description}" preserveAspectRatio="none">'
        f"{''.join(rectangles)}</svg>"
    )
