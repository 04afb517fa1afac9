"""The dedup state of a lane in a file next to the checkpoints, instead of in each checkpoint."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from smollm3_mix.errors import StateError


class HasDedupState(Protocol):
    """A lane with a dedup state."""

    @property
    def dedup_digest(self) -> str | None:
        """Digest of the complete `dedup_log`. None without dedup."""

    def dedup_log(self, since: int = 0) -> tuple[bytes, int]:
        """Return the dedup state from document number `since` on, and the total number of documents."""


class DedupStateFile:
    """An append-only file. Each state refers to a prefix of it, so all states of a run share the file.

    The dedup state of a lane depends on the recipe alone. A run that resumes from an older state, on any node, writes
    the same bytes to the same positions. Bytes that a state refers to never change. A killed run may leave bytes after
    the prefix of the newest state. They do no harm.

    Args:
        folder: Folder of the run, visible on every node that may resume.
        name: Name of the file.
    """

    def __init__(self, folder: str, name: str) -> None:
        self._path = Path(folder) / name
        self._documents = self._bytes = 0  # known to be in the file

    def append(self, lane: HasDedupState) -> dict[str, Any]:
        """Write the lane's complete dedup state to disk, and return the reference to it that a state contains.

        Raises:
            StateError: If the file has other content.
        """
        log, documents = lane.dedup_log(self._documents)
        if log:
            self._write(log)
            self._documents, self._bytes = documents, self._bytes + len(log)
        return {"file": self._path.name, "documents": documents, "bytes": self._bytes, "digest": lane.dedup_digest}

    def read(self, saved: Mapping[str, Any]) -> bytes:
        """Return the dedup state that the reference `saved` names.

        Raises:
            StateError: If the file is missing or truncated, or has other content.
        """
        size = saved["bytes"]
        log = b""
        if size and self._path.exists():
            with self._path.open("rb") as file:
                log = file.read(size)
        if len(log) != size or hashlib.blake2b(log, digest_size=16).hexdigest() != saved["digest"]:
            found = f"has {len(log):,} bytes" if len(log) != size else "has other content"
            raise StateError(
                f"{self._path} {found}, but this state refers to {size:,} bytes with the dedup state of "
                f"{saved['documents']:,} documents. Pass the dedup_state_dir of the run that saved the state, with all "
                "its files."
            )
        self._documents, self._bytes = saved["documents"], size
        return log

    def _write(self, log: bytes) -> None:
        """Append `log` to the known content. Bytes that follow the known content must be a prefix of `log`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        with self._path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(self._bytes)
            existing = file.read(len(log))
            if size < self._bytes or not log.startswith(existing):
                raise StateError(
                    f"{self._path} differs from this run after {min(size, self._bytes):,} bytes: another run wrote it, "
                    "or it is damaged. Pass another dedup_state_dir, and resume from a state with complete files."
                )
            if len(existing) < len(log):
                file.seek(self._bytes + len(existing))
                file.write(log[len(existing) :])
                file.flush()
                os.fsync(file.fileno())
