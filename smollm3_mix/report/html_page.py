"""A written mix on one page of HTML: nothing on it is loaded from elsewhere, and nothing on it runs."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.report import figures
from smollm3_mix.report.evidence import Evidence, Example
from smollm3_mix.report.page_style import STYLE
from smollm3_mix.report.source_rows import SourceRow
from smollm3_mix.report.tables import drops_table
from smollm3_mix.table_format import Table

BINS = 160
"""Points along the stream at which debts are drawn."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def html_page(  # noqa: PLR0917 - what is shown, each once
    recipe: Recipe,
    summary: Mapping[str, Any],
    rows: Sequence[SourceRow],
    problems: Sequence[str],
    evidence: Evidence,
    dropped: Mapping[str, Sequence[Example]],
) -> str:
    """The page.

    Args:
        recipe: of the mix, with every source pinned.
        summary: its `stats.json`.
        rows: of each source, as recounted.
        problems: what recounting found to be wrong.
        evidence: gathered while recounting.
        dropped: texts that were dropped, by source; empty where none were kept.
    """
    train = MixStats.from_dict(summary["splits"]["train"]["sources"])
    sections = [
        ("Asked and given", _shares(rows, recipe.weigh_by)),
        ("Debt along the stream", _discrepancies(rows, evidence, recipe.weigh_by)),
        ("What was dropped, and why", _drops(train)),
        ("Lengths of what is given", _lengths(rows, evidence)),
        ("What could not be had", _missing(recipe)),
        ("Examples", _examples(recipe, evidence.examples(), dropped)),
    ]
    kept = [(title, body) for title, body in sections if body]
    links = "".join(f'<a href="#{_anchor(title)}">{title}</a>' for title, _ in kept)
    body = "".join(
        f'<section id="{_anchor(title)}" aria-label="{title}"><h2>{title}</h2>{content}</section>'
        for title, content in kept
    )
    name = escape(summary["name"])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{name}: a mix, recounted</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{name}</h1><p>{escape(recipe.description)}</p>{_summary_line(problems)}"
        f"{_tiles(recipe, summary, rows)}"
        f"<nav>{links}</nav></header><main>{body}</main>"
        f"<footer>Recipe <code>{escape(summary['recipe'])}</code>, written and recounted by smollm3_mix "
        f"{escape(summary['request']['version'])}. The texts remain under the licenses of their sources.</footer>"
        "</body></html>\n"
    )


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower())


def _summary_line(problems: Sequence[str]) -> str:
    if not problems:
        return '<p class="good">✓ Recounted from its files alone: all as it should be.</p>'
    listed = "".join(f"<li>{escape(fault)}</li>" for fault in problems)
    said = f"✗ Recounted from its files alone: {len(problems):,} not as it should be."
    return f'<div class="bad"><p>{said}</p><ul>{listed}</ul></div>'


def _tiles(recipe: Recipe, summary: Mapping[str, Any], rows: Sequence[SourceRow]) -> str:
    total = summary["splits"]["train"]["total"]
    held = summary["splits"].get("validation", {}).get("total", {}).get("emitted", 0)
    bounded = [row.discrepancy / row.bound for row in rows if row.bound]
    tiles = [
        (f"{total['emitted']:,}", "records"),
        (short(total["emitted_tokens"]), "tokens"),
        (f"{short(total['emitted_bytes'])}B", "of text"),
        (f"{len(recipe.active)} × {recipe.lanes}", "sources × lanes"),
        (
            f"{max((abs(row.actual - row.target) for row in rows), default=0) * 100:.3f} pp",
            "largest difference of a share",
        ),
    ]
    if bounded:
        tiles.append((f"{max(bounded):.0%}", "of its bound: the worst debt"))
    if held:
        tiles.append((f"{held:,}", "records of validation"))
    return (
        '<dl class="tiles">' + "".join(f"<div><dt>{what}</dt><dd>{value}</dd></div>" for value, what in tiles) + "</dl>"
    )


def short(number: float) -> str:
    """A number with three digits and a unit: 1.08M."""
    for unit in ("", "k", "M", "G", "T"):
        if number < 1000 or unit == "T":
            break
        number /= 1000
    return f"{number:.3g}{unit}"


