"""The mix: sources → clean → judge → dedup → merge → records.

prepare    a raw block cleaned and judged
line       one source in one lane
lane       the merge of all sources of a lane, and its state
chunk      records on their way out
stream     several lanes, one record of each in turn
seen_file  what dedup remembers, beside the states
states     saved states of several readers made one
exhausted  what to say when a source ends
opening    a recipe made ready to be read
"""

from smollm3_mix.mix.opening import Mix, open_mix
from smollm3_mix.mix.states import merge_states
from smollm3_mix.mix.stream import Stream

__all__ = ["Mix", "Stream", "merge_states", "open_mix"]
