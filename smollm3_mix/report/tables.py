"""Tables of statistics, as text."""

from collections.abc import Sequence

from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.report.source_rows import SourceRow
from smollm3_mix.table_format import Table, markdown_table


def shares_table(rows: Sequence[SourceRow], unit: str) -> Table:
    """Return target, actual share and largest discrepancy of each source. The first row is the header."""
    table = [
        [
            "source",
            "target",
            "actual",
            "diff",
            unit,
            "records",
            "max discrepancy",
            "bound",
            "duplicates",
            "dropped",
        ]
    ]
    table += [
        [
            row.source,
            f"{row.target:.4%}",
            f"{row.actual:.4%}",
            f"{(row.actual - row.target) * 100:+.4f} pp",
            f"{row.units:,}",
            f"{row.records:,}",
            f"{row.discrepancy:,.0f}",
            "none" if row.bound is None else f"{row.bound:,.0f}",
            f"{row.duplicates:,}",
            f"{row.dropped:,}",
        ]
        for row in rows
    ]
    total = [sum(getattr(row, name) for row in rows) for name in ("units", "records", "duplicates", "dropped")]
    table.append(
        ["total", "", "", "", f"{total[0]:,}", f"{total[1]:,}", "", "", f"{total[2]:,}", f"{total[3]:,}"],
    )
    return table


BAR = 40
"""Characters of the longest bar."""


def bars(rows: Sequence[SourceRow]) -> str:
    """Return a text chart with one line per source: target and actual share in percent, and the actual share as a bar.

    Dots fill the gap between the bar and a larger target.
    """
    most = max((max(row.target, row.actual) for row in rows), default=0.0) or 1.0
    name = max((len(row.source) for row in rows), default=0)
    lines = [f"{'':{name}}  {'target':>8}  {'actual':>8}"]
    for row in rows:
        actual, target = round(row.actual / most * BAR), round(row.target / most * BAR)
        bar = "█" * actual + "·" * (target - actual) if actual else "▏" + "·" * (target - 1)
        lines.append(f"{row.source:{name}}  {row.target:8.4%}  {row.actual:8.4%}  {bar}")
    return "\n".join(lines)


def drops_table(stats: MixStats) -> Table:
    """Return rows read and dropped by reason, for each source with dropped rows. The first row is the header."""
    reasons = sorted(stats.total.dropped)
    table = [["source", "read", *reasons]]
    table += [
        [source, f"{mine.read:,}", *(f"{mine.dropped.get(reason, 0):,}" for reason in reasons)]
        for source, mine in stats.sources.items()
        if mine.dropped
    ]
    return table


def drops_markdown(stats: MixStats) -> str:
    """Return a Markdown table of rows read and dropped per source, with all reasons in one cell.

    The most frequent reason is first. For narrow pages, where a column per reason does not fit.
    """
    table = [["source", "read", "dropped", "part", "reasons"]]
    for source, mine in stats.sources.items():
        if dropped := sum(mine.dropped.values()):
            most = sorted(mine.dropped.items(), key=lambda each: (-each[1], each[0]))
            reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in most if rows)
            table.append([source, f"{mine.read:,}", f"{dropped:,}", f"{dropped / mine.read:.1%}", reasons])
    return markdown_table(table, words=(0, 4)) if len(table) > 1 else "None."
