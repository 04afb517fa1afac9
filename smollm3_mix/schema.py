"""What is given out: the columns of a record, and the words used for reasons and choices."""

import pyarrow as pa

RECORD_SCHEMA = pa.schema(
    [
        pa.field("text", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("meta", pa.string(), nullable=False),
    ]
)
"""Columns of a record, the same for every recipe, so that mixes can be concatenated.

text: the cleaned text. id: the source's own id, else made of file and row; stable over seeds and lanes. source: `id` of
the source in the recipe. tokens: as counted by `weigh_by` (see `Recipe.tokens`). file: repository, pinned revision
and path, or a local path as the recipe has it. row: number of the raw row in that file, from 0. meta: kept columns as
one JSON object, `{}` where none are kept: never null, which torch could not collate.
"""

DROPPED_SCHEMA = pa.schema(
    [
        pa.field("text", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
    ]
)
"""Columns of a dropped document. text: as it was judged, that is cleaned; null where the reader gave none (`where`,
`excluded`, `not_text` and the like). The others as in a record.
"""

WEIGH_BY = ("tokens", "bytes", "documents")
ORDERS = ("exact", "iid")
SHUFFLES = ("block", "none")
ON_EXHAUSTED = ("error", "stop", "renormalize", "repeat")
SPLITS = ("train", "validation")
