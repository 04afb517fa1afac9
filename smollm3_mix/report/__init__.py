"""A tally held against its recipe: rows for tables, on the terminal, in the card and in JSON.

rows   what was asked and given of each source, and how far off it ever was
plan   what a mix would take of each source, before anything is read
text   tables made of them
evidence, figures, page, style   the page of HTML
"""

from smollm3_mix.report.rows import Row, rows, sparse
from smollm3_mix.report.text import bars, drops_in_words, drops_table, markdown, plain, shares_table

__all__ = ["Row", "bars", "drops_in_words", "drops_table", "markdown", "plain", "rows", "shares_table", "sparse"]
