"""What dedup remembers in a lane, in a file beside the checkpoints instead of in each of them."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from smollm3_mix.errors import StateError


class HasDedupState(Protocol):
    """What a file asks of a lane."""

    @property
    def dedup_digest(self) -> str | None:
        """Digest of all that `seen_log` gives from the start; None without dedup."""

    def dedup_log(self, since: int = 0) -> tuple[bytes, int]:
        """What dedup remembers from its document number `since` on, and how many documents it remembers in all."""


class DedupStateFile:
    """A file that only grows: each state names how much of it counts, so all states of a run share it.

    What a lane remembers depends on the recipe alone. So whoever goes on from an older state, on whatever node, writes
    the same bytes to the same places, and nothing that a state counts is ever changed. Bytes behind what the newest
    state counts, as a killed run leaves them, do no harm.

    Args:
        folder: of the run, seen by every node that may go on from a state.
        name: of the file.
    """

    def __init__(self, folder: str, name: str) -> None:
        self._path = Path(folder) / name
        self._documents = self._bytes = 0  # known to be in the file

    def append(self, lane: HasDedupState) -> dict[str, Any]:
        """What a state says of the file, after all that the lane remembers has been written to disk.

        Raises:
            StateError: the file holds something else.
        """
        log, documents = lane.dedup_log(self._documents)
        if log:
            self._write(log)
            self._documents, self._bytes = documents, self._bytes + len(log)
        return {"file": self._path.name, "documents": documents, "bytes": self._bytes, "digest": lane.dedup_digest}

    def read(self, saved: Mapping[str, Any]) -> bytes:
        """What the lane remembered when `append` gave `saved`.

        Raises:
            StateError: the file is missing, cut, or holds something else.
        """
        size = saved["bytes"]
        log = b""
        if size and self._path.exists():
            with self._path.open("rb") as file:
                log = file.read(size)
        if len(log) != size or hashlib.blake2b(log, digest_size=16).hexdigest() != saved["digest"]:
            found = f"has {len(log):,} bytes" if len(log) != size else "holds other documents"
            raise StateError(
                f"{self._path} {found}, but this state counts {size:,} bytes of it, {saved['documents']:,} documents "
                "that dedup remembers. Give the dedup_state_dir of the run that saved the state, with all its files."
            )
        self._documents, self._bytes = saved["documents"], size
        return log

    def _write(self, log: bytes) -> None:
        """Put `log` behind what is known to be there; what is there already must be its beginning."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        with self._path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(self._bytes)
            there = file.read(len(log))
            if size < self._bytes or not log.startswith(there):
                raise StateError(
                    f"{self._path} does not go on as this run does after {min(size, self._bytes):,} bytes: another run "
                    "wrote it, or it was damaged. Give another dedup_state_dir, and resume from a state whose files are whole."
                )
            if len(there) < len(log):
                file.seek(self._bytes + len(there))
                file.write(log[len(there) :])
                file.flush()
                os.fsync(file.fileno())
