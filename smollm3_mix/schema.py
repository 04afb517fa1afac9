"""Columns of records and of dropped documents, and the splits of a mix."""

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
"""Columns of a record. They are the same for every recipe, so mixes can be concatenated.

* text: The cleaned text.
* id: The source's own id, or file and row. It does not depend on seed or lanes.
* source: `id` of the source in the recipe.
* tokens: Length as counted by `tokens` of the recipe.
* file: Repository, pinned revision and path, or a local path as in the recipe.
* row: Number of the raw row in that file, from 0.
* meta: Kept columns as one JSON object, `{}` without kept columns. Never null, because torch cannot collate null.
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
"""Columns of a dropped document. `text` is the cleaned text that was filtered, or null if the reader dropped the row
(`where`, `excluded`, `not_text`). The other columns are as in a record.
"""

SPLITS = ("train", "validation")
