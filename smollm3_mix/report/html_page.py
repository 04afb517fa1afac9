"""HTML report of a written mix: one page without scripts or external resources."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.report import figures
from smollm3_mix.report.evidence import Evidence, Example
from smollm3_mix.report.page_style import STYLE
from smollm3_mix.report.source_rows import SourceRow
from smollm3_mix.report.tables import drops_table
from smollm3_mix.table_format import Table

BINS = 160
"""Number of points of a discrepancy chart."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def html_page(  # noqa: PLR0917 - one argument per section
    recipe: AnyRecipe,
    summary: Mapping[str, Any],
    rows: Sequence[SourceRow],
    problems: Sequence[str],
    evidence: Evidence,
    dropped: Mapping[str, Sequence[Example]],
) -> str:
    """Return the page.

    Args:
        recipe: Pinned recipe of the mix.
        summary: Content of `stats.json`.
        rows: One row per source, as recounted.
        problems: Problems that recounting found.
        evidence: Collected while recounting.
        dropped: Examples of dropped texts by source.
    """
    train = MixStats.from_dict(summary["splits"]["train"]["sources"])
    sections = [
        ("Target and actual shares", _shares(rows, recipe.weigh_by)),
        ("Discrepancy along the stream", _discrepancies(rows, evidence, recipe.weigh_by)),
        ("Dropped documents", _drops(train)),
        ("Document lengths", _lengths(rows, evidence)),
        ("Unavailable sources", _missing(recipe)),
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
        f"<title>{name}: verification report</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{name}</h1><p>{escape(recipe.description)}</p>{_summary_line(problems)}"
        f"{_tiles(recipe, summary, rows)}"
        f"<nav>{links}</nav></header><main>{body}</main>"
        f"<footer>Recipe <code>{escape(summary['recipe'])}</code>, written and verified by smollm3_mix "
        f"{escape(summary['request']['version'])}. The texts remain under the licenses of their sources.</footer>"
        "</body></html>\n"
    )


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower())


def _summary_line(problems: Sequence[str]) -> str:
    if not problems:
        return '<p class="good">✓ Recounted from the files: no problems found.</p>'
    listed = "".join(f"<li>{escape(problem)}</li>" for problem in problems)
    found = f"✗ Recounted from the files: {len(problems):,} {'problem' if len(problems) == 1 else 'problems'}."
    return f'<div class="bad"><p>{found}</p><ul>{listed}</ul></div>'


def _tiles(recipe: AnyRecipe, summary: Mapping[str, Any], rows: Sequence[SourceRow]) -> str:
    total = summary["splits"]["train"]["total"]
    held_out = summary["splits"].get("validation", {}).get("total", {}).get("emitted", 0)
    bounded = [row.discrepancy / row.bound for row in rows if row.bound]
    tiles = [
        (f"{total['emitted']:,}", "records"),
        (short(total["emitted_tokens"]), "tokens"),
        (f"{short(total['emitted_bytes'])}B", "of text"),
        (f"{len(recipe.active)} × {recipe.lanes}", "sources × lanes"),
        (
            f"{max((abs(row.actual - row.target) for row in rows), default=0) * 100:.3f} pp",
            "largest difference from a target share",
        ),
    ]
    if bounded:
        tiles.append((f"{max(bounded):.0%}", "of its bound: the largest discrepancy"))
    if held_out:
        tiles.append((f"{held_out:,}", "validation records"))
    return (
        '<dl class="tiles">'
        + "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for value, label in tiles)
        + "</dl>"
    )


def short(number: float) -> str:
    """Return a number with three digits and a unit, such as 1.08M."""
    for unit in ("", "k", "M", "G", "T"):
        if number < 1000 or unit == "T":
            break
        number /= 1000
    return f"{number:.3g}{unit}"


def _table(head: Sequence[str], body: Sequence[Sequence[str]], caption: str) -> str:
    """Return a table of HTML cells. The first cell of a row is its heading."""
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
    head = ["source", "", "target", "actual", "diff, pp", "records", "max discrepancy", "bound", ""]
    caption = (
        f"Shares of {unit}. The bar is the actual share, the mark is the target. The discrepancy is the largest "
        "|share × total − emitted| after any record of any lane. The meter shows it as part of its bound."
    )
    return _table(head, body, caption)


def _discrepancies(rows: Sequence[SourceRow], evidence: Evidence, unit: str) -> str:
    ends, low, high = evidence.discrepancies(BINS)
    drawn = [
        figures.discrepancy_chart(row.source, ends, low[number], high[number], row.bound, unit)
        for number, row in enumerate(rows)
    ]
    return (
        f"<p>{unit.capitalize()} that each source has emitted too few (above the line) or too many (below), from the "
        "first record of a lane to the last. The band covers all lanes. Dashed lines are the bound, if any.</p>"
        f'<div class="grid">{"".join(drawn)}</div>'
        if any(drawn)
        else ""
    )


