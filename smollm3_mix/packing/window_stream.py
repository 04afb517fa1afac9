"""The windows of some lanes, one of each lane in turn, resumable after any window."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.errors import StateError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.mix.state.merge_states import next_lane_position
from smollm3_mix.mix.stream import Stream
from smollm3_mix.text import token_windows

Window = tuple[token_windows.Tokens, token_windows.Tokens]

DOCUMENTS = 256
"""Most documents taken from a lane at once. What comes out does not depend on it."""


class WindowStream:
    """Windows of sequence_length + 1 tokens of some lanes, one of each lane in turn; a lane that ends leaves the round.

    Each lane is a line of tokens of its own, so its windows are the same whoever reads it, beside whichever others. The
    last tokens of a lane, at most sequence_length of them, fill no window and are not given out (`left` counts them).

    Args:
        mix: what is read; its records carry token ids.
        lanes: numbers of the lanes, each at most once.
        sequence_length: inputs of a window.

    Attributes:
        sequence_length: inputs of a window.
        schema: `input_ids` and `position_ids`, both fixed_size_list<int32>[sequence_length + 1].
    """

    def __init__(self, mix: Mix, lanes: Sequence[int], sequence_length: int) -> None:
        if len(set(lanes)) != len(lanes):
            raise ValueError(f"lanes must differ, got {list(lanes)}")
        self._mix, self.sequence_length = mix, sequence_length
        self._lines = [_TokenStream(mix, lane, sequence_length) for lane in lanes]
        self._round = list(range(len(self._lines)))
        self._turn = 0
        self._last = -1  # the lane that gave the newest window
        cell = pa.list_(pa.int32(), sequence_length + 1)
        self.schema = pa.schema([("input_ids", cell), ("position_ids", cell)])

    def read(self, rows: int) -> pa.RecordBatch:
        """The next windows as one batch of `schema`: `rows` of them, fewer only at the end, where there are none.

        Raises:
            ValueError: rows is below 1.
            SourceExhaustedError, SourceError: as the mix raises them.
        """
        return self.read_with_lanes(rows)[0]

    def read_with_lanes(self, rows: int) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
        """What `read` gives, and the number of each window's lane, int64[windows]."""
        if rows < 1:
            raise ValueError(f"rows must be at least 1, got {rows}")
        found: list[Window] = []
        lanes: list[int] = []
        while len(found) < rows and (window := self._next()) is not None:
            found.append(window)
            lanes.append(self._last)
        wide = self.sequence_length + 1
        columns = [np.concatenate([np.empty(0, np.int32), *(each[n] for each in found)]) for n in range(2)]
        cells = [pa.FixedSizeListArray.from_arrays(pa.array(column), wide) for column in columns]
        return pa.RecordBatch.from_arrays(cells, schema=self.schema), np.array(lanes, np.int64)

    def __iter__(self) -> Iterator[dict[str, token_windows.Tokens]]:
        """Windows as dicts: `input_ids` and `position_ids`, each int32[sequence_length + 1]."""
        while (window := self._next()) is not None:
            yield {"input_ids": window[0], "position_ids": window[1]}

    @property
    def left(self) -> int:
        """Tokens of ended lanes that fill no window."""
        return sum(line.left for line in self._lines)

    def stats(self) -> MixStats:
        """Counts of these lanes after the last document taken; up to DOCUMENTS of a lane may wait to be packed."""
        return sum(
            (line.stream.stats for line in self._lines),
            MixStats.empty(source.id for source in self._mix.recipe.active),
        )

    def state_dict(self) -> dict[str, Any]:
        """Where the windows stand after the last one given out, JSON-able: a stream's state, with a place in each lane.

        A lane's state is that of its stream before the document that goes on, and `offset`, its tokens given as inputs.
        `merge_states` makes one of those of several readers.
        """
        saved = [line.state_dict() for line in self._lines]
        going = [self._lines[n].lane for n in self._round]
        return {
            **(saved[0] if saved else {}),
            "packing": {"sequence_length": self.sequence_length},
            "active_lanes": going,
            "next_lane": going[self._turn] if going else None,
            "lanes": [lane for state in saved for lane in state["lanes"]],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the window at which `state` was saved; of each lane, one document's tokens are made again.

        The state may hold more lanes than these, as those that `merge_states` gives do.

        Raises:
            StateError: the state is of another recipe, tokenizer, length of window, split, limits or other lanes.
        """
        if "packing" not in state:
            raise StateError(
                "this state is of a stream of records, and these are windows of tokens. Load one that state_dict() of "
                "windows gave."
            )
        was = state["packing"]["sequence_length"]
        if was != self.sequence_length:
            raise StateError(
                f"this state was saved with sequence_length={was}, but these windows have "
                f"sequence_length={self.sequence_length}. Open them as they were."
            )
        mine, saved = [line.lane for line in self._lines], {at["lane"]: at for at in state["lanes"]}
        if not set(mine) <= saved.keys() | set(state["active_lanes"]):
            raise StateError(
                f"this state is of lanes {sorted(saved)}, but the windows are of lanes {sorted(mine)}. "
                "Load the state of the same lanes, or merge_states() of all."
            )
        lines = []
        for line in self._lines:
            line.stream.close()
            lines.append(_TokenStream(self._mix, line.lane, self.sequence_length))
            if line.lane in saved:
                lines[-1].load_state_dict(state, saved[line.lane])
        self._lines = lines
        going = set(state["active_lanes"])
        self._round = [n for n, lane in enumerate(mine) if lane in going]
        self._turn = next_lane_position(state["next_lane"], [mine[n] for n in self._round])

    def close(self) -> None:
        """Close all files."""
        for line in self._lines:
            line.stream.close()

    def _next(self) -> Window | None:
        """The next window of the lane whose turn it is; None at the end of all."""
        while self._round:
            line = self._lines[self._round[self._turn]]
            window = line.next()
            if window is not None:
                self._last = line.lane
                self._turn = (self._turn + 1) % len(self._round)
                return window
            del self._round[self._turn]
            self._turn = self._turn % len(self._round) if self._round else 0
        return None


class _TokenStream:
    """One lane as a line of tokens, cut into windows.

    Documents are taken only when no window is whole. What is left of a line then is shorter than a window, so a window
    always ends in the documents taken last: a place in the line is a number of those, and tokens of one of them.
    """

    def __init__(self, mix: Mix, lane: int, length: int) -> None:
        self.lane, self._length = lane, length
        self.stream: Stream = mix.stream([lane])
        self._windows = 0
        self._clear(0, 0)

    @property
    def left(self) -> int:
        """Tokens that fill no window, once the lane has ended."""
        return self._left + (len(self._ids) if self._ended else 0)

    def next(self) -> Window | None:
        """The next window, None at the end of the lane."""
        while self._given == len(self._cut):
            if self._ended or not self._fill():
                return None
        self._given += 1
        self._windows += 1
        return self._cut[self._given - 1], self._places[self._given - 1]

    def state_dict(self) -> dict[str, Any]:
        """The stream's state before the document that goes on, and how many of its tokens have been inputs."""
        unread = offset = 0
        if not self._ended:
            at = self._base + self._given * self._length  # in the documents taken last
            document = int(np.searchsorted(self._edges, at, side="right")) - 1
            unread, offset = len(self._edges) - 1 - document, at - int(self._edges[document])
        state = self.stream.snapshot(unread=unread)
        lane = state["lanes"][0]
        lane |= {"documents": lane["records"], "offset": offset, "left": self.left}
        lane |= {"windows": self._windows, "records": self._windows}
        return state

    def load_state_dict(self, state: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
        """Stand where `saved`, this lane's part of a state, was taken."""
        lane = {**saved, "records": saved["documents"]}
        self.stream.load_state_dict({**state, "active_lanes": [self.lane], "next_lane": self.lane, "lanes": [lane]})
        self._clear(saved["offset"], saved["left"])
        self._windows = saved["windows"]
        while self._windows < saved["records"] and self.next() is not None:
            pass  # windows given after what is saved of the lane

    def _clear(self, offset: int, left: int) -> None:
        """Nothing taken; the first `offset` tokens of the next document have been given, or `left` were left."""
        self._left = left
        self._ids, self._starts = np.empty(0, np.int32), np.empty(0, np.int64)  # of what is in no window yet
        self._cut = self._places = np.empty((0, self._length + 1), np.int32)
        self._given, self._ended = 0, False
        self._edges: npt.NDArray[np.int64] = np.zeros(1, np.int64)  # where the documents taken last begin and end
        self._base = offset  # where the first window begins, counted from the first of them

    def _fill(self) -> bool:
        """Take documents and cut windows of them, perhaps none yet; False at the end of the lane."""
        batch = self.stream.read(DOCUMENTS)
        if not batch.num_rows:
            self._ended = True
            return False
        lists = batch["ids"]
        edges = lists.offsets.to_numpy()
        values = lists.values.to_numpy()[edges[0] : edges[-1]]
        edges = edges - edges[0]
        skip = self._base if len(self._edges) == 1 else 0  # after a resume, of the first document
        held = len(self._ids)
        self._starts = np.concatenate([self._starts, np.maximum(edges[:-1] - skip, 0) + held])
        self._ids = np.concatenate([self._ids, values[skip:]])
        self._cut, self._places = token_windows.windows(self._ids, self._starts, self._length)
        used = len(self._cut) * self._length
        self._given, self._edges, self._base = 0, edges, skip - held
        self._ids, self._starts = self._ids[used:], self._starts[self._starts >= used] - used
        return True
