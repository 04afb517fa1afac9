"""Which blocks of a lane are read before they are asked for: those of the network that its order will want next."""

from collections.abc import Sequence

import numpy as np

from smollm3_mix.mix.interleave import Order
from smollm3_mix.mix.source_stream import SourceStream
from smollm3_mix.sources.prefetch import PrefetchBudget

MAX_BLOCKS = 64
"""Blocks of a lane that are read ahead at most."""


class PrefetchScheduler:
    """Has threads read the blocks that the order will want, as far ahead as the lane's room in memory reaches.

    Sources of local files are left out, as nothing is waited for there. It guesses; what comes out, and what a state
    says, is the same whatever it guesses. No more blocks are read ahead than have been used, so that a few records cost
    a few blocks.

    Args:
        lines: of the lane.
        order: of the lane.
    """

    def __init__(self, lines: Sequence[SourceStream], order: Order) -> None:
        self._lines, self._order = lines, order
        self._waits = np.array([line.remote for line in lines])
        self._used = 0
        # From the start: of lanes that are read in turn, the first would else fill what all of them may hold.
        self._room = PrefetchBudget() if self._waits.any() else None

    def look(self) -> None:
        """See to the blocks ahead; after each block that the lane has read."""
        if not self._waits.any():
            return
        self._used += 1
        self._room = self._room or PrefetchBudget()
        if not (room := self._room.size):
            return
        upcoming = self._order.upcoming(min(self._used, MAX_BLOCKS))
        upcoming = upcoming[self._waits[upcoming]]
        sizes = np.array([line.block_bytes for line in self._lines])[upcoming]
        upcoming = upcoming[: int(np.searchsorted(np.cumsum(sizes), room, side="right"))]
        wanted = np.bincount(upcoming, minlength=len(self._lines))
        for number in dict.fromkeys(upcoming.tolist()):  # few: sources of blocks that come soon
            self._lines[number].read_ahead(int(wanted[number]), self._room)

    def close(self) -> None:
        """Leave threads and memory to other lanes."""
        if self._room is not None:
            self._room.close()
            self._room = None
