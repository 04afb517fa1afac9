"""The mix: sources → clean → judge → dedup → merge → records.

prepare    a raw block cleaned and judged
line       one source in one lane; `laid`, `verdicts`: what it must know of blocks before
lane       the merge of all sources of a lane, and its state; `limits`: where it ends
chunk      records on their way out
stream     several lanes, one record of each in turn; `saved`: what its states hold
packed     a lane's place in few bytes
seen_file  what dedup remembers, beside the states
states     saved states of several readers made one
going_on   another recipe that goes on where one stopped
mixed      the mix of one recipe
course     the mix of a curriculum
exhausted  what to say when a source ends
opening    a recipe made ready to be read
"""

from smollm3_mix.mix.course import CurriculumMix
from smollm3_mix.mix.mixed import Mix
from smollm3_mix.mix.opening import open_mix
from smollm3_mix.mix.states import merge_states
from smollm3_mix.mix.stream import Stream

__all__ = ["CurriculumMix", "Mix", "Stream", "merge_states", "open_mix"]
