"""Token windows of some lanes, interleaved round-robin, resumable after every window."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.errors import StateError
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.state.merge_states import next_lane_position
from smollm3_mix.mix.stream import Stream
from smollm3_mix.text import token_windows

Window = tuple[token_windows.Tokens, token_windows.Tokens]

DOCUMENTS = 256
"""Maximum number of documents pulled from a lane at once. No effect on the windows."""


class WindowStream:
    """Windows of sequence_length + 1 tokens from one or more lanes, interleaved round-robin.

    Each lane is a token stream of its own, so its windows do not depend on the reader or on other lanes. The last
    tokens of a lane, at most sequence_length, fill no window and are not emitted. `leftover_tokens` counts them.

    Args:
        mix: Mix with token ids.
        lanes: Numbers of the lanes, each at most once.
        sequence_length: Number of input tokens per window.

    Attributes:
        sequence_length: Number of input tokens per window.
        schema: `input_ids` and `position_ids`, both fixed_size_list<int32>[sequence_length + 1].

    Raises:
        ValueError: If a lane is repeated.
    """

    def __init__(self, mix: Mix, lanes: Sequence[int], sequence_length: int) -> None:
        if len(set(lanes)) != len(lanes):
            raise ValueError(f"lanes must not repeat, got {list(lanes)}.")
        self._mix, self.sequence_length = mix, sequence_length
        self._streams = [_TokenStream(mix, lane, sequence_length) for lane in lanes]
        self._active = list(range(len(self._streams)))
        self._next_index = 0
        self._last = -1  # lane of the latest window
        cell = pa.list_(pa.int32(), sequence_length + 1)
        self.schema = pa.schema([("input_ids", cell), ("position_ids", cell)])

    def read(self, max_windows: int) -> pa.RecordBatch:
        """Return the next windows as one batch of `schema`, fewer than `max_windows` only at the end.

        Raises:
            ValueError: If max_windows is below 1.
            SourceExhaustedError: If a source ends before the mix does.
            SourceError: If a source cannot be read.
        """
        return self.read_with_lanes(max_windows)[0]

    def read_with_lanes(self, max_windows: int) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
        """Return the batch of `read` and the lane of each window, int64[windows]."""
        if max_windows < 1:
            raise ValueError(f"max_windows must be at least 1, got {max_windows}.")
        found: list[Window] = []
        lanes: list[int] = []
        while len(found) < max_windows and (window := self._next()) is not None:
            found.append(window)
            lanes.append(self._last)
        width = self.sequence_length + 1
        columns = [np.concatenate([np.empty(0, np.int32), *(each[n] for each in found)]) for n in range(2)]
        cells = [pa.FixedSizeListArray.from_arrays(pa.array(column), width) for column in columns]
        return pa.RecordBatch.from_arrays(cells, schema=self.schema), np.array(lanes, np.int64)

    def __iter__(self) -> Iterator[dict[str, token_windows.Tokens]]:
        """Yield windows as dicts of `input_ids` and `position_ids`, each int32[sequence_length + 1]."""
        while (window := self._next()) is not None:
            yield {"input_ids": window[0], "position_ids": window[1]}

    @property
    def leftover_tokens(self) -> int:
        """Number of tokens of ended lanes that fill no window."""
        return sum(stream.leftover_tokens for stream in self._streams)

    @property
    def stats(self) -> MixStats:
        """Statistics of these lanes up to the last document pulled. Up to DOCUMENTS per lane may not be packed yet."""
        return sum(
            (stream.records.stats for stream in self._streams),
            MixStats.empty(source.id for source in self._mix.recipe.active),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last window emitted, JSON-able.

        It is the state of a record stream with more keys. The state of a lane is that of its record stream before the
        document of the next token, and `offset` is the number of its tokens that were inputs. `merge_states` merges the
        states of several readers.
        """
        saved = [stream.state_dict() for stream in self._streams]
        active = [self._streams[n].lane for n in self._active]
        return {
            **(saved[0] if saved else {}),
            "packing": {"sequence_length": self.sequence_length},
            "active_lanes": active,
            "next_lane": active[self._next_index] if active else None,
            "lanes": [lane for state in saved for lane in state["lanes"]],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume after the window at which `state` was saved. Tokenizes at most one document per lane again.

        The state may have more lanes, as merged states do.

        Raises:
            StateError: If the state belongs to another recipe, tokenizer, sequence length, split, limits or lanes.
        """
        if "packing" not in state:
            raise StateError(
                "This state belongs to a stream of records, not of token windows. Load the result of state_dict() of a "
                "window stream."
            )
        was = state["packing"]["sequence_length"]
        if was != self.sequence_length:
            raise StateError(
                f"This state was saved with sequence_length={was}, but these windows have "
                f"sequence_length={self.sequence_length}. Open the mix with sequence_length={was}."
            )
        own, saved = [stream.lane for stream in self._streams], {at["lane"]: at for at in state["lanes"]}
        if not set(own) <= saved.keys() | set(state["active_lanes"]):
            raise StateError(
                f"This state has lanes {sorted(saved)}, but the windows have lanes {sorted(own)}. "
                "Load the state of the same lanes, or merge_states() of all readers."
            )
        streams = []
        for old in self._streams:
            old.records.close()
            streams.append(_TokenStream(self._mix, old.lane, self.sequence_length))
            if old.lane in saved:
                streams[-1].load_state_dict(state, saved[old.lane])
        self._streams = streams
        active = set(state["active_lanes"])
        self._active = [n for n, lane in enumerate(own) if lane in active]
        self._next_index = next_lane_position(state["next_lane"], [own[n] for n in self._active])

    def close(self) -> None:
        """Close all files."""
        for stream in self._streams:
            stream.records.close()

    def _next(self) -> Window | None:
        """Return the window of the next lane, or None at the end of all lanes."""
        while self._active:
            stream = self._streams[self._active[self._next_index]]
            window = stream.next()
            if window is not None:
                self._last = stream.lane
                self._next_index = (self._next_index + 1) % len(self._active)
                return window
            del self._active[self._next_index]
            self._next_index = self._next_index % len(self._active) if self._active else 0
        return None


class _TokenStream:
    """Token stream of one lane, cut into windows.

    Documents are pulled only when no complete window is available. The remaining tokens are then fewer than a window
    has, so a window always ends in the documents pulled last. A position is therefore a number of those documents and a
    number of tokens of the next one.
    """

    def __init__(self, mix: Mix, lane: int, length: int) -> None:
        self.lane, self._length = lane, length
        self.records: Stream = mix.stream([lane])
        self._windows = 0
        self._clear(0, 0)

    @property
    def leftover_tokens(self) -> int:
        """Number of tokens that fill no window, after the lane has ended."""
        return self._leftover + (len(self._ids) if self._ended else 0)

    def next(self) -> Window | None:
        """Return the next window, or None at the end of the lane."""
        while self._emitted == len(self._cut):
            if self._ended or not self._fill():
                return None
        self._emitted += 1
        self._windows += 1
        return self._cut[self._emitted - 1], self._positions[self._emitted - 1]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the records before the next token's document, and the tokens of it that were inputs."""
        unread = offset = 0
        if not self._ended:
            at = self._base + self._emitted * self._length  # in tokens of the documents pulled last
            document = int(np.searchsorted(self._edges, at, side="right")) - 1
            unread, offset = len(self._edges) - 1 - document, at - int(self._edges[document])
        state = self.records.snapshot(unread=unread)
        lane = state["lanes"][0]
        lane |= {"documents": lane["records"], "offset": offset, "left": self.leftover_tokens}
        lane |= {"windows": self._windows, "records": self._windows}
        return state

    def load_state_dict(self, state: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
        """Resume at `saved`, this lane's part of a state."""
        lane = {**saved, "records": saved["documents"]}
        self.records.load_state_dict({**state, "active_lanes": [self.lane], "next_lane": self.lane, "lanes": [lane]})
        self._clear(saved["offset"], saved["left"])
        self._windows = saved["windows"]
        while self._windows < saved["records"] and self.next() is not None:
            pass  # windows that were emitted after the lane's state was saved

    def _clear(self, offset: int, leftover: int) -> None:
        """Reset to a state without documents, in which `offset` tokens of the next document were inputs."""
        self._leftover = leftover
        self._ids, self._starts = np.empty(0, np.int32), np.empty(0, np.int64)  # tokens that are in no window yet
        self._cut = self._positions = np.empty((0, self._length + 1), np.int32)
        self._emitted, self._ended = 0, False
        self._edges: npt.NDArray[np.int64] = np.zeros(1, np.int64)  # boundaries of the documents pulled last
        self._base = offset  # start of the first window, relative to the first of them

    def _fill(self) -> bool:
        """Pull documents and cut windows, possibly none yet. Return False at the end of the lane."""
        batch = self.records.read(DOCUMENTS)
        if not batch.num_rows:
            self._ended = True
            return False
        lists = batch["ids"]
        edges = lists.offsets.to_numpy()
        values = lists.values.to_numpy()[edges[0] : edges[-1]]
        edges = edges - edges[0]
        skip = self._base if len(self._edges) == 1 else 0  # after a resume, tokens of the first document
        previous = len(self._ids)
        self._starts = np.concatenate([self._starts, np.maximum(edges[:-1] - skip, 0) + previous])
        self._ids = np.concatenate([self._ids, values[skip:]])
        self._cut, self._positions = token_windows.windows(self._ids, self._starts, self._length)
        used = len(self._cut) * self._length
        self._emitted, self._edges, self._base = 0, edges, skip - previous
        self._ids, self._starts = self._ids[used:], self._starts[self._starts >= used] - used
        return True
