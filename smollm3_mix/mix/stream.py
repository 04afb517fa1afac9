"""Several lanes read as one: one record of each in turn, resumable after any record."""

import base64
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.errors import StateError
from smollm3_mix.mix.chunk import Chunk, empty_batch, in_turn
from smollm3_mix.mix.lane import Lane
from smollm3_mix.mix.seen_file import SeenFile
from smollm3_mix.mix.states import check_lanes
from smollm3_mix.tally import Tally

if TYPE_CHECKING:
    from smollm3_mix.mix.opening import Mix

Ints = npt.NDArray[np.int64]

CHUNK = 1024
"""Most records taken from the lanes at once. What comes out does not depend on it."""

HELD = 1 << 28
"""Bytes of records that the lanes of a stream hold together; blocks given from longest ago are read again when due."""


class Stream:
    """The records of some lanes of a mix, one of each lane in turn; a lane that ends leaves the round.

    Args:
        mix: what is read.
        lanes: numbers of the lanes, each at most once.

    Raises:
        ValueError: a lane that the mix does not have, or the same one twice.
    """

    def __init__(self, mix: "Mix", lanes: Sequence[int]) -> None:
        if len(set(lanes)) != len(lanes):
            raise ValueError(f"lanes must differ, got {list(lanes)}")
        self._mix = mix
        self._lanes = [mix.lane(number) for number in lanes]
        self._files = [_seen_file(mix, number) for number in lanes]
        self._round = list(range(len(self._lanes)))  # lanes that go on, in turn order
        self._turn = 0  # place in the round of the lane that gives the record at the buffer's start
        self._chunk = Chunk([], np.empty(0, np.int64))
        self._batch: pa.RecordBatch | None = None  # the chunk as Arrow, once somebody has asked for it
        self._read = 0  # records of the chunk that were given out
        self._pulled = np.zeros(len(self._lanes), np.int64)  # records of each lane so far, those of the chunk included

    def read(self, rows: int) -> pa.RecordBatch:
        """The next records as one batch of schema.RECORD: at least one and at most `rows`, or none at the end.

        Raises:
            ValueError: rows is below 1.
            SourceExhausted: a source ran out and the recipe does not say how to go on.
            SourceError: a source cannot be read.
        """
        if rows < 1:
            raise ValueError(f"rows must be at least 1, got {rows}")
        if not self._fill():
            return empty_batch()
        if self._batch is None:
            self._batch = self._chunk.batch()
        given = self._batch.slice(self._read, rows)
        self._read += given.num_rows
        return given

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The records as dicts with the columns of schema.RECORD."""
        while self._fill():
            start = self._read
            for record in self._chunk.slice(start, len(self._chunk)).records():
                self._read += 1
                yield record

    def tally(self) -> Tally:
        """Counts of these lanes after the last record given out."""
        unread = self._unread(self._read)
        return sum(
            (lane.tally(int(unread[n])) for n, lane in enumerate(self._lanes)),
            Tally.empty(source.id for source in self._mix.recipe.active),
        )

    def state_dict(self, since: Mapping[str, Any] | None = None, *, unread: int = 0) -> dict[str, Any]:
        """Where the stream stands after the last record given out, JSON-able; `load_state_dict` goes on from there.

        Without a `seen_dir` it holds what dedup remembers as well, and grows by about 8 bytes for each document
        accepted, 8 more for each band of near dedup.

        Args:
            since: an older state of this stream, to rest on: what comes out then holds it, and how many records each
                lane has given since. That costs next to nothing, and loading it makes those records again.
            unread: records at the end of the last `read` that count as not given out, at most as many as it gave.
        """
        read = self._read - unread
        pending = self._unread(read)
        records = (self._pulled - pending).tolist()
        if since is None:
            parts = zip(self._lanes, pending.tolist(), self._files, strict=True)
            lanes = [_saved(lane, behind, file) for lane, behind, file in parts]
        else:
            lanes = since["lanes"]
        turn = self._lanes[self._round[(self._turn + read) % len(self._round)]].number if self._round else None
        return {
            "recipe": self._mix.recipe.to_dict() if since is None else since["recipe"],
            "fingerprint": self._mix.recipe.fingerprint if since is None else since["fingerprint"],
            "split": self._mix.split,
            "limits": self._mix.asked,
            "num_lanes": self._mix.num_lanes,
            "going": [lane.number for n, lane in enumerate(self._lanes) if n in self._round],
            "turn": turn,
            "lanes": [{**lane, "records": given} for lane, given in zip(lanes, records, strict=True)],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the record at which `state` was saved. Reads only the current block of each source.

        The state may hold more lanes than the stream reads, as those that `merge_states` gives do.

        Raises:
            StateError: the state is of another recipe, other files, another split or other limits, or lacks a lane.
        """
        mine = [lane.number for lane in self._lanes]
        check_state(self._mix, state)
        check_lanes(state, mine)
        saved = {at["lane"]: at for at in state["lanes"]}
        fresh = []
        self._files = [_seen_file(self._mix, number) for number in mine]
        for lane, file in zip(self._lanes, self._files, strict=True):
            lane.close()
            at = saved.get(lane.number)
            fresh.append(self._mix.lane(lane.number) if at is None else _restored(self._mix, at, file))
        self._lanes = fresh
        self._pulled = np.array([lane.given for lane in fresh], np.int64)
        self._round = [n for n, number in enumerate(mine) if number in state["going"]]
        turns, turn = [mine[n] for n in self._round], state["turn"]
        if turn in turns:
            self._turn = turns.index(turn)
        else:  # of another one's lane: mine that comes after it
            self._turn = next((n for n, number in enumerate(turns) if turn is not None and number > turn), 0)
        self._clear()

    def close(self) -> None:
        """Close all files."""
        for lane in self._lanes:
            lane.close()

    def _clear(self) -> None:
        self._chunk, self._batch, self._read = Chunk([], np.empty(0, np.int64)), None, 0

    def _fill(self) -> bool:
        """Have unread records at hand; False at the end. Filled only when empty, so no state lies behind it."""
        if self._read < len(self._chunk):
            return True
        if self._round:
            self._turn = (self._turn + self._read) % len(self._round)
        self._clear()
        while self._round:
            if not self._lanes[self._round[self._turn]].fill():
                del self._round[self._turn]
                self._turn = self._turn % len(self._round) if self._round else 0
                continue
            self._take()
            return True
        return False

    def _take(self) -> None:
        """Pull as many records, in turn, as the lanes have pending."""
        order = [self._lanes[n] for n in self._round[self._turn :] + self._round[: self._turn]]
        rows = min(CHUNK, *(place + lane.pending * len(order) for place, lane in enumerate(order)), CHUNK)
        turns = np.arange(rows) % len(order)
        counts = np.bincount(turns, minlength=len(order))
        if len(order) == 1:
            self._chunk = order[0].pull(rows)
        else:
            self._chunk = in_turn([lane.pull(int(n)) for lane, n in zip(order, counts, strict=True) if n], turns)
        self._pulled[np.roll(self._round, -self._turn)] += counts
        self._rest()

    def _rest(self) -> None:
        """Let blocks rest while all hold more than HELD."""
        held = [(line.used, line.held, line) for lane in self._lanes for line in lane.lines]
        over = sum(size for _, size, _ in held) - HELD
        for _, size, line in sorted(held, key=lambda each: each[0]) if over > 0 else ():
            if over <= 0:
                break
            if size:
                line.rest()
                over -= size

    def _unread(self, read: int) -> Ints:
        """Records of each lane that were pulled and are not among the first `read` of the chunk."""
        unread = np.zeros(len(self._lanes), np.int64)
        for place in range(read, len(self._chunk)):
            unread[self._round[(self._turn + place) % len(self._round)]] += 1
        return unread


