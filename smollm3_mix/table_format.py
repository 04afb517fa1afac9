"""Tables as plain text, Markdown and HTML."""

from collections.abc import Sequence
from html import escape

Table = list[list[str]]


def plain_table(table: Table) -> str:
    """Return the table as plain text with aligned columns. The first is left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def markdown_table(table: Table, words: Sequence[int] = (0,)) -> str:
    """Return the table as Markdown. Columns in `words` are left-aligned, the others right-aligned."""
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in table]
    rule = ["---" if column in words else "--:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *body])


def html_table(table: Table, words: Sequence[int] = (0,)) -> str:
    """Return the table as HTML with escaped cells. Columns in `words` are left-aligned, the others right-aligned."""
    sides = ["left" if column in words else "right" for column in range(len(table[0]))]
    rows = []
    for number, row in enumerate(table):
        tag = "td" if number else "th"
        cells = zip(row, sides, strict=True)
        rows.append("".join(f'<{tag} style="text-align:{side}">{escape(cell)}</{tag}>' for cell, side in cells))
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"
