"""State of a torchdata `StatefulDataLoader`, in the shape of torchdata 0.10 and 0.11. torchdata does not document it.

The states of the workers are nested somewhere inside. A state between two snapshots counts the batches since the last
snapshot, and describes the workers at the snapshot.
"""

from collections.abc import Mapping
from typing import Any

STEPS_SINCE_SNAPSHOT = "_steps_since_snapshot"
"""Key of the number of batches since the last snapshot of the workers."""


def steps_since_snapshot(state: Mapping[str, Any]) -> int:
    """Return the number of batches since the last snapshot of the workers. 0 for any other state."""
    return int(state.get(STEPS_SINCE_SNAPSHOT, 0))
