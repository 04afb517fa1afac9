"""Schedule of the blocks that a lane prefetches from the network."""

from collections.abc import Sequence

import numpy as np

from smollm3_mix.mix.interleave import Order
from smollm3_mix.mix.source_stream import SourceStream
from smollm3_mix.sources.prefetch import PrefetchBudget

MAX_BLOCKS = 64
"""Maximum number of blocks of a lane that are prefetched."""


class PrefetchScheduler:
    """Prefetches the blocks that the order needs next, in threads, within the lane's memory budget.

    Sources of local files are never prefetched. The schedule is an estimate that affects neither the records nor the
    states. At most as many blocks are prefetched as were used, so that a few records cost a few blocks.

    Args:
        streams: Source streams of the lane.
        order: Order of the lane.
    """

    def __init__(self, streams: Sequence[SourceStream], order: Order) -> None:
        self._streams, self._order = streams, order
        self._remote = np.array([stream.remote for stream in streams])
        self._used = 0
        # Reserved at once. Otherwise the first of several lanes would take the budget of all.
        self._budget = PrefetchBudget() if self._remote.any() else None

    def update(self) -> None:
        """Prefetch blocks within the budget. Called after each block that the lane has read."""
        if not self._remote.any():
            return
        self._used += 1
        self._budget = self._budget or PrefetchBudget()
        if not (size := self._budget.size):
            return
        upcoming = self._order.upcoming(min(self._used, MAX_BLOCKS))
        upcoming = upcoming[self._remote[upcoming]]
        sizes = np.array([stream.block_bytes for stream in self._streams])[upcoming]
        upcoming = upcoming[: int(np.searchsorted(np.cumsum(sizes), size, side="right"))]
        counts = np.bincount(upcoming, minlength=len(self._streams))
        for number in dict.fromkeys(upcoming.tolist()):
            self._streams[number].prefetch(int(counts[number]), self._budget)

    def close(self) -> None:
        """Release the threads and the budget for other lanes."""
        if self._budget is not None:
            self._budget.close()
            self._budget = None
