"""A block of documents cleaned."""

import pyarrow as pa

from smollm3_mix.text.clean.boilerplate import remove_boilerplate
from smollm3_mix.text.clean.byte_rows import Rows, from_arrow, to_arrow
from smollm3_mix.text.clean.cleaning_options import Cleaning
from smollm3_mix.text.clean.mojibake import repair_mojibake
from smollm3_mix.text.clean.plain_characters import normalize_characters
from smollm3_mix.text.clean.whitespace import normalize_whitespace

# Turns of repair and cleaning, the last of which should find nothing to do. Two or three are enough: a repair shortens
# the text or takes a control character out of it; the bound is there because ftfy's rules are not ours.
MAX_ROUNDS = 16


def clean_texts(texts: pa.StringArray, cleaning: Cleaning) -> pa.StringArray:
    r"""The cleaned text of each row, null where it is null; the very array given, if nothing is to be done.

    A row's text depends on that row alone, and cleaning it again changes nothing. A document that holds nothing but
    what is removed comes out empty. Only documents in which a scan of the bytes finds something are worked on. Not
    promised: the same bytes under a Python whose Unicode data is newer, for characters that it adds.

    Args:
        texts: pa.StringArray of any length, sliced or not; valid UTF-8.
        cleaning: the rules.

    Returns:
        pa.StringArray of the same length.

    Raises:
        TypeError: an array of another type.
        MissingExtraError: `cleaning.mojibake` is set and ftfy is not installed.

    >>> clean(pa.array(["Two  spaces, \r\na zero-width\u200b space.\n", None]), Cleaning("prose")).to_pylist()
    ['Two spaces,\na zero-width space.', None]
    """
    if not isinstance(texts, pa.StringArray):
        kind = f"{type(texts).__name__} of {texts.type}" if hasattr(texts, "type") else type(texts).__name__
        raise TypeError(f"clean takes a pa.StringArray, not {kind}: cast it to pa.string(), combine its chunks")
    if cleaning.profile == "none" or not len(texts):
        return texts
    step = _repaired if cleaning.mojibake else _cleaned
    rows = from_arrow(texts)
    cleaned = step(rows, cleaning)
    return texts if cleaned is rows else to_arrow(cleaned, texts)


def _cleaned(rows: Rows, cleaning: Cleaning) -> Rows:
    rows = normalize_characters(rows, cleaning.profile)
    if cleaning.boilerplate:
        rows = remove_boilerplate(rows)
    return normalize_whitespace(rows, cleaning.profile)


def _repaired(rows: Rows, cleaning: Cleaning) -> Rows:
    """Rows both repaired and cleaned; in turns, since each can bring to light work for the other."""
    fine: set[bytes] = set()
    for _ in range(MAX_ROUNDS):
        cleaned = _cleaned(repair_mojibake(rows, fine), cleaning)
        if cleaned is rows:
            break
        rows = cleaned
    return rows