def check_state(mix: "Mix", state: Mapping[str, Any]) -> None:
    """Nothing, where the state was saved by this mix.

    Raises:
        StateError: it was not; the message shows the difference.
    """
    from smollm3_mix.recipe import Recipe

    missing = [
        key for key in ("recipe", "fingerprint", "split", "limits", "going", "turn", "lanes") if key not in state
    ]
    if missing:
        raise StateError(f"this is no state of a mix: it has no {missing[0]!r}. Pass what state_dict() gave.")
    recipe = mix.recipe
    if state["fingerprint"] != recipe.fingerprint:
        other = Recipe.from_dict(state["recipe"])
        differ = "\n  ".join(other.differences(recipe)) or "the version of the package"
        raise StateError(
            f"this state was saved by recipe {other.name} {state['fingerprint'][:7]}, but the mix is {recipe.name} "
            f"{recipe.fingerprint[:7]}. They differ in:\n  {differ}\n"
            "Load the recipe saved in the state (Recipe.from_dict(state['recipe'])) or start afresh."
        )
    was, now = {"split": state["split"], **state["limits"]}, {"split": mix.split, **mix.asked}
    for name, value in now.items():
        if was.get(name) != value:
            raise StateError(
                f"this state was saved with {name}={was.get(name)!r}, but the mix has {name}={value!r}. "
                "Open the mix as it was."
            )


def _seen_file(mix: "Mix", lane: int) -> SeenFile | None:
    return None if mix.seen_dir is None else SeenFile(mix.seen_dir, f"{mix.split}-{lane:05d}.seen")


def _saved(lane: Lane, unread: int, file: SeenFile | None) -> dict[str, Any]:
    """A lane's state with all that it remembers, as text or in its file."""
    logs = {source: _text(log) for source, log in lane.logs().items() if log}
    if file is not None and lane.seen_digest is not None:
        seen: Any = file.append(lane)
    else:
        seen = _text(lane.seen_log()[0])
    return {**lane.state_dict(unread), "verdicts": logs, "seen": seen}


def _restored(mix: "Mix", saved: Mapping[str, Any], file: SeenFile | None) -> Lane:
    """A lane that stands where it was saved."""
    lane, seen = mix.lane(saved["lane"]), saved["seen"]
    if isinstance(seen, str):
        lane.restore_seen([_bytes(seen)])
    elif file is not None:
        lane.restore_seen([file.read(seen)])
    else:
        raise StateError(
            f"this state keeps what dedup remembers of lane {lane.number} in the file {seen['file']!r}. "
            "Open the mix with seen_dir= the folder that holds it."
        )
    lane.load_state_dict(dict(saved), {source: _bytes(log) for source, log in saved["verdicts"].items()})
    since = saved["records"] - lane.given  # records that the lane gave after what is saved of it
    while since and lane.fill():
        since -= len(lane.pull(since))
    if since:
        raise StateError(
            f"lane {lane.number} had given {saved['records']:,} records when the state was saved and ends after "
            f"{lane.given:,} now. The sources' files have changed; start afresh."
        )
    return lane


def _text(log: bytes) -> str:
    return base64.b85encode(zlib.compress(log, 1)).decode()


def _bytes(text: str) -> bytes:
    return zlib.decompress(base64.b85decode(text))
