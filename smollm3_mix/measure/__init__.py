"""Numbers about documents, a block at a time."""

from smollm3_mix.measure.grams import Limits
from smollm3_mix.measure.measures import Measures
from smollm3_mix.measure.sentences import KeptLines, kept_lines
from smollm3_mix.measure.words import Words, words

__all__ = ["KeptLines", "Limits", "Measures", "Words", "kept_lines", "words"]
