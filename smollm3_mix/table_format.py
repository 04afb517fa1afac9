"""Rows as tables: plain text and Markdown."""

from collections.abc import Sequence

Table = list[list[str]]


def plain_table(table: Table) -> str:
    """The table for a terminal: columns aligned, names to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def markdown_table(table: Table, words: Sequence[int] = (0,)) -> str:
    """The table in Markdown; the columns in `words` to the left, numbers to the right."""
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in table]
    rule = ["---" if column in words else "--:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *body])