def _table(head: Sequence[str], body: Sequence[Sequence[str]], caption: str) -> str:
    """A table of cells that are HTML already; the first of a row is its heading."""
    heads = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in body
    )
    return (
        f'<div class="wide"><table><caption>{caption}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _plain(table: Table, caption: str) -> str:
    head, *body = [[escape(cell) for cell in row] for row in table]
    return _table(head, body, caption)


def _shares(rows: Sequence[SourceRow], unit: str) -> str:
    most = max((max(row.target, row.actual) for row in rows), default=1.0) or 1.0
    body = [
        [
            escape(row.source),
            figures.share_bar(row.target, row.actual, most),
            f"{row.target:.4%}",
            f"{row.actual:.4%}",
            f"{(row.actual - row.target) * 100:+.4f}",
            f"{row.records:,}",
            f"{row.discrepancy:,.0f}",
            "none" if row.bound is None else f"{row.bound:,.0f}",
            figures.meter(row.discrepancy, row.bound),
        ]
        for row in rows
    ]
    head = ["source", "", "asked", "emitted", "off by, pp", "records", "worst debt", "bound", ""]
    caption = (
        f"Shares of {unit}. The bar is what was given, the mark what was asked. Debt is |share × total − given| after "
        "any record of any lane; the meter shows how much of its bound it used."
    )
    return _table(head, body, caption)


def _discrepancies(rows: Sequence[SourceRow], evidence: Evidence, unit: str) -> str:
    ends, low, high = evidence.discrepancies(BINS)
    drawn = [
        figures.discrepancy_chart(row.source, ends, low[number], high[number], row.bound, unit)
        for number, row in enumerate(rows)
    ]
    return (
        f"<p>What each source was owed (above the line) or had given too much (below), in {unit}, from the first "
        "record of a lane to its last. The band holds all lanes; dashed lines are the bound where there is one.</p>"
        f'<div class="grid">{"".join(drawn)}</div>'
        if any(drawn)
        else ""
    )


def _drops(train: MixStats) -> str:
    reasons = train.total.dropped
    if not any(reasons.values()):
        return "<p>Nothing.</p>"
    most = sorted(reasons, key=lambda reason: (-reasons[reason], reason))
    named, rest = most[: figures.COLORS - 1], most[figures.COLORS - 1 :]
    colours = {reason: f"c{number}" for number, reason in enumerate(named, 1)}
    lines = []
    for source, counts in train.sources.items():
        cut = [("kept", counts.emitted + counts.pending, "c0")]
        cut += [(reason, counts.dropped.get(reason, 0), colours[reason]) for reason in named]
        if rest:
            cut.append(("other reasons", sum(counts.dropped.get(reason, 0) for reason in rest), f"c{figures.COLORS}"))
        gone = sum(counts.dropped.values()) / counts.read if counts.read else 0.0
        lines.append([escape(source), figures.parts(source, cut, counts.read), f"{counts.read:,}", f"{gone:.1%}"])
    legend = [("kept", "c0"), *colours.items(), *([("other reasons", f"c{figures.COLORS}")] if rest else [])]
    keys = "".join(
        f'<li><svg viewBox="0 0 10 10" aria-hidden="true"><rect class="{colour}" width="10" height="10" rx="2"/></svg>'
        f"{escape(what)}</li>"
        for what, colour in legend
    )
    table = _table(["source", "", "rows read", "dropped"], lines, "Rows read, as counted when the mix was written.")
    numbers = _plain(drops_table(train), "Rows dropped by source and reason.")
    return f'<ul class="legend">{keys}</ul>{table}<details><summary>In numbers</summary>{numbers}</details>'


def _lengths(rows: Sequence[SourceRow], evidence: Evidence) -> str:
    used = np.flatnonzero(evidence.lengths.sum(axis=0))
    if not len(used):
        return ""
    drawn = [
        figures.histogram(row.source, evidence.lengths[number], int(used[0]), int(used[-1]))
        for number, row in enumerate(rows)
    ]
    return (
        "<p>Documents by tokens, each bar √2 wider than the one before; every source on the same scale from left to "
        "right.</p>"
        f'<div class="grid">{"".join(drawn)}</div>'
    )


def _missing(recipe: Recipe) -> str:
    total = recipe.raw_sum
    lines = [
        f"<li><strong>{escape(source.id)}</strong> ({source.weight / total:.4%} of the weights): "
        f"{escape(source.unavailable)}</li>"
        for source in recipe.sources
        if source.unavailable is not None
    ]
    return f"<ul>{''.join(lines)}</ul>" if lines else ""


def _examples(recipe: Recipe, kept: Mapping[str, Sequence[Example]], dropped: Mapping[str, Sequence[Example]]) -> str:
    parts = []
    for number, source in enumerate(recipe.active):
        mine, gone = kept.get(source.id, []), dropped.get(source.id, [])
        if not mine and not gone:
            continue
        language = source.kind.language if source.kind.type != "code" else None
        shown = "".join(_example(example, language) for example in [*mine, *gone])
        count = f"{len(mine)} kept" + (f", {len(gone)} dropped" if gone else "")
        state = " open" if number == 0 else ""
        parts.append(f"<details{state}><summary>{escape(source.id)} <span>{count}</span></summary>{shown}</details>")
    said = "" if dropped else " Dropped texts are shown where <code>write --keep-dropped</code> kept them."
    return f"<p>Chosen by the hash of their text, so always the same ones.{said}</p>{''.join(parts)}" if parts else ""


def _example(example: Example, language: str | None) -> str:
    text = escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", example.text))
    rest = example.length - len(example.text)
    more = f'<p class="more">… and {rest:,} characters more</p>' if rest > 0 else ""
    tag = "" if example.reason is None else f'<span class="reason">{escape(example.reason)}</span> '
    spoken = f' lang="{escape(language)}"' if language and re.fullmatch(r"[A-Za-z]{2,3}([_-]\w+)?", language) else ""
    spoken = spoken.replace("_", "-")
    kind = "kept" if example.reason is None else "dropped"
    place = f"from <code>{escape(example.file)}</code>, row {example.row:,}"
    if example.id == f"{example.file}:{example.row}":  # an id made of them says it all
        place = ""
    return (
        f'<article class="{kind}"><p class="origin">{tag}<code>{escape(example.id)}</code> {place}</p>'
        f'<pre dir="auto"{spoken} tabindex="0">{text}</pre>{more}</article>'
    )