def _drops(train: MixStats) -> str:
    reasons = train.total.dropped
    if not any(reasons.values()):
        return "<p>None.</p>"
    most = sorted(reasons, key=lambda reason: (-reasons[reason], reason))
    listed, rest = most[: figures.COLORS - 1], most[figures.COLORS - 1 :]
    colors = {reason: f"c{number}" for number, reason in enumerate(listed, 1)}
    lines = []
    for source, counts in train.sources.items():
        segments = [("kept", counts.emitted + counts.pending, "c0")]
        segments += [(reason, counts.dropped.get(reason, 0), colors[reason]) for reason in listed]
        if rest:
            segments.append(
                ("other reasons", sum(counts.dropped.get(reason, 0) for reason in rest), f"c{figures.COLORS}")
            )
        dropped = sum(counts.dropped.values()) / counts.read if counts.read else 0.0
        lines.append(
            [escape(source), figures.stacked_bar(source, segments, counts.read), f"{counts.read:,}", f"{dropped:.1%}"]
        )
    legend = [("kept", "c0"), *colors.items(), *([("other reasons", f"c{figures.COLORS}")] if rest else [])]
    keys = "".join(
        f'<li><svg viewBox="0 0 10 10" aria-hidden="true"><rect class="{color}" width="10" height="10" rx="2"/></svg>'
        f"{escape(label)}</li>"
        for label, color in legend
    )
    table = _table(["source", "", "rows read", "dropped"], lines, "Rows read, as counted by write.")
    numbers = _plain(drops_table(train), "Rows dropped by source and reason.")
    return f'<ul class="legend">{keys}</ul>{table}<details><summary>Table</summary>{numbers}</details>'


def _lengths(rows: Sequence[SourceRow], evidence: Evidence) -> str:
    used = np.flatnonzero(evidence.lengths.sum(axis=0))
    if not len(used):
        return ""
    drawn = [
        figures.histogram(row.source, evidence.lengths[number], int(used[0]), int(used[-1]))
        for number, row in enumerate(rows)
    ]
    return (
        "<p>Documents by number of tokens. Each bin is √2 wider than the previous one. All sources have the same "
        "horizontal scale.</p>"
        f'<div class="grid">{"".join(drawn)}</div>'
    )


def _missing(recipe: AnyRecipe) -> str:
    total = recipe.raw_sum
    lines = [
        f"<li><strong>{escape(source.id)}</strong> ({source.weight / total:.4%} of the weights): "
        f"{escape(source.unavailable)}</li>"
        for source in recipe.sources
        if source.unavailable is not None
    ]
    return f"<ul>{''.join(lines)}</ul>" if lines else ""


def _examples(
    recipe: AnyRecipe, kept: Mapping[str, Sequence[Example]], dropped: Mapping[str, Sequence[Example]]
) -> str:
    sections = []
    for number, source in enumerate(recipe.active):
        kept_here, dropped_here = kept.get(source.id, []), dropped.get(source.id, [])
        if not kept_here and not dropped_here:
            continue
        language = source.kind.language if source.kind.type != "code" else None
        articles = "".join(_example(example, language) for example in [*kept_here, *dropped_here])
        count = f"{len(kept_here)} kept" + (f", {len(dropped_here)} dropped" if dropped_here else "")
        state = " open" if number == 0 else ""
        sections.append(
            f"<details{state}><summary>{escape(source.id)} <span>{count}</span></summary>{articles}</details>"
        )
    hint = "" if dropped else " To see dropped documents, write the mix with <code>--keep-dropped</code>."
    text = f"<p>The texts with the smallest hashes, so every run shows the same ones.{hint}</p>"
    return text + "".join(sections) if sections else ""


def _example(example: Example, language: str | None) -> str:
    text = escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", example.text))
    rest = example.length - len(example.text)
    more = f'<p class="more">… and {rest:,} more characters</p>' if rest > 0 else ""
    tag = "" if example.reason is None else f'<span class="reason">{escape(example.reason)}</span> '
    attribute = f' lang="{escape(language)}"' if language and re.fullmatch(r"[A-Za-z]{2,3}([_-]\w+)?", language) else ""
    attribute = attribute.replace("_", "-")
    kind = "kept" if example.reason is None else "dropped"
    provenance = f"from <code>{escape(example.file)}</code>, row {example.row:,}"
    if example.id == f"{example.file}:{example.row}":  # the id has both
        provenance = ""
    return (
        f'<article class="{kind}"><p class="origin">{tag}<code>{escape(example.id)}</code> {provenance}</p>'
        f'<pre dir="auto"{attribute} tabindex="0">{text}</pre>{more}</article>'
    )
