"""Tables for people."""

from collections.abc import Sequence

from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.report.source_rows import SourceRow
from smollm3_mix.table_format import Table, markdown_table


def shares_table(rows: Sequence[SourceRow], unit: str) -> Table:
    """Asked, given and worst debt of each source and of the whole; first row the headings."""
    table = [
        [
            "source",
            "asked",
            "emitted",
            "off by",
            f"{unit} given",
            "records",
            "worst debt",
            "bound",
            "duplicates",
            "dropped",
        ]
    ]
    table += [
        [
            row.source,
            f"{row.asked:.4%}",
            f"{row.emitted:.4%}",
            f"{(row.emitted - row.asked) * 100:+.4f} pp",
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
    """A line of text for each source: what was asked and given in per cent, and what was given as a bar.

    A chart that every page shows alike. Where a bar ends before the share that was asked, dots go on to it.
    """
    most = max((max(row.asked, row.emitted) for row in rows), default=0.0) or 1.0
    name = max((len(row.source) for row in rows), default=0)
    lines = [f"{'':{name}}  {'asked':>8}  {'given':>8}"]
    for row in rows:
        given, asked = round(row.emitted / most * BAR), round(row.asked / most * BAR)
        bar = "█" * given + "·" * (asked - given) if given else "▏" + "·" * (asked - 1)
        lines.append(f"{row.source:{name}}  {row.asked:8.4%}  {row.emitted:8.4%}  {bar}")
    return "\n".join(lines)


def drops_table(stats: MixStats) -> Table:
    """Rows read and dropped by reason, for each source that dropped any; only the headings if none did."""
    reasons = sorted(stats.total.dropped)
    table = [["source", "read", *reasons]]
    table += [
        [source, f"{mine.read:,}", *(f"{mine.dropped.get(reason, 0):,}" for reason in reasons)]
        for source, mine in stats.sources.items()
        if mine.dropped
    ]
    return table


def drops_in_words(stats: MixStats) -> str:
    """Markdown: rows read and dropped, with the reasons in words, the most frequent first, by source that dropped any.

    For pages whose columns are narrow: a mix has more reasons than fit beside each other.
    """
    table = [["source", "read", "dropped", "part", "reasons"]]
    for source, mine in stats.sources.items():
        if gone := sum(mine.dropped.values()):
            most = sorted(mine.dropped.items(), key=lambda each: (-each[1], each[0]))
            reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in most if rows)
            table.append([source, f"{mine.read:,}", f"{gone:,}", f"{gone / mine.read:.1%}", reasons])
    return markdown_table(table, words=(0, 4)) if len(table) > 1 else "Nothing."
