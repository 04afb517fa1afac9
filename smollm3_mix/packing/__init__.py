"""Windows of tokens for training: documents of a mix packed end to end, lane by lane, resumable in a document's middle.

opening  what can be packed: a recipe, an opened mix, a folder that `write` made
stream   the windows of some lanes, one of each lane in turn
"""

from smollm3_mix.packing.opening import Packed, packed
from smollm3_mix.packing.stream import Windows

__all__ = ["Packed", "Windows", "packed"]
