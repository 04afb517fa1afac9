"""Clean a block of documents."""

import pyarrow as pa

from smollm3_mix.text.clean.boilerplate import remove_boilerplate
from smollm3_mix.text.clean.byte_rows import Rows, from_arrow, to_arrow
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.clean.mojibake import repair_mojibake
from smollm3_mix.text.clean.plain_characters import normalize_characters
from smollm3_mix.text.clean.whitespace import normalize_whitespace

# Limit on rounds of repair and cleaning. Two or three are enough, because each repair shortens the text or removes a
# control character. The limit guards against changes in the rules of ftfy.
MAX_ROUNDS = 16


def clean_texts(texts: pa.StringArray, cleaning: Cleaning) -> pa.StringArray:
    r"""Clean each text. Null rows stay null.

    The result depends on the row only, and cleaning it again changes nothing. A document that consists of removed
    characters becomes empty. Only documents in which a scan of the bytes finds something are processed. A Python with
    newer Unicode data may clean the characters that it adds differently.

    Args:
        texts: Array of any length, sliced or not, of valid UTF-8.
        cleaning: Options of the source.

    Returns:
        Array of the same length, or the same object if no text changes.

    Raises:
        TypeError: If `texts` is an array of another type.
        MissingExtraError: If `cleaning.mojibake` is set and ftfy is not installed.

    >>> clean_texts(pa.array(["Two  spaces, \r\na zero-width\u200b space.\n", None]), Cleaning("prose")).to_pylist()
    ['Two spaces,\na zero-width space.', None]
    """
    if not isinstance(texts, pa.StringArray):
        kind = f"{type(texts).__name__} of {texts.type}" if hasattr(texts, "type") else type(texts).__name__
        raise TypeError(f"texts must be a pa.StringArray, got {kind}. Cast it to pa.string() or combine its chunks")
    if cleaning.profile == "none" or not len(texts):
        return texts
    step = _repair if cleaning.mojibake else _normalize
    rows = from_arrow(texts)
    cleaned = step(rows, cleaning)
    return texts if cleaned is rows else to_arrow(cleaned, texts)


def _normalize(rows: Rows, cleaning: Cleaning) -> Rows:
    rows = normalize_characters(rows, cleaning.profile)
    if cleaning.boilerplate:
        rows = remove_boilerplate(rows)
    return normalize_whitespace(rows, cleaning.profile)


def _repair(rows: Rows, cleaning: Cleaning) -> Rows:
    """Repair and clean in alternation until neither changes the rows, because each can create work for the other."""
    intact: set[bytes] = set()
    for _ in range(MAX_ROUNDS):
        cleaned = _normalize(repair_mojibake(rows, intact), cleaning)
        if cleaned is rows:
            break
        rows = cleaned
    return rows
